r"""The one door to google-re2: patterns that match in linear time, whatever the pattern and the text.

A pattern of ``matches`` runs on UTF-8 octets of the text as shown, one of ``raw_matches`` on octets as they are
(there ``\xff`` is the octet; Chinese in it is its UTF-8 octets). Patterns are compiled on first use: of ten thousand
rules a message makes a few dozen look, and the others cost neither time nor memory.
"""

from typing import Any, cast

import re2

from gateway.rules.pace import MAX_STEPS, UNHURRIED, Pace

# RE2's own default is 8 MiB for one pattern's program and state cache together. A sixteenth holds every pattern an
# administrator writes by hand, as fast, and of three thousand in use none can grow far; what needs more is refused.
MAX_PATTERN_MEMORY = 512 * 1024
# Pieces of a text too long for one search overlap, so that a match of ordinary length lies in one.
OVERLAP_OCTETS = 4096

# Longer ones are generated; `in_list` is for those.
MAX_PATTERN_CHARACTERS = 2_000


class PatternError(ValueError):
    """RE2 does not take the pattern; the message is RE2's."""


class Pattern:
    """One pattern; equal in meaning wherever it is used, so that equal ones can share an object."""

    __slots__ = ("_compiled", "_steps", "octets", "source")

    def __init__(self, source: str, *, octets: bool = False) -> None:
        self.source = source
        self.octets = octets
        self._compiled: Any = None
        self._steps = 1

    def search(self, octets: bytes, pace: Pace = UNHURRIED) -> tuple[int, int] | None:
        """Return the range of the leftmost match, or None.

        A text that could take more than MAX_STEPS is searched in pieces; a match longer than their overlap may be
        missed then.
        """
        if self._compiled is None:
            self.compiled()
        reach = self.reach
        pace.spend(min(len(octets), reach) * self._steps)
        if len(octets) <= reach:
            found = self._compiled.search(octets)
            return None if found is None else found.span()
        return self._search_pieces(octets, reach, pace)

    def _search_pieces(self, octets: bytes, reach: int, pace: Pace) -> tuple[int, int] | None:
        stride = reach - min(OVERLAP_OCTETS, reach // 2)
        for start in range(0, len(octets), stride):
            found = self._compiled.search(octets, start, start + reach)
            if found is not None:
                return cast("tuple[int, int]", found.span())
            pace.breathe()
        return None

    def compiled(self) -> "Pattern":
        """Return this pattern, compiled now; raise ``PatternError``."""
        self._compiled = _compile(self.source, octets=self.octets)
        self._steps = max(1, int(self._compiled.programsize))
        return self

    @property
    def reach(self) -> int:
        """How many octets are searched in one piece, once compiled."""
        return MAX_STEPS // self._steps

    @property
    def is_empty_set(self) -> bool:
        r"""Whether RE2 reduced the pattern to nothing at all (``[^\s\S]``)."""
        # Its program is then the one instruction "fail".
        return self._steps <= 1


def _compile(source: str, *, octets: bool) -> Any:
    options = re2.Options()
    options.max_mem = MAX_PATTERN_MEMORY
    options.log_errors = False
    if octets:
        options.encoding = re2.Options.Encoding.LATIN1
    try:
        return re2.compile(source.encode("utf-8", "surrogatepass"), options)
    except re2.error as error:
        raise PatternError(_message(error)) from error


def _message(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
