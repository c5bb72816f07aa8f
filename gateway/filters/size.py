"""Is the message larger than this domain or mailbox takes? See RFC 1870 §6.

``max_message`` of the node is announced by SIZE and enforced by the intake; ``maximum`` here is one policy's smaller
number. What the client declares with SIZE is judged at RCPT, so that each recipient gets an answer of its own; what
arrived is judged after the final dot.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gateway.config.units import Size as Octets
from gateway.config.units import format_size
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Stage
from gateway.policy.filter import Context, Filter
from gateway.policy.finding import Finding
from gateway.smtp.replies import MESSAGE_TOO_BIG


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``maximum``: octets of content as received; 0 leaves it to the node's ``max_message``."""

    maximum: Octets = 0


class Size(Filter[Options]):
    """Compares one number."""

    stage = Stage.ENVELOPE
    Options: ClassVar[type] = Options
    results: ClassVar[Mapping[str, str]] = {
        "too-big": "more octets than `maximum`, as declared at MAIL or as received",
    }
    on: ClassVar[Mapping[str, float | Action]] = {"too-big": Action.REJECT}
    reject = MESSAGE_TOO_BIG

    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:  # noqa: ARG002 - a number suffices
        """Return ``too-big``, or None."""
        maximum = self.options.maximum
        if not maximum:
            return None
        octets = tx.content.size if tx.received else tx.envelope.declared_octets or 0
        if octets <= maximum:
            return None
        return self.found("too-big", f"{octets} octets, at most {format_size(maximum)}", octets=str(octets))
