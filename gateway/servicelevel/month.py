"""A customer's month and its days: civil time in the customer's zone, as UTC seconds.

A month begins and ends at midnight there; a day has 23, 24 or 25 hours where clocks are changed. Mail belongs to the
day on which its final dot came, as the stamp in the ledger has it.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from gateway.servicelevel.interval import Interval

MINUTE = 60
# Zones differ from UTC, and change, by whole quarters of an hour.
QUARTER = 900
_MONTH = re.compile(r"(\d{4})-(\d{2})")
_DECEMBER = 12


@dataclass(frozen=True, slots=True)
class Month:
    """``year`` and ``month`` (1 to 12) in ``zone``, an IANA name."""

    year: int
    month: int
    zone: str

    @classmethod
    def parse(cls, text: str, zone: str) -> "Month":
        """Return the month written ``2026-11``; ValueError."""
        match = _MONTH.fullmatch(text)
        if match is None or not 1 <= int(match[2]) <= _DECEMBER:
            raise ValueError(f"{text}: a month such as 2026-11 is wanted")
        return cls(int(match[1]), int(match[2]), zone)

    @classmethod
    def at(cls, utc: float, zone: str) -> "Month":
        """Return the month that contains an instant."""
        day = date.fromisoformat(day_of(utc, zone))
        return cls(day.year, day.month, zone)

    @property
    def first_day(self) -> date:
        """The first of the month."""
        return date(self.year, self.month, 1)

    @property
    def following(self) -> "Month":
        """The month after."""
        years, month = divmod(self.month, _DECEMBER)
        return Month(self.year + years, month + 1, self.zone)

    @property
    def span(self) -> Interval:
        """From the first instant to the first of the next month, UTC seconds."""
        return day_span(self.first_day, self.zone)[0], day_span(self.following.first_day, self.zone)[0]

    @property
    def days(self) -> tuple[str, ...]:
        """Its days, as ISO dates."""
        first, after = self.first_day, self.following.first_day
        return tuple((first + timedelta(days=n)).isoformat() for n in range((after - first).days))

    @property
    def year_span(self) -> Interval:
        """The calendar year around it."""
        return day_span(date(self.year, 1, 1), self.zone)[0], day_span(date(self.year + 1, 1, 1), self.zone)[0]

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"


def day_of(utc: float, zone: str) -> str:
    """Return the civil day of an instant, as an ISO date."""
    return _day_of_quarter(int(utc // QUARTER), zone)


@lru_cache(maxsize=4096)
def _day_of_quarter(quarter: int, zone: str) -> str:
    return datetime.fromtimestamp(quarter * QUARTER, UTC).astimezone(_zone(zone)).date().isoformat()


@lru_cache(maxsize=1024)
def day_span(day: date, zone: str) -> Interval:
    """Return a civil day's first instant and the next day's, UTC seconds."""
    first, after = (
        datetime.combine(day + timedelta(days=n), time.min, _zone(zone)).astimezone(UTC).timestamp() for n in (0, 1)
    )
    return first, after


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def shown(utc: float, zone: str) -> str:
    """Return an instant as people in the zone read it, to the second."""
    return f"{datetime.fromtimestamp(utc, UTC).astimezone(_zone(zone)):%Y-%m-%d %H:%M:%S}"


def parse_instant(text: str, zone: str) -> float:
    """Return UTC seconds of ``2026-11-20T10:00`` in the zone, unless it names its own offset; ValueError.

    Nor is a time taken that the zone has twice, or not at all, because its clocks are changed: it must name its offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=_zone(zone))
        if moment.utcoffset() != moment.replace(fold=1).utcoffset():
            raise ValueError(f"{text}: clocks are changed then in {zone}; name the offset")
    return moment.timestamp()
