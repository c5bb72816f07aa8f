"""``incident verify``: proves that nothing on record was altered or removed, or says what was.

The chain is walked from its first row: each digest is computed anew, each anchor must be found in it, the last rows
included. What it says is then held against what there is: every incident, its state and its number of sightings, every
sighting, every note, every kept message and scan octet by octet, the abuse desk's rows. What retention removed is on
record as removed, by rows of the same chain. Totals per period and the search index are made from these and are not
sealed.

A change under way does not matter: one moment of the database is read.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from sys import intern
from typing import Any

from gateway.incidents.chain import COLUMNS, ROOT, Anchor, Row, canonical, is_as_written, links, stored_row
from gateway.incidents.desk_retention import TICKET_ROWS
from gateway.incidents.desk_rows import DeskRows
from gateway.incidents.evidence import EvidenceStore, flat
from gateway.incidents.guarantees import Letters
from gateway.incidents.reader import EVIDENCE_COLUMNS, evidence_of
from gateway.incidents.schema import FOLDER, database_path, head_path
from gateway.incidents.sighting_seals import SightingSeals
from gateway.incidents.values import State
from gateway.storage import ReadDatabase, StorageError, open_readonly
from gateway.storage.online import integrity

# Hundreds of flaws have one cause.
MAX_FLAWS = 200
# Of some tens of thousands a second.
TOLD_ROWS = 1000
_LAST = """
SELECT (SELECT coalesce(max(number), 0) FROM chain), (SELECT coalesce(max(id) - min(id) + 1, 0) FROM sighting),
    (SELECT count(*) FROM incident)"""

Progress = Callable[[int, int], None]
"""Hears how many rows were looked at, and of about how many."""


def _silent(_: int, __: int) -> None:
    """Tell nobody."""


# Facts of an ``evidence`` row that are columns of its table, not facts about the message.
_EVIDENCE_FIELDS = ("evidence", "trace_id", "at", "sha256", "octets", "stored_sha256", "stored_octets")


@dataclass(frozen=True, slots=True, order=True)
class Flaw:
    """Something that is not as it was recorded: ``where`` it is, and what is ``wrong``."""

    where: str
    wrong: str

    def __str__(self) -> str:
        return f"{self.where}: {self.wrong}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was looked at and what was found; sound when there are no flaws."""

    flaws: tuple[Flaw, ...]
    rows: int
    incidents: int
    sightings: int
    messages: int
    head: Anchor


@dataclass(slots=True)
class _Expected:
    """What the chain says there must be."""

    incidents: dict[int, list[Any]] = field(default_factory=dict)
    # When each was closed last: retention goes by it.
    closed: dict[int, Any] = field(default_factory=dict)
    sightings: Counter[int] = field(default_factory=Counter)
    notes: dict[int, bytes] = field(default_factory=dict)
    evidence: dict[int, bytes] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    # Messages whose facts were erased, to be covered by a later row that says that they were removed.
    hidden: dict[int, int] = field(default_factory=dict)
    desk: DeskRows = field(default_factory=DeskRows)
    # The same for tickets.
    hidden_tickets: dict[int, int] = field(default_factory=dict)
    # Erased rows by incident, each to be covered by a later row that says so.
    erased: dict[int, int] = field(default_factory=dict)


class _Walk:
    """Collects what rows say, in their order, and holds sightings against them on the way."""

    def __init__(self, anchors: Sequence[Anchor]) -> None:
        self.seals: SightingSeals | None = None
        self.expected = _Expected()
        self.flaws: list[Flaw] = []
        self.rows = 0
        self.head = Anchor(0, ROOT.hex())
        self._wanted: dict[int, list[Anchor]] = {}
        for anchor in anchors:
            self._wanted.setdefault(anchor.number, []).append(anchor)
        self._takers: dict[str, Callable[[Row], None]] = {
            "opened": self._opened,
            "moved": self._moved,
            "resumed": self._moved,
            "reported": self._reported,
            "folded": self._folded,
            "noted": self._noted,
            "evidence": self._evidence,
            "evidence-removed": self._removed,
            "pruned": self._forgotten,
            "tickets-pruned": self._tickets_pruned,
            "reports-pruned": self._reports_pruned,
        }

    def take(self, rows: Iterator[Row]) -> None:
        """Walk the whole chain."""
        for row, broken in links(rows, ROOT):
            self.rows += 1
            where = f"chain {row.number}"
            first_missing = self.rows == 1 and row.number != 1
            wrong = f"rows 1 to {row.number - 1} are missing" if first_missing else broken
            if wrong:
                self.flaws.append(Flaw(where, wrong))
            for anchor in self._wanted.pop(row.number, ()):
                if anchor.digest != row.digest and anchor.number:
                    self.flaws.append(Flaw(where, f"it is not the row that was anchored ({anchor.digest[:16]}…)"))
            self.head = Anchor(row.number, str(row.digest))
            del self.flaws[MAX_FLAWS:]
            try:
                self._said(row)
            except (KeyError, TypeError, ValueError):
                if not wrong:
                    self.flaws.append(Flaw(where, "it does not say what a row of its kind says"))
        self._end()

    def _said(self, row: Row) -> None:
        if row.kind == "evidence" and row.sealed and all(name.startswith("facts.about.") for name in row.sealed):
            # What was said about a message went with it; which one it was stays.
            self.expected.hidden[int(row.facts["evidence"])] = row.number
            self.expected.evidence[int(row.facts["evidence"])] = b""
        elif row.sealed and row.kind in TICKET_ROWS and "ticket" in row.facts:
            self.expected.hidden_tickets[int(row.facts["ticket"])] = row.number
        elif row.sealed:
            if row.incident is None or not all(name.startswith("facts.") for name in row.sealed):
                raise ValueError
            self.expected.erased[row.incident] = row.number
        else:
            self.expected.desk.take(row)
            if (taker := self._takers.get(row.kind)) is not None:
                taker(row)

    def _end(self) -> None:
        for number, anchors in sorted(self._wanted.items()):
            if number:
                self.flaws.append(
                    Flaw(f"chain {number}", f"it was anchored ({anchors[0].digest[:16]}…) and is missing")
                )
        for incident, number in self.expected.erased.items():
            self.flaws.append(Flaw(f"chain {number}", f"it was erased, but incident {incident} was not pruned"))
        for evidence, number in self.expected.hidden.items():
            self.flaws.append(Flaw(f"chain {number}", f"it was erased, but evidence {evidence} was not removed"))
        for ticket, number in self.expected.hidden_tickets.items():
            self.flaws.append(Flaw(f"chain {number}", f"it was erased, but ticket {ticket} was not pruned"))

    def _opened(self, row: Row) -> None:
        facts = row.facts
        if row.incident is not None:
            state = State.OPEN.value
            self.expected.incidents[row.incident] = [intern(facts["source_kind"]), facts["source_key"], state, ""]

    def _moved(self, row: Row) -> None:
        if row.incident in self.expected.incidents:
            known = self.expected.incidents[row.incident]
            known[2] = intern(row.facts["to"])
            known[3] = intern(row.facts.get("resolution", ""))
            if known[2] == State.CLOSED:
                self.expected.closed[row.incident] = row.fields["at"]

    def _reported(self, row: Row) -> None:
        if row.incident in self.expected.incidents:
            self.expected.incidents[row.incident][2] = row.facts["state"]

    def _folded(self, row: Row) -> None:
        if self.seals is not None:
            self.flaws += [Flaw(*found) for found in self.seals.hold(row.number, row.facts)]

    def _noted(self, row: Row) -> None:
        facts = row.facts
        self.expected.notes[int(facts["note"])] = _hash(
            [row.incident, row.fields["at"], row.fields["by"], facts["text"]]
        )

    def _evidence(self, row: Row) -> None:
        facts = row.facts
        self.expected.evidence[int(facts["evidence"])] = _hash([row.incident, row.number, facts])

    def _removed(self, row: Row) -> None:
        self.expected.removed.add(int(row.facts["evidence"]))
        self.expected.hidden.pop(int(row.facts["evidence"]), None)

    def _forgotten(self, row: Row) -> None:
        """Expect no more of a pruned incident: it and what belonged to it is gone, its rows may be erased."""
        expected, facts = self.expected, row.facts
        expected.incidents.pop(facts["pruned"], None)
        expected.closed.pop(facts["pruned"], None)
        expected.sightings.pop(facts["pruned"], None)
        if expected.erased.get(facts["pruned"], 0) <= int(facts["through"]):
            expected.erased.pop(facts["pruned"], None)
        for number in facts["notes"]:
            expected.notes.pop(number, None)
        self._evidence_pruned(facts["evidence"])

    def _evidence_pruned(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.expected.evidence.pop(number, None)
            self.expected.removed.discard(number)

    def _tickets_pruned(self, row: Row) -> None:
        facts, hidden = row.facts, self.expected.hidden_tickets
        for number in facts["tickets"]:
            if hidden.get(number, 0) <= int(facts["through"]):
                hidden.pop(number, None)
        self.expected.desk.gone("ticket", facts["tickets"])
        self._evidence_pruned(facts["evidence"])

    def _reports_pruned(self, row: Row) -> None:
        self.expected.desk.gone("report", row.facts["reports"])


def _hash(value: Any) -> bytes:
    return hashlib.sha256(canonical(value)).digest()


class _Counted(ReadDatabase):
    """The record, which tells how many of its rows were read."""

    def __init__(self, path: Path, progress: Progress) -> None:
        super().__init__(path)
        self._progress, self._done, self._of = progress, 0, 0

    def begin(self) -> None:
        """See how many rows there are, about."""
        self._of = sum(self.read(_LAST)[0])
        self._progress(0, self._of)

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, and tell now and then."""
        for row in super().rows(sql, parameters):
            self._done += 1
            if not self._done % TOLD_ROWS:
                self._progress(self._done, self._of)
            yield row


def verify(
    data: Path,
    *,
    anchors: Sequence[Anchor] = (),
    store: EvidenceStore | None = None,
    letters: Letters | None = None,
    progress: Progress = _silent,
) -> Verification:
    """Verify everything under a data folder; ``anchors`` are heads noted elsewhere, such as in the journal.

    It takes memory for what the chain says of each incident, note, message and row of the desk, not for sightings.
    """
    path = database_path(data)
    known, flaws = _anchored(data)
    wanted = [*known, *anchors]
    if not path.exists():
        found = (
            [Flaw(str(path.name), "it is missing, but a chain was anchored")] if any(a.number for a in wanted) else []
        )
        return _verification(_Walk(()), [*flaws, *found], (0, 0))
    walk, seals, messages = _Walk(wanted), None, 0
    try:
        with _Counted(path, progress) as database:
            flaws += [Flaw(path.name, text) for text in integrity(path)]
            database.read("BEGIN")
            database.begin()
            walk.seals = seals = SightingSeals(database)
            walk.expected.sightings = seals.counts
            rows = database.rows(f"SELECT {COLUMNS} FROM chain ORDER BY number")  # noqa: S608 - constants
            walk.take(_read(rows, flaws))
            flaws += [Flaw(*found) for found in seals.end()]
            messages = _compare(database, walk.expected, store or EvidenceStore(data), flaws)
            flaws += _scans(database, letters or Letters(data / FOLDER))
    except StorageError as error:
        flaws.append(Flaw(path.name, str(error)))
    return _verification(walk, [*walk.flaws, *flaws], (seals.looked_at if seals else 0, messages))


def _verification(walk: _Walk, flaws: list[Flaw], looked: tuple[int, int]) -> Verification:
    return Verification(
        flaws=tuple(dict.fromkeys(flaws))[:MAX_FLAWS],
        rows=walk.rows,
        incidents=len(walk.expected.incidents),
        sightings=looked[0],
        messages=looked[1],
        head=walk.head,
    )


def _anchored(data: Path) -> tuple[list[Anchor], list[Flaw]]:
    """Return the head that the file beside the database names."""
    path = head_path(data)
    try:
        return [Anchor.parse(path.read_text(encoding="ascii").strip())], []
    except FileNotFoundError:
        return [], [Flaw("head", "the anchor's file is missing")] if database_path(data).exists() else []
    except (OSError, ValueError) as error:
        return [], [Flaw("head", f"the anchor cannot be read: {error}")]


def _read(rows: Iterator[tuple[Any, ...]], flaws: list[Flaw]) -> Iterator[Row]:
    for values in rows:
        try:
            row = stored_row(values)
            if not is_as_written(values):
                flaws.append(Flaw(f"chain {values[0]}", "its text is not as it was written"))
            yield row
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            flaws.append(Flaw(f"chain {values[0]}", f"it cannot be read: {error}"))
            yield Row(number=values[0], fields={}, salts={}, digest=str(values[-1]))


def _compare(database: ReadDatabase, expected: _Expected, store: EvidenceStore, flaws: list[Flaw]) -> int:
    """Hold what there is against what the chain says; return how many messages were looked at."""
    flaws += islice(_incidents(database, expected), MAX_FLAWS)
    flaws += _notes(database, expected)
    flaws += [Flaw(*found) for found in expected.desk.flaws(database, expected.incidents)]
    return _messages(database, expected, store, flaws)


def _incidents(database: ReadDatabase, expected: _Expected) -> Iterator[Flaw]:
    left = dict(expected.incidents)
    rows = database.rows(
        "SELECT id, source_kind, source_key, state, resolution, closed_at, sightings FROM incident ORDER BY id"
    )
    for number, *values, closed_at, sightings in rows:
        where = f"incident {number}"
        recorded = left.pop(number, None)
        if recorded is None:
            yield Flaw(where, "it is not on record")
        elif recorded != values:
            yield Flaw(where, f"it is {' '.join(map(str, values))}, on record is {' '.join(map(str, recorded))}")
        if closed_at != (closed := expected.closed.get(number)):
            yield Flaw(where, f"it was closed at {closed_at}, on record is {closed}")
        if sightings != expected.sightings[number]:
            yield Flaw(where, f"it has {sightings} sightings, on record are {expected.sightings[number]}")
    for number in left:
        yield Flaw(f"incident {number}", "it is missing")


def _notes(database: ReadDatabase, expected: _Expected) -> Iterator[Flaw]:
    left = dict(expected.notes)
    for number, incident, at, by, text in database.rows("SELECT id, incident, at, by, text FROM note"):
        recorded = left.pop(number, None)
        if recorded is None:
            yield Flaw(f"note {number}", "it is not on record")
        elif _hash([incident, at, by, text]) != recorded:
            yield Flaw(f"note {number}", "it was altered")
    for number in left:
        yield Flaw(f"note {number}", "it is missing")


def _messages(database: ReadDatabase, expected: _Expected, store: EvidenceStore, flaws: list[Flaw]) -> int:
    left, seen = dict(expected.evidence), 0
    for values in database.rows(f"SELECT {EVIDENCE_COLUMNS} FROM evidence ORDER BY id"):  # noqa: S608 - constants
        where = f"evidence {values[0]}"
        try:
            row = evidence_of(values)
        except ValueError as error:
            flaws.append(Flaw(where, f"it cannot be read: {error}"))
            left.pop(values[0], None)
            continue
        recorded, removed = left.pop(row.id, None), row.id in expected.removed
        if recorded is None:
            flaws.append(Flaw(where, "it is not on record"))
            continue
        if (row.removed_at is not None) != removed:
            flaws.append(Flaw(where, "it says that it was removed, and was not" if not removed else "it was removed"))
        if removed:
            continue
        seen += 1
        columns = dict(zip(_EVIDENCE_FIELDS, _columns(row), strict=True))
        if _hash([row.incident, row.number, columns | flat(row.facts)]) != recorded:
            flaws.append(Flaw(where, "its row was altered"))
        elif (wrong := store.check(row)) and not _went(database.path, row.id):
            flaws.append(Flaw(where, wrong.partition(": ")[2]))
    flaws += [Flaw(f"evidence {number}", "it is missing") for number in left]
    return seen


def _scans(database: ReadDatabase, letters: Letters) -> Iterator[Flaw]:
    """Yield what is wrong with the letters and licences of guarantees, whose digests the chain has."""
    for number, letter, licence in database.rows("SELECT id, letter_sha256, licence_sha256 FROM guarantee ORDER BY id"):
        for what, sha256 in (("letter", letter), ("licence", licence)):
            if wrong := letters.fault(sha256):
                yield Flaw(f"guarantee {number}", f"its {what} {wrong}")


def _went(path: Path, evidence: int) -> bool:
    """Whether a message was removed, by the rules, since the moment that is being read."""
    with open_readonly(path) as now:
        rows = now.read("SELECT removed_at FROM evidence WHERE id = ?", (evidence,))
    return bool(rows) and rows[0][0] is not None


def _columns(row: Any) -> tuple[Any, ...]:
    return (row.id, *(getattr(row, name) for name in _EVIDENCE_FIELDS[1:]))
