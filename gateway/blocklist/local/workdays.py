"""The Chinese working-day calendar: weekends, public holidays, and the weekends that are worked instead (调休).

The days come from chinesecalendar, the year's arrangement as the State Council announces it each November; an
administrator's own days come before it. For a year not announced yet Monday to Friday are taken, but for the holidays
that the law has on one date every year, and the answer says that it is not official. The door to chinesecalendar.

A deadline of one working day (contract.md §4 d): the clock stands still on days that are not worked. What is published
on Friday at 15:00 is due on Monday at 15:00; what is published on Sunday is due at the end of Monday.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import chinese_calendar

from gateway.blocklist.local.declaration import Calendar

_SATURDAY = 5
# By the State Council's regulations, as in force from 2025: New Year, Labour Day, National Day (month, day).
_EVERY_YEAR = frozenset({(1, 1), (5, 1), (5, 2), (10, 1), (10, 2), (10, 3)})
# Longer than any run of days off; a calendar of overrides without a working day must not search for ever.
_MAX_DAYS = 400


@dataclass(frozen=True, slots=True)
class Day:
    """Whether a day is worked, and whether that is announced or only supposed."""

    worked: bool
    official: bool


@dataclass(frozen=True, slots=True)
class Deadline:
    """``at`` in UTC seconds; ``official`` False when a day on the way was not announced yet."""

    at: float
    official: bool


class WorkingCalendar:
    """Days in one time zone, with an administrator's own."""

    def __init__(self, calendar: Calendar) -> None:
        self._zone = ZoneInfo(calendar.zone)
        self._own = dict.fromkeys(map(date.fromisoformat, calendar.off), False)
        self._own |= dict.fromkeys(map(date.fromisoformat, calendar.working), True)

    def day(self, day: date) -> Day:
        """Return what a day is."""
        own = self._own.get(day)
        if own is not None:
            return Day(own, official=True)
        try:
            return Day(chinese_calendar.is_workday(day), official=True)
        except NotImplementedError:
            off = day.weekday() >= _SATURDAY or (day.month, day.day) in _EVERY_YEAR
            return Day(not off, official=False)

    def deadline(self, published: float, days: int) -> Deadline:
        """Return the moment ``days`` working days after ``published`` (UTC seconds)."""
        moment = datetime.fromtimestamp(published, UTC).astimezone(self._zone)
        official = True
        for _ in range(days):
            moment, announced = self._started(moment)
            if moment.time() == time.min:
                # The whole day is used; whether the next one is worked is for what follows.
                moment = datetime.combine(moment.date() + timedelta(days=1), time.min, self._zone)
                following = True
            else:
                day, following = self._next_worked(moment.date())
                moment = datetime.combine(day, moment.time(), self._zone)
            official = official and announced and following
        return Deadline(moment.timestamp(), official)

    def _started(self, moment: datetime) -> tuple[datetime, bool]:
        """Return when the clock runs: now, or from the beginning of the next day that is worked."""
        today = self.day(moment.date())
        if today.worked:
            return moment, today.official
        day, official = self._next_worked(moment.date())
        return datetime.combine(day, time.min, self._zone), official and today.official

    def parse(self, text: str) -> float:
        """Return UTC seconds of a time as an operator writes it, in this zone unless it names one; ValueError."""
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=self._zone)).timestamp()

    def shown(self, at: float) -> str:
        """Return a moment as people here read it."""
        return f"{datetime.fromtimestamp(at, UTC).astimezone(self._zone):%Y-%m-%d %H:%M %z}"

    def _next_worked(self, day: date) -> tuple[date, bool]:
        official = True
        for _ in range(_MAX_DAYS):
            day += timedelta(days=1)
            found = self.day(day)
            official = official and found.official
            if found.worked:
                break
        return day, official
