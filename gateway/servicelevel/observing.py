"""What was seen of a minute becomes a run of minutes in the store; what fails becomes a fault on record.

A minute that the gateway spent half or more of without running is down: so a time of three minutes is three minutes,
wherever it began (but for one that begins and ends in the middle of a minute, to the microsecond: four).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from gateway.servicelevel.book import Book, Writer
from gateway.servicelevel.fault import GATEWAY, Fault
from gateway.servicelevel.interval import Interval, Intervals, union
from gateway.servicelevel.minutes import DOWN, NOT_RUNNING, UP
from gateway.servicelevel.month import MINUTE
from gateway.servicelevel.sample import RECEIVE, SEND
from gateway.servicelevel.store import Observed, StoreReader
from gateway.storage import Write

OPERATOR = "operator"
HALF = MINUTE / 2


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a customer's mail does not pass in one direction, "" when it does; ``owner`` answers for that.

    ``remark`` is kept with a minute that is up.
    """

    reason: str
    owner: str = OPERATOR
    remark: str = ""


Findings = Mapping[tuple[str, str], Finding]
"""By customer and direction."""


def observed(store: StoreReader, findings: Findings, minute: int) -> list[Write]:
    """Return the writes that note a minute's findings."""
    writes = []
    for (customer, direction), finding in findings.items():
        state, reason = (DOWN, finding.reason) if finding.reason else (UP, finding.remark)
        last = store.latest_observed(customer, direction)
        if last and (last.state, last.reason) == (state, reason) and minute - 1 <= last.last <= minute:
            if last.last < minute:
                writes.append(last.extended(minute))
        else:
            writes.append(_run(customer, direction, state, (minute, minute), reason).write())
    return writes


def not_running(customers: Iterable[str], missed: Interval) -> list[Write]:
    """Return the writes that note a time in which the gateway did not run, for all customers."""
    first, last = mostly_within(missed)
    if last < first:
        return []
    return [
        _run(customer, direction, DOWN, (first, last), NOT_RUNNING).write()
        for customer in customers
        for direction in (SEND, RECEIVE)
    ]


def mostly_within(span: Interval) -> tuple[int, int]:
    """Return the first and last minute of which half or more lies in a span; the last before the first for none."""
    start, end = span
    first, last = int(start // MINUTE), -int(-end // MINUTE) - 1
    if min(end, (first + 1) * MINUTE) - start < HALF:
        first += 1
    if last >= first and end - max(start, last * MINUTE) < HALF:
        last -= 1
    return first, last


def unserved(missed: Interval, served: Iterable[float], least_seconds: float) -> Intervals:
    """Return what of a time without heartbeats is left when mail was taken at the instants ``served`` within it.

    Between two instants at which mail was taken, the gateway is taken to have run, unless they are ``least_seconds``
    apart.
    """
    start, end = missed
    edges = [start, *sorted(at for at in served if start < at < end), end]
    return union(pair for pair in pairwise(edges) if pair[1] - pair[0] > least_seconds)


def _run(customer: str, direction: str, state: str, minutes: tuple[int, int], reason: str) -> Observed:
    return Observed(
        customer=customer, direction=direction, state=state, first=minutes[0], last=minutes[1], reason=reason
    )


def record_missed(writer: Writer, missed: Interval) -> Fault:
    """Put a time without the gateway on record, and return the fault."""
    start, end = missed
    # One entry: a kill between two would leave a fault that nobody ends.
    record = writer.open_fault(GATEWAY, NOT_RUNNING, start, end=end)
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

    What a customer's own next hop does is no fault of the operator's: one that is open ends where that begins.
    """
    still_open = {(fault.customer, fault.cause): fault for fault in book.open_faults()}
    changed = []
    for (customer, direction), finding in findings.items():
        fault = still_open.get((customer, direction))
        ours = bool(finding.reason) and finding.owner == OPERATOR
        if ours and fault is None:
            record = writer.open_fault(direction, finding.reason, since, customer=customer)
            changed.append(Book.of(writer.records.read()).faults[record.number])
        elif fault is not None and not ours:
            changed.append(_closed(writer, fault, since))
    return changed


def close_faults_of_nobody(writer: Writer, book: Book, customers: Collection[str]) -> list[Fault]:
    """Close the faults that probes opened for customers who are none any more: nobody would find them well again."""
    return [
        _closed(writer, fault, writer.at)
        for fault in book.open_faults()
        if fault.customer and fault.cause in {SEND, RECEIVE} and fault.customer not in customers
    ]


def _closed(writer: Writer, fault: Fault, at: float) -> Fault:
    writer.close_fault(fault.number, max(fault.start, at))
    return Book.of(writer.records.read()).faults[fault.number]
