"""What is wrong with a configuration: ``file:line: key: what is wrong, what is allowed``."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

# A place in a TOML document: keys, and indexes of array elements from 0.
Path = tuple[str | int, ...]

_DIGITS = re.compile(r"(\d+)")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One error. ``line`` counts from 1, 0 where there is none; ``key`` is "" when the file itself is wrong."""

    file: str
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.key, self.text) if part)


class ConfigError(Exception):
    """The configuration does not load; ``problems`` holds every reason, by file and line, each once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems), key=_place))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def _place(problem: Problem) -> tuple[str, int, list[tuple[int, str]], str]:
    # Numbers count as such: matches[2] stands before matches[10].
    return (
        problem.file,
        problem.line,
        [(len(part), part) if part.isdigit() else (0, part) for part in _DIGITS.split(problem.key)],
        problem.text,
    )


def dotted(path: Path) -> str:
    """Return ``path`` as an administrator would write it, array elements counted from 1: ``listen[1].tls.key``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += ("." if text else "") + quoted_key(part)
    return text


def quoted_key(key: str) -> str:
    """Return ``key`` as TOML writes it."""
    return key if _BARE_KEY.fullmatch(key) else quoted(key)


def quoted(text: str) -> str:
    """Return a text as a TOML string on one line."""
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
