"""Does the chain of those who handled this mail before hold? See RFC 8617 §5.2.

A chain that holds tells what earlier handlers say they found; whether to believe them is another question. ``trusted``
names sealers whose word is taken: a chain of theirs alone gives *trusted*. ``dmarc`` takes their word by its own
option.

Asked for mail from outside only; mail without ARC fields gives nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Stage
from gateway.policy.filter import Context, Filter
from gateway.policy.finding import Finding
from gateway.senderauth.arc.sets import CHAIN
from gateway.senderauth.message import MessageAuth, is_from_outside
from gateway.senderauth.word import Word
from gateway.smtp.replies import ARC_DEFER, ARC_REJECT


@dataclass(frozen=True, slots=True, kw_only=True)
class ArcOptions:
    """``trusted``: sealing domains whose chains are believed."""

    trusted: tuple[str, ...] = ()


class Arc(Filter[ArcOptions]):
    """Validates the whole chain."""

    stage = Stage.DATA
    io = True
    Options: ClassVar[type] = ArcOptions
    results: ClassVar[Mapping[str, str]] = {
        "trusted": "the chain holds, and every sealer is in `trusted`",
        "pass": "the chain holds",
        "fail": "the chain does not hold",
    }
    on: ClassVar[Mapping[str, float | Action]] = {}
    reject = ARC_REJECT
    defer = ARC_DEFER

    def concerns(self, tx: Transaction) -> bool:
        """Whether the mail comes from outside and has ARC fields."""
        return is_from_outside(tx) and any(tx.content.header.count(name) for name in CHAIN)

    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:
        """Return the chain's state, or None where there is no chain."""
        if not self.concerns(tx):
            return None
        chain = await MessageAuth.of(tx, ctx.resolver).arc()
        if chain.result is Word.NONE:
            return None
        sealers = [sealer.domain for sealer in chain.sealers]
        trusted = chain.result is Word.PASS and set(sealers) <= {domain.lower() for domain in self.options.trusted}
        detail = {"sealers": " ".join(sealers)} if sealers else {}
        return self.found("trusted" if trusted else chain.result.value, chain.reason, **detail)
