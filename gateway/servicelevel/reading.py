"""A month's evidence from a data folder, beside the gateway or without one: records, summaries, what is not summed yet.

Days whose conditions changed since they were summed are made anew in memory, as long as the ledger has their mail;
those that cannot be are named (``stale_days``), so that a report says what it could not apply.
"""

from pathlib import Path

from gateway.servicelevel.book import Book
from gateway.servicelevel.conditions import Bearing
from gateway.servicelevel.evaluation import Evaluation, evaluate
from gateway.servicelevel.evidence import Evidence
from gateway.servicelevel.freshness import signatures
from gateway.servicelevel.month import MINUTE, Month
from gateway.servicelevel.records import Records
from gateway.servicelevel.rollup import is_stale, remade, unsummed
from gateway.servicelevel.store import StoreReader
from gateway.servicelevel.summary import DaySummary


def read_book(data: Path) -> Book:
    """Return what is on record; RecordsBrokenError, OSError."""
    return Book.of(Records(data).read())


def judge(data: Path, customer: str, month: Month, now: float) -> Evaluation:
    """Return a customer's month judged as of ``now``.

    KeyError for an unknown customer; RecordsBrokenError, OSError, StorageError when evidence cannot be read.
    """
    book = read_book(data)
    start, end = month.span
    with StoreReader(data) as store:
        days, stale = _undisturbed_days(data, store, Bearing(book, now), (customer, month))
        observed = store.observed(customer, int(start // MINUTE), int(end // MINUTE))
    evidence = Evidence(
        customer=customer,
        month=month,
        now=now,
        book=book,
        days=days,
        observed=observed,
        signatures=signatures(data, (start, min(end, now))),
        stale_days=stale,
    )
    return evaluate(evidence)


def _undisturbed_days(
    data: Path, store: StoreReader, bearing: Bearing, wanted: tuple[str, Month]
) -> tuple[dict[tuple[str, str], DaySummary], tuple[str, ...]]:
    """Return the days as they were between two steps of the gateway's counting.

    A step that is committed while we read moves mail from behind the cursors into the summaries: what was read of the
    one before it and of the other after it would count that mail twice.
    """
    while True:
        before = store.cursors()
        found = _days(data, store, bearing, wanted)
        if store.cursors() == before:
            return found


def _days(
    data: Path, store: StoreReader, bearing: Bearing, wanted: tuple[str, Month]
) -> tuple[dict[tuple[str, str], DaySummary], tuple[str, ...]]:
    customer, month = wanted
    cursors = store.cursors()
    found: dict[tuple[str, str], DaySummary] = {}
    stale: set[str] = set()
    for stored in store.days(customer, month.days):
        place = (stored.direction, stored.key.day)
        found[place] = stored.summary
        if is_stale(bearing, stored.key, stored.until, stored.digest):
            anew = remade(data, bearing, stored, cursors)
            if anew is None:
                stale.add(stored.key.day)
            else:
                found[place] = anew
    for (key, direction), more in unsummed(data, bearing, cursors).items():
        if key.customer == customer and key.day in month.days:
            found.setdefault((direction, key.day), DaySummary()).merge(more)
    return found, tuple(sorted(stale))
