"""Does too much mail come from the hosts of one name? See RFC 8601 §3.

A sender who spreads over many addresses and networks still has one domain in its verified reverse names (iprev): its
mail transactions are counted together, over all workers. One costs more the worse the name's past is, up to ``failing``
times as much for a name of which all mail was refused. Limits per address and network are the node's
(``limits.connection_rate``). Off unless a policy sets ``enabled = true``: it asks DNS about every client.

Asked for mail from outside only. A client without a verified name is not counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gateway.config.units import Rate, RateField
from gateway.mail.connection import Role
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Stage
from gateway.policy.filter import Context, Filter
from gateway.policy.finding import Finding
from gateway.senderauth.iprev import check_iprev
from gateway.smtp.replies import RATE_LIMITED
from gateway.state.names import client_name_key
from gateway.state.rates import Allowance, Rates
from gateway.state.reputation import Reputation

# As much as one client may send by `limits.messages_per_client`.
_RATE = Rate(20_000, 3600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRateOptions:
    """``rate``: mail transactions of one name; ``failing``: what one costs when all of the name's mail was bad."""

    rate: RateField = _RATE
    failing: float = 10.0

    def __post_init__(self) -> None:
        if not 1 <= self.failing <= 1000:  # noqa: PLR2004 - more would shut a name out for good
            raise ValueError("failing is 1 to 1000")


class ClientRate(Filter[ClientRateOptions]):
    """Books one event for each transaction."""

    stage = Stage.ENVELOPE
    io = True
    enabled = False
    Options: ClassVar[type] = ClientRateOptions
    results: ClassVar[Mapping[str, str]] = {"too-fast": "the name has used up its `rate`"}
    on: ClassVar[Mapping[str, float | Action]] = {"too-fast": Action.DEFER}
    defer = RATE_LIMITED

    def __init__(self, options: ClientRateOptions) -> None:
        super().__init__(options)
        self._allowance = Allowance(count=options.rate.count, seconds=options.rate.seconds)

    @property
    def is_idle(self) -> bool:
        """Whether there is no limit."""
        return not self._allowance.count

    def concerns(self, tx: Transaction) -> bool:
        """Whether the mail comes from outside."""
        return tx.connection.role is Role.MX

    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:
        """Return ``too-fast``, or None."""
        rates = ctx.service(Rates)
        if rates is None or not self.concerns(tx):
            return None
        known = tx.connection.client_name or (await check_iprev(ctx.resolver, tx.connection.client_address)).name
        name = client_name_key(known)
        if not name or rates.allow(name, self._allowance):
            self._charge(rates, name, ctx)
            return None
        return self.found("too-fast", f"more than {self.options.rate} from {name.removeprefix('name ')}", name=known)

    def _charge(self, rates: Rates, name: str, ctx: Context) -> None:
        standings = ctx.service(Reputation)
        share = standings.standing(name).bad_share if standings and name else 0.0
        if share:
            rates.charge(name, self._allowance, share * (self.options.failing - 1))
