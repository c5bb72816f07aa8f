"""Clocks, minutes and the heartbeat: the contract's time, also where clocks are changed or stand still."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.blocklist.local.declaration import Calendar
from gateway.blocklist.local.workdays import WorkingCalendar
from gateway.clock import FakeClock
from gateway.servicelevel.clocks import new_deadline
from gateway.servicelevel.deadline import KINDS, DeadlineState
from gateway.servicelevel.heartbeat import Beat, Heartbeat
from gateway.servicelevel.minutes import IDLE, NOT_RUNNING, MinuteState, judged
from gateway.servicelevel.month import Month, day_of, parse_instant, shown
from gateway.servicelevel.observing import mostly_within, not_running, unserved
from gateway.servicelevel.store import Observed

ZONE = "Asia/Shanghai"
CALENDAR = WorkingCalendar(Calendar())


def at(text: str) -> float:
    return parse_instant(text, ZONE)


@pytest.mark.parametrize(
    ("kind", "start", "due"),
    [
        ("provisioning", "2026-11-20T15:00", "2026-11-21 15:00:00"),
        ("provisioning-with-domain", "2026-11-20T15:00", "2026-11-22 15:00:00"),
        # A Friday: the weekend is not worked.
        ("ticket-response", "2026-11-20T15:00", "2026-11-23 15:00:00"),
        ("complaint-outcome", "2026-11-20T15:00", "2026-11-23 15:00:00"),
        # National Day 2025 was off from 1 to 8 October; 28 September, a Sunday, was worked instead.
        ("ticket-response", "2025-09-30T10:00", "2025-10-09 10:00:00"),
        ("ticket-response", "2025-09-27T10:00", "2025-09-29 00:00:00"),
    ],
)
def test_a_clock_is_due_in_calendar_or_working_time(kind, start, due):
    deadline = new_deadline(KINDS[kind], "x", "", at(start), CALENDAR)
    assert shown(deadline.due, ZONE) == due


def test_a_year_that_is_not_announced_has_the_holidays_of_every_year_and_says_that_it_is_supposed():
    # A year that no edition of the calendar knows; 31 December 2097 is a Tuesday.
    for start, due in (
        ("2097-12-31T15:00", "2098-01-02 15:00:00"),
        ("2098-04-30T15:00", "2098-05-05 15:00:00"),
        ("2098-09-30T15:00", "2098-10-06 15:00:00"),
    ):
        deadline = new_deadline(KINDS["ticket-response"], "x", "", at(start), CALENDAR)
        assert (shown(deadline.due, ZONE), deadline.official) == (due, False)
    own = WorkingCalendar(Calendar(off=("2098-01-02",), working=("2098-01-04",)))
    told = new_deadline(KINDS["ticket-response"], "x", "", at("2097-12-31T15:00"), own)
    assert shown(told.due, ZONE) == "2098-01-03 15:00:00"


def test_a_deadline_tells_where_it_stands():
    deadline = new_deadline(KINDS["provisioning"], "x", "", 0.0, CALENDAR)
    day = 86_400.0
    assert deadline.state(day / 2) is DeadlineState.OPEN
    assert deadline.state(day * 0.8) is DeadlineState.NEAR
    assert deadline.state(day) is DeadlineState.NEAR
    assert deadline.state(day + 1) is DeadlineState.OVERDUE


@pytest.mark.parametrize(
    ("zone", "month", "hours"),
    [(ZONE, "2026-03", 744), ("Europe/Berlin", "2026-03", 743), ("Europe/Berlin", "2026-10", 745)],
)
def test_a_month_has_the_hours_of_its_zone(zone, month, hours):
    start, end = Month.parse(month, zone).span
    assert (end - start) / 3600 == hours


def test_midnight_belongs_to_the_day_it_begins():
    start, end = Month.parse("2026-12", ZONE).span
    assert shown(start, ZONE) == "2026-12-01 00:00:00"
    assert (day_of(start, ZONE), day_of(start - 0.001, ZONE)) == ("2026-12-01", "2026-11-30")
    assert day_of(end - 0.001, ZONE) == "2026-12-31"


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "26-11", "2026-11-01", ""])
def test_what_is_no_month_is_refused(text):
    with pytest.raises(ValueError, match="a month such as"):
        Month.parse(text, ZONE)


def test_a_beat_on_time_says_nothing(tmp_path):
    clock = FakeClock()
    heart = Heartbeat(tmp_path, clock)
    assert heart.look() == Beat()
    heart.beat()
    assert heart.look() == Beat()
    clock.advance(5.0)
    assert Heartbeat(tmp_path, clock).look() == Beat()


def test_a_gateway_that_did_not_run_knows_since_when(tmp_path):
    clock = FakeClock()
    Heartbeat(tmp_path, clock).beat()
    stopped = clock.stamp().utc
    clock.advance(180.0)
    beat = Heartbeat(tmp_path, clock).look()
    assert beat.missed == (stopped, stopped + 180.0)
    assert beat.jump is None


def test_a_clock_that_is_set_is_no_outage(tmp_path):
    clock = FakeClock()
    Heartbeat(tmp_path, clock).beat()
    before = json.loads((tmp_path / "servicelevel/heartbeat").read_text())
    clock.advance(5.0)
    (tmp_path / "servicelevel/heartbeat").write_text(json.dumps(before | {"utc": before["utc"] - 3600}))
    beat = Heartbeat(tmp_path, clock).look()
    assert beat.missed is None
    assert beat.jump.by == pytest.approx(3600.0)


def test_after_a_reboot_the_wall_clock_is_all_there_is(tmp_path):
    Heartbeat(tmp_path, FakeClock(1_790_000_000.0, "before")).beat()
    beat = Heartbeat(tmp_path, FakeClock(1_790_000_600.0, "after")).look()
    assert beat.missed == (1_790_000_000.0, 1_790_000_600.0)


@pytest.mark.parametrize("octets", [b"", b"{", b"[]", b"3", b'{"utc": "x"}', b'{"utc": []}', b"\xff"])
def test_a_damaged_heartbeat_is_as_good_as_none(tmp_path, octets):
    (tmp_path / "servicelevel").mkdir()
    (tmp_path / "servicelevel/heartbeat").write_bytes(octets)
    assert Heartbeat(tmp_path, FakeClock()).look().missed is None


@pytest.mark.parametrize("begin", [0.0, 13.0, 29.9, 45.0])
def test_three_minutes_are_three_minutes_wherever_they_begin(begin):
    runs = not_running(["example"], (6_000.0 + begin, 6_180.0 + begin))
    assert [values[4] - values[3] + 1 for _, values in runs] == [3, 3]


@given(st.integers(0, 600), st.integers(1, 600))
def test_a_minute_is_down_when_half_of_it_or_more_was(start, length):
    end = start + length
    spent = [min(end, n * 60 + 60) - max(start, n * 60) for n in range(25)]
    first, last = mostly_within((float(start), float(end)))
    assert [n for n in range(25) if spent[n] >= 30] == list(range(first, last + 1))


def test_mail_that_was_taken_shows_that_the_gateway_ran():
    assert unserved((100.0, 160.0), [], 10.0) == ((100.0, 160.0),)
    assert unserved((100.0, 160.0), [108.0, 112.0, 155.0], 10.0) == ((112.0, 155.0),)
    assert unserved((100.0, 115.0), [107.0], 10.0) == ()


def seen(direction: str, state: str, first: int, last: int, reason: str = "") -> Observed:
    return Observed(customer="x", direction=direction, state=state, first=first, last=last, reason=reason)


def words(minutes) -> list[str]:
    return [MinuteState(state).word for state in minutes.states]


def test_mail_that_passed_makes_up_for_a_probe_that_was_not_made_and_never_undoes_one_that_failed():
    runs = [seen("send", "up", 0, 3), seen("receive", "up", 0, 0), seen("receive", "down", 2, 2, "refused")]
    minutes = judged(runs, (0.0, 240.0), (), {"receive": {1, 2}})
    assert words(minutes) == ["up", "up", "down-receive", "unknown"]
    assert minutes.contradicted == 1


def test_a_gateway_that_ran_for_a_part_of_a_minute_may_have_taken_mail_in_it():
    runs = [seen(direction, "down", 0, 1, NOT_RUNNING) for direction in ("send", "receive")]
    minutes = judged(runs, (0.0, 120.0), (), {"receive": {0, 1}})
    assert words(minutes) == ["down", "down"]
    assert minutes.contradicted == 0


def test_where_nobody_sends_received_mail_speaks_for_the_minute():
    runs = [seen("send", "up", 0, 0, IDLE), seen("receive", "up", 0, 0)]
    assert words(judged(runs, (0.0, 180.0), (), {"receive": {1}})) == ["up", "up", "unknown"]
    assert words(judged(runs[1:], (0.0, 180.0), (), {"receive": {1}})) == ["unknown", "unknown", "unknown"]


def test_received_mail_speaks_for_sending_only_until_somebody_sends_through_here():
    runs = [
        seen("send", "up", 0, 0, IDLE),
        *(seen(direction, "down", 1, 1, NOT_RUNNING) for direction in ("send", "receive")),
        seen("send", "up", 3, 3),
        seen("receive", "up", 0, 5),
    ]
    minutes = judged(runs, (0.0, 360.0), (), {"receive": set(range(6))})
    assert words(minutes) == ["up", "down", "up", "up", "unknown", "unknown"]


def test_a_month_of_restarts_is_judged_as_the_same_looks_without_them():
    """Each restart ends a run: what nobody sends through is one stretch of time for all that."""
    idle = [seen("send", "up", at, at + 1, IDLE) for at in range(0, 60, 3)]
    restarts = [seen("send", "down", at, at, NOT_RUNNING) for at in range(2, 60, 3)]
    used = [seen("send", "up", 60, 60), seen("send", "up", 63, 63, IDLE)]
    mailed = {"receive": {61, 62, 64}}
    with_restarts = words(judged([*idle, *restarts, *used], (0.0, 3960.0), (), mailed))
    assert with_restarts[60:] == ["unknown", "unknown", "unknown", "unknown", "up", "unknown"]
    assert words(judged([seen("send", "up", 0, 59, IDLE), *used], (0.0, 3960.0), (), mailed))[60:] == with_restarts[60:]


def test_a_minute_is_up_only_when_both_directions_were_seen_to_work():
    runs = [
        seen("send", "up", 0, 5),
        seen("receive", "up", 0, 2),
        seen("receive", "down", 2, 3),
        seen("send", "down", 3, 3),
    ]
    minutes = judged(runs, (0.0, 420.0), ())
    assert [MinuteState(state).word for state in minutes.states] == [
        "up",
        "up",
        "down-receive",
        "down",
        "unknown",
        "unknown",
        "unknown",
    ]
    assert minutes.unreachable(count_unknown=True, excluding=True) == 5
    assert minutes.unreachable(count_unknown=False, excluding=True) == 2
