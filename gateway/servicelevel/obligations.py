"""§§4, 5, 7, 8 and 9 judged by their clocks: how many were due in the month and not met in time (pure).

§6 is blank in the contract's source: no figure was promised, and the report says so instead of passing it over.
"""

from collections.abc import Iterator

from gateway.servicelevel.deadline import KINDS, Deadline, DeadlineKind, DeadlineState
from gateway.servicelevel.evidence import Evidence
from gateway.servicelevel.result import ClauseResult, Outcome, outcome_of

_DAY = 86_400
_LATE = frozenset({DeadlineState.MISSED, DeadlineState.OVERDUE})


def obligations(evidence: Evidence) -> tuple[ClauseResult, ...]:
    """Return a line for each kind of clock, in the order of the clauses, and the freshness of signatures."""
    due = evidence.deadlines()
    return (
        *_of_clause(evidence, due, "4"),
        _signatures(evidence),
        # The scanners' history judges them; a clock that somebody opened beside it counts too.
        *(line for line in _of_clause(evidence, due, "5") if line.samples),
        _intruders(),
        *(line for clause in ("7", "8", "9") for line in _of_clause(evidence, due, clause)),
    )


def _of_clause(evidence: Evidence, due: tuple[Deadline, ...], clause: str) -> Iterator[ClauseResult]:
    for kind in KINDS.values():
        if kind.clause == clause:
            yield _line(kind, [each for each in due if each.kind == kind.name], evidence.now)


def _line(kind: DeadlineKind, due: list[Deadline], now: float) -> ClauseResult:
    late = sum(each.state(now) in _LATE for each in due)
    supposed = sum(not each.official for each in due)
    return ClauseResult(
        clause=kind.clause,
        measure=f"deadline-{kind.name}",
        unit="times",
        limit=0,
        comparison="<=",
        value=late if due else None,
        samples=len(due),
        outcome=outcome_of(bool(due), late == 0),
        note=f"calendar-supposed:{supposed}" if supposed else "",
    )


def _signatures(evidence: Evidence) -> ClauseResult:
    """Judge the longest time that the virus signatures stayed the same."""
    found, limit = evidence.signatures, evidence.terms.signature_days
    days = found.longest_seconds / _DAY if found else None
    return ClauseResult(
        clause="5",
        measure="signature-days",
        unit="days",
        limit=limit,
        comparison="<=",
        value=days,
        samples=found.changes if found else 0,
        outcome=outcome_of(days is not None, days is not None and days <= limit),
    )


def _intruders() -> ClauseResult:
    """Return the line of the clause that names no figure."""
    return ClauseResult(
        clause="6",
        measure="intruders",
        unit="times",
        limit=None,
        comparison="",
        value=None,
        samples=0,
        outcome=Outcome.NO_DATA,
        decides=False,
        note="left-blank",
    )
