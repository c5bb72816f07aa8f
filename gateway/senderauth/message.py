"""All methods over one message, each evaluated once, whoever asks first.

``MessageAuth`` belongs to one message after its final dot. Filters and trace fields ask for what they need; several
may ask at the same time, and one that runs out of time leaves what is under way to the others. ``of`` finds the one
that belongs to a content.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.dns.resolver import Resolver
from gateway.mail.connection import Role
from gateway.mail.transaction import Transaction
from gateway.senderauth import authentication_results as ar
from gateway.senderauth.arc.validate import ArcResult, validate_arc
from gateway.senderauth.dkim.canonical import SignedMessage
from gateway.senderauth.dkim.verify import DkimResult, verify_dkim
from gateway.senderauth.dmarc.author import Author, author_domain
from gateway.senderauth.dmarc.evaluate import DmarcResult, check_dmarc
from gateway.senderauth.dmarc.facts import DmarcFacts
from gateway.senderauth.earlier import earlier
from gateway.senderauth.iprev import IprevResult, check_iprev
from gateway.senderauth.lookups import SharedLookups
from gateway.senderauth.spf.evaluate import check_helo, check_mail_from
from gateway.senderauth.spf.result import SpfQuestion, SpfResult
from gateway.senderauth.word import Word

_T = TypeVar("_T")

_PLACE = "senderauth"


def is_from_outside(tx: Transaction) -> bool:
    """Tell whether there is somebody to authenticate: mail to us, neither from a trusted network nor this machine."""
    connection = tx.connection
    return connection.role is Role.MX and not connection.trusted and not connection.client_address.is_loopback


def spf_question(tx: Transaction) -> SpfQuestion:
    """Return what SPF needs to know of a transaction."""
    connection = tx.connection
    return SpfQuestion(
        client=connection.client_address,
        helo=connection.helo,
        receiver=connection.hostname,
        utc_second=int((tx.received or tx.enveloped or connection.connected).utc),
    )


class MessageAuth:
    """The methods' results for one message."""

    def __init__(self, tx: Transaction, resolver: Resolver) -> None:
        # Not the transaction: it has the content, which has this.
        self._path = tx.envelope.reverse_path
        self._header = tx.content.header
        self._lookups = SharedLookups(resolver)
        self._message = SignedMessage.of(tx.content)
        self._question = spf_question(tx)
        self._known: dict[str, object] = earlier(resolver).of(tx)
        # What DNS did not tell at RCPT it may tell now; until somebody asks again, that is what is known.
        self._stale = {name for name, found in self._known.items() if getattr(found, "result", "") is Word.TEMPERROR}
        self._locks: dict[str, asyncio.Lock] = {}

    @classmethod
    def of(cls, tx: Transaction, resolver: Resolver) -> "MessageAuth":
        """Return the one of this transaction's content, made on first use."""
        place = vars(tx.content)
        auth = place.get(_PLACE)
        if not isinstance(auth, cls):
            auth = place[_PLACE] = cls(tx, resolver)
        return auth

    @property
    def author(self) -> Author:
        """The author's domain, or why there is none."""
        known = self._known.get("author")
        if not isinstance(known, Author):
            known = self._known["author"] = author_domain(self._header)
        return known

    async def spf(self) -> SpfResult:
        """Return SPF's result for MAIL FROM."""
        return await self._once("spf", lambda: check_mail_from(self._lookups, self._question, self._path))

    async def spf_helo(self) -> SpfResult:
        """Return SPF's result for HELO."""
        return await self._once("spf_helo", lambda: check_helo(self._lookups, self._question))

    async def dkim(self) -> tuple[DkimResult, ...]:
        """Return a result for each DKIM signature."""
        second = self._question.utc_second
        return await self._once("dkim", lambda: verify_dkim(self._lookups, self._message, second))

    async def arc(self) -> ArcResult:
        """Return the state of the ARC chain."""
        return await self._once("arc", lambda: validate_arc(self._lookups, self._message))

    async def iprev(self) -> IprevResult:
        """Return whether the client's address has a name that has its address."""
        return await self._once("iprev", lambda: check_iprev(self._lookups, self._question.client))

    async def dmarc(self) -> DmarcResult:
        """Return DMARC's result, from SPF's and DKIM's."""
        return await self._once("dmarc", self._dmarc)

    def results(self) -> tuple[ar.MethodResult, ...]:
        """Return what has been evaluated, for ``Authentication-Results``."""
        return tuple(_method_results(self._known, str(self._question.client)))

    @property
    def known_spf(self) -> SpfResult | None:
        """SPF's result for MAIL FROM where it has been evaluated."""
        known = self._known.get("spf")
        return known if isinstance(known, SpfResult) else None

    @property
    def known_client_name(self) -> str:
        """The client's name where iprev has been evaluated and passes, else ""."""
        known = self._known.get("iprev")
        return known.name if isinstance(known, IprevResult) else ""

    @property
    def report_facts(self) -> DmarcFacts | None:
        """What a report to the author's domain needs, None where it wants none or DMARC was not evaluated."""
        dmarc, dkim = self._known.get("dmarc"), self._known.get("dkim")
        if not isinstance(dmarc, DmarcResult):
            return None
        return DmarcFacts.of(dmarc, self.known_spf, dkim if isinstance(dkim, tuple) else ())

    async def _dmarc(self) -> DmarcResult:
        author = self.author
        if not author.domain:
            return await check_dmarc(self._lookups, author, None, ())
        return await check_dmarc(self._lookups, author, await self.spf(), await self.dkim())

    async def _once(self, name: str, evaluate: Callable[[], Awaitable[_T]]) -> _T:
        known = None if name in self._stale else self._known.get(name)
        if known is None:
            # Whoever asks meanwhile waits here; if the one who evaluates is cancelled, the next begins anew.
            async with self._locks.setdefault(name, asyncio.Lock()):
                known = None if name in self._stale else self._known.get(name)
                if known is None:
                    known = self._known[name] = await evaluate()
                    self._stale.discard(name)
        return known  # type: ignore[return-value]


def _method_results(known: dict[str, object], client: str) -> list[ar.MethodResult]:
    results: list[ar.MethodResult] = []
    for value in (known.get(name) for name in ("iprev", "spf_helo", "spf", "dkim", "arc", "dmarc")):
        match value:
            case IprevResult():
                results.append(ar.of_iprev(value))
            case SpfResult():
                results.append(ar.of_spf(value))
            case tuple():
                results.extend(ar.of_dkim(value))
            case ArcResult():
                results.append(ar.of_arc(value, client))
            case DmarcResult():
                results.append(ar.of_dmarc(value))
    return results
