"""When the next run is due: increments daily, a full one every third day, at a quiet hour (contract.md §7).

A run that failed is tried again after a quarter of an hour: the quiet hour is over then, but a backup that is missing
is worse. ``overdue`` is when a day without one has become a missed obligation.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from gateway.backup.manifest import Kind

DAY_SECONDS = 86_400.0
RETRY_SECONDS = 900.0
# A run by hand in the evening must not push the night's to the night after, which would leave a day without any; only
# one of the three hours before makes it needless.
_EARLY = 7 / 8
# A full run that was some hours late must not make each one after it later still.
_SLACK = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Seconds between increments and between full runs; ``at`` is the hour (UTC) for those a day or more apart."""

    increment_seconds: float = DAY_SECONDS
    full_seconds: float = 3 * DAY_SECONDS
    at: time = time(3, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """UTC seconds at which the last run, and the last full run, that finished had begun; and the last that failed."""

    last: float | None = None
    last_full: float | None = None
    failed: float | None = None


def due_at(plan: Plan, history: History, now: float) -> float:
    """Return the UTC second at which the next run is due; one that is past means now."""
    if history.failed is not None and history.failed > (history.last or 0.0):
        return history.failed + RETRY_SECONDS
    if history.last is None:
        return now
    if plan.increment_seconds < DAY_SECONDS:
        return history.last + plan.increment_seconds
    earliest = history.last + plan.increment_seconds - _EARLY * DAY_SECONDS
    return _next_time(earliest, plan.at)


def kind_at(plan: Plan, history: History, at: float) -> Kind:
    """Return what a run at ``at`` is to be."""
    if history.last_full is None or at - history.last_full >= plan.full_seconds - _SLACK * plan.increment_seconds:
        return "full"
    return "increment"


def overdue_at(plan: Plan, history: History, since: float) -> float:
    """Return when the contract's day without a backup is over; ``since`` is when backups were first asked for."""
    return (history.last if history.last is not None else since) + plan.increment_seconds + _SLACK * DAY_SECONDS


def _next_time(earliest: float, at: time) -> float:
    moment = datetime.fromtimestamp(earliest, UTC)
    found = datetime.combine(moment.date(), at, UTC)
    return (found if found >= moment else found + timedelta(days=1)).timestamp()
