"""Are the names the client goes by on a list in the DNS? See RFC 5782 §3.

The name of its HELO, the domain of its reverse-path and its verified reverse name (RFC 8601 §3, iprev), each list
asked about those that its ``of`` names; a name is asked for as it stands and by its registrable domain. A finding for
each listing, as ``dnsbl`` has them. Asked for mail from outside only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from gateway.blocklist.dns.finding import ON, RESULTS, USUAL_BUDGET_SECONDS, found_on
from gateway.blocklist.dns.query import Subject, name_or_none, of_name
from gateway.blocklist.dns.zone import CompiledList, DnsList
from gateway.blocklist.listing import Identity
from gateway.config.units import Duration
from gateway.mail.connection import Role
from gateway.mail.text.hosts import registrable
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Stage
from gateway.policy.filter import Context, Filter
from gateway.policy.finding import Findings
from gateway.senderauth.iprev import check_iprev

Name = Literal["helo", "reverse-path", "client-name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NameList(DnsList):
    """A list of names; ``of``: which names it is asked about."""

    of: tuple[Name, ...] = ("helo", "reverse-path", "client-name")


@dataclass(frozen=True, slots=True, kw_only=True)
class RhsblOptions:
    """``lists`` as those of ``dnsbl``, with ``of``; ``budget``: what all of them together may take."""

    lists: tuple[NameList, ...] = ()
    budget: Duration = USUAL_BUDGET_SECONDS


class Rhsbl(Filter[RhsblOptions]):
    """Looks up three names at most."""

    stage = Stage.ENVELOPE
    io = True
    Options: ClassVar[type] = RhsblOptions
    results: ClassVar[Mapping[str, str]] = RESULTS
    on: ClassVar[Mapping[str, float | Action]] = ON

    def __init__(self, options: RhsblOptions) -> None:
        super().__init__(options)
        self._lists = tuple((CompiledList(dns_list), dns_list.of) for dns_list in options.lists)
        self._wanted = frozenset(name for _, of in self._lists for name in of)

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
        names = await self._names(tx, ctx)
        pairs = [(subject, asked) for asked, of in self._lists for subject in _subjects(names, of)]
        return await found_on(self.name, ctx, pairs, self.options.budget)

    async def _names(self, tx: Transaction, ctx: Context) -> dict[Name, str]:
        mailbox = tx.envelope.reverse_path.mailbox
        names: dict[Name, str | None] = {
            "helo": name_or_none(tx.connection.helo),
            "reverse-path": name_or_none(mailbox.domain) if mailbox else None,
        }
        if "client-name" in self._wanted:
            known = tx.connection.client_name or (await check_iprev(ctx.resolver, tx.connection.client_address)).name
            names["client-name"] = name_or_none(known)
        return {kind: name for kind, name in names.items() if name}


def _subjects(names: Mapping[Name, str], of: tuple[Name, ...]) -> list[Subject]:
    """Return each name as it stands and by its registrable domain, once each."""
    subjects: dict[str, Subject] = {}
    for kind in of:
        name = names.get(kind, "")
        for text in (name, registrable(name)):
            if text:
                subjects.setdefault(text, of_name(text, Identity(kind)))
    return list(subjects.values())
