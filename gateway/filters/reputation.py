"""What has come from this client before? See RFC 7070 §2.

The gateway's own verdicts of the past weeks, each halved every seven days: of the client (IPv4 address, IPv6 /64), of
the sender's domain from that network, of the client's domain by its verified reverse name, of the network (IPv4 /24,
IPv6 /48). The most particular of these with ``least`` messages' weight decides; a whole network needs three times as
much. Where nobody has sent so much, nothing is said. Asked for mail from outside only, not from this
machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gateway.mail.connection import Role
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Stage
from gateway.policy.filter import Context, Filter
from gateway.policy.finding import Finding
from gateway.state.names import standing_names
from gateway.state.reputation import Reputation as Standings
from gateway.state.reputation import Standing

# Neighbours answer for each other only when there is much to go by.
_NETWORK_FACTOR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ReputationOptions:
    """``least``: messages' weight to judge by; ``bad``, ``good``: shares of bad mail, from and up to which."""

    # Three spam mails in a row say less of a busy host than of a quiet one; at ten a share means something.
    least: float = 10.0
    bad: float = 0.8
    good: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.good < self.bad <= 1:
            raise ValueError("good and bad are shares from 0 to 1, good the smaller")
        if self.least <= 0:
            raise ValueError("least is more than 0")


class Reputation(Filter[ReputationOptions]):
    """Looks at most four numbers up."""

    stage = Stage.ENVELOPE
    Options: ClassVar[type] = ReputationOptions
    results: ClassVar[Mapping[str, str]] = {
        "bad": "nearly all of its mail was tagged, held or refused",
        "good": "nearly all of its mail was accepted",
    }
    on: ClassVar[Mapping[str, float | Action]] = {"bad": 3.0, "good": -1.0}

    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:
        """Return what its past is, or None for a stranger or a mixed one."""
        standings = ctx.service(Standings)
        client = tx.connection.client_address
        if standings is None or tx.connection.role is not Role.MX or client.is_loopback:
            return None
        mailbox = tx.envelope.reverse_path.mailbox
        names = standing_names(client, tx.connection.client_name, mailbox.domain if mailbox else "")
        for name in names:
            standing = standings.standing(name)
            least = self.options.least * (_NETWORK_FACTOR if name.startswith("network ") else 1)
            if standing.known >= least:
                return self._told(name, standing)
        return None

    def _told(self, name: str, standing: Standing) -> Finding | None:
        share = standing.bad_share
        result = "bad" if share >= self.options.bad else "good" if share <= self.options.good else ""
        if not result:
            return None
        return self.found(result, f"{name}: {share:.0%} of {standing.known:.0f} were bad", name=name)
