"""Is this sender of ours suspended after it sent spam? See RFC 5321 §7.9.

An account (a mailbox of ours in the reverse-path, or its whole domain) is refused where mail comes from our own
networks; elsewhere anybody may write its address. A client of a relay network is refused wherever it connects. The
reply names the incident and whom to ask; ``tidegate account restore`` ends it. The postmaster can be written to.
"""

from collections.abc import Mapping
from typing import ClassVar

from gateway.incidents.suspended import Suspended, SuspendedSenders
from gateway.mail.connection import Role
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Stage
from gateway.policy.filter import Context, Filter, NoOptions
from gateway.policy.finding import Finding
from gateway.smtp.replies import SENDER_SUSPENDED


class SuspendedFilter(Filter[NoOptions]):
    """Looks into a table in memory, which is nearly always empty."""

    stage = Stage.ENVELOPE
    results: ClassVar[Mapping[str, str]] = {"suspended": "the account or relay client is suspended"}
    on: ClassVar[Mapping[str, float | Action]] = {"suspended": Action.REJECT}
    reject = SENDER_SUSPENDED

    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:
        """Return ``suspended``, or None."""
        senders = ctx.service(SuspendedSenders)
        if senders is None or senders.is_empty:
            return None
        found = senders.client(tx.connection.client_address) or _account(tx, senders)
        if found is None:
            return None
        asked = f", write to {senders.contact()}" if senders.contact() else ""
        return self.found("suspended", f"after incident {found.incident}{asked}", sender=found.sender)


def _account(tx: Transaction, senders: SuspendedSenders) -> Suspended | None:
    key = tx.envelope.reverse_path.key
    return senders.account(key) if key and tx.connection.role is not Role.MX else None
