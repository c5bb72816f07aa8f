"""Did the client speak out of turn? See RFC 5321 §3.1, §4.3.1; RFC 2920 §3.1.

A client waits for the greeting before it speaks, and for each reply unless PIPELINING was offered. Spam software that
writes its whole dialogue blindly does neither. ``smtp.greet_delay`` makes such clients show themselves; honest ones
wait without noticing.

The intake sees and notes it; what it is worth is policy. With ``pregreet = "reject"`` in every policy the client is
turned away before the greeting, with it in some at RCPT.
"""

from collections.abc import Mapping
from typing import ClassVar

from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Stage
from gateway.policy.filter import Context, Filter, NoOptions
from gateway.policy.finding import Finding
from gateway.smtp.replies import EARLY_TALKER


class EarlyTalker(Filter[NoOptions]):
    """Reads two facts of the connection."""

    stage = Stage.CONNECT
    results: ClassVar[Mapping[str, str]] = {
        "pregreet": "the client spoke before our greeting",
        "pipelining": "commands were sent in a batch where a reply must be awaited",
    }
    on: ClassVar[Mapping[str, float | Action]] = {"pregreet": 3.0, "pipelining": 1.5}
    reject = EARLY_TALKER

    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:  # noqa: ARG002 - the facts suffice
        """Return the graver of the two, or None."""
        if tx.connection.early_talker:
            return self.found("pregreet", "spoke before the greeting")
        if tx.connection.improper_pipelining:
            return self.found("pipelining", "sent commands without waiting for replies")
        return None
