"""How fast a content comes: a minimum rate, averaged over the time we waited for the client (RFC 5321 §4.5.3.2.5).

Only waiting counts: while the disk is written or a filter works the client is not slow.
"""

from gateway.intake.settings import Settings


class Pace:
    """The pace of one transfer."""

    __slots__ = ("_octets", "_since", "_waited")

    def __init__(self) -> None:
        self._octets = 0
        self._waited = 0.0
        self._since = -1.0

    def wait_begins(self, now: float) -> None:
        """Note that we wait from now on."""
        self._since = now

    def arrived(self, octets: int, now: float) -> None:
        """Note what came, and that the waiting is over."""
        self._octets += octets
        if self._since >= 0:
            self._waited += now - self._since
            self._since = -1.0

    def is_too_slow(self, now: float, settings: Settings) -> bool:
        """Tell, while waiting, whether the average has fallen below the minimum rate after the first block timeout."""
        waited = self._waited + (now - self._since if self._since >= 0 else 0.0)
        return waited > settings.block_seconds and self._octets < settings.min_rate * waited
