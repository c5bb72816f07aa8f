"""A cache before a ``Resolver``: fewer questions, the same answers.

Answers live for their TTL within caps; a temperror for one second at most. Equal questions that are asked while the
first is under way share its answer; when one of those who wait is cancelled, the others get theirs. Expired answers
are never served.
"""

import asyncio
from collections import OrderedDict

from gateway.clock import Clock
from gateway.dns.answer import Answer
from gateway.dns.resolver import Resolver

# A record withdrawn in an emergency is gone from here after an hour, whatever TTL it had; DNS servers cache the rest.
MAX_POSITIVE_SECONDS = 3600

# RFC 2308 §5 suggests one to three hours at most; a listing or a new mail host should be seen in minutes.
MAX_NEGATIVE_SECONDS = 300

# RFC 2308 §7 allows five minutes for failures. One second spares a resolver in trouble the burst and hides no recovery.
FAILURE_SECONDS = 1

_Key = tuple[str, str]


class CachingResolver(Resolver):
    """Remembers up to ``max_entries`` answers of ``inner``, the least recently used go first."""

    def __init__(self, inner: Resolver, clock: Clock, max_entries: int) -> None:
        self._inner = inner
        self._clock = clock
        self._max_entries = max_entries
        self._entries: OrderedDict[_Key, tuple[float, Answer]] = OrderedDict()
        self._in_flight: dict[_Key, asyncio.Task[Answer]] = {}
        self.hits = 0
        """Questions answered from the cache."""
        self.misses = 0
        """Questions passed on."""
        self.coalesced = 0
        """Questions that joined one under way."""

    async def query(self, name: str, rdtype: str) -> Answer:
        """Return the answer, remembered or new."""
        key = _key(name, rdtype)
        answer = self._remembered(key)
        if answer is not None:
            return answer
        # The shield keeps the question alive when this one of those who wait for it goes away.
        return await asyncio.shield(self._asked(key))

    def known(self, name: str, rdtype: str) -> Answer | None:
        """Return the answer if it is remembered."""
        return self._remembered(_key(name, rdtype))

    async def close(self) -> None:
        """End the questions under way; those who wait for them are cancelled."""
        tasks = list(self._in_flight.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __len__(self) -> int:
        return len(self._entries)

    def _remembered(self, key: _Key) -> Answer | None:
        entry = self._entries.get(key)
        if entry is None or entry[0] <= self._clock.monotonic():
            return None
        self._entries.move_to_end(key)
        self.hits += 1
        return entry[1]

    def _asked(self, key: _Key) -> asyncio.Task[Answer]:
        task = self._in_flight.get(key)
        if task is not None:
            self.coalesced += 1
            return task
        self.misses += 1
        task = asyncio.get_running_loop().create_task(self._fetch(key), name=f"dns {key[0]} {key[1]}")
        self._in_flight[key] = task
        return task

    async def _fetch(self, key: _Key) -> Answer:
        try:
            answer = await self._inner.query(*key)
        finally:
            self._in_flight.pop(key, None)
        self._remember(key, answer)
        return answer

    def _remember(self, key: _Key, answer: Answer) -> None:
        lifetime = _lifetime_seconds(answer)
        if lifetime <= 0:
            self._entries.pop(key, None)
            return
        self._entries[key] = (self._clock.monotonic() + lifetime, answer)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)


def _key(name: str, rdtype: str) -> _Key:
    # RFC 4343: names compare without case.
    return name.lower().removesuffix("."), rdtype.upper()


def _lifetime_seconds(answer: Answer) -> int:
    if answer.is_found:
        return min(answer.ttl_seconds, MAX_POSITIVE_SECONDS)
    if answer.is_absent:
        return min(answer.ttl_seconds, MAX_NEGATIVE_SECONDS)
    return FAILURE_SECONDS
