r"""The one door to google-re2: patterns that match in linear time, whatever the pattern and the text.

A pattern of ``matches`` runs on UTF-8 octets of the text as shown, one of ``raw_matches`` on octets as they are
(there ``\xff`` is the octet; Chinese in it is its UTF-8 octets). Patterns are compiled on first use: of ten thousand
rules a message makes a few dozen look, and the others cost neither time nor memory.
"""

from typing import Any

import re2

# RE2's own default is 8 MiB for one pattern's program and state cache together; a tenth of it holds every pattern an
# administrator writes by hand, and ten thousand hostile ones at a time stay below a gigabyte.
MAX_PATTERN_MEMORY = 1024 * 1024

# Longer ones are generated; `in_list` is for those.
MAX_PATTERN_CHARACTERS = 2_000


class PatternError(ValueError):
    """RE2 does not take the pattern; the message is RE2's."""


class Pattern:
    """One pattern; equal in meaning wherever it is used, so that equal ones can share an object."""

    __slots__ = ("_compiled", "octets", "source")

    def __init__(self, source: str, *, octets: bool = False) -> None:
        self.source = source
        self.octets = octets
        self._compiled: Any = None

    def search(self, octets: bytes) -> tuple[int, int] | None:
        """Return the range of the leftmost match, or None."""
        if self._compiled is None:
            self._compiled = _compile(self.source, octets=self.octets)
        found = self._compiled.search(octets)
        return None if found is None else found.span()

    def compiled(self) -> "Pattern":
        """Return this pattern, compiled now; raise ``PatternError``."""
        self._compiled = _compile(self.source, octets=self.octets)
        return self

    @property
    def is_empty_set(self) -> bool:
        r"""Whether RE2 reduced the pattern to nothing at all (``[^\s\S]``)."""
        # Its program is then the one instruction "fail".
        return int(self._compiled.programsize) <= 1


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
