"""Writes daily summaries from the ledger, beside the mail: what ended since the last time is added to its days.

A step reads at most STEP_ROWS behind the shards' cursors; summaries and cursors are one transaction, so that a kill
repeats a step and never counts a copy twice. A day whose conditions have changed (an exclusion recorded later, a fault
found at the next start) is made anew from the ledger, as long as its mail is still there. What a reader finds behind
the cursors it adds for itself (``unsummed``): a report is never behind.

A shard whose last counted row is another one now (the file was replaced after damage, or put back from a backup) is
counted on from what ended later than that row; ``Rolled.replaced`` says so. A shard that cannot be read keeps no other
from being counted; ``Rolled.unreadable`` names it.

The ledger may have a copy twice: what a writer had committed when it was killed is handed to the next one again. The
second row is passed over wherever one of the REPEATED_WITHIN rows before it is of the same copy.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.ledger.finished import (
    FinishedCopy,
    finished_after,
    finished_at,
    kept_since,
    received_between,
    shards,
    written_before,
)
from gateway.servicelevel.conditions import Bearing, DayKey
from gateway.servicelevel.month import QUARTER
from gateway.servicelevel.sample import Conditions, Party, counted, parties
from gateway.servicelevel.store import Cursor, StoredDay, StoreReader
from gateway.servicelevel.summary import DaySummary
from gateway.storage import Database, StorageError, Write

# A fifth of a second of work, a few megabytes.
STEP_ROWS = 20_000
# Copies of the one group that a writer had under way when it was killed, with room to spare.
REPEATED_WITHIN = 2_000

Days = dict[tuple[DayKey, str], DaySummary]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolled:
    """What a step did: rows counted, whether more may wait, a shard found ``replaced`` ("" for none).

    ``unreadable`` are the shards that could not be read, with the error.
    """

    rows: int
    more: bool
    replaced: str = ""
    unreadable: tuple[tuple[str, str], ...] = ()


def summed(copies: Iterable[FinishedCopy], bearing: Bearing) -> Days:
    """Return the days that copies belong to."""
    days: Days = {}
    add = _Adder(days, bearing)
    for copy in copies:
        add.copy(copy)
    return days


_Place = tuple[DaySummary, Conditions] | None
_UNKNOWN: _Place = (DaySummary(), Conditions(limit_us=0))


class _Adder:
    """Adds copies to days; the look-ups that are the same for every copy of a day are made once."""

    def __init__(self, days: Days, bearing: Bearing) -> None:
        self._days, self._bearing = days, bearing
        self._places: dict[tuple[str, str, int], _Place] = {}

    def copy(self, copy: FinishedCopy) -> None:
        """Add one copy for those it counts for."""
        for party in parties(copy, self._bearing.owner_of):
            # A quarter of an hour lies within one civil day, wherever that is.
            quarter = (party.customer, party.direction, int(copy.received_at // QUARTER))
            place = self._places.get(quarter, _UNKNOWN)
            if place is _UNKNOWN:
                place = self._places[quarter] = self._place(party, copy.received_at)
            if place is not None and (one := counted(copy, party, place[1])) is not None:
                place[0].add(copy, one, place[1].limit_us)

    def _place(self, party: Party, received_at: float) -> _Place:
        key = self._bearing.key(party.customer, received_at)
        if key is None:
            return None
        day = self._days.get((key, party.direction))
        if day is None:
            day = self._days[key, party.direction] = DaySummary()
        return day, self._bearing.conditions(key)


class Roller:
    """Counts a data folder's ledger into its store; a new book wants a new one. ``step`` blocks: use a thread.

    Steps follow one another until one says that there is no more: first what is behind the cursors, then the days to be
    made anew, each in a step of its own. What ends meanwhile waits for the next such round, so that a busy gateway is
    counted in a few large steps and not in many small ones.
    """

    def __init__(self, data: Path, bearing: Bearing) -> None:
        self._data, self._bearing = data, bearing
        self._stale_days: list[tuple[DayKey, str]] | None = None
        self._caught_up = False
        self._recent: dict[str, _Recent] = {}
        # What all customers had in one day's time, as far as these rows: days of many customers are made anew together.
        self._day: tuple[object, Days] | None = None

    def step(self) -> tuple[list[Write], Rolled]:
        """Return the writes of one step and what it did; StorageError when the store itself cannot be read."""
        with StoreReader(self._data) as store:
            cursors = store.cursors()
            writes, done = ([], Rolled(rows=0, more=False)) if self._caught_up else self._counted(store, cursors)
            # A day made anew without one of the shards would lack its mail.
            if done.more or done.unreadable:
                return writes, done
            if self._stale_days is None:
                self._stale_days = self._stale(store)
            if not done.rows and self._stale_days:
                writes = self._anew(store, cursors, self._stale_days.pop())
        self._caught_up = bool(self._stale_days)
        if not self._caught_up:
            self._day = None
        return writes, replace(done, more=self._caught_up)

    def _counted(self, store: StoreReader, cursors: dict[str, Cursor]) -> tuple[list[Write], Rolled]:
        """Return the writes that add what is behind the cursors, and whether a whole step was not enough for it."""
        days: Days = {}
        add = _Adder(days, self._bearing)
        writes, rows, replaced, unreadable = list[Write](), 0, "", list[tuple[str, str]]()
        for shard in shards(self._data):
            if rows >= STEP_ROWS:
                break
            try:
                copies, found = _behind(shard, cursors.get(shard.name), STEP_ROWS - rows)
                once = self._once(shard, cursors.get(shard.name), copies)
            except StorageError as error:
                unreadable.append((shard.name, str(error)))
                continue
            for copy in once:
                add.copy(copy)
            if copies:
                writes.append(_cursor(shard, copies[-1]).write())
                rows += len(copies)
                replaced = shard.name if found else replaced
        writes += self._added(store, days, cursors)
        return writes, Rolled(rows=rows, more=rows >= STEP_ROWS, replaced=replaced, unreadable=tuple(unreadable))

    def _once(self, shard: Path, cursor: Cursor | None, copies: Sequence[FinishedCopy]) -> list[FinishedCopy]:
        """Return copies without repeated rows; the keys of those before them are remembered from the last step."""
        if not copies:
            return []
        recent = self._recent.get(shard.name)
        if recent is None or cursor is None or recent.id != cursor.id:
            recent = _Recent.read(shard, copies[0].id)
        found = recent.fresh(copies)
        self._recent[shard.name] = recent
        return found

    def _added(self, store: StoreReader, days: Days, cursors: dict[str, Cursor]) -> list[Write]:
        writes = []
        for key, direction in sorted(days, key=_by_time):
            more, stored = days[key, direction], store.day(key, direction)
            if stored is None:
                writes.append(self._kept(key, direction, more).write())
                continue
            current = self._current(stored, cursors)
            more.merge(current or stored.summary)
            kept = self._kept(key, direction, more)
            # Part of it is still as it was counted before: the day stays stale, and reports go on naming it.
            writes.append((kept if current else replace(kept, until=stored.until, digest=stored.digest)).write())
        return writes

    def _current(self, stored: StoredDay, cursors: dict[str, Cursor]) -> DaySummary | None:
        """Return a stored day as it is under the conditions of now; None when its mail is gone."""
        if not is_stale(self._bearing, stored.key, stored.until, stored.digest):
            return stored.summary
        try:
            return self._remade(stored, cursors)
        except StorageError:
            # A shard that cannot be read now: the day is made anew when it can.
            return None

    def _kept(self, key: DayKey, direction: str, summary: DaySummary) -> StoredDay:
        until = max(key.horizon, summary.last_finished)
        digest = self._bearing.digest(key, until)
        return StoredDay(key=key, direction=direction, until=until, digest=digest, summary=summary)

    def _stale(self, store: StoreReader) -> list[tuple[DayKey, str]]:
        """Return the days whose conditions have changed, and those beside a day of another zone: mail moved to them."""
        found: dict[tuple[DayKey, str], None] = {}
        for key, direction, until, digest in store.all_days():
            if is_stale(self._bearing, key, until, digest):
                found[key, direction] = None
                if self._bearing.zone_of(key.customer) != key.zone:
                    found |= dict.fromkeys((beside, direction) for beside in key.beside)
        return sorted(found, key=_by_time)

    def _anew(self, store: StoreReader, cursors: dict[str, Cursor], place: tuple[DayKey, str]) -> list[Write]:
        """Return the write that puts a day made anew into the place of a stale one, none when its mail is gone."""
        key, direction = place
        stored = store.day(key, direction)
        if stored is None:
            stored = self._kept(key, direction, DaySummary())
        elif not is_stale(self._bearing, stored.key, stored.until, stored.digest):
            return []
        summary = self._remade(stored, cursors)
        if summary is None or not (summary.copies or stored.summary.copies):
            return []
        return [self._kept(_in_zone(self._bearing, key), direction, summary).write()]

    def _remade(self, stored: StoredDay, cursors: dict[str, Cursor]) -> DaySummary | None:
        key = _in_zone(self._bearing, stored.key)
        place = key.start, key.end, [(cursor.shard, cursor.id) for cursor in cursors.values()]
        if self._day is None or self._day[0] != place:
            self._day = place, summed(_counted_copies(self._data, key, cursors), self._bearing)
        return _of_day(self._data, key, stored, self._day[1])


def _by_time(place: tuple[DayKey, str]) -> tuple[float, float]:
    return place[0].start, place[0].end


def is_stale(bearing: Bearing, key: DayKey, until: float, digest: str) -> bool:
    """Whether a stored day was counted under other conditions than hold now."""
    zone = bearing.zone_of(key.customer)
    return zone is not None and (zone != key.zone or digest != bearing.digest(key, until))


def remade(data: Path, bearing: Bearing, stored: StoredDay, cursors: dict[str, Cursor]) -> DaySummary | None:
    """Return a stored day from the ledger, as far as it was counted; None when part of its mail is gone; StorageError.

    Nothing of a day is gone of which as many copies are found as before. Where the customer's zone is another one, days
    have other mail: then the ledger must reach back to before the day, or to its beginning.
    """
    key = _in_zone(bearing, stored.key)
    return _of_day(data, key, stored, summed(_counted_copies(data, key, cursors), bearing))


def _of_day(data: Path, key: DayKey, stored: StoredDay, days: Days) -> DaySummary | None:
    day = days.get((key, stored.direction), DaySummary())
    if key.zone == stored.key.zone:
        return day if day.copies == stored.summary.copies else None
    since = kept_since(data)
    return day if since is not None and key.start >= since else None


def _in_zone(bearing: Bearing, key: DayKey) -> DayKey:
    return DayKey(key.customer, key.day, bearing.zone_of(key.customer) or key.zone)


def _counted_copies(data: Path, key: DayKey, cursors: dict[str, Cursor]) -> Iterator[FinishedCopy]:
    for shard in shards(data):
        cursor = cursors.get(shard.name)
        if cursor is not None:
            copies = received_between(shard, key.start, key.end)
            yield from _each_once(copy for copy in copies if copy.id <= cursor.id)


def _each_once(copies: Iterable[FinishedCopy]) -> Iterator[FinishedCopy]:
    """Yield copies in order of receipt without repeated rows, which have the same stamp."""
    at, known = 0.0, set[tuple[str, int]]()
    for copy in copies:
        if copy.received_at != at:
            at, known = copy.received_at, set()
        if (copy.trace_id, copy.number) not in known:
            known.add((copy.trace_id, copy.number))
            yield copy


class _Recent:
    """The keys of the last copies of a shard up to row ``id``, in the order written."""

    def __init__(self, last_id: int, keys: Iterable[str]) -> None:
        self.id = last_id
        self._keys = dict.fromkeys(keys)

    @classmethod
    def read(cls, shard: Path, before_id: int) -> "_Recent":
        """Return what the ledger has before a row; StorageError."""
        written = written_before(shard, before_id, REPEATED_WITHIN)
        return cls(before_id - 1, (_key(*pair) for pair in reversed(written)))

    def fresh(self, copies: Sequence[FinishedCopy]) -> list[FinishedCopy]:
        """Return the copies behind those known that are no repetition, and know them too."""
        found = []
        for copy in copies:
            key = _key(copy.trace_id, copy.number)
            if key not in self._keys:
                self._keys[key] = None
                found.append(copy)
        self._keys = dict.fromkeys(list(self._keys)[-REPEATED_WITHIN:])
        self.id = copies[-1].id
        return found


def _key(trace_id: str, number: int) -> str:
    # A text, not a tuple: the collector of cycles looks at twenty thousand tuples again and again.
    return f"{trace_id}{number}"


def unsummed(data: Path, bearing: Bearing, cursors: dict[str, Cursor]) -> Days:
    """Return what ended since the last step, of all customers; StorageError."""
    days: Days = {}
    add = _Adder(days, bearing)
    for shard in shards(data):
        cursor, recent = cursors.get(shard.name), None
        while True:
            copies, _ = _behind(shard, cursor, STEP_ROWS)
            if not copies:
                break
            recent = recent or _Recent.read(shard, copies[0].id)
            for copy in recent.fresh(copies):
                add.copy(copy)
            cursor = _cursor(shard, copies[-1])
    return days


def _behind(shard: Path, cursor: Cursor | None, limit: int) -> tuple[list[FinishedCopy], bool]:
    """Return the next copies of a shard, and whether its cursor did not fit any more."""
    if cursor is None:
        return finished_after(shard, 0, limit), False
    at = finished_at(shard, cursor.id)
    if at is not None and (at.trace_id, at.number) == (cursor.trace_id, cursor.number):
        return finished_after(shard, cursor.id, limit), False
    following = finished_after(shard, cursor.id, 1)
    if at is None and following and following[0].finished_at >= cursor.finished_at:
        # Its row was pruned; those behind it were not.
        return finished_after(shard, cursor.id, limit), False
    return _later(shard, cursor, limit)


def _later(shard: Path, cursor: Cursor, limit: int) -> tuple[list[FinishedCopy], bool]:
    place = 0
    while True:
        page = finished_after(shard, place, limit)
        later = [copy for copy in page if copy.finished_at > cursor.finished_at]
        if later or len(page) < limit:
            return later, bool(later)
        place = page[-1].id


def _cursor(shard: Path, last: FinishedCopy) -> Cursor:
    return Cursor(
        shard=shard.name, id=last.id, trace_id=last.trace_id, number=last.number, finished_at=last.finished_at
    )


async def roll(data: Path, bearing: Bearing, database: Database) -> int:
    """Count everything there is now, blocking between commits; return the rows. For tests, benchmarks and commands."""
    roller, rows = Roller(data, bearing), 0
    while True:
        writes, done = roller.step()
        if writes:
            await database.commit(writes)
        rows += done.rows
        if not done.more:
            return rows
