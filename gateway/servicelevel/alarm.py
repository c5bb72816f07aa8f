"""How a clause stands before the month is over: well, near its limit, or missed already. Pure."""

from gateway.servicelevel.result import ClauseResult, Outcome

# That share of what the limit allows is used up.
NEAR_SHARE = 0.8
_FULL = 100.0

WELL, NEAR, MISSED, UNKNOWN = "well", "near", "missed", "no data"


def standing(result: ClauseResult) -> str:
    """Return where a line stands: well, near, missed or no data."""
    if result.outcome is Outcome.NO_DATA or result.value is None or result.limit is None:
        return UNKNOWN
    if result.outcome is Outcome.MISSED:
        return MISSED
    used = _used(result, result.value, result.limit)
    return NEAR if used is not None and used >= NEAR_SHARE else WELL


def _used(result: ClauseResult, value: float, limit: float) -> float | None:
    """Return the share of what is allowed that is used up; None where nothing is allowed."""
    if result.unit == "percent":
        return (_FULL - value) / (_FULL - limit) if limit < _FULL else None
    if result.measure == "fault-free-days":
        year = value + float(result.note.partition(":")[2] or 0)
        return (year - value) / (year - limit) if year > limit else None
    return value / limit if limit else None
