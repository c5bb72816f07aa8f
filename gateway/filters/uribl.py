"""Are the hosts that the content leads to on a list in the DNS? See RFC 5782 §3.

Looked up are the links of text and HTML, those inside redirectors included, and the domains of From and Reply-To: each
by its registrable domain (https://publicsuffix.org) and by its whole name, a link to an address by the address;
``most`` of them, the registrable domains first, those of links before those of addresses; where they are more, a sample
that the sender cannot foretell. A finding for each listing, as ``dnsbl`` has them; ``too-many`` where registrable
domains were left out, so that nobody hides one behind a crowd unseen. Asked for mail from outside only.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import product
from typing import ClassVar

from gateway.blocklist.dns.finding import ON, RESULTS, USUAL_BUDGET_SECONDS, found_on
from gateway.blocklist.dns.query import Subject, name_or_none, of_address, of_name
from gateway.blocklist.dns.zone import CompiledList, DnsList
from gateway.blocklist.links import links_of
from gateway.blocklist.listing import Identity
from gateway.blocklist.sample import Sampler
from gateway.config.units import Duration
from gateway.mail.connection import Role
from gateway.mail.content import Content
from gateway.mail.text.addresses import mailboxes
from gateway.mail.text.hosts import is_address, registrable
from gateway.mail.text.urls import Url
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Ground, Stage
from gateway.policy.filter import Context, Filter
from gateway.policy.finding import Findings

# Beyond it, finding the registrable domains leaves the loop: some milliseconds.
_LIGHT_LINKS = 200


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
        links, most = await links_of(tx.content), self.options.most
        heavy = len(links) > _LIGHT_LINKS
        short, long = await asyncio.to_thread(subjects, tx.content, links) if heavy else subjects(tx.content, links)
        sampler = ctx.service(Sampler) or Sampler()
        asked: list[Subject] = []
        for group in (*_links_first(short), long):
            asked += sampler.choose(group, most - len(asked), _label)
        found = await found_on(self.name, ctx, [*product(asked, self._lists)], self.options.budget)
        if len(short) <= most:
            return found
        return (*(found or ()), self.found("too-many", f"{len(short)} domains, of which {most} were looked up"))


def subjects(content: Content, links: Iterable[Url]) -> tuple[list[Subject], list[Subject]]:
    """Return what to look up: registrable domains and addresses, which are what lists have, then whole names."""
    short: dict[str, Subject] = {}
    long: dict[str, Subject] = {}
    for host, of in _hosts(content, links):
        if is_address(host):
            short.setdefault(host, of_address(ip_address(host.strip("[]")), of))
            continue
        domain = registrable(host)
        if domain:
            short.setdefault(domain, of_name(domain, of))
        if host != domain and name_or_none(host):
            long.setdefault(host, of_name(host, of))
    return list(short.values()), list(long.values())


def _hosts(content: Content, links: Iterable[Url]) -> Iterator[tuple[str, Identity]]:
    yield from ((link.host, Identity.URL) for link in links if link.host)
    for field, of in (("from", Identity.AUTHOR), ("reply-to", Identity.REPLY_TO)):
        for found in content.header.get_all(field):
            yield from ((author.domain, of) for author in mailboxes(found.value) if author.domain)


def _links_first(subjects: Iterable[Subject]) -> tuple[list[Subject], list[Subject]]:
    links: list[Subject] = []
    others: list[Subject] = []
    for subject in subjects:
        (links if subject.of is Identity.URL else others).append(subject)
    return links, others


def _label(subject: Subject) -> str:
    return subject.label
