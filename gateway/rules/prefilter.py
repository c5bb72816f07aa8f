"""The one door to hyperscan: which of a thousand patterns may match a text, in one pass.

It only chooses: whatever it names is judged by RE2, and what it does not take is judged as if it were not there, so
answers are the same with it and without (``gateway.rules.expression`` has why). The library is optional, and asked
for by ``rules.hyperscan`` alone.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from gateway.rules.parts import MAX_TEXT_OCTETS

NAME = "hyperscan"
# Longer texts RE2 may search in pieces, each with edges of its own (``Pattern.reach``): all patterns are tried there.
MAX_OCTETS = MAX_TEXT_OCTETS


def is_installed() -> bool:
    """Tell whether the library can be had."""
    return find_spec(NAME) is not None


@dataclass(frozen=True, slots=True)
class Compiled:
    """A database as its compiler wrote it, and the patterns in it by their numbers there."""

    octets: bytes
    patterns: dict[int, str]


class Prefilter:
    """Databases over one subject; for any number of threads."""

    def __init__(self, compiled: Sequence[Compiled]) -> None:
        hyperscan: Any = import_module(NAME)
        self._new_scratch = hyperscan.Scratch
        self._databases = tuple(hyperscan.loadb(each.octets, hyperscan.HS_MODE_BLOCK) for each in compiled)
        self._patterns = {number: source for each in compiled for number, source in each.patterns.items()}
        self.sources = frozenset(self._patterns.values())
        # Scratch space serves one scan at a time.
        self._own = threading.local()

    def candidates(self, octets: bytes) -> frozenset[str]:
        """Return the patterns that may match ``octets``, which are UTF-8."""
        if not 0 < len(octets) <= MAX_OCTETS:
            return self.sources
        numbers: list[int] = []
        for database, scratch in zip(self._databases, self._scratches(), strict=True):
            database.scan(octets, match_event_handler=_note, context=numbers, scratch=scratch)
        return frozenset(map(self._patterns.__getitem__, numbers))

    def _scratches(self) -> tuple[Any, ...]:
        found: tuple[Any, ...] | None = getattr(self._own, "scratches", None)
        if found is None:
            found = self._own.scratches = tuple(map(self._new_scratch, self._databases))
        return found


def _note(number: int, _start: int, _end: int, _flags: int, numbers: list[int]) -> None:
    # Anything but None would end the scan.
    numbers.append(number)
