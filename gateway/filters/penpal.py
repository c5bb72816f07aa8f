"""Has the recipient written to this sender lately? See RFC 5322 §3.6.4.

Mail that goes out through a listener of role relay is remembered as pairs of addresses for three months; what comes
from there is probably an answer. The reverse-path can be forged, so it lowers suspicion by a little only. Of several
recipients one is enough. Asked for mail from outside only.
"""

from collections.abc import Mapping
from typing import ClassVar

from gateway.mail.connection import Role
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Stage
from gateway.policy.filter import Context, Filter, NoOptions
from gateway.policy.finding import Finding
from gateway.state.penpals import Penpals

# A message to more is no letter; looking each up would take a millisecond.
_MOST_RECIPIENTS = 50


class Penpal(Filter[NoOptions]):
    """Looks pairs up."""

    stage = Stage.ENVELOPE
    results: ClassVar[Mapping[str, str]] = {"known": "a recipient wrote to this reverse-path in the last 90 days"}
    on: ClassVar[Mapping[str, float | Action]] = {"known": -1.0}

    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:
        """Return ``known``, or None."""
        penpals = ctx.service(Penpals)
        sender = tx.envelope.reverse_path
        if penpals is None or sender.is_null or tx.connection.role is not Role.MX:
            return None
        for recipient in tx.recipients[:_MOST_RECIPIENTS]:
            if letters := penpals.letters(recipient.key, sender.key):
                return self.found("known", f"{recipient.key} wrote there lately", letters=str(letters))
        return None
