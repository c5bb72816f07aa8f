"""Links at rest: connections to one clamd that wait for the next message, the last one used first.

Connecting and asking for the version before cost both sides some 0.2 ms a message. A link rests for seconds only:
clamd hangs up on those that say nothing (CommandReadTimeout), and what is used often enough never rests that long.
"""

import asyncio

from gateway.antivirus.link import Link


class RestingLinks:
    """Holds links for ``seconds`` at most; with 0, and once closed, every link that comes to rest is closed."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # In the order in which they came to rest.
        self._links: list[tuple[float, Link]] = []
        self._timer: asyncio.TimerHandle | None = None

    def take(self) -> Link | None:
        """Return a link that is still usable, or None."""
        while self._links:
            _, link = self._links.pop()
            if link.is_usable:
                return link
            link.close()
        return None

    def put(self, link: Link) -> None:
        """Let a link rest, or close it."""
        if not link.is_usable or not self._seconds:
            link.close()
            return
        loop = asyncio.get_running_loop()
        self._links.append((loop.time(), link))
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._sweep, loop)

    def close(self) -> None:
        """Close all, and from now on each."""
        self._seconds = 0.0
        if self._timer is not None:
            self._timer.cancel()
        while self._links:
            self._links.pop()[1].close()

    def __len__(self) -> int:
        return len(self._links)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        oldest = loop.time() - self._seconds
        stale = [link for since, link in self._links if since <= oldest]
        self._links = self._links[len(stale) :]
        for link in stale:
            link.close()
        self._timer = loop.call_later(self._seconds, self._sweep, loop) if self._links else None
