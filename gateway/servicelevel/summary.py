"""One customer's day of delays in one direction: everything the report needs of it, and it can be added up.

Counts, sums and maxima are exact; quantiles have the sketch's stated error. ``stations`` say where the time went, of
each station what is said of the whole; ``excluded`` what was excluded automatically, by system and cause.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.ledger.finished import FinishedCopy
from gateway.servicelevel.figures import Figures, micros
from gateway.servicelevel.month import MINUTE
from gateway.servicelevel.sample import RECEIVE, Counted
from gateway.servicelevel.sketch import class_of
from gateway.servicelevel.waiting import CLASSES, Wait

STATIONS = ("filters", "antivirus", "store", "hold", "queue", "transfer")
"""Where a delay is spent: judging without the scanner, the scanner, making durable, quarantine and hold, waiting for
the next hop with all attempts before the last, the transfer that succeeded."""

# Systems and causes told apart on one day; the rest is one line, so that spam to a million domains stays small.
MAX_CAUSES = 300
_OTHERS = ("", "", "", "others")


@dataclass(slots=True)
class ExcludedWaiting:
    """Automatic exclusions of one system and cause: ``waits`` intervals, ``us`` together, first and last instant."""

    waits: int = 0
    us: int = 0
    first: float = float("inf")
    last: float = 0.0

    def add(self, other: "ExcludedWaiting") -> None:
        """Count what ``other`` has."""
        self.waits += other.waits
        self.us += other.us
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)

    def values(self) -> tuple[int, int, float, float]:
        """Return its fields in order."""
        return self.waits, self.us, self.first, self.last


CauseKey = tuple[str, str, str, str]
"""Class letter, system, phase, cause."""


@dataclass(slots=True)
class DaySummary:
    """Mergeable; ``last_finished`` is the UTC second at which the latest of its copies ended.

    ``mailed`` are the minutes (numbers since 1970) in which a copy was taken and, in the same minute, passed on.
    """

    before: Figures = field(default_factory=Figures)
    after: Figures = field(default_factory=Figures)
    stations: list[Figures] = field(default_factory=lambda: [Figures() for _ in STATIONS])
    held: int = 0
    greylisted: int = 0
    greylisted_us: int = 0
    given_up: int = 0
    doubtful: int = 0
    excluded: dict[CauseKey, ExcludedWaiting] = field(default_factory=dict)
    last_finished: float = 0.0
    mailed: set[int] = field(default_factory=set)

    def add(self, copy: FinishedCopy, counted: Counted, limit_us: int) -> None:
        """Count one copy."""
        self.last_finished = max(self.last_finished, copy.finished_at)
        if copy.held_seconds:
            self.held += 1
        if counted.doubtful:
            self.doubtful += 1
        if copy.greylisted_seconds:
            self.greylisted += 1
            self.greylisted_us += micros(copy.greylisted_seconds)
        if counted.delivered:
            before_us, after_us = counted.before_us, counted.after_us
            known = class_of(before_us)
            self.before.add(before_us, limit_us, known)
            self.after.add(after_us, limit_us, known if after_us == before_us else class_of(after_us))
            self._spent(copy, counted, limit_us)
            if copy.accepted_at is not None and (minute := copy.received_at // MINUTE) == copy.accepted_at // MINUTE:
                self.mailed.add(int(minute))
        else:
            self.given_up += 1
            self.before.undelivered_over += counted.before_us > limit_us
            self.after.undelivered_over += counted.after_us > limit_us
        for wait, seconds in counted.waits:
            self._exclude(counted.owner, wait, seconds)

    def _spent(self, copy: FinishedCopy, counted: Counted, limit_us: int) -> None:
        antivirus = micros(copy.antivirus_seconds) if copy.antivirus_seconds else 0
        filters = max(0, micros(copy.filtered_seconds) - antivirus)
        store = micros(copy.durable_seconds)
        hold = micros(copy.held_seconds) if copy.held_seconds else 0
        transfer = 0
        if counted.direction == RECEIVE:
            transfer = counted.before_us - micros(copy.send_delay_seconds or 0.0)
        queue = max(0, counted.before_us - filters - antivirus - store - hold - transfer)
        for station, spent in zip(self.stations, (filters, antivirus, store, hold, queue, transfer), strict=True):
            # A station that a copy did not pass is none of its samples.
            if spent > 0:
                station.add(spent, limit_us, class_of(spent))

    def _exclude(self, owner: str, wait: Wait, seconds: float) -> None:
        if seconds > 0:
            key = (CLASSES[owner].value, wait.system, wait.phase, wait.cause)
            self._merge_excluded(key, ExcludedWaiting(1, micros(seconds), *wait.interval))

    def _merge_excluded(self, key: CauseKey, more: ExcludedWaiting) -> None:
        if key not in self.excluded and len(self.excluded) >= MAX_CAUSES:
            key = (key[0], *_OTHERS[1:])
        self.excluded.setdefault(key, ExcludedWaiting()).add(more)

    def merge(self, other: "DaySummary") -> None:
        """Count everything that ``other`` has."""
        self.before.merge(other.before)
        self.after.merge(other.after)
        for mine, its in zip(self.stations, other.stations, strict=True):
            mine.merge(its)
        self.held += other.held
        self.greylisted += other.greylisted
        self.greylisted_us += other.greylisted_us
        self.given_up += other.given_up
        self.doubtful += other.doubtful
        for key, more in other.excluded.items():
            self._merge_excluded(key, more)
        self.last_finished = max(self.last_finished, other.last_finished)
        self.mailed |= other.mailed

    @property
    def copies(self) -> int:
        """Copies counted, delivered and given up."""
        return self.before.count + self.given_up

    def encode(self) -> str:
        """Return the summary as text for storing; equal summaries give equal texts."""
        return _text(self._values([[*key, *each.values()] for key, each in sorted(self.excluded.items())]))

    def stated(self) -> str:
        """Return the summary for a digest: equal for the same mail, in whatever order it was counted.

        Which causes were told apart on a day that had too many depends on the order; what they are together does not.
        """
        if not any(key[1:] == _OTHERS[1:] for key in self.excluded):
            return self.encode()
        classes: dict[str, ExcludedWaiting] = {}
        for key, each in self.excluded.items():
            classes.setdefault(key[0], ExcludedWaiting()).add(each)
        return _text(self._values([[letter, *each.values()] for letter, each in sorted(classes.items())]))

    def _values(self, excluded: list[list[Any]]) -> dict[str, Any]:
        return {
            "before": self.before.as_json(),
            "after": self.after.as_json(),
            "stations": [station.as_json() for station in self.stations],
            "counts": [self.held, self.greylisted, self.greylisted_us],
            "ends": [self.given_up, self.doubtful, self.last_finished],
            "excluded": excluded,
            "mailed": _packed(self.mailed),
        }

    @classmethod
    def decode(cls, text: str) -> "DaySummary":
        """Return the summary that was stored."""
        stored = json.loads(text)
        held, greylisted, greylisted_us = stored["counts"]
        given_up, doubtful, last_finished = stored["ends"]
        excluded = {tuple(entry[:4]): ExcludedWaiting(*entry[4:]) for entry in stored["excluded"]}
        return cls(
            before=Figures.of_json(stored["before"]),
            after=Figures.of_json(stored["after"]),
            stations=[Figures.of_json(station) for station in stored["stations"]],
            held=held,
            greylisted=greylisted,
            greylisted_us=greylisted_us,
            given_up=given_up,
            doubtful=doubtful,
            excluded=excluded,
            last_finished=last_finished,
            mailed=_unpacked(stored.get("mailed", _NO_MINUTES)),
        )


_NO_MINUTES = (0, "")


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=True, separators=(",", ":"))


def _packed(minutes: set[int]) -> tuple[int, str]:
    """Return the first minute and, from there on, a bit for each, the first the lowest, as hexadecimal digits."""
    if not minutes:
        return _NO_MINUTES
    base = min(minutes)
    return base, f"{sum(1 << (minute - base) for minute in minutes):x}"


def _unpacked(packed: Sequence[Any]) -> set[int]:
    base, digits = packed
    bits = f"{int(digits, 16):b}"[::-1] if digits else ""
    return {base + place for place, bit in enumerate(bits) if bit == "1"}


def total(summaries: "list[DaySummary]") -> DaySummary:
    """Return several days as one."""
    whole = DaySummary()
    for summary in summaries:
        whole.merge(summary)
    return whole
