"""§2 of the contract judged: send and receive delay, average and maximum, before and after exclusions (pure)."""

from collections.abc import Mapping
from typing import Any

from gateway.servicelevel.evidence import Evidence
from gateway.servicelevel.exclusion import Clause
from gateway.servicelevel.result import ClauseResult, Outcome, outcome_of
from gateway.servicelevel.sketch import RELATIVE_ERROR
from gateway.servicelevel.summary import DaySummary

QUANTILES = (0.5, 0.95, 0.99)


def delay(evidence: Evidence, direction: str, day: DaySummary) -> tuple[ClauseResult, ...]:
    """Return the lines of one direction: average, maximum exceeded so many times; quantiles and maximum beside them."""
    terms, before, after = evidence.terms, day.before, day.after
    horizon = max(evidence.month.span[1], day.last_finished)
    used = evidence.excluding(Clause.DELAY, (evidence.month.span[0], horizon))
    automatic = sum(each.waits for each in day.excluded.values())
    average = after.average_seconds
    common: dict[str, Any] = {
        "clause": "2",
        "exclusions": tuple(each.number for each in used),
        "automatic": automatic,
    }
    quantiles = {f"p{round(q * 100)}": (before.quantile_seconds(q), after.quantile_seconds(q)) for q in QUANTILES}
    return (
        ClauseResult(
            **common,
            measure=f"{direction}-average",
            unit="seconds",
            limit=terms.average_delay,
            comparison="<=",
            value=average,
            before=before.average_seconds,
            samples=after.count,
            outcome=outcome_of(average is not None, average is not None and average <= terms.average_delay),
        ),
        ClauseResult(
            **common,
            measure=f"{direction}-over-maximum",
            unit="times",
            limit=terms.most_over,
            comparison="<=",
            value=after.exceeded if day.copies else None,
            before=before.exceeded if day.copies else None,
            samples=day.copies,
            outcome=outcome_of(bool(day.copies), after.exceeded <= terms.most_over),
            note=f"given-up:{day.given_up}" if day.given_up else "",
        ),
        _shown(common, f"{direction}-maximum", (before.max_seconds, after.max_seconds), after.count),
        *(
            _shown(common, f"{direction}-{name}", values, after.count, f"error:{RELATIVE_ERROR:g}")
            for name, values in quantiles.items()
        ),
    )


def _shown(
    common: Mapping[str, Any], measure: str, values: tuple[float | None, float | None], samples: int, note: str = ""
) -> ClauseResult:
    before, value = values
    return ClauseResult(
        **common,
        measure=measure,
        unit="seconds",
        limit=None,
        comparison="",
        value=value,
        before=before,
        samples=samples,
        outcome=Outcome.NO_DATA if value is None else Outcome.KEPT,
        decides=False,
        note="" if value is None else note,
    )
