r"""Can a pattern match anything at all? ``a^b`` and ``[^\s\S]`` cannot, and a rule that never fires is a mistake.

The pattern's tree is walked as a machine over three kinds of character, line feed, word character and other, which
is all that assertions tell apart. What is not worked out (a Unicode property, a count above three) is taken as
something that can match, so a sound pattern is never called impossible.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.rules.syntax import WORD, Assertion, Chars, Choice, Node, Range, Repeat, Sequence, parse

# What stands before or after a position: a kind of character, or the text's edge.
EDGE, FEED, WORDY, OTHER = "edge", "feed", "word", "other"
_KINDS = frozenset([FEED, WORDY, OTHER])
_AROUND = _KINDS | {EDGE}
# Counts above this are told apart no further.
_MAX_COPIES = 3
# Far beyond what patterns of MAX_PATTERN_CHARACTERS need; a larger machine is not walked, and called possible.
_MAX_STATES = 20_000


def never_matches(source: str, *, shown: bool = False) -> bool:
    """Tell whether no text at all can match the pattern; ``shown``: no text without control characters."""
    tree = parse(source)
    if tree is None:
        return False
    machine = _Machine(_SHOWN if shown else _SETS)
    start = machine.state()
    end = machine.build(tree, start)
    return end is not None and not machine.reaches(start, end)


@dataclass(slots=True)
class _Machine:
    """Edges from each state: the kinds of character consumed, or an assertion, or nothing."""

    sets: "Sets"
    edges: list[list[tuple[frozenset[str] | str | None, int]]] = field(default_factory=list)

    def state(self) -> int:
        self.edges.append([])
        return len(self.edges) - 1

    def build(self, node: Node, start: int) -> int | None:
        """Add ``node`` behind ``start`` and return its last state; None when it grows too large."""
        if len(self.edges) > _MAX_STATES:
            return None
        if isinstance(node, Chars):
            return self._edge(start, _kinds(node, self.sets))
        if isinstance(node, Assertion):
            return self._edge(start, node.kind)
        if isinstance(node, Sequence):
            return self._sequence(node.parts, start)
        if isinstance(node, Choice):
            return self._choice(node.parts, start)
        return self._repeat(node, start)

    def _edge(self, start: int, what: frozenset[str] | str | None) -> int:
        end = self.state()
        self.edges[start].append((what, end))
        return end

    def _sequence(self, parts: tuple[Node, ...], start: int) -> int | None:
        at: int | None = start
        for part in parts:
            if at is None:
                return None
            at = self.build(part, at)
        return at

    def _choice(self, parts: tuple[Node, ...], start: int) -> int | None:
        end = self.state()
        for part in parts:
            last = self.build(part, self._edge(start, None))
            if last is None:
                return None
            self.edges[last].append((None, end))
        return end

    def _repeat(self, node: Repeat, start: int) -> int | None:
        at = self._sequence((node.part,) * min(node.low, _MAX_COPIES), start)
        if at is None or node.high == node.low:
            return at
        loop = self._edge(at, None)
        last = self.build(node.part, loop)
        if last is None:
            return None
        self.edges[last].append((None, loop))
        return self._edge(loop, None)

    def reaches(self, start: int, end: int) -> bool:
        """Tell whether ``end`` can be reached, whatever stands before the match and after it."""
        # A configuration: the state, what stands before, and what may still follow.
        waiting = [(start, before, _AROUND) for before in _AROUND]
        seen = set(waiting)
        while waiting:
            state, before, after = waiting.pop()
            if state == end:
                return True
            for configuration in self._steps(state, before, after):
                if configuration not in seen:
                    seen.add(configuration)
                    waiting.append(configuration)
        return False

    def _steps(self, state: int, before: str, after: frozenset[str]) -> Iterator[tuple[int, str, frozenset[str]]]:
        for what, target in self.edges[state]:
            if what is None:
                yield target, before, after
            elif isinstance(what, str):
                left = frozenset(kind for kind in after if _holds(what, before, kind))
                if left:
                    yield target, before, left
            else:
                for kind in what & after:
                    yield target, kind, _AROUND


def _holds(assertion: str, before: str, after: str) -> bool:
    if assertion == "word":
        return (before == WORDY) is not (after == WORDY)
    if assertion == "inside":
        return (before == WORDY) is (after == WORDY)
    neighbour = before if assertion.endswith("begin") else after
    return neighbour == EDGE or (assertion.startswith("line") and neighbour == FEED)


def _kinds(node: Chars, sets: "Sets") -> frozenset[str]:
    if node.ranges is None:
        return _KINDS
    kinds = {kind for kind, ranges in sets if _common(node.ranges, ranges)}
    # Under (?i) a letter outside ASCII may stand for one inside: the Kelvin sign, the long s.
    return frozenset(kinds | {WORDY, OTHER}) if node.fold and kinds - {FEED} else frozenset(kinds)


Sets = tuple[tuple[str, tuple[Range, ...]], ...]

_FEED: tuple[Range, ...] = ((10, 10),)
_PUNCTUATION: tuple[Range, ...] = ((32, 47), (58, 64), (91, 94), (96, 96))
_SETS: Sets = ((FEED, _FEED), (WORDY, WORD), (OTHER, ((0, 9), (11, 31), *_PUNCTUATION, (123, 0x10FFFF))))
# Text as shown has neither line feeds nor other controls.
_SHOWN: Sets = ((WORDY, WORD), (OTHER, (*_PUNCTUATION, (123, 126), (160, 0x10FFFF))))


def _common(left: tuple[Range, ...], right: tuple[Range, ...]) -> bool:
    return any(a <= d and c <= b for a, b in left for c, d in right)
