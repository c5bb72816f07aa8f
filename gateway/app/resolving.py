"""The resolver of the snapshot in force: a reload may name other servers."""

from gateway.clock import Clock
from gateway.config.models import Dns
from gateway.dns.answer import Answer
from gateway.dns.cache import CachingResolver
from gateway.dns.resolver import DnspythonResolver, Resolver


class CurrentResolver(Resolver):
    """Asks through the resolver that the present ``[dns]`` table describes."""

    def __init__(self, settings: Dns, clock: Clock) -> None:
        self._clock = clock
        self._settings = settings
        self._resolver = self._make(settings)

    def _make(self, settings: Dns) -> CachingResolver:
        self._uncached = DnspythonResolver(settings.servers, settings.timeout, self._clock)
        return CachingResolver(self._uncached, self._clock, settings.cache)

    async def query_anew(self, name: str, rdtype: str) -> Answer:
        """Return the answer that the servers have now, whatever is remembered."""
        return await self._uncached.query(name, rdtype)

    async def query(self, name: str, rdtype: str) -> Answer:
        """Return the answer to one question."""
        return await self._resolver.query(name, rdtype)

    def known(self, name: str, rdtype: str) -> Answer | None:
        """Return the answer if it is remembered."""
        return self._resolver.known(name, rdtype)

    def use(self, settings: Dns) -> None:
        """Take new settings; running questions are answered by the old ones, within their time-out."""
        if settings != self._settings:
            self._resolver, self._settings = self._make(settings), settings

    async def close(self) -> None:
        """Let go of what is under way."""
        await self._resolver.close()


class Anew(Resolver):
    """``CurrentResolver`` without its memory, as a resolver."""

    def __init__(self, resolver: CurrentResolver) -> None:
        self._resolver = resolver

    async def query(self, name: str, rdtype: str) -> Answer:
        """Return the answer that the servers have now."""
        return await self._resolver.query_anew(name, rdtype)
