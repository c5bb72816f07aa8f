"""Sightings held against the seals that the chain has of them, batch by batch as it tells of them.

Both lie in the order of their numbers, so one pass over the chain goes with one over the table, and nothing of a batch
is kept but how many sightings each incident has. What retention removed is known beforehand from the chain's last row
about it: that this row is as it was recorded, the same walk proves.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.incidents.folding import SELECT_SIGHTINGS, sightings_digest
from gateway.storage import ReadDatabase

_BATCHES = "SELECT first, last, number, until FROM batch ORDER BY first, last"
_GONE = "SELECT facts FROM chain WHERE kind = 'sightings-pruned' ORDER BY number DESC LIMIT 1"
# Hundreds of them have one cause.
_MOST_UNKNOWN = 200

Wrong = tuple[str, str]
"""Where something is not as it was recorded, and what."""


class SightingSeals:
    """``looked_at`` sightings so far; ``counts`` what the chain tells of each incident's, those removed included."""

    def __init__(self, database: ReadDatabase) -> None:
        self.looked_at = 0
        self.counts: Counter[int] = Counter()
        self._rows = database.rows(f"{SELECT_SIGHTINGS} ORDER BY id")
        self._next = next(self._rows, None)
        self._batches = database.rows(_BATCHES)
        self._batch = next(self._batches, None)
        self._until: float | None = None
        self._gone_through = _gone_through(database)
        self._unknown = 0

    def hold(self, number: int, facts: Mapping[str, Any]) -> Iterator[Wrong]:
        """Look at the sightings that a row of the chain seals; KeyError, TypeError, ValueError where it names none."""
        first, last, digest = int(facts["first"]), int(facts["last"]), str(facts["sightings"])
        for incident, count in facts["counts"]:
            self.counts[incident] += count
        if last <= self._gone_through:
            return
        yield from self._before(first)
        seen, self._until = self.looked_at, None
        told: tuple[object, ...] = (first, last, number)
        if sightings_digest(self._through(last)) != digest:
            missing = last - first + 1 - (self.looked_at - seen)
            what = f"{missing} of them are missing" if missing > 0 else "one of them was altered"
            yield f"sightings {first} to {last} (chain {number})", what
        else:
            told += (self._until,)
        yield from self._told(*told)

    def end(self) -> Iterator[Wrong]:
        """Look at what no row of the chain told of."""
        while self._next is not None and self._unknown < _MOST_UNKNOWN:
            yield from self._before(self._next[0] + 1)
        while self._batch is not None and self._unknown < _MOST_UNKNOWN:
            yield from self._added()

    def _told(self, *wanted: object) -> Iterator[Wrong]:
        """Hold the table of batches against one that the chain tells of: first and last, its row, its latest time.

        It is what retention goes by: with another time it would itself remove what is not old.
        """
        while self._batch is not None and self._batch[0] < wanted[0]:
            yield from self._added()
        if self._batch is None or self._batch[: len(wanted)] != wanted:
            is_there = self._batch is not None and self._batch[0] == wanted[0]
            yield f"batch {wanted[0]}", "it was altered" if is_there else "it is missing"
            if not is_there:
                return
        self._batch = next(self._batches, None)

    def _added(self) -> Iterator[Wrong]:
        if self._batch is not None:
            self._unknown += 1
            yield f"batch {self._batch[0]}", "it is not on record"
        self._batch = next(self._batches, None)

    def _through(self, last: int) -> Iterator[tuple[Any, ...]]:
        while self._next is not None and self._next[0] <= last:
            row, self._next = self._next, next(self._rows, None)
            self.looked_at += 1
            self._until = row[3] if self._until is None else max(self._until, row[3])
            yield row

    def _before(self, first: int) -> Iterator[Wrong]:
        for row in self._through(first - 1):
            self._unknown += 1
            if self._unknown <= _MOST_UNKNOWN:
                yield f"sighting {row[0]}", "it is not on record"


def _gone_through(database: ReadDatabase) -> int:
    found = database.read(_GONE)
    try:
        return int(json.loads(found[0][0])["through"]) if found else 0
    except (ValueError, TypeError, KeyError):
        # The walk says what is wrong with that row.
        return 0
