"""§1 of the contract judged: the month's minutes, and how many of them the customer could not be reached (pure)."""

from gateway.servicelevel.evidence import Evidence
from gateway.servicelevel.exclusion import Clause
from gateway.servicelevel.minutes import Minutes, MinuteState, judged
from gateway.servicelevel.month import MINUTE
from gateway.servicelevel.result import ClauseResult, outcome_of
from gateway.servicelevel.sample import RECEIVE, SEND
from gateway.servicelevel.summary import DaySummary

# The minute that runs, and the one whose probe may still be under way.
PENDING_MINUTES = 2


def minutes_of(evidence: Evidence, delays: dict[str, DaySummary]) -> Minutes:
    """Return the month's minutes: what was observed, and what real mail shows."""
    span = evidence.span
    mailed = {direction: delays[direction].mailed for direction in (SEND, RECEIVE)}
    minutes = judged(evidence.observed, span, evidence.excluding(Clause.CONNECTIVITY, span), mailed)
    return minutes.without_pending(PENDING_MINUTES) if span[1] < evidence.month.span[1] else minutes


def connectivity(evidence: Evidence, minutes: Minutes) -> tuple[ClauseResult, ...]:
    """Return availability in per cent of the month, which decides, and the minutes it is said to be."""
    terms, samples = evidence.terms, len(minutes.states)
    # The promise is about the whole month: time still to come, or before the service began, is not unreachable.
    month_start, month_end = evidence.month.span
    length = (month_end - month_start) / MINUTE
    counts, before = (
        minutes.unreachable(count_unknown=terms.count_unknown, excluding=excluding) for excluding in (True, False)
    )
    # Nothing observed at all is no evidence of an outage; a gap between observations is.
    known = samples > minutes.raw.count(MinuteState.UNKNOWN)
    used = tuple(each.number for each in evidence.excluding(Clause.CONNECTIVITY, evidence.span))
    share, share_before = (100.0 * (1 - count / length) for count in (counts, before))
    return (
        ClauseResult(
            clause="1",
            measure="availability",
            unit="percent",
            limit=terms.availability,
            comparison=">=",
            value=share if known else None,
            before=share_before if known else None,
            samples=samples,
            outcome=outcome_of(known, share >= terms.availability),
            exclusions=used,
            note=_note(minutes),
        ),
        ClauseResult(
            clause="1",
            measure="unreachable-minutes",
            unit="minutes",
            limit=terms.unreachable_minutes,
            comparison="<",
            value=counts if known else None,
            before=before if known else None,
            samples=samples,
            outcome=outcome_of(known, counts < terms.unreachable_minutes),
            exclusions=used,
            decides=False,
        ),
    )


def _note(minutes: Minutes) -> str:
    found = {"unknown": minutes.count(MinuteState.UNKNOWN), "contradicted": minutes.contradicted}
    return " ".join(f"{name}:{count}" for name, count in found.items() if count)
