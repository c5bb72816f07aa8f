"""Conditions compiled: nodes that say whether they hold for a message, cheapest part first.

``holds`` stops as soon as it knows; ``gateway.rules.story`` walks ``parts`` in the order written instead. ``anchor``
is what the index of ``gateway.rules.group`` finds a rule by.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from gateway.policy.rule import AllOf, AnyOf, Clause, Condition, NotOf
from gateway.rules.atoms import atoms, octets, usable
from gateway.rules.facts import MailFacts
from gateway.rules.moment import Moment
from gateway.rules.operators import Check, Matched, check_of, member_keys
from gateway.rules.subjects import TEXTS, Subject, split
from gateway.rules.values import AnyValue, fold

# A look-up that beats any text: it is exact.
EXACT = 10_000
# The cost of a needle that is a pattern: anything else finds a rule sooner.
_PATTERN_COST = 1_000_000
# Longer lists are looked up when the rule is asked, not for every message.
MAX_INDEXED_KEYS = 200


@dataclass(frozen=True, slots=True)
class Needle:
    """Something a message must have for a condition to hold: a key of a subject's value, or a text within it.

    ``is_pattern``: something a pattern finds in it, of use where patterns can be looked for together.
    """

    subject: str
    text: str
    is_key: bool
    is_pattern: bool = False


@dataclass(frozen=True, slots=True)
class Anchor:
    """Needles of which a message must have one. ``rank``: the lower, the sooner a rule is found by it."""

    needles: frozenset[Needle]
    rank: tuple[int, int]


class Node(Protocol):
    """A compiled condition."""

    cost: int
    moment: Moment

    @property
    def anchor(self) -> Anchor | None:
        """What a message must have for this to hold; None: nothing that could be looked up."""
        ...

    def holds(self, facts: MailFacts) -> bool:
        """Tell whether the condition holds; raise ``TimeIsUpError``."""
        ...

    def clauses(self) -> Iterator["ClauseNode"]:
        """Yield every clause that speaks for the condition, not those below ``not``."""
        ...


class ClauseNode:
    """One clause."""

    def __init__(self, clause: Clause) -> None:
        self.clause = clause
        self.subject: Subject = split(clause.subject)[0]
        self.cost = self.subject.cost
        self.moment = self.subject.moment
        self.check: Check | None = None if clause.operator == "exists" else check_of(clause, self.subject.kind)

    def holds(self, facts: MailFacts) -> bool:
        """Tell whether one value passes."""
        values = facts.values(self.clause.subject)
        if self.check is None:
            return bool(values) is self.clause.values[0]
        holds, pace = self.check.holds, facts.pace
        return any(holds(value, pace) for value in values)

    def owners(self, facts: MailFacts) -> int:
        """Return the owners of the values that pass, a bit each."""
        if self.check is None:
            return -1 if self.holds(facts) else 0
        owners = 0
        for value in facts.values(self.clause.subject):
            if not owners >> value.owner & 1 and self.check.holds(value, facts.pace):
                owners |= 1 << value.owner
        return owners

    def match(self, facts: MailFacts) -> tuple[AnyValue, Matched] | None:
        """Return the first value that passes, and what made it pass."""
        if self.check is None:
            return None
        for value in facts.values(self.clause.subject):
            if self.check.holds(value, facts.pace):
                return value, self.check.matched(value, facts.pace)
        return None

    def clauses(self) -> Iterator["ClauseNode"]:
        """Yield this one."""
        yield self

    @property
    def anchor(self) -> Anchor | None:
        """The clause's keys or necessary texts."""
        if self.subject.kind not in TEXTS or self.clause.operator not in _ANCHORS:
            return None
        is_key, found = _ANCHORS[self.clause.operator](self)
        if not found:
            return self._by_patterns
        strength = EXACT if is_key else min(map(octets, found))
        needles = frozenset(Needle(self.clause.subject, text, is_key) for text in found)
        return Anchor(needles, (self.cost, -strength))

    @property
    def _by_patterns(self) -> Anchor | None:
        if self.clause.operator != "matches":
            return None
        sources = {str(value) for value in self.clause.values}
        needles = (Needle(self.clause.subject, source, is_key=False, is_pattern=True) for source in sources)
        return Anchor(frozenset(needles), (_PATTERN_COST, 0))


def _keys(node: ClauseNode) -> tuple[bool, frozenset[str]]:
    keys = member_keys(node.clause, node.subject.kind)
    return True, keys if len(keys) <= MAX_INDEXED_KEYS else frozenset()


def _literals(node: ClauseNode) -> tuple[bool, frozenset[str]]:
    found = frozenset(fold(str(value)) for value in node.clause.values)
    return False, found if all(len(text) > 1 or not text.isascii() for text in found) else frozenset()


def _patterns(node: ClauseNode) -> tuple[bool, frozenset[str]]:
    found: set[str] = set()
    for value in node.clause.values:
        needed = atoms(str(value))
        if needed is None or not usable(needed):
            return False, frozenset()
        found |= needed
    return False, frozenset(found)


_ANCHORS = {
    "is": _keys,
    "in": _keys,
    "in_list": _keys,
    "contains": _literals,
    "word": _literals,
    "starts": _literals,
    "ends": _literals,
    "matches": _patterns,
}


class SameNode:
    """Clauses that must hold for one and the same owner."""

    def __init__(self, parts: tuple[ClauseNode, ...]) -> None:
        self.parts = parts
        self._order = sorted(parts, key=_cost)
        self.cost = max(part.cost for part in parts)
        self.moment = max(part.moment for part in parts)

    def holds(self, facts: MailFacts) -> bool:
        """Tell whether some owner passes every clause."""
        owners = -1
        for part in self._order:
            owners &= part.owners(facts)
            if not owners:
                return False
        return True

    def clauses(self) -> Iterator[ClauseNode]:
        """Yield each clause."""
        yield from self.parts

    @property
    def anchor(self) -> Anchor | None:
        """The best of the clauses'."""
        return _best(part.anchor for part in self.parts)


class AllNode:
    """Every part must hold."""

    def __init__(self, parts: tuple[Node, ...]) -> None:
        self.parts = parts
        self._order = sorted(parts, key=_cost)
        self.cost = max(part.cost for part in parts)
        self.moment = max(part.moment for part in parts)

    def holds(self, facts: MailFacts) -> bool:
        """Tell whether every part holds."""
        return all(part.holds(facts) for part in self._order)

    def clauses(self) -> Iterator[ClauseNode]:
        """Yield the clauses of every part."""
        for part in self.parts:
            yield from part.clauses()

    @property
    def anchor(self) -> Anchor | None:
        """The best of the parts'."""
        return _best(part.anchor for part in self.parts)


class AnyNode:
    """One part must hold."""

    def __init__(self, parts: tuple[Node, ...]) -> None:
        self.parts = parts
        self._order = sorted(parts, key=_cost)
        self.cost = max(part.cost for part in parts)
        self.moment = max(part.moment for part in parts)

    def holds(self, facts: MailFacts) -> bool:
        """Tell whether one part holds."""
        return any(part.holds(facts) for part in self._order)

    def clauses(self) -> Iterator[ClauseNode]:
        """Yield the clauses of every part."""
        for part in self.parts:
            yield from part.clauses()

    @property
    def anchor(self) -> Anchor | None:
        """The parts' together, when every part has one."""
        found = [part.anchor for part in self.parts]
        anchors = [anchor for anchor in found if anchor is not None]
        if len(anchors) < len(found):
            return None
        needles = frozenset[Needle]().union(*(anchor.needles for anchor in anchors))
        return Anchor(needles, max(anchor.rank for anchor in anchors))


class NotNode:
    """The part must not hold."""

    def __init__(self, part: Node) -> None:
        self.parts = (part,)
        self.cost = part.cost
        self.moment = part.moment

    anchor = None

    def holds(self, facts: MailFacts) -> bool:
        """Tell whether the part does not hold."""
        return not self.parts[0].holds(facts)

    def clauses(self) -> Iterator[ClauseNode]:
        """Yield nothing: what does not hold is no evidence."""
        yield from ()


def compile_condition(condition: Condition) -> Node:
    """Return a condition that was read without complaint, compiled."""
    if isinstance(condition, Clause):
        return ClauseNode(condition)
    if isinstance(condition, NotOf):
        return NotNode(compile_condition(condition.part))
    if isinstance(condition, AllOf):
        return AllNode(tuple(map(compile_condition, condition.parts)))
    if isinstance(condition, AnyOf):
        return AnyNode(tuple(map(compile_condition, condition.parts)))
    return SameNode(tuple(map(ClauseNode, condition.clauses)))


def every_clause(node: Node) -> Iterator[ClauseNode]:
    """Yield every clause of a condition, those below ``not`` included."""
    if isinstance(node, ClauseNode):
        yield node
    elif isinstance(node, SameNode | AllNode | AnyNode | NotNode):
        for part in node.parts:
            yield from every_clause(part)


def _cost(node: Node) -> int:
    return node.cost


def _best(anchors: Iterable[Anchor | None]) -> Anchor | None:
    return min((anchor for anchor in anchors if anchor is not None), key=lambda anchor: anchor.rank, default=None)
