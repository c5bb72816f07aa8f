"""The supervisor's half of local lists: they are kept, their editions' deadlines stand on record, and monitoring asks.

Each edition of the association's list is a clock of the contract (contract.md §4 d): opened when the edition is on
record, met when it is in force, both by what ``lists.sqlite`` says, whoever brought the edition in and whether or not
a gateway served then.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from gateway.app.children import Children
from gateway.blocklist.local import manifest
from gateway.blocklist.local.declaration import ASSOCIATION, read_declarations
from gateway.blocklist.local.editions import OPEN, Edition, EditionStore
from gateway.blocklist.local.lists import FOLDER
from gateway.blocklist.local.manifest import ManifestError, read_manifest
from gateway.blocklist.local.watch import ListWatch
from gateway.clock import Clock
from gateway.config.problem import ConfigError
from gateway.journal.events import EventSink, InternalError, StorageFailed
from gateway.servicelevel.book import Book, Writer
from gateway.servicelevel.deadline import KINDS, Deadline
from gateway.servicelevel.records import Records, RecordsBrokenError
from gateway.storage import StorageError

# A stat a look; an operator's import is on record before he asks for it.
LOOK_SECONDS = 2.0
# After a bug; it is told each time.
_AFTER_A_BUG_SECONDS = 60.0
_KIND = KINDS["association-list"]


class ListKeeping:
    """``begin`` before the first mail, then ``run`` until cancelled; ``folder`` gives where lists are declared."""

    def __init__(
        self, folder: Callable[[], Path], data: Path, *, clock: Clock, events: EventSink, children: Children
    ) -> None:
        self._folder, self._data, self._clock, self._events = folder, data, clock, events
        self._children = children
        self._watch = ListWatch(folder, data, clock=clock, events=events, child=self._child)
        self._seen: object = None

    async def begin(self) -> None:
        """Have lists kept where none ever were."""
        await self._watch.begin()

    async def run(self) -> None:
        """Keep lists, and put what becomes of their deadlines on record."""
        await asyncio.gather(self._watch.run(), self._keep_clocks())

    async def _child(self, *arguments: str) -> tuple[int, bytes, bytes]:
        done = await self._children.run("lists", arguments)
        return done.status, done.out, done.err

    async def _keep_clocks(self) -> None:
        while True:
            pause = LOOK_SECONDS
            try:
                await self.look()
            except (StorageError, RecordsBrokenError, ConfigError, OSError) as error:
                self._failed(str(error))
                pause = _AFTER_A_BUG_SECONDS
            except Exception as bug:  # noqa: BLE001 - the loop must survive; the record of editions is whole meanwhile
                self._broken(bug)
                pause = _AFTER_A_BUG_SECONDS
            await asyncio.sleep(pause)

    async def look(self) -> None:
        """Put on record what has changed since the last look."""
        stamp = _stamp(self._data / FOLDER / manifest.FILE)
        if stamp == self._seen:
            return
        await asyncio.to_thread(put_on_record, self._folder(), self._data, self._clock.stamp().utc)
        self._seen = stamp

    def standing(self) -> tuple[dict[str, int], int]:
        """Return how many lists are in each state, and how many have an edition that is overdue; blocks."""
        try:
            lists, _ = read_manifest(self._data / FOLDER)
        except ManifestError:
            return {}, 0
        now = self._clock.stamp().utc
        states: dict[str, int] = {}
        for each in lists:
            states[each.state] = states.get(each.state, 0) + 1
        return states, sum(each.due is not None and each.due < now for each in lists)

    def _failed(self, why: str) -> None:
        self._events.emit(StorageFailed(at=self._clock.stamp().utc, store=FOLDER, operation="deadlines", error=why))

    def _broken(self, bug: Exception) -> None:
        self._events.emit(InternalError.of(bug, "deadlines of lists", self._clock.stamp().utc))


def put_on_record(folder: Path, data: Path, now: float) -> None:
    """Open and meet the clocks of the association's editions.

    Raises StorageError, RecordsBrokenError, ConfigError, OSError.
    """
    lists = [each.name for each in read_declarations(folder).lists if each.source == ASSOCIATION]
    store = EditionStore(data / FOLDER / "lists.sqlite")
    editions = [each for name in lists for each in store.editions(name) if each.deadline is not None]
    if editions:
        _reconcile(Records(data), sorted(editions, key=lambda each: (each.list, each.number)), now)


def _reconcile(records: Records, editions: Iterable[Edition], now: float) -> None:
    book = Book.of(records.read())
    known = {each.subject: each for each in book.deadlines.values() if each.kind == _KIND.name}
    for edition in editions:
        clock = _clock_of(edition)
        standing = known.get(clock.subject)
        writer = Writer(records, now, edition.who)
        number = writer.open_deadline(clock).number if standing is None else standing.number
        is_over = edition.state not in OPEN and edition.applied is not None
        if is_over and (standing is None or standing.met_at is None):
            writer.meet_deadline(number, max(edition.applied or 0.0, clock.start))


def _clock_of(edition: Edition) -> Deadline:
    return Deadline(
        number=0,
        kind=_KIND.name,
        clause=_KIND.clause,
        subject=f"edition {edition.number} of {edition.list}",
        customer="",
        start=edition.published,
        # As the edition has it: its list may have another number of days, and its calendar was that day's.
        due=edition.deadline or 0.0,
        official=edition.deadline_official,
        by="",
    )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - as in gateway.blocklist.local.lists
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
