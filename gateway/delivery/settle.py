"""What a report means for each recipient: delivered, failed, expired or queued again; and who is told (RFC 3461).

Pure: ``decide`` turns a report into settlements, ledger records, events and the notices wanted; the runner writes them.

Nobody is told of hostile content or of what was released from quarantine (invariant 4), nor is a null sender (RFC 5321
§4.5.5). Without NOTIFY the sender hears of failure and delay (RFC 3461 §4.1).
"""

from dataclasses import dataclass, field, replace

from gateway.delivery.account import attempt_of, delay_record, event_of, shown_reply
from gateway.delivery.report import Job, Report
from gateway.delivery.retry import Patience
from gateway.delivery.route import Randomness
from gateway.delivery.transfer import Outcome
from gateway.journal.events import DeliveryAttempted
from gateway.ledger.record import DelayRecord
from gateway.spool.message import RecipientState, Settlement, SpoolRecipient

_TOLD_UNASKED = frozenset({"FAILURE", "DELAY"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeWanted:
    """One delivery status notification to make: ``kind`` failed, delayed, delivered or relayed, about these recipients.

    ``retry_until`` is the UTC second at which a delayed copy is given up.
    """

    kind: str
    report: Report
    about: tuple[tuple[SpoolRecipient, Outcome], ...]
    retry_until: float = 0.0


@dataclass(slots=True)
class Decision:
    """Everything that follows from one report; made by ``decide`` and not changed after."""

    job: Job
    settlements: list[Settlement] = field(default_factory=list)
    records: list[DelayRecord] = field(default_factory=list)
    events: list[DeliveryAttempted] = field(default_factory=list)
    notices: list[NoticeWanted] = field(default_factory=list)


def decide(report: Report, patience: Patience, now_utc: float, random: Randomness) -> Decision:
    """Return what follows from ``report``."""
    decision = Decision(report.job)
    about: dict[str, list[tuple[SpoolRecipient, Outcome]]] = {}
    for recipient, outcome in zip(report.job.recipients, report.outcomes, strict=True):
        if outcome.reply.is_success:
            _sent(decision, report, recipient, outcome)
            kind = report.success if recipient.recipient.notify and "SUCCESS" in recipient.recipient.notify else ""
        elif outcome.reply.is_permanent:
            kind = "failed" if _failed(decision, report, recipient, outcome) else ""
        elif patience.is_expired(report.job.message, recipient, now_utc):
            kind = "failed" if _expired(decision, report, recipient, outcome) else ""
        else:
            kind = _deferred(decision, report, recipient, outcome, (patience, now_utc, random))
        if kind and _may_be_told(report.job, recipient):
            about.setdefault(kind, []).append((recipient, outcome))
    for kind, pairs in about.items():
        retry_until = patience.expires_at(report.job.message, pairs[0][0])
        decision.notices.append(NoticeWanted(kind=kind, report=report, about=tuple(pairs), retry_until=retry_until))
    return decision


def _sent(decision: Decision, report: Report, recipient: SpoolRecipient, outcome: Outcome) -> None:
    _ended(decision, report, recipient, outcome, (RecipientState.DELIVERED, "sent"))


def _failed(decision: Decision, report: Report, recipient: SpoolRecipient, outcome: Outcome) -> bool:
    _ended(decision, report, recipient, outcome, (RecipientState.FAILED, "bounced"))
    return _asks_for(recipient, "FAILURE")


def _expired(decision: Decision, report: Report, recipient: SpoolRecipient, outcome: Outcome) -> bool:
    _ended(decision, report, recipient, outcome, (RecipientState.EXPIRED, "expired"))
    return _asks_for(recipient, "FAILURE")


def _deferred(
    decision: Decision,
    report: Report,
    recipient: SpoolRecipient,
    outcome: Outcome,
    when: tuple[Patience, float, Randomness],
) -> str:
    patience, now_utc, random = when
    message = report.job.message
    notice = _asks_for(recipient, "DELAY") and patience.wants_delay_notice(message, recipient, now_utc)
    reply = shown_reply(outcome)
    due = max(patience.next_due(message, recipient, now_utc, random), report.not_before)
    attempt = replace(attempt_of(report, outcome, "deferred", reply), due=due)
    decision.events.append(event_of(report, recipient, outcome, "deferred", reply))
    decision.settlements.append(
        Settlement(
            trace_id=message.trace_id,
            number=recipient.number,
            state=RecipientState.QUEUED,
            due=due,
            attempts=(*recipient.attempts, attempt),
            delay_noticed=recipient.delay_noticed or notice,
            held_seconds=recipient.held_seconds,
        )
    )
    return "delayed" if notice else ""


def _ended(
    decision: Decision,
    report: Report,
    recipient: SpoolRecipient,
    outcome: Outcome,
    end: tuple[RecipientState, str],
) -> None:
    state, status = end
    # An attempt knows sent, deferred and bounced; that it was the last is the recipient's state.
    reply = shown_reply(outcome)
    attempt = attempt_of(report, outcome, "deferred" if state is RecipientState.EXPIRED else status, reply)
    attempts = (*recipient.attempts, attempt)
    decision.events.append(event_of(report, recipient, outcome, status, reply))
    decision.records.append(delay_record(report, recipient, outcome, (state, attempts)))
    decision.settlements.append(
        Settlement(
            trace_id=report.job.message.trace_id,
            number=recipient.number,
            state=state,
            attempts=attempts,
            delay_noticed=recipient.delay_noticed,
            held_seconds=recipient.held_seconds,
        )
    )


def _asks_for(recipient: SpoolRecipient, word: str) -> bool:
    notify = recipient.recipient.notify
    return word in (_TOLD_UNASKED if notify is None else notify)


def _may_be_told(job: Job, recipient: SpoolRecipient) -> bool:
    message = job.message
    if message.hostile or recipient.action == "quarantine":
        return False
    # RFC 5321 §4.5.5, RFC 3461 §6.1: no notification about a notification.
    return not message.envelope.reverse_path.is_null
