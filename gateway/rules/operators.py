"""The operators of conditions: which kinds of subject each is for, and what it asks of a value.

A ``Check`` answers for one value: ``holds``, and ``matched``, the text for evidence with its place in the value.
Literals meet texts folded (NFKC, case disregarded); ``matches`` runs on the text as shown, case counting unless the
pattern says ``(?i)``; ``raw_matches`` on octets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from gateway.policy.rule import Clause, Value
from gateway.rules.likeness import Domains, Names
from gateway.rules.networks import NetworkSet
from gateway.rules.pace import Pace
from gateway.rules.patterns import Pattern
from gateway.rules.subjects import TEXTS, Kind, Subject
from gateway.rules.values import AnyValue, Text, Thing, address_key, domain_key, fold
from gateway.rules.words import find_word

NUMBERS = frozenset({Kind.COUNT, Kind.SIZE, Kind.SPAN})
EVERY = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator; ``single`` when it takes one value and no list."""

    name: str
    kinds: frozenset[Kind]
    meaning: str
    single: bool = False


_ALL = (
    Operator("is", EVERY - {Kind.CLOCK}, "equal, case and width disregarded"),
    Operator("in", EVERY - {Kind.CLOCK, Kind.FLAG}, "equal to one of a list"),
    Operator("in_list", TEXTS | {Kind.NETWORK}, "equal to one of a file's lines", single=True),
    Operator("contains", TEXTS, "has it anywhere"),
    Operator("word", TEXTS, "has it as a word"),
    Operator("starts", TEXTS, "begins with it"),
    Operator("ends", TEXTS, "ends with it"),
    Operator("matches", TEXTS, "an RE2 pattern finds something in it, case counting"),
    Operator("raw_matches", frozenset({Kind.TEXT}), "an RE2 pattern finds something in its octets as received"),
    Operator("similar_to", TEXTS, "looks like it: letters alike, or an edit or two away"),
    Operator("cidr", frozenset({Kind.NETWORK}), "is in one of the networks"),
    Operator("<", NUMBERS, "less", single=True),
    Operator("<=", NUMBERS, "at most", single=True),
    Operator(">", NUMBERS, "more", single=True),
    Operator(">=", NUMBERS, "at least", single=True),
    Operator("between", NUMBERS | {Kind.CLOCK}, "from the first to the second, both included"),
    Operator("exists", EVERY, "true: there is a value; false: there is none", single=True),
)
OPERATORS: Mapping[str, Operator] = MappingProxyType({operator.name: operator for operator in _ALL})


def operators_of(subject: Subject) -> tuple[str, ...]:
    """Return what can be asked of a subject."""
    return tuple(
        operator.name
        for operator in _ALL
        if subject.kind in operator.kinds and (operator.name != "raw_matches" or subject.raw)
    )


# A matched text and the index of its first character in the value; index -1: the value as a whole.
Matched = tuple[str, int]


class Check(Protocol):
    """One operator with its values."""

    def holds(self, value: AnyValue, pace: Pace, /) -> bool:
        """Tell whether the value passes."""
        ...

    def matched(self, value: AnyValue, pace: Pace, /) -> Matched:
        """Return what made a value pass that passes."""
        ...


def check_of(clause: Clause, kind: Kind) -> Check:
    """Return the check of a clause that was read without complaint; "exists" has none."""
    return _MAKERS[clause.operator](clause, kind)


def member_keys(clause: Clause, kind: Kind) -> frozenset[str]:
    """Return the look-up keys of ``is``, ``in`` or ``in_list`` on a text subject."""
    make = {Kind.ADDRESS: address_key, Kind.DOMAIN: domain_key}.get(kind, fold)
    return frozenset(make(value) for value in _texts(clause.values))


def _texts(values: Sequence[Value]) -> list[str]:
    return [value for value in values if isinstance(value, str)]


def _text(value: AnyValue) -> Text:
    if not isinstance(value, Text):
        raise TypeError("a text operator on a value that is no text")
    return value


def _at(value: Text, start: int, length: int) -> Matched:
    # The fold of a few characters (ß) is longer than they are; then the place is the fold's.
    text = value.shown if len(value.shown) == len(value.folded) else value.folded
    return text[start : start + length], start


class _Member:
    def __init__(self, keys: frozenset[str]) -> None:
        self._keys = keys

    def holds(self, value: AnyValue, _pace: Pace) -> bool:
        return not self._keys.isdisjoint(_text(value).keys)

    def matched(self, value: AnyValue, _pace: Pace) -> Matched:
        return _text(value).shown, -1


class _Literals:
    """``find`` returns where a literal is in a folded text, or -1."""

    def __init__(self, clause: Clause) -> None:
        self._literals = tuple(dict.fromkeys(fold(text) for text in _texts(clause.values)))

    def find(self, folded: str, literal: str) -> int:
        return folded.find(literal)

    def holds(self, value: AnyValue, _pace: Pace) -> bool:
        folded = _text(value).folded
        return any(self.find(folded, literal) >= 0 for literal in self._literals)

    def matched(self, value: AnyValue, _pace: Pace) -> Matched:
        text = _text(value)
        found = ((self.find(text.folded, literal), literal) for literal in self._literals)
        start, literal = next(pair for pair in found if pair[0] >= 0)
        return _at(text, start, len(literal))


class _Word(_Literals):
    def find(self, folded: str, literal: str) -> int:
        return find_word(folded, literal)


class _Starts(_Literals):
    def find(self, folded: str, literal: str) -> int:
        return 0 if folded.startswith(literal) else -1


class _Ends(_Literals):
    def find(self, folded: str, literal: str) -> int:
        return len(folded) - len(literal) if folded.endswith(literal) else -1


class _Matches:
    def __init__(self, clause: Clause) -> None:
        self._patterns = tuple(Pattern(text) for text in _texts(clause.values))

    def holds(self, value: AnyValue, pace: Pace) -> bool:
        octets = _text(value).octets
        return any(pattern.search(octets, pace) is not None for pattern in self._patterns)

    def matched(self, value: AnyValue, pace: Pace) -> Matched:
        octets = _text(value).octets
        start, end = next(found for pattern in self._patterns if (found := pattern.search(octets, pace)) is not None)
        return octets[start:end].decode("utf-8", "replace"), len(octets[:start].decode("utf-8", "replace"))


class _RawMatches:
    def __init__(self, clause: Clause) -> None:
        self._patterns = tuple(Pattern(text, octets=True) for text in _texts(clause.values))

    def holds(self, value: AnyValue, pace: Pace) -> bool:
        raw = _text(value).raw
        return raw is not None and any(pattern.search(raw, pace) is not None for pattern in self._patterns)

    def matched(self, value: AnyValue, pace: Pace) -> Matched:
        raw = _text(value).raw or b""
        start, end = next(found for pattern in self._patterns if (found := pattern.search(raw, pace)) is not None)
        return raw[start:end].decode("ascii", "backslashreplace"), start


class _Similar:
    def __init__(self, clause: Clause, kind: Kind) -> None:
        wanted = _texts(clause.values)
        self._wanted: Names | Domains = Domains(wanted) if kind is Kind.DOMAIN else Names(wanted)

    def holds(self, value: AnyValue, _pace: Pace) -> bool:
        return self._wanted.resemble(_text(value).shown)

    def matched(self, value: AnyValue, _pace: Pace) -> Matched:
        return _text(value).shown, -1


class _Thing:
    """A check of a value that is no text."""

    def test(self, value: object) -> bool:
        raise NotImplementedError

    def holds(self, value: AnyValue, _pace: Pace) -> bool:
        return isinstance(value, Thing) and self.test(value.value)

    def matched(self, value: AnyValue, _pace: Pace) -> Matched:
        found = value.value if isinstance(value, Thing) else ""
        return (f"{found:g}" if isinstance(found, float) else str(found).lower()), -1


class _Equal(_Thing):
    def __init__(self, clause: Clause) -> None:
        self._wanted = frozenset(clause.values)

    def test(self, value: object) -> bool:
        return value in self._wanted


class _InNetworks(_Thing):
    def __init__(self, clause: Clause) -> None:
        self._networks = NetworkSet(v for v in clause.values if not isinstance(v, str | float | bool))

    def test(self, value: object) -> bool:
        return value in self._networks  # type: ignore[operator]


class _Between(_Thing):
    """From ``low`` to ``high``; a time of day whose end is before its beginning goes over midnight."""

    def __init__(self, low: float, high: float, *, open_ended: tuple[bool, bool] = (False, False)) -> None:
        self._low = low
        self._high = high
        self._open_low, self._open_high = open_ended

    def test(self, value: object) -> bool:
        number = float(value) if isinstance(value, float | int) else float("nan")
        above = number > self._low if self._open_low else number >= self._low
        below = number < self._high if self._open_high else number <= self._high
        return (above or below) if self._high < self._low else (above and below)


_ENDLESS = float("inf")


def _member(clause: Clause, kind: Kind) -> Check:
    if kind in TEXTS:
        return _Member(member_keys(clause, kind))
    return _InNetworks(clause) if kind is Kind.NETWORK else _Equal(clause)


def _number(clause: Clause) -> float:
    value = clause.values[0]
    return float(value) if isinstance(value, float | int) else 0.0


def _between(clause: Clause) -> _Between:
    low, high = (float(value) for value in clause.values if isinstance(value, float | int))
    return _Between(low, high)


_MAKERS: Mapping[str, Callable[[Clause, Kind], Check]] = MappingProxyType(
    {
        "is": _member,
        "in": _member,
        "in_list": _member,
        "contains": lambda clause, _: _Literals(clause),
        "word": lambda clause, _: _Word(clause),
        "starts": lambda clause, _: _Starts(clause),
        "ends": lambda clause, _: _Ends(clause),
        "matches": lambda clause, _: _Matches(clause),
        "raw_matches": lambda clause, _: _RawMatches(clause),
        "similar_to": _Similar,
        "cidr": lambda clause, _: _InNetworks(clause),
        "<": lambda clause, _: _Between(-_ENDLESS, _number(clause), open_ended=(False, True)),
        "<=": lambda clause, _: _Between(-_ENDLESS, _number(clause)),
        ">": lambda clause, _: _Between(_number(clause), _ENDLESS, open_ended=(True, False)),
        ">=": lambda clause, _: _Between(_number(clause), _ENDLESS),
        "between": lambda clause, _: _between(clause),
    }
)
