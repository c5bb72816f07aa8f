"""The journals of all workers, read to their ends again and again, each row once.

How far a file was read stands in the incidents' database and moves in the transaction that stores what was read: what
was counted is never counted again, what was not is read again. Between such transactions a position moves in memory
only, so that mail which is nothing to the desk costs no write; those rows may be read twice, and say nothing twice.

A file is done with a day after its own day, when a reading found nothing. A file that retention removed takes its
position with it. The first time of all the reading begins with the files of that day: what happened before the desk
was there has no evidence any more. After a power failure a journal may lack its last rows, and give their numbers to
others: a position beyond a file's end is brought back to it. A clock that was set back takes the first day with it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.abuse.newness import Newness
from gateway.clock import Clock
from gateway.incidents.book import Change
from gateway.journal.codec import decode
from gateway.journal.events import Event
from gateway.journal.files import DAY_SECONDS, JournalFile, journal_files
from gateway.storage import ReadDatabase, StorageError, open_readonly

# Rows of one reading: some tens of milliseconds, and a transaction that keeps nobody waiting.
BATCH_ROWS = 2000
# A folder changed twice within a tick of the file system's clock shows it once: ten seconds at most.
LIST_LOOKS = 40
# The day the desk began; a cursor like any other.
BEGIN = "begin"
_LAST = "SELECT coalesce(max(id), 0) FROM event"
_WORDS = re.compile(r"[a-z_]+")

Telling = Mapping[str, Sequence[str]]
"""The kinds of events that concern a reader, each with words of which its JSON has one; none where all do.

A kind of one word is looked through by SQLite, so that nothing of the others is fetched.
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """Events of one file that concern the desk; ``before`` is the position on record, ``position`` that behind them.

    ``full`` tells that there is probably more.
    """

    journal: str
    before: int
    position: int
    events: tuple[Event, ...]
    full: bool = False


class StaleReadingError(Exception):
    """Somebody else has stored what was read."""


class _Selection:
    """The rows that concern us: ``sql`` takes two ids, and gives those between; ``is_wanted`` judges a row."""

    def __init__(self, telling: Telling) -> None:
        self._looks = {
            kind: re.compile("|".join(f'"{word}"' for word in words)).search
            for kind, words in telling.items()
            if len(words) > 1
        }
        where = " OR ".join(_condition(kind, words) for kind, words in telling.items())
        self.sql = f"SELECT kind, at, trace_id, data FROM event WHERE id > ? AND id <= ? AND ({where}) ORDER BY id"  # noqa: S608 - checked words

    def is_wanted(self, kind: str, data: str) -> bool:
        """Whether a row of the selection has one of its kind's words."""
        look = self._looks.get(kind)
        return look is None or look(data) is not None


def _condition(kind: str, words: Sequence[str]) -> str:
    if not all(_WORDS.fullmatch(word) for word in (kind, *words)):
        raise ValueError(f"{kind} and its words stand in a statement: letters only")
    one = f" AND instr(data, '\"{words[0]}\"')" if len(words) == 1 else ""
    return f"kind = '{kind}'{one}"


class JournalTail:
    """Reads what is new below ``folder``, as far as it is ``telling``."""

    def __init__(self, folder: Path, cursors: dict[str, int], telling: Telling, clock: Clock) -> None:
        """Go on from ``cursors``, as the incidents' database has them."""
        self._folder, self._selection, self._clock = folder, _Selection(telling), clock
        self._stored = dict(cursors)
        self._position = dict(cursors)
        self._checked: set[str] = set()
        self._done: set[str] = set()
        self._open: dict[str, ReadDatabase] = {}
        self._newness: dict[str, Newness] = {}
        self._begin = self._stored.get(BEGIN, int(clock.stamp().utc // DAY_SECONDS))
        self._there: Sequence[JournalFile] = ()
        self._changed, self._looks = -1, 0
        self.unreadable: dict[str, str] = {}

    def readings(self) -> Iterator[Reading]:
        """Yield what is new, at most BATCH_ROWS rows a file; nothing once a round brings nothing new."""
        for file in self._files():
            reading = self._read(file)
            if reading is not None:
                yield reading

    def store(self, change: Change, reading: Reading) -> None:
        """Move the position on record within a change; raise ``StaleReadingError`` when it is not where it was."""
        if change.cursor(reading.journal) != reading.before:
            raise StaleReadingError(reading.journal)
        if self._stored.get(BEGIN) != self._begin:
            change.advance(BEGIN, self._begin)
        change.advance(reading.journal, reading.position)

    def stored(self, reading: Reading) -> None:
        """Note that a change with ``store`` is durable."""
        self._stored[BEGIN] = self._begin
        self._stored[reading.journal] = reading.position

    def resume(self, cursors: dict[str, int]) -> None:
        """Read again from where the record stands."""
        self._stored, self._position = dict(cursors), dict(cursors)
        self._checked.clear()
        self._newness.clear()

    def forget(self, change: Change) -> None:
        """Remove the positions of files that are gone, within a change."""
        there = {file.path.name for file in journal_files(self._folder)}
        for name in set(self._stored) - there - {BEGIN}:
            change.execute("DELETE FROM cursor WHERE journal = ?", (name,))
            self._stored.pop(name)
            self._position.pop(name, None)
            self._newness.pop(name, None)

    def pending(self) -> list[Reading]:
        """Return the positions that moved in memory only, to be stored now and then."""
        moved = [(name, at) for name, at in self._position.items() if at != self._stored.get(name, 0)]
        return [Reading(name, self._stored.get(name, 0), at, ()) for name, at in moved]

    def close(self) -> None:
        """Let go of every file."""
        for database in self._open.values():
            database.close()
        self._open.clear()

    def _files(self) -> Sequence[JournalFile]:
        # A first start with a clock far ahead would else pass over everything until that day comes.
        self._begin = min(self._begin, int(self._clock.stamp().utc // DAY_SECONDS))
        found = (file for file in self._listed() if file.day >= self._begin)
        return [file for file in found if not (file.path.name in self._done and self._is_over(file))]

    def _listed(self) -> Sequence[JournalFile]:
        """Return the files there are; the folder is read again when it has changed, and now and then in any case."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except OSError:
            changed = 0
        self._looks += 1
        if changed != self._changed or self._looks >= LIST_LOOKS:
            self._changed, self._looks = changed, 0
            self._there = journal_files(self._folder)
        return self._there

    def _read(self, file: JournalFile) -> Reading | None:
        name = file.path.name
        newness = self._newness.get(name)
        if newness is None:
            newness = self._newness[name] = Newness(file.path, self._clock)
        if not newness.look():
            self._maybe_done(file)
            return None
        try:
            database = self._database(file)
            self._check(name, database)
            before = self._position.get(name, 0)
            last = int(database.read(_LAST)[0][0])
            position = min(last, before + BATCH_ROWS)
            rows = database.read(self._selection.sql, (before, position)) if position > before else []
        except StorageError as error:
            # Being made at this moment, or damaged; the others go on.
            self.unreadable[name] = str(error)
            self._let_go(name)
            newness.again()
            return None
        self.unreadable.pop(name, None)
        if position <= before:
            self._maybe_done(file)
            return None
        self._position[name] = position
        if position < last:
            newness.again()
        found = (decode(*row) for row in rows if self._selection.is_wanted(row[0], row[3]))
        events = tuple(event for event in found if event)
        return Reading(name, self._stored.get(name, 0), position, events, full=position < last)

    def _check(self, name: str, database: ReadDatabase) -> None:
        """Bring a position back that lies beyond its file's end, once after each start."""
        if name in self._checked:
            return
        last = int(database.read(_LAST)[0][0])
        self._position[name] = min(self._position.get(name, 0), last)
        self._checked.add(name)

    def _maybe_done(self, file: JournalFile) -> None:
        if self._is_over(file):
            self._done.add(file.path.name)
            self._let_go(file.path.name)

    def _is_over(self, file: JournalFile) -> bool:
        # Whatever a slow worker wrote late is within a day of midnight.
        return (file.day + 2) * DAY_SECONDS < self._clock.stamp().utc

    def _database(self, file: JournalFile) -> ReadDatabase:
        name = file.path.name
        if name not in self._open:
            self._open[name] = open_readonly(file.path)
        return self._open[name]

    def _let_go(self, name: str) -> None:
        database = self._open.pop(name, None)
        if database is not None:
            database.close()
