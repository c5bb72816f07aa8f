"""One message's questions to DNS, each asked once.

SPF, DKIM, DMARC and ARC of one message often ask for the same names. A cache before the resolver answers most of
that, but not what has a TTL of zero; and a record that changes between two methods would make them contradict each
other within one message.
"""

from gateway.dns.answer import Answer
from gateway.dns.resolver import Resolver


class SharedLookups(Resolver):
    """A ``Resolver`` that remembers every answer of ``inner`` as long as it lives: one message."""

    __slots__ = ("_answers", "_inner")

    def __init__(self, inner: Resolver) -> None:
        self._inner = inner
        self._answers: dict[tuple[str, str], Answer] = {}

    async def query(self, name: str, rdtype: str) -> Answer:
        """Return the answer, the same one every time."""
        key = (name.lower().removesuffix("."), rdtype)
        answer = self._answers.get(key)
        if answer is None:
            # Two that ask at the same moment are joined by the cache behind; what came first counts for both.
            answer = self._answers.setdefault(key, await self._inner.query(name, rdtype))
        return answer

    def known(self, name: str, rdtype: str) -> Answer | None:
        """Return the answer that this message had, or one that is remembered behind."""
        key = (name.lower().removesuffix("."), rdtype)
        answer = self._answers.get(key) or self._inner.known(name, rdtype)
        return None if answer is None else self._answers.setdefault(key, answer)
