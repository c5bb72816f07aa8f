"""The abuse desk: turns verdicts into incidents, acts on them, answers complaints, reports (contract.md §4)."""
