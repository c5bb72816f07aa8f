"""The ledger row of a copy that an operator dropped: custody ended, nothing was delivered, and the evidence says so."""

from gateway.clock import Clock, Stamp
from gateway.ledger import DelayRecord, rows
from gateway.spool.codec import encode_attempts
from gateway.spool.custody import RecordRows
from gateway.spool.message import RecipientState, SpoolMessage, SpoolRecipient
from gateway.storage import Write


def dropped_rows(clock: Clock) -> RecordRows:
    """Return what ``Custody.drop`` asks for the ledger rows of each dropped copy."""

    def record(message: SpoolMessage, copy: SpoolRecipient) -> list[Write]:
        return rows(_record(message, copy, clock.stamp()))

    return record


def _record(message: SpoolMessage, copy: SpoolRecipient, now: Stamp) -> DelayRecord:
    stamps = message.stamps
    last = copy.attempts[-1] if copy.attempts else None
    holding = now.utc - copy.held_since if copy.held_since else 0.0
    return DelayRecord(
        trace_id=message.trace_id,
        number=copy.number,
        customer=copy.customer,
        recipient=copy.recipient.path.wire,
        domain=copy.recipient.path.domain,
        reverse_path=message.envelope.reverse_path.wire,
        role=message.role,
        origin=message.origin.value,
        octets=message.octets,
        action=copy.action,
        connected_at=stamps.connected.utc,
        enveloped_at=stamps.enveloped.utc,
        received_at=stamps.received.utc,
        filtered_seconds=stamps.received.until(stamps.filtered),
        durable_seconds=stamps.filtered.until(stamps.durable) if stamps.durable else 0.0,
        antivirus_seconds=stamps.antivirus_seconds,
        held_seconds=copy.held_seconds + max(0.0, holding),
        transfer_started_at=None,
        accepted_at=None,
        send_delay_seconds=None,
        receive_delay_seconds=None,
        finished_at=now.utc,
        status=RecipientState.DROPPED.value,
        next_hop=last.next_hop if last else "",
        relay=last.relay if last else "",
        reply=last.reply if last else "",
        attempts=encode_attempts(copy.attempts) or "[]",
        attempt_count=len(copy.attempts),
        greylisted_seconds=copy.greylisted_seconds,
    )
