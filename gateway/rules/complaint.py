"""What is wrong with a rule: where, and what is allowed. ``gateway.config`` knows the file and the line."""

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass

# Keys and list indexes from 0, starting below ``rule``: ``(0, "when", "subject", "matches", 1)``.
KeyPath = tuple[str | int, ...]

MAX_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Complaint:
    """``path`` leads to the key or list element that is wrong."""

    path: KeyPath
    text: str


def choices(given: str, allowed: Iterable[str]) -> str:
    """Return ``; did you mean "x"? allowed: x, y`` for a word that is none of ``allowed``."""
    names = tuple(allowed)
    close = difflib.get_close_matches(given.lower(), names, n=1)
    hint = f'; did you mean "{close[0]}"?' if close else ";"
    return f"{hint} allowed: {', '.join(names) or 'nothing'}"


def shown(value: object) -> str:
    """Return a value for a complaint: short, on one line, texts in quotes."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "…"
