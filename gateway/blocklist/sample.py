"""Which of too many are looked up: a sample that only this process can foretell.

Whoever writes a mail with a crowd of links must not know which of them are looked at: those at the beginning would be
harmless. A key decides, the same for all mails of a process, so that the same mail sent again shows nothing new.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from heapq import nsmallest
from typing import TypeVar

T = TypeVar("T")


class Sampler:
    """``key`` is 16 to 64 random octets; without one anybody can foretell the sample, as ``explain`` may."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key

    def choose(self, of: Sequence[T], most: int, text: Callable[[T], str]) -> list[T]:
        """Return ``most`` of them at most, in their order; ``text`` is what tells one from another."""
        if len(of) <= most:
            return list(of)
        chosen = nsmallest(most, range(len(of)), key=lambda at: self._rank(text(of[at])))
        return [of[at] for at in sorted(chosen)]

    def _rank(self, text: str) -> bytes:
        return blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8).digest()
