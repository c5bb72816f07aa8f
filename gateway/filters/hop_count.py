"""Has the message been here, or anywhere, too often? See RFC 5321 §6.3.

Each relay adds a Received field. Many of them, or several of our own, mean a mail loop, which costs every host on it
until someone breaks it. The limits are the node's: ``limits.received_fields`` and ``limits.own_received_fields``.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from gateway.mail.header import HeaderField
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Stage
from gateway.policy.filter import Context, Filter, NoOptions
from gateway.policy.finding import Finding
from gateway.smtp.replies import LOOP_DETECTED


class HopCount(Filter[NoOptions]):
    """Counts Received fields."""

    stage = Stage.DATA
    results: ClassVar[Mapping[str, str]] = {
        "too-many-hops": "more Received fields than `limits.received_fields`",
        "own-loop": "our own name in as many Received fields as `limits.own_received_fields`",
    }
    on: ClassVar[Mapping[str, float | Action]] = {"too-many-hops": Action.REJECT, "own-loop": Action.REJECT}
    reject = LOOP_DETECTED

    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:
        """Return which limit was passed, or None."""
        received = tx.content.header.get_all("received")
        if len(received) > ctx.loop_limits.received_fields:
            return self.found("too-many-hops", f"{len(received)} Received fields", hops=str(len(received)))
        if len(received) < ctx.loop_limits.own_received_fields:
            return None
        own = sum(1 for host in _receivers(received) if host == ctx.hostname)
        if own >= ctx.loop_limits.own_received_fields:
            return self.found("own-loop", f"passed through here {own} times", hops=str(own))
        return None


def _receivers(fields: list[HeaderField]) -> Iterator[str]:
    # RFC 5321 §4.4: By-domain = CFWS "BY" FWS Extended-Domain.
    for field in fields:
        words = field.raw_value.lower().split()
        if b"by" in words[:-1]:
            yield words[words.index(b"by") + 1].rstrip(b";").decode("ascii", "replace")
