"""How many connections at once, and when a next hop is left alone (as in Postfix's SCHEDULER_README).

The window starts at ``queue.per_next_hop.start`` and grows by one for each window's worth of successes, up to ``most``.
A connection or handshake that fails takes one off. When a window's worth fails with no success between, the next hop is
dead: what waits for it is deferred without being tried, until the back-off is over; then a single connection tries
again. Time is the monotonic clock's, in seconds.
"""

# A minute is Postfix's transport_retry_time; five bound how late a revived next hop is noticed, well within the
# contract's hour.
BACK_OFF_SECONDS = (60.0, 120.0, 240.0, 300.0)

# A host that failed is tried last for a minute: long enough to spare most mail its timeout, short enough to return to
# the preferred host.
HOST_REST_SECONDS = 60.0

# A next hop without traffic is forgotten after its failures are older than twice the longest back-off.
MEMORY_SECONDS = 600.0

# After a refused extra connection (the next hop's limit is reached), how long the present ones carry on alone.
LIMIT_REST_SECONDS = 10.0


class Window:
    """The concurrency of one next hop."""

    __slots__ = ("_failed_at", "_failures", "_level", "_size", "_start", "dead_until", "most")

    def __init__(self, start: int, most: int) -> None:
        self._start = min(start, most)
        self._size = float(self._start)
        self._failures = 0.0
        self._failed_at = 0.0
        self._level = 0
        self.most = most
        self.dead_until = 0.0
        """Until when nothing is tried, 0 when the next hop is not dead."""

    @property
    def size(self) -> int:
        """Connections allowed now, at least 1."""
        return int(self._size)

    def is_dead(self, now: float) -> bool:
        """Tell whether the next hop is to be left alone."""
        return now < self.dead_until

    def revive(self) -> None:
        """Let the next hop be tried now; one more failure is death again, and longer."""
        self.dead_until = 0.0

    def succeeded(self) -> None:
        """Count a transfer that the next hop answered."""
        if self._level:
            self._size = float(self._start)
            self._level = 0
            self.dead_until = 0.0
        self._failures = 0.0
        self._size = min(self._size + 1 / self._size, float(self.most))

    def failed(self, now: float) -> None:
        """Count a connection that could not be had or broke."""
        self._failed_at = now
        self._failures += 1 / self._size
        self._size = max(1.0, self._size - 1)
        # Rounding: five fifths are to be one.
        if self._failures >= 1 - 1e-9:
            self.dead_until = now + BACK_OFF_SECONDS[min(self._level, len(BACK_OFF_SECONDS) - 1)]
            self._level += 1
            self._size = 1.0
            self._failures = 0.0

    def remembers(self, now: float) -> bool:
        """Tell whether there were failures that still count."""
        return now < self.dead_until or (self._failures + self._level > 0 and now < self._failed_at + MEMORY_SECONDS)

    def limit(self, connections: int) -> None:
        """Do with as many connections as there are."""
        self._size = max(1.0, min(self._size, float(connections)))


class HostHealth:
    """Which hosts failed lately."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def failed(self, name: str, now: float) -> None:
        """Note a failure."""
        self._until[name] = now + HOST_REST_SECONDS

    def succeeded(self, name: str) -> None:
        """Forget it."""
        self._until.pop(name, None)

    def is_resting(self, name: str, now: float) -> bool:
        """Tell whether to try others first."""
        return self._until.get(name, 0.0) > now

    def forget(self) -> None:
        """Try all hosts in their order."""
        self._until.clear()

    def remembers(self, now: float) -> bool:
        """Tell whether any host is resting."""
        return any(until > now for until in self._until.values())

    def claim(self, name: str, now: float) -> None:
        """Let one connection find out whether a host that failed is back; the others leave it alone meanwhile."""
        if name in self._until:
            self.failed(name, now)
