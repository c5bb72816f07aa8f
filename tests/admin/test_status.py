"""Load balancers and people decide by the status: ready means mail is taken, rates are of the last minute."""

import pytest

from gateway.admin.status import FAILING_SECONDS, RateMeter, StoreHealth, gateway_status, readiness
from gateway.journal.events import StorageFailed

NOW = 1_790_000_000.0


def test_rates_are_of_the_last_minute(judged, attempted):
    meter = RateMeter(started_at=NOW - 1000)
    for second in range(120):
        meter.emit(judged(at=NOW + second))
        meter.emit(attempted(at=NOW + second))
        meter.emit(attempted(at=NOW + second))
    assert meter.rates(NOW + 119) == {"messages_in": 1.0, "recipients_out": 2.0}
    assert meter.rates(NOW + 149) == {"messages_in": 0.5, "recipients_out": 1.0}
    assert meter.rates(NOW + 1000) == {"messages_in": 0.0, "recipients_out": 0.0}


def test_rates_of_a_young_gateway_are_not_thinned_by_the_time_before(judged):
    meter = RateMeter(started_at=NOW)
    for _ in range(20):
        meter.emit(judged(at=NOW + 5))
    assert meter.rates(NOW + 10)["messages_in"] == 2.0


def test_refused_mail_and_failed_attempts_are_no_throughput(judged, attempted):
    meter = RateMeter(started_at=NOW - 1000)
    meter.emit(judged(at=NOW, durable_at=0.0, reply="550 5.7.1 no"))
    meter.emit(attempted(at=NOW, status="deferred"))
    assert meter.rates(NOW) == {"messages_in": 0.0, "recipients_out": 0.0}


def test_a_clock_set_back_does_not_break_the_count(judged):
    meter = RateMeter(started_at=NOW - 1000)
    meter.emit(judged(at=NOW))
    meter.emit(judged(at=NOW - 5000))
    meter.emit(judged(at=NOW - 10))
    assert meter.rates(NOW)["messages_in"] == pytest.approx(2 / 60)


@pytest.mark.parametrize(
    ("states", "ready", "reason"),
    [
        (["serving", "serving"], True, ""),
        ([], False, "starting"),
        (["serving", "starting"], False, "starting"),
        (["serving", "draining"], False, "draining"),
        (["serving", "failing"], False, "worker 1 is failing"),
        (["gone", "serving"], False, "worker 0 is gone"),
    ],
)
def test_readiness(states, ready, reason):
    assert readiness(states) == (ready, reason)


@pytest.mark.parametrize(
    ("store", "failing"), [("spool", True), ("shard-1", True), ("journal", False), ("retention", False)]
)
def test_only_the_spools_failure_keeps_mail_away_and_only_for_a_while(store, failing):
    health = StoreHealth()
    health.emit(StorageFailed(at=NOW, store=store, operation="write", error="no room"))
    assert bool(health.failing(NOW + 1)) == failing
    assert health.failing(NOW + FAILING_SECONDS) == ""


def test_the_whole_is_the_sum_of_the_workers():
    worker = {
        "worker": 0, "pid": 1, "state": "serving", "reason": "", "version": "0.1", "digest": "d", "started_at": NOW,
        "sessions": 3, "rates": {"messages_in": 1.5, "recipients_out": 2.0},
    }  # fmt: skip
    queue = {"recipients": {"queued": 1}, "messages": 1, "oldest_seconds": 5.0}
    status = gateway_status([worker, worker | {"worker": 1}], queue, (True, ""), now=NOW + 60, started_at=NOW)
    assert (status["sessions"], status["rates"]) == (6, {"messages_in": 3.0, "recipients_out": 4.0})
    assert (status["uptime_seconds"], status["ready"], status["version"], status["queue"]) == (60.0, True, "0.1", queue)
