"""Monitoring decides by these numbers: right for all workers together, documented, never growing without bound."""

import time
import timeit
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.abuse.standing import Standing
from gateway.admin.metrics import Metrics
from gateway.admin.registry import MAX_CHILDREN, merge
from gateway.journal.duty_events import DeskActed
from gateway.journal.events import ConfigurationChanged, RecipientRefused, SessionClosed, StorageFailed

README = (Path(__file__).parents[2] / "gateway" / "admin" / "README.md").read_text(encoding="utf-8")


def read(*metrics):
    text = merge([m.snapshot() for m in metrics]).decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_two_workers_add_up(judged, attempted):
    one, two = Metrics("0"), Metrics("1")
    one.emit(judged())
    two.emit(judged(octets=1000))
    two.emit(attempted())
    values = read(one, two)
    assert values["tidegate_messages_total", ("role", "mx"), ("status", "queued")] == 2
    assert values["tidegate_received_bytes_total",] == 9192
    assert values["tidegate_message_size_bytes_count",] == 2
    assert values["tidegate_message_size_bytes_sum",] == 9192
    assert values["tidegate_message_size_bytes_bucket", ("le", "1024.0")] == 1
    assert values["tidegate_message_size_bytes_bucket", ("le", "16384.0")] == 2
    assert values["tidegate_message_size_bytes_bucket", ("le", "+Inf")] == 2
    assert values["tidegate_delivery_attempts_total", ("status", "sent")] == 1


def test_a_snapshot_counts_everything_once(judged):
    metrics = Metrics("0")
    for expected in (1, 2, 3):
        metrics.emit(judged())
        assert read(metrics)["tidegate_recipients_total", ("action", "accept")] == expected


def test_a_refused_message_was_never_durable_and_does_not_count_as_such(judged):
    metrics = Metrics("0")
    metrics.emit(judged(reply="550 5.7.1 refused", durable_at=0.0, durable_seconds=0.0))
    values = read(metrics)
    assert values["tidegate_messages_total", ("role", "mx"), ("status", "rejected")] == 1
    assert values["tidegate_durable_seconds_count",] == 0


def test_a_message_that_several_policies_had_scanned_is_one_scan_as_long_as_the_longest(judged):
    metrics = Metrics("0")
    metrics.emit(judged(filter_seconds=(("antivirus", 0.5), ("helo", 9.0), ("antivirus", 0.25))))
    metrics.emit(judged())
    values = read(metrics)
    assert values["tidegate_antivirus_seconds_count",] == 1
    assert values["tidegate_antivirus_seconds_sum",] == 0.5


def test_the_delay_of_a_failed_attempt_is_no_delivery_delay(attempted):
    metrics = Metrics("0")
    metrics.emit(attempted(status="deferred", possible_duplicate=True))
    values = read(metrics)
    assert values["tidegate_delivery_delay_seconds_count",] == 0
    assert values["tidegate_possible_duplicates_total",] == 1


def test_the_oldest_message_and_the_start_are_not_added_up():
    one, two = Metrics("0"), Metrics("1")
    one.mail.observe_queue({"recipients": {"queued": 2, "held": 1}, "messages": 2, "oldest_seconds": 10.0})
    two.mail.observe_queue({"recipients": {"queued": 3}, "messages": 3, "oldest_seconds": 99.0})
    values = read(one, two)
    assert values["tidegate_queue_oldest_seconds",] == 99.0
    assert values["tidegate_queue_recipients", ("state", "queued")] == 5
    assert values["tidegate_queue_recipients", ("state", "held")] == 1
    assert values["tidegate_start_time_seconds",] == pytest.approx(time.time(), abs=60)


def test_a_state_that_became_empty_is_zero_and_not_its_last_value():
    metrics = Metrics("0")
    metrics.mail.observe_queue({"recipients": {"quarantined": 4}, "messages": 4, "oldest_seconds": 1.0})
    metrics.mail.observe_queue({"recipients": {}, "messages": 0, "oldest_seconds": 0.0})
    assert read(metrics)["tidegate_queue_recipients", ("state", "quarantined")] == 0


def test_labels_stay_bounded_whatever_comes():
    metrics = Metrics("0")
    for number in range(MAX_CHILDREN + 100):
        event = RecipientRefused(
            at=1.0, client="c", helo="h", reverse_path="", recipient="r", reply="550", reason="", filter=f"f{number}"
        )
        metrics.emit(event)
    values = read(metrics)
    labels = [key for key in values if key[0] == "tidegate_recipients_refused_total"]
    assert len(labels) == MAX_CHILDREN + 1
    assert values["tidegate_recipients_refused_total", ("code", "other"), ("filter", "other")] == 100


def test_failures_and_reloads_are_counted():
    metrics = Metrics("")
    metrics.emit(StorageFailed(at=1.0, store="spool", operation="write", error="no room"))
    metrics.emit(ConfigurationChanged(at=1.0, digest="d", changed=(), errors=("bad",)))
    metrics.emit(
        SessionClosed(
            at=1.0, client="c", role="mx", helo="", tls="", end="timeout", messages=0, commands=0, errors=0, seconds=1.0
        )
    )
    metrics.mail.observe_sessions(7)
    metrics.observe_dropped(journal=3, log=4)
    values = read(metrics)
    assert values["tidegate_storage_failures_total", ("store", "spool")] == 1
    assert values["tidegate_reloads_total", ("outcome", "refused")] == 1
    assert values["tidegate_sessions_total", ("end", "timeout"), ("role", "mx")] == 1
    assert values["tidegate_sessions_open",] == 7
    assert values["tidegate_journal_dropped_events",] == 3
    assert values["tidegate_log_dropped_lines",] == 4
    assert values["tidegate_resident_bytes", ("process", "supervisor")] > 1_000_000


def test_the_abuse_desks_work_is_counted_and_what_is_over_is_gone():
    """Who is on duty sees by these numbers that a complaint waits too long, or that the keeper does not keep up."""
    metrics = Metrics("")
    for what in ("reported", "reported", "mail-bounced"):
        metrics.emit(DeskActed(at=1.0, what=what, incident=1, subject="report 1", reason="", by="tidegate"))
    metrics.duties.observe_keeper(folded=5, lag_seconds=0.25)
    metrics.duties.observe_keeper(folded=7, lag_seconds=90.0)
    desk = {"blocks": 3, "suspensions": 1, "tickets": 2, "overdue": 1, "mails_waiting": 4}
    metrics.duties.observe_desk(Standing(incidents={"open": 2, "blocked": 3}, **desk))
    metrics.duties.observe_desk(Standing(incidents={"open": 0, "blocked": 3}, **desk | {"overdue": 0}))
    values = read(metrics, Metrics("0"))
    assert values["tidegate_desk_acts_total", ("what", "reported")] == 2
    assert values["tidegate_desk_acts_total", ("what", "mail-bounced")] == 1
    assert (values["tidegate_sightings_total",], values["tidegate_incident_lag_seconds",]) == (7, 90)
    assert values["tidegate_incidents", ("state", "open")] == 0
    assert values["tidegate_desk_holds", ("kind", "suspension")] == 1
    assert (values["tidegate_tickets_open",], values["tidegate_tickets_overdue",]) == (2, 0)
    assert values["tidegate_desk_mails_waiting",] == 4


def test_an_undocumented_metric_fails():
    documented = {line.split("`")[1] for line in README.splitlines() if line.startswith("| `tidegate_")}
    families = Metrics("0").snapshot()
    names = {f["name"] + ("_total" if f["kind"] == "counter" else "") for f in families}
    assert names == documented


def test_the_mail_path_pays_little(judged):
    metrics, event = Metrics("0"), judged()
    # timeit keeps the collector out, which would count what other tests left.
    spent = timeit.repeat(lambda: metrics.emit(event), timer=time.thread_time, number=400, repeat=5)
    assert min(spent) / 400 < 20e-6
