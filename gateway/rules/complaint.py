"""What is wrong with a rule: where, and what is allowed. ``gateway.config`` knows the file and the line."""

from dataclasses import dataclass

# Keys and list indexes from 0, starting below ``rule``: ``(0, "when", "subject", "matches", 1)``.
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Complaint:
    """``path`` leads to the key or list element that is wrong."""

    path: KeyPath
    text: str
