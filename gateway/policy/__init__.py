"""What a filter may say, and how many sayings become one verdict per recipient (architecture.md, invariants 2 to 4).

Filter → Finding; policy → Action or score; fold → Disposition; all recipients together → Verdict.
"""
