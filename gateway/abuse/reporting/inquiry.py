"""Contacts are asked for in threads of their own: several at once, each for a while, and nobody waits for them.

``ask`` begins a look-up and returns at once; ``answer`` tells what it found. A look-up beyond its time counts as not
known, and its thread is written off: another takes its place, until there are too many of such. Whatever was found, or
not, holds for a while: nobody is asked twice in that time.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from gateway.clock import Clock

# Four registries and resolvers answer some ten look-ups a second; more would not be polite.
MOST_AT_ONCE = 4
# Redirects, a table of registries to be fetched, a resolver that is silent: one of them, not all.
LOOKUP_SECONDS = 45.0
# Threads that wait for a server that never ends; beyond it nothing is asked until one of them does.
MOST_STUCK = 12
MOST_WAITING = 1000
# An answer is put on record in the next round at the latest; what failed is tried again then.
AGAIN_SECONDS = 900.0


@dataclass(slots=True, eq=False)
class _Asked:
    """One look-up: when it began and ended (None: it runs, or waits), and what it found, None for what is not known."""

    look_up: Callable[[], str | None]
    begun: float = 0.0
    ended: float | None = None
    found: str | None = None
    error: Exception | None = None


class Inquiry:
    """Runs look-ups by key; its methods are called by one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Condition()
        self._asked: dict[str, _Asked] = {}
        self._waiting: deque[_Asked] = deque()
        self._under_way: list[_Asked] = []
        self._stuck = 0

    def ask(self, key: str, look_up: Callable[[], str | None]) -> None:
        """Begin a look-up, unless it is under way, or was made a short while ago."""
        old = self._clock.monotonic() - AGAIN_SECONDS
        with self._lock:
            before = self._asked.get(key)
            if before is not None and (before.ended is None or before.ended > old):
                return
            if len(self._waiting) >= MOST_WAITING:
                return
            self._asked = {
                each: asked for each, asked in self._asked.items() if asked.ended is None or asked.ended > old
            }
            self._asked[key] = asked = _Asked(look_up)
            self._waiting.append(asked)
            self._staff()

    def answer(self, key: str) -> str | None:
        """Return what a look-up found, None while it is not over or when it was in vain; a bug in it is raised here."""
        with self._lock:
            self._write_off()
            asked = self._asked.get(key)
            if asked is None or asked.ended is None:
                return None
            error, asked.error = asked.error, None
        if error is not None:
            raise error
        return asked.found

    def wait(self, seconds: float) -> None:
        """Wait until everything that was asked for has an answer, so long at most."""
        with self._lock:
            self._lock.wait_for(lambda: all(asked.ended is not None for asked in self._asked.values()), seconds)

    def _staff(self) -> None:
        """Begin what there are threads for; the lock is held."""
        while self._waiting and len(self._under_way) < MOST_AT_ONCE and self._stuck < MOST_STUCK:
            asked = self._waiting.popleft()
            asked.begun = self._clock.monotonic()
            self._under_way.append(asked)
            # A daemon: the gateway stops without it.
            threading.Thread(target=self._work, args=(asked,), name="contact", daemon=True).start()

    def _work(self, asked: _Asked) -> None:
        found, error = None, None
        try:
            found = asked.look_up()
        except Exception as raised:  # noqa: BLE001 - raised again where the answer is asked for
            error = raised
        with self._lock:
            if asked in self._under_way:
                self._under_way.remove(asked)
                asked.found, asked.error, asked.ended = found, error, self._clock.monotonic()
            else:
                # Written off: nobody waits for it any more.
                self._stuck -= 1
            self._staff()
            self._lock.notify_all()

    def _write_off(self) -> None:
        """Call what takes too long not known; the lock is held."""
        now = self._clock.monotonic()
        for asked in [each for each in self._under_way if each.begun < now - LOOKUP_SECONDS]:
            self._under_way.remove(asked)
            asked.ended = now
            self._stuck += 1
        self._staff()
