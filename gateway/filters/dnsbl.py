"""Is the client's address on a list in the DNS? See RFC 5782 §2.

Every zone of ``lists`` is asked at the same time, within ``budget``; each listing is a finding of its own, weighed by
its return code, so the scores of several zones add up and those of allow lists are negative. A zone that refuses us,
answers nonsense, or has failed its half-hourly probe gives ``dnsbl_error``; one that does not answer in time or fails
gives temperror. Neither is ever a listing.

Asked for mail from outside only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gateway.blocklist.dns.finding import ON, RESULTS, USUAL_BUDGET_SECONDS, found_on
from gateway.blocklist.dns.query import of_address
from gateway.blocklist.dns.zone import CompiledList, DnsList
from gateway.config.units import Duration
from gateway.mail.connection import Role
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Ground, Stage
from gateway.policy.filter import Context, Filter
from gateway.policy.finding import Findings


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsblOptions:
    """``lists``: see ``gateway.blocklist.dns.zone``; ``budget``: what all of them together may take."""

    lists: tuple[DnsList, ...] = ()
    budget: Duration = USUAL_BUDGET_SECONDS


class Dnsbl(Filter[DnsblOptions]):
    """Looks up one address."""

    stage = Stage.CONNECT
    io = True
    Options: ClassVar[type] = DnsblOptions
    results: ClassVar[Mapping[str, str]] = RESULTS
    on: ClassVar[Mapping[str, float | Action]] = ON
    grounds: ClassVar[Mapping[str, Ground]] = {}

    def __init__(self, options: DnsblOptions) -> None:
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
        """Return a finding for each list that has the address, or could not tell."""
        if not self._lists or not self.concerns(tx):
            return None
        subject = of_address(tx.connection.client_address)
        return await found_on(self.name, ctx, [(subject, one) for one in self._lists], self.options.budget)
