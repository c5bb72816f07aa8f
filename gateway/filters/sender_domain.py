"""Could the reverse-path's domain take an answer? See RFC 5321 §5.1, RFC 7505 §4.2.

A notification about this mail would go to the domain's mail exchangers, else to its own address. A domain that does
not exist, has neither, or says by a null MX that it takes no mail, is no sender's: its mail cannot be answered, nor
bounced. The null reverse-path and address literals are not looked up. Asked for mail from outside only, and off unless
a policy sets ``enabled = true``: a gateway without a working resolver would put every new client off.

Departure from RFC 7505 §4.2: one reply for all three, 550 5.1.8 rather than 5.7.27 for the null MX.
"""

from collections.abc import Mapping
from typing import ClassVar

from gateway.dns.address import addresses
from gateway.dns.answer import Outcome, mx_records
from gateway.dns.resolver import Resolver
from gateway.mail.connection import Role
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Ground, Stage
from gateway.policy.filter import Context, Filter, NoOptions
from gateway.policy.finding import TEMPERROR, Finding
from gateway.smtp.replies import SENDER_DOMAIN_BAD, SENDER_DOMAIN_UNKNOWN


class SenderDomain(Filter[NoOptions]):
    """Asks for MX, and only without one for A and AAAA."""

    stage = Stage.ENVELOPE
    io = True
    enabled = False
    results: ClassVar[Mapping[str, str]] = {
        "no-such-domain": "the domain does not exist",
        "null-mx": "the domain takes no mail (RFC 7505)",
        "no-mail": "the domain has neither a mail exchanger nor an address",
    }
    on: ClassVar[Mapping[str, float | Action]] = {
        "no-such-domain": Action.REJECT,
        "null-mx": Action.REJECT,
        "no-mail": 4.0,
    }
    grounds: ClassVar[Mapping[str, Ground]] = {
        "no-such-domain": Ground.FALSE_SOURCE,
        "null-mx": Ground.FALSE_SOURCE,
        "no-mail": Ground.FALSE_SOURCE,
    }
    reject = SENDER_DOMAIN_BAD
    defer = SENDER_DOMAIN_UNKNOWN

    def concerns(self, tx: Transaction) -> bool:
        """Whether the mail comes from outside and names a sender's domain."""
        mailbox = tx.envelope.reverse_path.mailbox
        return tx.connection.role is Role.MX and mailbox is not None and mailbox.domain[:1] not in ("[", "")

    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:
        """Return what keeps the domain from taking mail, or None."""
        mailbox = tx.envelope.reverse_path.mailbox
        if mailbox is None or not self.concerns(tx):
            return None
        domain = mailbox.domain
        exchangers = await ctx.resolver.query(domain, "MX")
        if exchangers.is_temperror:
            return self.found(TEMPERROR, f"MX of {domain}: {exchangers.reason}", domain=domain)
        if exchangers.is_absent:
            return await self._without_mx(domain, ctx.resolver)
        # RFC 7505 §3: a null MX stands alone.
        if all(record.is_null for record in mx_records(exchangers)):
            return self.found("null-mx", f"{domain} takes no mail (null MX)", domain=domain)
        return None

    async def _without_mx(self, domain: str, resolver: Resolver) -> Finding | None:
        # RFC 5321 §5.1: without MX records the domain's address is an implicit one.
        own = await addresses(resolver, domain)
        match own.outcome:
            case Outcome.FOUND:
                return None
            case Outcome.TEMPERROR:
                return self.found(TEMPERROR, f"addresses of {domain}: {own.reason}", domain=domain)
        if own.nxdomain:
            return self.found("no-such-domain", f"{domain} does not exist", domain=domain)
        return self.found("no-mail", f"{domain} has neither MX nor address", domain=domain)
