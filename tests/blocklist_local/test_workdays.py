"""Deadlines of one working day (contract.md §4 d). If these fail, an edition is called in time that was late, or the
operator is blamed for one that was not.

The days of 2026 are the State Council's: off 1-7 October, worked Saturday 10 October and Sunday 20 September; off 15-23
February, worked Saturdays 14 and 28 February.
"""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.blocklist.local.declaration import Calendar
from gateway.blocklist.local.workdays import Day, WorkingCalendar

BEIJING = ZoneInfo("Asia/Shanghai")
CALENDAR = WorkingCalendar(Calendar())


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BEIJING).timestamp()


@pytest.mark.parametrize(
    ("published", "due"),
    [
        ("2026-11-17T10:30", "2026-11-18T10:30"),  # Tuesday
        ("2026-11-20T15:00", "2026-11-23T15:00"),  # Friday to Monday
        ("2026-11-21T09:00", "2026-11-24T00:00"),  # Saturday: the whole of Monday
        ("2026-11-22T23:59", "2026-11-24T00:00"),  # Sunday
        ("2026-11-23T00:00", "2026-11-24T00:00"),  # as Monday begins
        ("2026-09-30T17:00", "2026-10-08T17:00"),  # over the week of the National Day
        ("2026-10-03T12:00", "2026-10-09T00:00"),  # within it: the whole of Thursday
        ("2026-10-09T16:00", "2026-10-10T16:00"),  # a Saturday that is worked
        ("2026-10-10T16:00", "2026-10-12T16:00"),
        ("2026-09-20T08:00", "2026-09-21T08:00"),  # a Sunday that is worked
        ("2026-02-13T18:00", "2026-02-14T18:00"),
        ("2026-02-14T18:00", "2026-02-24T18:00"),
    ],
)
def test_one_working_day_later_by_the_chinese_calendar(published: str, due: str):
    found = CALENDAR.deadline(at(published), 1)
    assert datetime.fromtimestamp(found.at, BEIJING) == datetime.fromtimestamp(at(due), BEIJING)
    assert found.official


def test_several_days_count_days_that_are_worked():
    assert CALENDAR.deadline(at("2026-09-29T10:00"), 3).at == at("2026-10-09T10:00")
    # Saturday to the end of Monday, then the whole of Tuesday.
    assert CALENDAR.deadline(at("2026-11-21T10:00"), 2).at == at("2026-11-25T00:00")
    # The end of Friday is the beginning of a weekend; the second day is Monday.
    assert CALENDAR.deadline(at("2026-11-20T00:00"), 2).at == at("2026-11-24T00:00")


def test_a_year_not_announced_is_counted_by_weekdays_and_says_so():
    far = WorkingCalendar(Calendar())
    assert far.day(date(2099, 1, 2)) == Day(worked=True, official=False)
    assert far.day(date(2099, 1, 3)) == Day(worked=False, official=False)
    found = far.deadline(at("2099-01-02T10:00"), 1)
    assert found.at == at("2099-01-05T10:00")
    assert not found.official


def test_a_deadline_that_reaches_into_such_a_year_says_so_too():
    announced = WorkingCalendar(Calendar(off=("2098-12-31",), working=("2098-12-30",)))
    assert not announced.deadline(at("2098-12-30T10:00"), 1).official


def test_the_administrators_days_come_before_the_public_ones():
    own = WorkingCalendar(Calendar(off=("2026-11-23",), working=("2026-11-21",)))
    assert own.deadline(at("2026-11-20T15:00"), 1).at == at("2026-11-21T15:00")
    assert own.deadline(at("2026-11-21T15:00"), 1).at == at("2026-11-24T15:00")


def test_a_time_without_a_zone_is_the_calendars():
    assert CALENDAR.parse("2026-11-20T15:00") == at("2026-11-20T15:00")
    assert CALENDAR.parse("2026-11-20T07:00+00:00") == at("2026-11-20T15:00")


@given(st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)))  # noqa: DTZ001 - given its zone below
def test_a_deadline_leaves_a_whole_working_day_and_ends_with_one(moment: datetime):
    published = moment.replace(tzinfo=BEIJING).timestamp()
    due = CALENDAR.deadline(published, 1).at
    assert due >= published + 86_400
    # The instant before the deadline is within a day that is worked.
    assert CALENDAR.day(datetime.fromtimestamp(due - 1, BEIJING).date()).worked or moment.hour > 0
