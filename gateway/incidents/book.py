"""The writing door: every change of the incident record is one transaction that says who made it, and why.

``with book.change(by, operation) as change:`` begins; leaving the block makes everything durable and anchors the
chain's new head, an exception leaves nothing behind. The keeper and operators' commands write one after the other
(``gateway.storage.shared``); keep the block short, ask the network nothing in it. Blocking: call it in a thread where
mail flows. Raises StorageError.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.clock import Clock
from gateway.incidents import states
from gateway.incidents.chain import Appender
from gateway.incidents.folding import MENTION, Folder
from gateway.incidents.reader import INCIDENT_COLUMNS, incident_of
from gateway.incidents.schema import MIGRATIONS, database_path, head_path
from gateway.incidents.values import FoldOutcome, Incident, Resolution, Sighting, Source, State, printable
from gateway.incidents.words import searchable
from gateway.storage import DurableFiles, Row, SharedDatabase, StorageError, Transaction

Lookup = Callable[[str], tuple[int, str] | None]
"""From a source key to its network's AS number and name, None when not known. Never asks the network."""

# A note is a page at most; a letter is evidence.
MAX_NOTE = 20_000
_STAMPED = {
    State.CONFIRMED: "confirmed_at",
    State.REPORTED: "reported_at",
    State.BLOCKED: "blocked_at",
    State.LIFTED: "lifted_at",
    State.CLOSED: "closed_at",
}


class NoSuchIncidentError(Exception):
    """There is no incident of that number."""


def _unknown(_: str) -> None:
    """Know no network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who makes a change: ``by`` a person or a part of the gateway, ``operation`` what for, ``place`` from where."""

    by: str
    operation: str
    place: str = ""


class Change:
    """One transaction under way; ``at`` is its time, UTC seconds."""

    def __init__(self, transaction: Transaction, appender: Appender, author: Author, at: float) -> None:
        self.at = at
        self.author = author
        self.lookup: Lookup = _unknown
        self._transaction, self._appender = transaction, appender
        self._afterwards: list[Callable[[], None]] = []

    # Rows -------------------------------------------------------------------------------------------------------------

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Execute one statement and return its rows."""
        return self._transaction.execute(sql, parameters)

    def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> int:
        """Execute one statement for each row; return how many rows were changed."""
        return self._transaction.execute_many(sql, rows)

    def insert(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Execute one insert and return the new row's number."""
        return self._transaction.insert(sql, parameters)

    def afterwards(self, action: Callable[[], None]) -> None:
        """Have something done once the change is durable, such as removing what was adopted."""
        self._afterwards.append(action)

    # The chain --------------------------------------------------------------------------------------------------------

    def record(self, kind: str, incident: int | None, facts: Mapping[str, object]) -> int:
        """Append a row to the chain and return its number.

        ``facts`` are plain values (text, numbers, lists, mappings); what names a person has a name of its own, so that
        it can be left out of bundles (``gateway.incidents.redaction``).
        """
        head = {
            "at": self.at,
            "by": printable(self.author.by),
            "place": printable(self.author.place),
            "operation": printable(self.author.operation),
            "kind": kind,
            "incident": incident,
        }
        return self._appender.append(head, facts)

    # Incidents --------------------------------------------------------------------------------------------------------

    def incident(self, number: int) -> Incident:
        """Return an incident as it stands within this change; NoSuchIncidentError."""
        rows = self.execute(f"SELECT {INCIDENT_COLUMNS} FROM incident WHERE id = ?", (number,))  # noqa: S608 - constants
        if not rows:
            raise NoSuchIncidentError(f"there is no incident {number}")
        return incident_of(rows[0])

    def active(self, source: Source) -> Incident | None:
        """Return a source's incident that is not closed."""
        rows = self.execute(
            f"SELECT {INCIDENT_COLUMNS} FROM incident WHERE source_kind = ? AND source_key = ? AND state <> 'closed'",  # noqa: S608 - constants
            (source.kind.value, source.key),
        )
        return incident_of(rows[0]) if rows else None

    def fold(self, sightings: Sequence[Sighting]) -> FoldOutcome:
        """Fold sightings into their sources' incidents, opening or resuming them."""
        return Folder(self, self.lookup).fold(sightings)

    def open(self, source: Source, reason: str) -> Incident:
        """Return a source's incident that is not closed, opened without a sighting where there is none."""
        found = self.active(source)
        if found is None:
            number = Folder(self, self.lookup).open(source, self.at)
            self.record("opened-by-hand", number, {"reason": reason})
            found = self.incident(number)
        return found

    def move(self, number: int, state: State, reason: str, resolution: Resolution | None = None) -> Incident:
        """Take an incident to another state and return it; IllegalTransition, NoSuchIncidentError.

        ``resolution`` is wanted where it is closed, and only there.
        """
        before = self.incident(number)
        _check(before, state)
        if (state is State.CLOSED) != (resolution is not None):
            raise states.IllegalTransition(f"incident {number}: a case is closed with a resolution, and only then")
        self._set(before, state, resolution.value if resolution else "")
        facts = {"from": before.state.value, "to": state.value, "reason": reason}
        self.record("moved", number, facts | ({"resolution": resolution.value} if resolution else {}))
        return self.incident(number)

    def resume(self, number: int, state: State) -> None:
        """Note that a source that was quiet or lifted sends again."""
        before = self.incident(number)
        _check(before, state)
        self._set(before, state, "")
        self.execute("UPDATE incident SET resumed = resumed + 1 WHERE id = ?", (number,))
        self.record("resumed", number, {"from": before.state.value, "to": state.value})

    def _set(self, before: Incident, state: State, resolution: str) -> None:
        stamp = _STAMPED.get(state)
        stamped = f", {stamp} = ?" if stamp else ""
        self.execute(
            f"UPDATE incident SET state = ?, state_since = ?, resolution = ?{stamped} WHERE id = ?",  # noqa: S608 - constants
            (state.value, self.at, resolution, *((self.at,) if stamp else ()), before.id),
        )

    def reported(self, number: int, facts: Mapping[str, object]) -> Incident:
        """Note that an incident was reported: its time, and its state where that was *confirmed*."""
        before = self.incident(number)
        if before.state is State.CONFIRMED:
            self._set(before, State.REPORTED, "")
        else:
            self.execute("UPDATE incident SET reported_at = ? WHERE id = ?", (self.at, number))
        self.record("reported", number, {**facts, "state": self.incident(number).state.value})
        return self.incident(number)

    def note(self, number: int, text: str) -> int:
        """Write a note about an incident, searchable; return its number; NoSuchIncidentError."""
        self.incident(number)
        kept = printable(text)[:MAX_NOTE]
        note = self.insert(
            "INSERT INTO note (incident, at, by, text) VALUES (?, ?, ?, ?)",
            (number, self.at, printable(self.author.by), kept),
        )
        self.execute(MENTION, (number, "note", kept, searchable(kept)))
        self.record("noted", number, {"note": note, "text": kept})
        return note

    # Clocks and cursors -----------------------------------------------------------------------------------------------

    def start_clock(
        self, kind: str, subject: str, due_at: float, *, incident: int | None = None, ticket: int | None = None
    ) -> int:
        """Start a clock that ``deadlines_due`` shows, and return its number."""
        clock = self.insert(
            "INSERT INTO clock (kind, subject, incident, ticket, started_at, due_at) VALUES (?, ?, ?, ?, ?, ?)",
            (kind, printable(subject), incident, ticket, self.at, due_at),
        )
        self.record("clock-started", incident, {"clock": clock, "clock_kind": kind, "due_at": due_at})
        return clock

    def stop_clock(self, clock: int) -> None:
        """Note that what a clock was for is done; one that is stopped already stays as it is."""
        rows = self.execute(
            "UPDATE clock SET met_at = ? WHERE id = ? AND met_at IS NULL RETURNING incident", (self.at, clock)
        )
        if rows:
            self.record("clock-stopped", rows[0][0], {"clock": clock})

    def cursor(self, journal: str) -> int:
        """Return how far a journal file was read, 0 for not at all."""
        rows = self.execute("SELECT position FROM cursor WHERE journal = ?", (journal,))
        return int(rows[0][0]) if rows else 0

    def advance(self, journal: str, position: int) -> None:
        """Note that a journal file was read up to a row."""
        self.execute(
            "INSERT INTO cursor (journal, position, at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
            " SET position = excluded.position, at = excluded.at",
            (journal, position, self.at),
        )

    def done(self) -> None:
        """Do what was to be done afterwards."""
        for action in self._afterwards:
            action()


def _check(before: Incident, after: State) -> None:
    try:
        states.check(before.state, after, held=before.is_held)
    except states.IllegalTransition as error:
        raise states.IllegalTransition(f"incident {before.id}: {error}", error.onward) from None


class IncidentBook:
    """The record under a data folder; made when first written to.

    ``lookup`` tells a source's network (``gateway.incidents.networks``); it is asked when an incident is opened.
    """

    def __init__(
        self,
        data: Path,
        *,
        clock: Clock,
        lookup: Lookup = _unknown,
        random_octets: Callable[[int], bytes] = os.urandom,
        files: DurableFiles | None = None,
    ) -> None:
        self.data = data
        self._clock, self._lookup, self._random_octets = clock, lookup, random_octets
        self._files = files or DurableFiles()
        self._database = SharedDatabase(database_path(data), MIGRATIONS)

    def hold(self) -> None:
        """Leave the database open between changes, for one that writes all the time; end with ``let_go``."""
        self._database.hold()

    def let_go(self) -> None:
        """Close what ``hold`` left open; raises StorageError."""
        self._database.let_go()

    @contextmanager
    def change(self, by: str, operation: str, place: str = "") -> Iterator[Change]:
        """Begin a change in somebody's name; durable when the block is left."""
        author = Author(by=by, operation=operation, place=place)
        with self._database.transaction() as transaction:
            appender = Appender(transaction, self._random_octets)
            before = appender.head
            change = Change(transaction, appender, author, self._clock.stamp().utc)
            change.lookup = self._lookup
            yield change
        if appender.head != before:
            self._anchor(str(appender.head))
        change.done()

    def _anchor(self, head: str) -> None:
        try:
            self._files.write(head_path(self.data), [f"{head}\n".encode("ascii")])
        except StorageError:
            # The change is durable; an anchor that lies behind the head proves less, and the next change sets it.
            return
