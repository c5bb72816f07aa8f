r"""RE2's syntax as a tree, as far as two questions need it: what a match must contain, whether there can be one.

RE2 does the matching; this reads patterns that RE2 has accepted and answers ``None`` where it is not sure, so that a
construct it does not know costs speed and never an answer. https://github.com/google/re2/wiki/Syntax
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Union

MAX_RUNE = 0x10FFFF
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of ``ranges``; None: some set that was not worked out. ``fold``: under ``(?i)``."""

    ranges: tuple[Range, ...] | None
    fold: bool = False


@dataclass(frozen=True, slots=True)
class Assertion:
    """An empty-width one: ``begin`` and ``end`` of the text, ``line-begin``, ``line-end``, ``word``, ``inside``."""

    kind: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """One part after the other."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the parts."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """``part`` from ``low`` to ``high`` times; None: any number."""

    part: "Node"
    low: int
    high: int | None


Node = Union[Chars, Assertion, Sequence, Choice, Repeat]  # noqa: UP007 - the names above are forward references

_COUNT = re.compile(r"\{(\d{1,4})(,(\d{0,4}))?\}")
_GROUP = re.compile(r"\?(?:P?<\w+>|([imsU]*)(?:-([imsU]+))?(:|\)))")
_OCTAL = re.compile(r"[0-7]{1,3}")
_HEX = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})")
_PROPERTY = re.compile(r"[pP](?:\{[^}]*\}|.)")
_POSIX = re.compile(r"\[:\^?\w+:\]")
_CONTROLS = {"a": "\a", "f": "\f", "t": "\t", "n": "\n", "r": "\r", "v": "\v"}
# RE2's \d, \s and \w are ASCII; its \s has no vertical tab.
_DIGIT: tuple[Range, ...] = ((48, 57),)
_SPACE: tuple[Range, ...] = ((9, 10), (12, 13), (32, 32))
WORD: tuple[Range, ...] = ((48, 57), (65, 90), (95, 95), (97, 122))
_CLASSES = {"d": _DIGIT, "s": _SPACE, "w": WORD}
_ASSERTIONS = {"A": "begin", "z": "end", "b": "word", "B": "inside"}
_ANY: tuple[Range, ...] = ((0, MAX_RUNE),)
# Nested deeper than anybody writes; RE2's own limit is 1,000.
_MAX_DEPTH = 100


class _NotSure(Exception):  # noqa: N818 - never leaves this module
    pass


def parse(source: str) -> Node | None:
    """Return the tree of a pattern that RE2 accepts, or None."""
    try:
        return _Parser(source).whole()
    except (_NotSure, IndexError):
        return None


def inverted(ranges: tuple[Range, ...]) -> tuple[Range, ...]:
    """Return every character that is in none of ``ranges``."""
    return tuple(_gaps(merged(ranges)))


def merged(ranges: tuple[Range, ...]) -> tuple[Range, ...]:
    """Return the ranges in order, none touching another."""
    out: list[Range] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return tuple(out)


def _gaps(ranges: tuple[Range, ...]) -> Iterator[Range]:
    start = 0
    for low, high in ranges:
        if low > start:
            yield start, low - 1
        start = high + 1
    if start <= MAX_RUNE:
        yield start, MAX_RUNE


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._flags = frozenset[str]()
        self._depth = 0

    def whole(self) -> Node:
        node = self._choice()
        if self._at != len(self._source):
            raise _NotSure
        return node

    def _peek(self) -> str:
        return self._source[self._at] if self._at < len(self._source) else ""

    def _take(self) -> str:
        self._at += 1
        return self._source[self._at - 1]

    def _choice(self) -> Node:
        # Flags set within a group end with it (RE2: "(?flags) set flags within current group").
        outer = self._flags
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _NotSure
        parts = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._sequence())
        self._flags = outer
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._peek() not in ("", "|", ")"):
            if self._source.startswith(r"\Q", self._at):
                parts.extend(self._quoted())
            else:
                part = self._atom()
                if part is not None:
                    parts.append(part)
            self._repeats(parts)
        return Sequence(tuple(parts))

    def _quoted(self) -> Iterator[Node]:
        end = self._source.find(r"\E", self._at)
        text = self._source[self._at + 2 : end if end >= 0 else None]
        self._at = end + 2 if end >= 0 else len(self._source)
        return (self._literal(character) for character in text)

    def _repeats(self, parts: list[Node]) -> None:
        while parts and (bounds := self._bounds()):
            parts[-1] = Repeat(parts[-1], *bounds)
            if self._peek() == "?":
                self._at += 1

    def _bounds(self) -> tuple[int, int | None] | None:
        plain = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(self._peek())
        if plain:
            self._at += 1
            return plain
        count = _COUNT.match(self._source, self._at)
        if not count:
            return None
        self._at = count.end()
        low = int(count[1])
        return low, low if count[2] is None else int(count[3]) if count[3] else None

    def _atom(self) -> Node | None:
        character = self._take()
        special = _SPECIAL.get(character)
        return special(self) if special else self._literal(character)

    def any(self) -> Node:
        return Chars(_ANY if "s" in self._flags else inverted(((10, 10),)))

    def caret(self) -> Node:
        return Assertion("line-begin" if "m" in self._flags else "begin")

    def dollar(self) -> Node:
        return Assertion("line-end" if "m" in self._flags else "end")

    def group(self) -> Node | None:
        if self._peek() != "?":
            return self._closed(self._choice())
        form = _GROUP.match(self._source, self._at)
        if not form:
            raise _NotSure
        self._at = form.end()
        if form[3] is None:
            return self._closed(self._choice())
        outer = self._flags
        self._flags = (outer | frozenset(form[1])) - frozenset(form[2] or "")
        if form[3] == ")":
            return None
        node = self._closed(self._choice())
        self._flags = outer
        return node

    def _closed(self, node: Node) -> Node:
        if self._take() != ")":
            raise _NotSure
        return node

    def escape(self) -> Node:
        kind = self._peek()
        if kind in _ASSERTIONS:
            self._at += 1
            return Assertion(_ASSERTIONS[kind])
        if kind == "C":
            self._at += 1
            return Chars(None)
        ranges = self._escaped()
        return Chars(ranges, "i" in self._flags)

    def _escaped(self) -> tuple[Range, ...] | None:
        """Return what an escape stands for, in a set or outside; None where it was not worked out."""
        for form, base in ((_OCTAL, 8), (_HEX, 16)):
            found = form.match(self._source, self._at)
            if found:
                self._at = found.end()
                rune = int(next(filter(None, found.groups()), found[0]), base)
                return ((rune, rune),)
        unknown = _PROPERTY.match(self._source, self._at)
        if unknown:
            self._at = unknown.end()
            return None
        character = self._take()
        if character.lower() in _CLASSES:
            ranges = _CLASSES[character.lower()]
            return ranges if character.islower() else inverted(ranges)
        if character.isalnum() and character not in _CONTROLS:
            raise _NotSure
        rune = ord(_CONTROLS.get(character, character))
        return ((rune, rune),)

    def set(self) -> Chars:
        negated = self._peek() == "^"
        self._at += negated
        ranges: list[Range] = []
        known = True
        first = True
        while first or self._peek() != "]":
            first = False
            item = self._set_item()
            if item is None:
                known = False
            else:
                ranges.extend(item)
        self._at += 1
        if not known:
            return Chars(None)
        whole = merged(tuple(ranges))
        return Chars(inverted(whole) if negated else whole, "i" in self._flags)

    def _set_item(self) -> tuple[Range, ...] | None:
        posix = _POSIX.match(self._source, self._at)
        if posix:
            self._at = posix.end()
            return None
        low = self._set_member()
        if self._peek() != "-" or self._source[self._at + 1] == "]" or low is None:
            return low
        self._at += 1
        high = self._set_member()
        if high is None or low[0][0] != low[0][1] or high[0][0] < low[0][0]:
            raise _NotSure
        return ((low[0][0], high[0][0]),)

    def _set_member(self) -> tuple[Range, ...] | None:
        character = self._take()
        if character == "\\":
            return self._escaped()
        return ((ord(character), ord(character)),)

    def _literal(self, character: str) -> Chars:
        return Chars(((ord(character), ord(character)),), "i" in self._flags)


_SPECIAL: dict[str, Callable[[_Parser], Node | None]] = {
    "(": _Parser.group,
    "[": _Parser.set,
    ".": _Parser.any,
    "^": _Parser.caret,
    "$": _Parser.dollar,
    "\\": _Parser.escape,
}
