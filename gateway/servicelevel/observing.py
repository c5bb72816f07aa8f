"""What was seen of a minute becomes a run of minutes in the store; what fails becomes a fault on record.

A minute that the gateway spent half or more of without running is down: so a time of three minutes is three minutes,
wherever it began.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.servicelevel.book import Book, Writer
from gateway.servicelevel.fault import GATEWAY, Fault
from gateway.servicelevel.interval import Interval
from gateway.servicelevel.minutes import DOWN, UP
from gateway.servicelevel.month import MINUTE
from gateway.servicelevel.sample import RECEIVE, SEND
from gateway.servicelevel.store import Observed, StoreReader
from gateway.storage import Write

OPERATOR = "operator"
NOT_RUNNING = "the gateway did not run"


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a customer's mail does not pass in one direction, "" when it does; ``owner`` answers for that."""

    reason: str
    owner: str = OPERATOR


Findings = Mapping[tuple[str, str], Finding]
"""By customer and direction."""


def observed(store: StoreReader, findings: Findings, minute: int) -> list[Write]:
    """Return the writes that note a minute's findings."""
    writes = []
    for (customer, direction), finding in findings.items():
        state = DOWN if finding.reason else UP
        last = store.latest_observed(customer, direction)
        if last and (last.state, last.reason) == (state, finding.reason) and minute - 1 <= last.last <= minute:
            if last.last < minute:
                writes.append(last.extended(minute))
        else:
            writes.append(_run(customer, direction, state, (minute, minute), finding.reason).write())
    return writes


def not_running(customers: Iterable[str], missed: Interval) -> list[Write]:
    """Return the writes that note a time in which the gateway did not run, for all customers."""
    first, last = round(missed[0] / MINUTE), round(missed[1] / MINUTE) - 1
    if last < first:
        return []
    return [
        _run(customer, direction, DOWN, (first, last), NOT_RUNNING).write()
        for customer in customers
        for direction in (SEND, RECEIVE)
    ]


def _run(customer: str, direction: str, state: str, minutes: tuple[int, int], reason: str) -> Observed:
    return Observed(
        customer=customer, direction=direction, state=state, first=minutes[0], last=minutes[1], reason=reason
    )


def record_missed(writer: Writer, missed: Interval) -> Fault:
    """Put a time without the gateway on record, and return the fault."""
    start, end = missed
    record = writer.open_fault(GATEWAY, NOT_RUNNING, start)
    writer.close_fault(record.number, end)
    return Fault(
        number=record.number,
        customer="",
        cause=GATEWAY,
        reason=NOT_RUNNING,
        start=start,
        end=end,
        opened_by=writer.by,
        closed_by=writer.by,
    )


def record_faults(writer: Writer, book: Book, findings: Findings, since: float) -> list[Fault]:
    """Open a fault for what fails since ``since`` and has none open, close those of what works again; return both.

    What a customer's own next hop does is no fault of the operator's.
    """
    still_open = {(fault.customer, fault.cause): fault for fault in book.open_faults()}
    changed = []
    for (customer, direction), finding in findings.items():
        fault = still_open.get((customer, direction))
        if finding.reason and finding.owner == OPERATOR and fault is None:
            record = writer.open_fault(direction, finding.reason, since, customer=customer)
            changed.append(Book.of(writer.records.read()).faults[record.number])
        elif fault is not None and not finding.reason:
            writer.close_fault(fault.number, max(fault.start, since))
            changed.append(Book.of(writer.records.read()).faults[fault.number])
    return changed
