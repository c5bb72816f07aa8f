"""Reading the journal beside the workers that write it: by trace id, or by who and what is mentioned.

Never writes, never locks a writer out. A file that cannot be read (damaged, of a later version, being made at this
moment) is passed over and named in ``unreadable``, so that the rest can still be told.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.journal.codec import decode
from gateway.journal.events import Event
from gateway.journal.files import DAY_SECONDS, JournalFile, journal_files
from gateway.journal.mentions import client_form, key, places
from gateway.mail.trace_id import trace_id_time
from gateway.storage import ReadDatabase, StorageError, open_readonly

_BY_TRACE = "SELECT kind, at, trace_id, data FROM event WHERE trace_id = ? ORDER BY id"
_BY_ID = "SELECT kind, at, trace_id, data FROM event WHERE id = ?"
_OF_KIND = "SELECT kind, at, trace_id, data FROM event WHERE kind = ? AND at >= ? ORDER BY id"
_MENTIONED = "SELECT first, keys FROM mention WHERE instr(keys, ?) ORDER BY first DESC"


class JournalReader:
    """All workers' journals under ``data/journal``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[Path, ReadDatabase] = {}
        self.unreadable: dict[Path, str] = {}

    def of_trace(self, trace_id: str, since: float = 0.0) -> list[Event]:
        """Return the events of a trace id, in the order of their time; an id made by us tells where to begin."""
        begin = max(since, _begin(trace_id))
        found = [event for file in journal_files(self._folder, begin) for event in self._read(file, trace_id)]
        return sorted(found, key=lambda event: event.at)

    def mentioning(self, what: str, since: float, limit: int) -> list[Event]:
        """Return the latest ``limit`` events since UTC second ``since`` that mention ``what``.

        That is an address, a Message-ID, a client's address or a session's trace id.
        """
        sought = key(client_form(what))
        found: list[Event] = []
        for file in reversed(journal_files(self._folder, since)):
            found += [event for event in self._mentioning(file, sought, limit) if event.at >= since]
        return sorted(found, key=lambda event: event.at)[-limit:]

    def of_kind(self, kind: str, since: float) -> Iterator[Event]:
        """Yield every event of a kind since UTC second ``since``, file by file; within one in the order written."""
        for file in journal_files(self._folder, since):
            try:
                yield from _decoded(self._database(file).rows(_OF_KIND, (kind, since)))
            except StorageError as error:
                self.unreadable[file.path] = str(error)

    def close(self) -> None:
        """Let go of every file."""
        for database in self._open.values():
            database.close()
        self._open.clear()

    def _read(self, file: JournalFile, trace_id: str) -> list[Event]:
        try:
            return list(_decoded(self._database(file).read(_BY_TRACE, (trace_id,))))
        except StorageError as error:
            self.unreadable[file.path] = str(error)
            return []

    def _mentioning(self, file: JournalFile, sought: bytes, limit: int) -> list[Event]:
        found: list[Event] = []
        try:
            database = self._database(file)
            for first, packed in database.rows(_MENTIONED, (sought,)):
                ids = [first + place for place in places(packed, sought)]
                found += [event for id_ in ids for event in _decoded(database.read(_BY_ID, (id_,)))]
                if len(found) >= limit:
                    break
        except StorageError as error:
            self.unreadable[file.path] = str(error)
        return found

    def _database(self, file: JournalFile) -> ReadDatabase:
        if file.path not in self._open:
            self._open[file.path] = open_readonly(file.path)
        return self._open[file.path]


def _decoded(rows: Iterable[tuple[str, float, str, str]]) -> Iterator[Event]:
    for kind, at, trace_id, data in rows:
        event = decode(kind, at, trace_id, data)
        if event is not None:
            yield event


def _begin(trace_id: str) -> float:
    try:
        # Clocks are set back now and then; a day is more than any of that.
        return trace_id_time(trace_id) - DAY_SECONDS
    except ValueError:
        return 0.0
