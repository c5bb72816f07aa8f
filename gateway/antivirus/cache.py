"""Results by content digest and the version of the signatures that gave them; bounded, and short-lived.

What is found depends on the octets and the signatures alone, so the same attachment in a thousand mails is scanned
once. A result counts only for the version it was given under. Time-outs are remembered too, briefly, whatever the
version: the same mail sent again at once must not occupy the scanner again. Every other temperror speaks about a
moment, and is never kept.

Signatures made by an administrator have no version of their own (clamd's VERSION tells only the official ones), so
even a good entry lives ten minutes only.
"""

from collections import OrderedDict
from dataclasses import replace

from gateway.antivirus.result import Cause, Outcome, ScanResult
from gateway.clock import Clock

# About 300 octets each: 6 MB. At 100 attachments a second the last few minutes.
MAX_ENTRIES = 20_000
RESULT_SECONDS = 600.0
# Longer than a client's quick second attempt, shorter than its retry schedule (RFC 5321 §4.5.4.1: 30 minutes).
TIMEOUT_SECONDS = 60.0
_ANY_VERSION = ""


class ResultCache:
    """Remembers results; asks the clock, never the world."""

    def __init__(self, clock: Clock, entries: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._most = entries
        self._entries: OrderedDict[tuple[str, str], tuple[float, ScanResult]] = OrderedDict()
        self.hits = 0

    def recall(self, digest: str, versions: "set[str] | frozenset[str]") -> ScanResult | None:
        """Return the result of the same octets under one of ``versions``, or their late time-out; None when unknown."""
        for version in (*versions, _ANY_VERSION):
            key = digest, version
            entry = self._entries.get(key)
            if entry is None:
                continue
            until, result = entry
            if until <= self._clock.monotonic():
                del self._entries[key]
                continue
            self._entries.move_to_end(key)
            self.hits += 1
            return replace(result, cached=True)
        return None

    def keep(self, digest: str, result: ScanResult) -> None:
        """Remember a result that says something about the octets."""
        if result.outcome is Outcome.TEMPERROR:
            if result.cause is not Cause.TIMEOUT:
                return
            key, seconds = (digest, _ANY_VERSION), TIMEOUT_SECONDS
        elif not result.version:
            return
        else:
            key, seconds = (digest, result.version), RESULT_SECONDS
        self._entries[key] = self._clock.monotonic() + seconds, result
        self._entries.move_to_end(key)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything: signatures changed."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
