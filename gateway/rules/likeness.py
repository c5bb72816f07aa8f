"""``similar_to``: does a name or domain pass itself off as another.

Names: the same or look-alike letters (``gateway.mail.text.confusable``), in any order of their words, or as many edits
away as their length allows. Domains: the same, but never for the domain itself or one below it, which is no
impersonation; compared label by label from the right, so that ``examp1e.com`` and ``example.corn`` are alike and
``example.com.evil.net``, which begins with the whole name, is too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from gateway.mail.text import confusable
from gateway.rules.values import domain_shown, fold

# Below this many characters an edit makes another name of it: Ann and Anna, or two names of two Han characters.
_ONE_EDIT_FROM = 5
_TWO_EDITS_FROM = 12
# Longer display names and domains are nobody's; likeness costs the product of the lengths.
MAX_CHARACTERS = 128

# A name is compared with all that are protected: its skeleton is made once. 4,096 of 128 characters are 2 MiB.
_skeleton = lru_cache(maxsize=4096)(confusable.skeleton)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A text to be protected, with what it is compared by."""

    folded: str
    skeleton: str
    edits: int

    def is_like(self, folded: str) -> bool:
        """Tell whether a folded text looks like this one, or is few edits away."""
        skeleton = _skeleton(folded)
        if skeleton == self.skeleton:
            return True
        if not self.edits or abs(len(skeleton) - len(self.skeleton)) > self.edits:
            return False
        return confusable.similar(folded, self.folded, self.edits)


class Names:
    """Names that others pass themselves off as."""

    def __init__(self, wanted: Iterable[str]) -> None:
        forms = [form for name in wanted for form in _forms(fold(name))]
        self._exact = frozenset(forms)
        self._wanted = tuple(_wanted(form) for form in self._exact)

    def resemble(self, shown: str) -> bool:
        """Tell whether a name is one of them or looks like it."""
        if len(shown) > MAX_CHARACTERS:
            return False
        forms = tuple(_forms(fold(shown)))
        if not self._exact.isdisjoint(forms):
            return True
        return any(wanted.is_like(form) for form in forms for wanted in self._wanted)


class Domains:
    """Domains that others pass themselves off as."""

    def __init__(self, wanted: Iterable[str]) -> None:
        self._wanted = tuple(_wanted(fold(domain_shown(domain))) for domain in wanted)

    def resemble(self, shown: str) -> bool:
        """Tell whether a domain looks like one of them without being it or below it."""
        if len(shown) > MAX_CHARACTERS:
            return False
        here = fold(domain_shown(shown))
        return any(_passes_itself_off(here, wanted) for wanted in self._wanted)


def _passes_itself_off(here: str, wanted: _Wanted) -> bool:
    there = wanted.folded
    if here == there or here.endswith("." + there):
        return False
    if here.startswith(there + ".") or f".{there}." in here:
        return True
    return wanted.is_like(".".join(here.split(".")[-1 - there.count(".") :]))


def _wanted(folded: str) -> _Wanted:
    edits = 2 if len(folded) >= _TWO_EDITS_FROM else 1 if len(folded) >= _ONE_EDIT_FROM else 0
    return _Wanted(folded, confusable.skeleton(folded), edits)


def _forms(folded: str) -> Iterator[str]:
    """Yield a name as it is and with its words in one order."""
    yield folded
    words = sorted(folded.replace(",", " ").replace(".", " ").split())
    if len(words) > 1:
        yield " ".join(words)
