"""Does the name that the client introduces itself with exist? See RFC 5321 §4.1.1.1, §4.1.4.

The name of HELO is to resolve to an address, or else (many good hosts are not so well kept) to have a mail exchanger.
RFC 5321 §4.1.4 lets a server check that and forbids refusing mail only for it, so the reactions are small scores.
Address literals and what is no name are ``helo``'s matter. Asked for mail from outside only, and off unless a policy
sets ``enabled = true``: it asks three questions of DNS for each mail.
"""

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from gateway.blocklist.dns.query import name_or_none
from gateway.dns.address import addresses
from gateway.dns.answer import Outcome
from gateway.mail.connection import Role
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Ground, Stage
from gateway.policy.filter import Context, Filter, NoOptions
from gateway.policy.finding import TEMPERROR, Finding


class HeloDomain(Filter[NoOptions]):
    """Asks for A, AAAA and MX."""

    stage = Stage.ENVELOPE
    io = True
    enabled = False
    results: ClassVar[Mapping[str, str]] = {
        "no-such-name": "the name does not exist",
        "no-address": "the name has neither an address nor a mail exchanger",
    }
    on: ClassVar[Mapping[str, float | Action]] = {"no-such-name": 1.5, "no-address": 1.0}
    grounds: ClassVar[Mapping[str, Ground]] = {"no-such-name": Ground.FALSE_SOURCE, "no-address": Ground.FALSE_SOURCE}

    def concerns(self, tx: Transaction) -> bool:
        """Whether the mail comes from outside."""
        return tx.connection.role is Role.MX

    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:
        """Return what the name lacks, or None."""
        name = name_or_none(tx.connection.helo) if self.concerns(tx) else None
        if name is None or name == ctx.hostname:
            return None
        own, exchangers = await asyncio.gather(addresses(ctx.resolver, name), ctx.resolver.query(name, "MX"))
        if own.outcome is Outcome.FOUND or exchangers.is_found:
            return None
        if own.outcome is Outcome.TEMPERROR or exchangers.is_temperror:
            return self.found(TEMPERROR, f"{name}: {own.reason or exchangers.reason}", name=name)
        if own.nxdomain:
            return self.found("no-such-name", f"HELO name {name} does not exist", name=name)
        return self.found("no-address", f"HELO name {name} has no address", name=name)
