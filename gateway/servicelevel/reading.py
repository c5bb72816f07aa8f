"""A month's evidence from a data folder, beside the gateway or without one: records, summaries, what is not summed yet.

Days whose conditions changed since they were summed are made anew in memory, as long as the ledger has their mail;
those that cannot be are named (``stale_days``), so that a report says what it could not apply.
"""

from itertools import pairwise
from pathlib import Path

from gateway.antivirus.history import FILE_NAME as SIGNATURES
from gateway.servicelevel.book import Book
from gateway.servicelevel.conditions import Bearing
from gateway.servicelevel.evaluation import Evaluation, Evidence, Signatures, evaluate
from gateway.servicelevel.month import MINUTE, Month
from gateway.servicelevel.records import Records
from gateway.servicelevel.rollup import is_stale, remade, unsummed
from gateway.servicelevel.store import StoreReader
from gateway.servicelevel.summary import DaySummary
from gateway.storage import open_readonly


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
        days, stale = _days(data, store, Bearing(book, now), (customer, month))
        observed = store.observed(customer, int(start // MINUTE), int(end // MINUTE))
    evidence = Evidence(
        customer=customer,
        month=month,
        now=now,
        book=book,
        days=days,
        observed=observed,
        signatures=_signatures(data, min(end, now), start),
        stale_days=stale,
    )
    return evaluate(evidence)


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


def _signatures(data: Path, end: float, start: float) -> Signatures | None:
    """Return how long signatures stayed the same in a month, None when no scanner was ever heard of."""
    path = data / "antivirus" / SIGNATURES
    if not path.exists():
        return None
    with open_readonly(path) as database:
        rows = database.read("SELECT seen_at, scanner FROM signature_change WHERE seen_at < ? ORDER BY seen_at", (end,))
    by_scanner: dict[str, list[float]] = {}
    for seen_at, scanner in rows:
        by_scanner.setdefault(scanner, []).append(seen_at)
    longest, changes = 0.0, 0
    for seen in by_scanner.values():
        changes += sum(at >= start for at in seen)
        # The version in use when the month began counts with the age it had by then.
        edges = [at for at in seen if at < start][-1:] + [at for at in seen if at >= start] + [end]
        longest = max(longest, *(later - sooner for sooner, later in pairwise(edges)))
    return Signatures(changes=changes, longest_seconds=longest) if by_scanner else None
