"""A customer's month judged, clause by clause (contract.md): limit, value, samples, exclusions, outcome, credit.

Each clause stands by itself: 99.9 %, 99.99 % and "at most 100 minutes" do not agree with each other, and no figure is
bent so that they do. A clause without data says so; it is neither kept nor missed. A month that is not over yet is
judged so far.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from gateway.config.service_level import ServiceTerms
from gateway.servicelevel.connectivity import connectivity, minutes_of
from gateway.servicelevel.deadline import Deadline
from gateway.servicelevel.delays import delay
from gateway.servicelevel.evidence import Evidence
from gateway.servicelevel.exclusion import Exclusion
from gateway.servicelevel.fault import Adjustment, Fault
from gateway.servicelevel.interval import Interval
from gateway.servicelevel.minutes import Minutes
from gateway.servicelevel.month import Month
from gateway.servicelevel.obligations import obligations
from gateway.servicelevel.operation import operation
from gateway.servicelevel.result import ClauseResult
from gateway.servicelevel.sample import RECEIVE, SEND
from gateway.servicelevel.summary import DaySummary, total


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A judged month: the lines, and what they were made of for charts and lists."""

    customer: str
    month: Month
    judged_at: float
    span: Interval
    terms: ServiceTerms
    results: tuple[ClauseResult, ...]
    delays: Mapping[str, DaySummary]
    days: Mapping[tuple[str, str], DaySummary]
    minutes: Minutes
    exclusions: tuple[Exclusion, ...]
    faults: tuple[Fault, ...]
    adjustments: tuple[Adjustment, ...]
    deadlines: tuple[Deadline, ...]
    stale_days: tuple[str, ...] = ()
    digest: str = field(default="")

    @property
    def complete(self) -> bool:
        """Whether the month was over when it was judged."""
        return self.judged_at >= self.month.span[1]


def evaluate(evidence: Evidence) -> Evaluation:
    """Return the month judged by its evidence; KeyError for a customer of whom there are no terms."""
    start, end = evidence.month.span
    terms = evidence.terms
    delays = {
        direction: total([day for (to, _), day in sorted(evidence.days.items()) if to == direction])
        for direction in (SEND, RECEIVE)
    }
    minutes = minutes_of(evidence, delays)
    results = (
        *connectivity(evidence, minutes),
        *(line for direction in (SEND, RECEIVE) for line in delay(evidence, direction, delays[direction])),
        *operation(evidence),
        *obligations(evidence),
    )
    horizon = max([end, *(day.last_finished for day in evidence.days.values())])
    evaluation = Evaluation(
        customer=evidence.customer,
        month=evidence.month,
        judged_at=evidence.now,
        span=evidence.span,
        terms=terms,
        results=results,
        delays=delays,
        days=evidence.days,
        minutes=minutes,
        exclusions=evidence.exclusions((start, horizon)),
        faults=evidence.faults(),
        adjustments=evidence.adjustments(),
        deadlines=evidence.deadlines(),
        stale_days=evidence.stale_days,
    )
    return _sealed(evaluation)


# The digest -----------------------------------------------------------------------------------------------------------


def _sealed(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with a digest over its data: equal data give an equal digest, whenever it is made."""
    stated = {
        "customer": evaluation.customer,
        "month": str(evaluation.month),
        "zone": evaluation.month.zone,
        "span": evaluation.span,
        "terms": evaluation.terms.model_dump(mode="json"),
        "results": [asdict(each) for each in evaluation.results],
        "days": [[*key, day.stated()] for key, day in sorted(evaluation.days.items())],
        "minutes": [[*run] for run in evaluation.minutes.runs()],
        "exclusions": [asdict(each) for each in evaluation.exclusions],
        "faults": [asdict(each) for each in evaluation.faults],
        "adjustments": [asdict(each) for each in evaluation.adjustments],
        "deadlines": [asdict(each) for each in evaluation.deadlines],
        "stale": evaluation.stale_days,
    }
    text = json.dumps(stated, sort_keys=True, ensure_ascii=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return replace(evaluation, digest=digest)
