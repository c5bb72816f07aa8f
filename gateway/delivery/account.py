"""What is kept of a report: the attempt as evidence, the event, the ledger row (contract.md §2). Pure functions.

Send delay runs from the final dot to the first octet of content that the next hop took, receive delay to its reply to
our final dot; both on the monotonic clock. They stand only in the row of a copy that was delivered.
"""

from gateway.clock import Stamp
from gateway.delivery.report import Report
from gateway.delivery.transfer import Outcome
from gateway.journal.events import DeliveryAttempted
from gateway.ledger.record import DelayRecord
from gateway.spool.codec import attempt_values
from gateway.spool.message import Attempt, RecipientState, SpoolRecipient
from gateway.storage import to_json

# Four kilobytes of a next hop's eloquence is evidence enough; 100 lines of 2 KiB an attempt would fill the spool.
MAX_REPLY_CHARACTERS = 4096


def shown_reply(outcome: Outcome) -> str:
    """Return the reply as one printable text."""
    return str(outcome.reply).replace("\n", " / ")[:MAX_REPLY_CHARACTERS]


def attempt_of(report: Report, outcome: Outcome, status: str, reply: str) -> Attempt:
    """Return the evidence of one recipient's part in an attempt; ``reply`` as shown."""
    return Attempt(
        at=report.begun.utc,
        next_hop=report.next_hop,
        relay=report.relay,
        phase=outcome.phase,
        reply=reply,
        status=status,
        seconds=report.setup_seconds + report.begun.until(outcome.at),
        own_fault=outcome.own_fault,
    )


def event_of(report: Report, recipient: SpoolRecipient, outcome: Outcome, status: str, reply: str) -> DeliveryAttempted:
    """Return the event of one recipient's part in an attempt; ``reply`` as shown."""
    message = report.job.message
    stamps = message.stamps
    durable = stamps.durable or stamps.filtered
    before = stamps.enveloped.until(durable)
    queued = max(0.0, durable.until(report.begun) - report.setup_seconds)
    sending = report.begun.until(outcome.at)
    return DeliveryAttempted(
        at=outcome.at.utc,
        trace_id=message.trace_id,
        recipient=recipient.recipient.path.wire,
        reverse_path=message.envelope.reverse_path.wire,
        next_hop=report.next_hop,
        relay=report.relay,
        phase=outcome.phase,
        reply=reply,
        status=status,
        delay_seconds=before + queued + report.setup_seconds + sending,
        delays=(before, queued, report.setup_seconds, sending),
        attempt=len(recipient.attempts) + 1,
        possible_duplicate=outcome.possible_duplicate,
    )


def delay_record(
    report: Report, recipient: SpoolRecipient, outcome: Outcome, ended: tuple[RecipientState, tuple[Attempt, ...]]
) -> DelayRecord:
    """Return the ledger row of a copy whose custody ends in the state ``ended`` with all its attempts."""
    message, stamps = report.job.message, report.job.message.stamps
    state, attempts = ended
    delivered = state is RecipientState.DELIVERED
    started = report.started if delivered else None
    accepted = outcome.at if delivered else None
    return DelayRecord(
        trace_id=message.trace_id,
        number=recipient.number,
        customer=recipient.customer,
        recipient=recipient.recipient.path.wire,
        domain=recipient.recipient.path.domain,
        reverse_path=message.envelope.reverse_path.wire,
        role=message.role,
        origin=message.origin.value,
        octets=message.octets,
        action=recipient.action,
        connected_at=stamps.connected.utc,
        enveloped_at=stamps.enveloped.utc,
        received_at=stamps.received.utc,
        filtered_seconds=stamps.received.until(stamps.filtered),
        durable_seconds=_seconds(stamps.filtered, stamps.durable) or 0.0,
        antivirus_seconds=stamps.antivirus_seconds,
        held_seconds=recipient.held_seconds,
        transfer_started_at=started.utc if started else None,
        accepted_at=accepted.utc if accepted else None,
        send_delay_seconds=_seconds(stamps.received, started),
        receive_delay_seconds=_seconds(stamps.received, accepted),
        finished_at=outcome.at.utc,
        status=state.value,
        next_hop=report.next_hop,
        relay=report.relay,
        reply=attempts[-1].reply,
        attempts=to_json([attempt_values(attempt) for attempt in attempts]),
        attempt_count=len(attempts),
        greylisted_seconds=recipient.greylisted_seconds,
    )


def _seconds(start: Stamp, end: Stamp | None) -> float | None:
    return None if end is None else start.until(end)
