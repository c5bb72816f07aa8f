"""What breaks if these fail: a copy is tried too often, never again, or given up without a word."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.clock import FakeClock, Stamp
from gateway.config.models import Queue
from gateway.delivery import causes
from gateway.delivery.report import Job, Report
from gateway.delivery.retry import Patience
from gateway.delivery.settle import Decision, decide
from gateway.delivery.transfer import Outcome
from gateway.mail.envelope import Recipient
from gateway.smtp.reply import EnhancedStatus, Reply
from gateway.spool.codec import decode_attempts
from gateway.spool.message import Attempt, RecipientState, SpoolMessage
from tests.delivery.conftest import dice, message, to

CLOCK = FakeClock()
NOW = CLOCK.stamp()
TAKEN = Reply(250, EnhancedStatus(2, 0, 0), "taken")
LATER = Reply(450, EnhancedStatus(4, 2, 0), "later")
UNKNOWN = Reply(550, EnhancedStatus(5, 1, 1), "no such user")
PATIENCE = Patience.of(Queue())
HOUR = 3600.0


def decided(what: SpoolMessage, *replies: Reply, now: float = NOW.utc, **given: Any) -> Decision:
    report = Report(
        job=Job(message=what, recipients=what.recipients),
        outcomes=tuple(Outcome(phase="rcpt", reply=reply, at=NOW) for reply in replies),
        next_hop="smtp://next.test:25",
        relay="next.test[192.0.2.1]:25",
        begun=NOW,
        **given,
    )
    return decide(report, PATIENCE, now, dice(3))


def kinds(decision: Decision) -> list[str]:
    return [notice.kind for notice in decision.notices]


def test_each_recipient_gets_what_its_reply_means() -> None:
    decision = decided(message("a@x.test", "b@x.test", "c@x.test"), TAKEN, LATER, UNKNOWN)
    assert [s.state for s in decision.settlements] == [
        RecipientState.DELIVERED,
        RecipientState.QUEUED,
        RecipientState.FAILED,
    ]
    assert [e.status for e in decision.events] == ["sent", "deferred", "bounced"]
    # A ledger row is the end of a copy.
    assert [(r.number, r.status) for r in decision.records] == [(0, "delivered"), (2, "failed")]
    assert kinds(decision) == ["failed"]
    assert [recipient.number for recipient, _ in decision.notices[0].about] == [2]


def test_a_copy_never_delivered_has_no_delays() -> None:
    [record] = decided(message(), UNKNOWN, started=NOW).records
    assert (record.send_delay_seconds, record.receive_delay_seconds) == (None, None)
    assert (record.transfer_started_at, record.accepted_at) == (None, None)


def test_invariant_11_a_stepped_wall_clock_changes_the_stamps_and_no_delay() -> None:
    """contract.md §2: stamps are what the wall clock said, durations are the monotonic clock's."""
    received = Stamp(NOW.utc, 1000.0)
    started = Stamp(NOW.utc - 3600 + 2, 1002.0)
    accepted = Stamp(NOW.utc - 3600 + 5, 1005.0)
    what = message(received=received)
    report = Report(
        job=Job(message=what, recipients=what.recipients),
        outcomes=(Outcome(phase="end-of-data", reply=TAKEN, at=accepted),),
        next_hop="smtp://next.test:25",
        relay="next.test[192.0.2.1]:25",
        begun=started,
        started=started,
    )
    [record] = decide(report, PATIENCE, accepted.utc, dice(3)).records
    assert (record.send_delay_seconds, record.receive_delay_seconds) == (2.0, 5.0)
    assert (record.received_at, record.transfer_started_at, record.accepted_at) == (
        received.utc,
        started.utc,
        accepted.utc,
    )


def test_the_evidence_of_every_attempt_is_in_the_row() -> None:
    first = Attempt(at=1.0, next_hop="n", relay="r", phase="rcpt", reply="450 later", status="deferred", seconds=0.1)
    [record] = decided(message(attempts=(first,)), TAKEN).records
    assert record.attempt_count == 2
    assert record.attempts.startswith('[[1.0,"n","r","rcpt","450 later","deferred",0.1,false],[')


def test_the_evidence_says_when_the_next_attempt_was_to_be() -> None:
    """contract.md §2: waiting is somebody else's as far as it was scheduled, not as long as the queue was busy."""
    [settlement] = decided(message(), LATER).settlements
    [attempt] = settlement.attempts
    assert attempt.due == settlement.due > NOW.utc
    what = message(attempts=(attempt,))
    [record] = decided(what, TAKEN).records
    [first, last] = decode_attempts(record.attempts)
    assert (first.due, last.due) == (settlement.due, 0.0)


@pytest.mark.parametrize(
    ("failures", "wait"),
    [(0, 60), (1, 300), (2, 900), (3, 1800), (4, 3600), (7, 3600), (8, 4 * 3600), (15, 4 * 3600)],
)
def test_the_schedule_is_the_configurations_with_a_tenth_of_jitter(failures: int, wait: float) -> None:
    tried = Attempt(at=0.0, next_hop="", relay="", phase="", reply="", status="deferred", seconds=0.0)
    waiting = message(attempts=(tried,) * failures)
    dues = [PATIENCE.next_due(waiting, waiting.recipients[0], NOW.utc, dice(seed)) - NOW.utc for seed in range(50)]
    assert 0.9 * wait <= min(dues) < 0.95 * wait
    assert 1.05 * wait < max(dues) <= 1.1 * wait


def test_the_last_attempt_falls_on_the_expiry() -> None:
    tried = Attempt(at=0.0, next_hop="", relay="", phase="", reply="", status="deferred", seconds=0.0)
    old = message(attempts=(tried,) * 20)
    end = NOW.utc + Queue().expire
    due = PATIENCE.next_due(old, old.recipients[0], end - HOUR, dice(1))
    assert due == end


def test_a_failure_at_the_end_of_the_time_is_the_last() -> None:
    decision = decided(message(), LATER, now=NOW.utc + Queue().expire)
    assert [s.state for s in decision.settlements] == [RecipientState.EXPIRED]
    assert [e.status for e in decision.events] == ["expired"]
    assert kinds(decision) == ["failed"]


def test_time_held_or_in_quarantine_does_not_count() -> None:
    held = message()
    held = replace(held, recipients=(replace(held.recipients[0], held_seconds=10 * HOUR),))
    decision = decided(held, LATER, now=NOW.utc + Queue().expire)
    assert [s.state for s in decision.settlements] == [RecipientState.QUEUED]
    assert decision.settlements[0].held_seconds == 10 * HOUR


def test_a_dead_next_hop_is_not_tried_before_its_rest_is_over() -> None:
    [settlement] = decided(message(), LATER, not_before=NOW.utc + 7000).settlements
    assert settlement.due == NOW.utc + 7000


@pytest.mark.parametrize(
    ("notify", "reply", "hours", "kind"),
    [
        (None, UNKNOWN, 0, ["failed"]),
        (None, LATER, 5, ["delayed"]),
        (None, LATER, 3, []),
        (None, TAKEN, 0, []),
        ({"NEVER"}, UNKNOWN, 0, []),
        ({"NEVER"}, LATER, 5, []),
        ({"FAILURE"}, UNKNOWN, 0, ["failed"]),
        ({"FAILURE"}, LATER, 5, []),
        ({"DELAY"}, LATER, 5, ["delayed"]),
        ({"DELAY"}, UNKNOWN, 0, []),
        ({"SUCCESS"}, TAKEN, 0, ["relayed"]),
        ({"SUCCESS"}, UNKNOWN, 0, []),
    ],
)
def test_the_sender_hears_what_notify_asks_for(
    notify: set[str] | None, reply: Reply, hours: int, kind: list[str]
) -> None:
    wanted = to("a@x.test", notify=None if notify is None else frozenset(notify))
    decision = decided(message(wanted), reply, now=NOW.utc + hours * HOUR, success="relayed")
    assert kinds(decision) == kind


@pytest.mark.parametrize("about", ["hostile", "quarantined", "null sender"])
def test_nobody_is_told_of_what_must_not_be_answered(about: str) -> None:
    # Invariant 4; RFC 5321 §4.5.5.
    what = {
        "hostile": message(hostile=True),
        "quarantined": message(action="quarantine"),
        "null sender": message(reverse_path=""),
    }[about]
    assert kinds(decided(what, UNKNOWN)) == []
    assert kinds(decided(what, LATER, now=NOW.utc + Queue().expire)) == []


def test_a_delay_is_told_once() -> None:
    decision = decided(message(), LATER, now=NOW.utc + 5 * HOUR)
    assert decision.settlements[0].delay_noticed
    assert kinds(decided(message(delay_noticed=True), LATER, now=NOW.utc + 6 * HOUR)) == []


def test_a_success_that_the_next_hop_reports_is_not_reported_twice() -> None:
    wanted: Recipient = to("a@x.test", notify=frozenset({"SUCCESS"}))
    assert kinds(decided(message(wanted), TAKEN, success="")) == []


def test_the_next_hops_words_are_kept_in_one_line_and_within_bounds() -> None:
    long = Reply(450, None, "\n".join(["x" * 2000] * 100))
    decision = decided(message(), long)
    [attempt] = decision.settlements[0].attempts
    assert "\n" not in attempt.reply
    assert len(attempt.reply) == 4096


def test_our_own_causes_are_told_from_a_next_hops_words() -> None:
    assert causes.is_remote(UNKNOWN)
    assert not causes.is_remote(causes.TIMED_OUT.saying("timed out with x"))
