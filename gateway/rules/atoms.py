"""Necessary texts of a pattern: every text that matches it contains, folded, at least one of them.

This is what makes ten thousand patterns cheap: one pass over the folded text says whose atoms occur, and only those
patterns are tried. An atom too many costs a try; one too few would cost an answer, so whatever is not sure gives none.
Folding (``str.casefold``) works character by character, so the fold of a matched text contains the fold of its parts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from gateway.rules.syntax import Assertion, Chars, Choice, Node, Repeat, Sequence, parse

Texts = frozenset[str]

# As many spellings as one stretch of a pattern may have (`[cC]olou?r` has four) before it is cut in two.
MAX_SPELLINGS = 16
# Alternatives of which each contributes an atom.
MAX_ATOMS = 64
# A set larger than this says nothing.
MAX_SET = 4
# In octets of UTF-8: one Han character, or two letters ("qq"). A single letter occurs in every text.
MIN_ATOM_OCTETS = 2


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a node: all it can match (``exact``), or texts of which every match has one (``needed``)."""

    exact: Texts | None = None
    needed: Texts | None = None

    @property
    def strongest(self) -> Texts | None:
        return self.exact if self.exact is not None and usable(self.exact) else self.needed


_NOTHING = _Known()
_EMPTY = _Known(exact=frozenset([""]))


# Asked when a pattern is read and again when its rule is compiled; a few hundred octets each.
@lru_cache(maxsize=16_384)
def atoms(source: str) -> Texts | None:
    """Return folded texts one of which is in the fold of every text that matches the pattern; None: not known."""
    tree = parse(source)
    return None if tree is None else _known(tree).strongest


def usable(texts: Texts) -> bool:
    """Tell whether every one of ``texts`` is long enough to be worth looking for."""
    return 0 < len(texts) <= MAX_ATOMS and all(octets(text) >= MIN_ATOM_OCTETS for text in texts)


def strength(texts: Texts) -> tuple[int, int]:
    """Return how well ``texts`` tell messages apart: the shortest's length first, then how few they are."""
    return min(map(octets, texts)), -len(texts)


def octets(text: str) -> int:
    """Return the length in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _known(node: Node) -> _Known:
    if isinstance(node, Chars):
        return _chars(node)
    if isinstance(node, Assertion):
        return _EMPTY
    if isinstance(node, Sequence):
        return _sequence(node)
    if isinstance(node, Choice):
        return _choice([_known(part) for part in node.parts])
    return _repeat(node)


def _chars(node: Chars) -> _Known:
    if node.ranges is None or sum(high - low + 1 for low, high in node.ranges) > MAX_SET:
        return _NOTHING
    folds = {chr(rune).casefold() for low, high in node.ranges for rune in range(low, high + 1)}
    # Under (?i) RE2 uses simple case folding: it and the full folding agree where a character folds to one.
    if not folds or (node.fold and any(len(fold) != 1 for fold in folds)):
        return _NOTHING
    return _Known(exact=frozenset(folds))


def _sequence(node: Sequence) -> _Known:
    run: Texts = frozenset([""])
    found: list[Texts | None] = []
    whole = True
    for part in map(_known, node.parts):
        if part.exact is not None and len(run) * len(part.exact) <= MAX_SPELLINGS:
            run = frozenset(left + right for left in run for right in part.exact)
            continue
        whole = False
        found.append(run)
        found.append(part.needed)
        run = part.exact if part.exact is not None else frozenset([""])
    if whole:
        return _Known(exact=run)
    return _Known(needed=_best([*found, run]))


def _choice(parts: list[_Known]) -> _Known:
    exact = [part.exact for part in parts]
    if all(texts is not None for texts in exact):
        union = frozenset[str]().union(*(texts for texts in exact if texts is not None))
        if len(union) <= MAX_SPELLINGS:
            return _Known(exact=union)
    strongest = [part.strongest for part in parts]
    if any(texts is None for texts in strongest):
        return _NOTHING
    union = frozenset[str]().union(*(texts for texts in strongest if texts is not None))
    return _Known(needed=union if usable(union) else None)


def _repeat(node: Repeat) -> _Known:
    part = _known(node.part)
    if node.low == 0:
        optional = node.high == 1 and part.exact is not None and len(part.exact) < MAX_SPELLINGS
        return _Known(exact=part.exact | {""}) if optional and part.exact is not None else _NOTHING
    if node.low == node.high == 1:
        return part
    if node.low == node.high and node.low <= MAX_SPELLINGS and part.exact is not None:
        return _sequence(Sequence((node.part,) * node.low))
    return _Known(needed=part.strongest)


def _best(candidates: Iterable[Texts | None]) -> Texts | None:
    good = [texts for texts in candidates if texts is not None and usable(texts)]
    return max(good, key=strength) if good else None
