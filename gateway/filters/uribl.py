"""Are the hosts that the content leads to on a list in the DNS? See RFC 5782 §3.

Looked up are the links of text and HTML, those inside redirectors included, and the domains of From and Reply-To: each
by its registrable domain (https://publicsuffix.org) and by its whole name, a link to an address by the address;
``most`` of them, the registrable domains first, those of links before those of addresses. A finding for each listing,
as ``dnsbl`` has them; ``too-many`` where registrable domains were left out, so that nobody hides one behind a crowd
unseen. Asked for mail from outside only.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import product
from typing import ClassVar

from gateway.blocklist.dns.finding import ON, RESULTS, USUAL_BUDGET_SECONDS, found_on
from gateway.blocklist.dns.query import Subject, name_or_none, of_address, of_name
from gateway.blocklist.dns.zone import CompiledList, DnsList
from gateway.blocklist.listing import Identity
from gateway.config.units import Duration
from gateway.mail.connection import Role
from gateway.mail.content import Content
from gateway.mail.text.addresses import mailboxes
from gateway.mail.text.hosts import is_address, registrable
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Ground, Stage
from gateway.policy.filter import Context, Filter
from gateway.policy.finding import Findings
from gateway.rules.parts import Limits, Parts

# Beyond it, decoding and looking for links leaves the loop: some milliseconds.
_LIGHT_OCTETS = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UriblOptions:
    """``lists`` as those of ``dnsbl``; ``budget``: what all may take; ``most``: names looked up of one message."""

    lists: tuple[DnsList, ...] = ()
    budget: Duration = USUAL_BUDGET_SECONDS
    # Newsletters lead to a dozen domains; a message with hundreds is there to make us ask.
    most: int = 30

    def __post_init__(self) -> None:
        if not 1 <= self.most <= 1000:  # noqa: PLR2004 - the most links that are looked for
            raise ValueError("most is 1 to 1000")


class Uribl(Filter[UriblOptions]):
    """Looks up what a reader could follow."""

    stage = Stage.DATA
    io = True
    Options: ClassVar[type] = UriblOptions
    results: ClassVar[Mapping[str, str]] = {
        **RESULTS,
        "too-many": "more domains than `most`: some were not looked up",
    }
    on: ClassVar[Mapping[str, float | Action]] = {**ON, "too-many": 2.0}
    grounds: ClassVar[Mapping[str, Ground]] = {"listed": Ground.HARMFUL}

    def __init__(self, options: UriblOptions) -> None:
        super().__init__(options)
        self._lists = tuple(CompiledList(dns_list) for dns_list in options.lists)

    @property
    def is_idle(self) -> bool:
        """Whether no list is named."""
        return not self._lists

    def concerns(self, tx: Transaction) -> bool:
        """Whether the mail comes from outside."""
        return tx.connection.role is Role.MX

    async def examine(self, tx: Transaction, ctx: Context) -> Findings:
        """Return a finding for each list that has a name, or could not tell."""
        if not self._lists or not self.concerns(tx):
            return None
        heavy = tx.content.size > _LIGHT_OCTETS
        short, long = await asyncio.to_thread(subjects, tx.content) if heavy else subjects(tx.content)
        most = self.options.most
        pairs = [*product([*short, *long][:most], self._lists)]
        found = await found_on(self.name, ctx, pairs, self.options.budget)
        if len(short) <= most:
            return found
        return (*(found or ()), self.found("too-many", f"{len(short)} domains, of which {most} were looked up"))


def subjects(content: Content) -> tuple[list[Subject], list[Subject]]:
    """Return what to look up: registrable domains and addresses, which are what lists have, then whole names."""
    short: dict[str, Subject] = {}
    long: dict[str, Subject] = {}
    for host, of in _hosts(content):
        if is_address(host):
            short.setdefault(host, of_address(ip_address(host.strip("[]")), of))
            continue
        domain = registrable(host)
        if domain:
            short.setdefault(domain, of_name(domain, of))
        if host != domain and name_or_none(host):
            long.setdefault(host, of_name(host, of))
    return list(short.values()), list(long.values())


def _hosts(content: Content) -> Iterator[tuple[str, Identity]]:
    for link, _ in Parts(content, Limits(), _no_limit).links:
        if link.host:
            yield link.host, Identity.URL
    for field, of in (("from", Identity.AUTHOR), ("reply-to", Identity.REPLY_TO)):
        for found in content.header.get_all(field):
            yield from ((author.domain, of) for author in mailboxes(found.value) if author.domain)


def _no_limit() -> None:
    """Go on: the filter's share of the time budget is what ends it."""
