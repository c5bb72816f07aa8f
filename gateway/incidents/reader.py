"""Reading the record beside its writers. Everything is empty where there is none yet."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Self

from gateway.incidents.chain import COLUMNS, Anchor, Row, stored_row
from gateway.incidents.folding import SELECT_SIGHTINGS, address_octets, periods
from gateway.incidents.schema import database_path
from gateway.incidents.suspensions import Ask
from gateway.incidents.values import (
    GROUNDS,
    Incident,
    Note,
    Running,
    Sighting,
    Source,
    SourceKind,
    State,
    StoredSighting,
    printable,
)
from gateway.incidents.words import search_expression
from gateway.storage import ReadDatabase, StorageError, open_readonly

INCIDENT_COLUMNS = (
    "id, source_kind, source_key, state, state_since, resolution, opened_at, first_seen, last_seen, sightings, viruses,"
    " octets, advertising, no_opt_out, hidden_sender, false_source, harmful, asn, network, blocking, resumed, previous,"
    " confirmed_at, reported_at, blocked_at, lifted_at, closed_at, suspending"
)
RANKINGS = {
    "sources": "source",
    "grounds": "ground",
    "domains": "recipient-domain",
    "sender-domains": "sender-domain",
}
PERIODS = ("day", "week", "month")
EVIDENCE_COLUMNS = "id, incident, trace_id, at, sha256, octets, stored_sha256, stored_octets, facts, number, removed_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentQuery:
    """Which incidents: all that is given must hold; ``limit`` the most of them, the last seen first.

    ``ip`` is an address or a network; ``domain`` a recipients' or senders' domain; times are UTC seconds of ``last
    seen``.
    """

    ip: str = ""
    asn: int | None = None
    domain: str = ""
    ground: str = ""
    since: float | None = None
    until: float | None = None
    states: tuple[State, ...] = ()
    source: str = ""
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One line of a ranking: ``incident`` is the newest of a source, None for other things."""

    name: str
    sightings: int
    octets: int
    incident: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One text that a search found: of which incident, what it is (subject, sender, note …), and the text."""

    incident: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRow:
    """One message kept as evidence: content's and stored file's digest and octets; ``number`` its row in the chain.

    ``incident`` is None for a complaint about nobody on record.
    """

    id: int
    incident: int | None
    trace_id: str
    at: float
    sha256: str
    octets: int
    stored_sha256: str
    stored_octets: int
    facts: dict[str, Any]
    number: int
    removed_at: float | None


class IncidentReader:
    """One connection that cannot write; a context manager; raises StorageError.

    A record that is being made at this moment, a file without tables, is none yet; it is looked for again.
    """

    def __init__(self, data: Path) -> None:
        self._path = database_path(data)
        self._file: tuple[int, int] | None = None
        self._database = self._opened()

    def _opened(self) -> ReadDatabase | None:
        if not self._path.exists():
            return None
        self._file = _file_of(self._path)
        database = open_readonly(self._path)
        try:
            if database.read("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'incident'"):
                return database
        except StorageError:
            database.close()
            raise
        database.close()
        return None

    # Incidents --------------------------------------------------------------------------------------------------------

    def incident(self, number: int) -> Incident | None:
        """Return one incident."""
        return next(iter(self._incidents("WHERE id = ?", (number,))), None)

    def by_source(self, source: Source) -> list[Incident]:
        """Return a source's incidents, the newest first."""
        where = "WHERE source_key = ? AND source_kind = ? ORDER BY id DESC"
        return self._incidents(where, (source.key, source.kind.value))

    def find(self, query: IncidentQuery) -> list[Incident]:
        """Return the incidents asked for, the last seen first; ValueError for an address that is none."""
        where, values = _conditions(query)
        text = f"WHERE {' AND '.join(where)}" if where else ""
        return self._incidents(f"{text} ORDER BY last_seen DESC LIMIT ?", (*values, query.limit))

    def top(self, what: str, period: str, at: float, limit: int = 20) -> list[Ranked]:
        """Rank one of ``RANKINGS`` in the ``day``, ``week`` or ``month`` of ``at``."""
        name = periods(at)[PERIODS.index(period)]
        rows = self._rows(
            "SELECT name, sightings, octets FROM activity WHERE what = ? AND period = ?"
            " ORDER BY sightings DESC LIMIT ?",
            (RANKINGS[what], name, limit),
        )
        return [
            Ranked(
                name=row[0],
                sightings=row[1],
                octets=row[2],
                incident=self._newest(row[0]) if what == "sources" else None,
            )
            for row in rows
        ]

    def search(self, text: str, limit: int = 100) -> list[Found]:
        """Return what a person's words are found in, the newest first."""
        expression = search_expression(printable(text))
        if not expression:
            return []
        rows = self._rows(
            "SELECT incident, kind, text FROM mention_fts JOIN mention ON mention.id = mention_fts.rowid"
            " WHERE mention_fts MATCH ? ORDER BY mention_fts.rowid DESC LIMIT ?",
            (expression, limit),
        )
        return [Found(incident=row[0], kind=row[1], text=row[2]) for row in rows]

    # What belongs to them ---------------------------------------------------------------------------------------------

    def sightings(self, incident: int, limit: int = 20) -> list[StoredSighting]:
        """Return an incident's last sightings, the newest first."""
        return self._sightings("WHERE incident = ? ORDER BY id DESC LIMIT ?", (incident, limit))

    def by_trace(self, trace_id: str) -> list[StoredSighting]:
        """Return the sightings of a message."""
        return self._sightings("WHERE trace_id = ? ORDER BY id", (trace_id,))

    def by_message_id(self, message_id: str) -> list[StoredSighting]:
        """Return the sightings of a Message-ID, given with its angle brackets as the mail had it, the newest first."""
        days = [row[0] for row in self._rows(_DAYS, ())]
        found = []
        for start in range(0, len(days), 500):
            some = days[start : start + 500]
            marks = ", ".join("?" * len(some))
            found += self._sightings(f"WHERE day IN ({marks}) AND message_id = ?", (*some, message_id))
        return sorted(found, key=lambda each: -each.id)

    def evidence(self, incident: int) -> list[EvidenceRow]:
        """Return the messages kept of an incident, in the order they came."""
        return self._evidence("WHERE incident = ? ORDER BY id", (incident,))

    def evidence_of_trace(self, trace_id: str) -> list[EvidenceRow]:
        """Return what is kept of a message."""
        return self._evidence("WHERE trace_id = ? ORDER BY id", (trace_id,))

    def notes(self, incident: int) -> list[Note]:
        """Return what was written about an incident."""
        rows = self._rows("SELECT id, incident, at, by, text FROM note WHERE incident = ? ORDER BY id", (incident,))
        return [Note(id=row[0], incident=row[1], at=row[2], by=row[3], text=row[4]) for row in rows]

    def timeline(self, incident: int) -> list[Row]:
        """Return an incident's rows of the chain."""
        rows = self._rows(f"SELECT {COLUMNS} FROM chain WHERE incident = ? ORDER BY number", (incident,))  # noqa: S608 - constants
        return [stored_row(row) for row in rows]

    def clocks(self, incident: int | None = None, *, running: bool = True) -> list[Running]:
        """Return clocks, the most urgent first; of one incident, or of all."""
        where = ["1"]
        if running:
            where.append("met_at IS NULL")
        if incident is not None:
            where.append("incident = ?")
        rows = self._rows(
            "SELECT id, kind, subject, incident, ticket, started_at, due_at, met_at FROM clock"  # noqa: S608 - constants
            f" WHERE {' AND '.join(where)} ORDER BY due_at",
            () if incident is None else (incident,),
        )
        names = ("id", "kind", "subject", "incident", "ticket", "started_at", "due_at", "met_at")
        return [Running(**dict(zip(names, row, strict=True))) for row in rows]

    def domains(self, incident: int, role: str, limit: int = 10) -> list[tuple[str, int]]:
        """Return an incident's ``recipient`` or ``sender`` domains with their sightings, the most first."""
        rows = self._rows(
            "SELECT domain, sightings FROM domain WHERE incident = ? AND role = ? ORDER BY sightings DESC LIMIT ?",
            (incident, role, limit),
        )
        return [(row[0], row[1]) for row in rows]

    def cursors(self) -> dict[str, int]:
        """Return how far each journal file was read."""
        return dict(self._rows("SELECT journal, position FROM cursor", ()))

    def head(self) -> Anchor:
        """Return where the chain ends."""
        rows = self._rows("SELECT number, digest FROM chain ORDER BY number DESC LIMIT 1", ())
        return Anchor(*rows[0]) if rows else Anchor(0, "00" * 32)

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of any query: the schema is meant to be asked."""
        return self._rows(sql, tuple(parameters))

    # Within -----------------------------------------------------------------------------------------------------------

    def _newest(self, source: str) -> int | None:
        kind, _, key = source.partition(" ")
        rows = self._rows("SELECT max(id) FROM incident WHERE source_key = ? AND source_kind = ?", (key, kind))
        return rows[0][0] if rows else None

    def _incidents(self, where: str, values: tuple[object, ...]) -> list[Incident]:
        return [incident_of(row) for row in self._rows(f"SELECT {INCIDENT_COLUMNS} FROM incident {where}", values)]  # noqa: S608 - constants

    def _sightings(self, where: str, values: tuple[object, ...]) -> list[StoredSighting]:
        return [
            stored_sighting(row, *self._source(row[1])) for row in self._rows(f"{SELECT_SIGHTINGS} {where}", values)
        ]

    def _source(self, incident: int) -> tuple[str, str]:
        rows = self._rows("SELECT source_kind, source_key FROM incident WHERE id = ?", (incident,))
        return rows[0] if rows else (SourceKind.NETWORK.value, "")

    def _evidence(self, where: str, values: tuple[object, ...]) -> list[EvidenceRow]:
        rows = self._rows(f"SELECT {EVIDENCE_COLUMNS} FROM evidence {where}", values)  # noqa: S608 - constants
        return [evidence_of(row) for row in rows]

    def _rows(self, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        if self._database is None:
            self._database = self._opened()
        if self._database is None:
            return []
        # As texts are stored: what is asked for may come from mail, too.
        return self._database.read(sql, [printable(each) if isinstance(each, str) else each for each in values])

    def follow(self) -> bool:
        """Go on with the file that lies there now; True where it is another, since the record was put aside."""
        if self._database is None or self._file == _file_of(self._path):
            return False
        self.close()
        self._database = self._opened()
        return True

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# The days that have sightings, each found by one seek in the index.
_DAYS = """
WITH RECURSIVE days(day) AS (
    SELECT min(day) FROM sighting
    UNION ALL
    SELECT (SELECT min(day) FROM sighting WHERE day > days.day) FROM days WHERE day IS NOT NULL
) SELECT day FROM days WHERE day IS NOT NULL"""


def incident_of(row: Sequence[Any]) -> Incident:
    """Return the incident of a row of ``INCIDENT_COLUMNS``."""
    return Incident(
        id=row[0],
        source=Source(SourceKind(row[1]), row[2]),
        state=State(row[3]),
        state_since=row[4],
        resolution=row[5],
        opened_at=row[6],
        first_seen=row[7],
        last_seen=row[8],
        sightings=row[9],
        viruses=row[10],
        octets=row[11],
        counts=(row[12], row[13], row[14], row[15], row[16]),
        asn=row[17],
        network=row[18],
        blocking=bool(row[19]),
        resumed=row[20],
        previous=row[21],
        confirmed_at=row[22],
        reported_at=row[23],
        blocked_at=row[24],
        lifted_at=row[25],
        closed_at=row[26],
        suspending=bool(row[27]),
    )


_EVIDENCE_NAMES = tuple(name.strip() for name in EVIDENCE_COLUMNS.split(","))


def _file_of(path: Path) -> tuple[int, int] | None:
    """Return which file lies there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def incidents_by_trace(ask: Ask, trace_ids: Sequence[str]) -> dict[str, int]:
    """Return the incident of each message that is a sighting, as a reader or a change has it."""
    if not trace_ids:
        return {}
    marks = ", ".join("?" * len(trace_ids))
    asked = f"SELECT trace_id, min(incident) FROM sighting WHERE trace_id IN ({marks}) GROUP BY 1"  # noqa: S608 - marks
    return dict(ask(asked, tuple(trace_ids)))


def evidence_of(row: Sequence[Any]) -> EvidenceRow:
    """Return the evidence of a row of ``EVIDENCE_COLUMNS``; ValueError when its facts are none."""
    values = dict(zip(_EVIDENCE_NAMES, row, strict=True))
    return EvidenceRow(**values | {"facts": json.loads(values["facts"])})


def stored_sighting(row: Sequence[Any], kind: str, key: str) -> StoredSighting:
    """Return the sighting of a stored row, of the source given."""
    sighting = Sighting(
        trace_id=row[4],
        at=row[3],
        source=Source(SourceKind(kind), key),
        client=row[5],
        helo=row[6],
        reverse_path=row[7],
        recipients=tuple(filter(None, row[8].split("\n"))),
        recipient_domain=row[9],
        message_id=row[10],
        subject=row[11],
        grounds=tuple(row[12].split()),
        findings=tuple(filter(None, row[13].split("\n"))),
        action=row[14],
        octets=row[15],
        virus=row[16],
    )
    return StoredSighting(id=row[0], incident=row[1], sighting=sighting)


def _conditions(query: IncidentQuery) -> tuple[list[str], list[object]]:
    where: list[str] = []
    values: list[object] = []

    def holds(condition: str, *given: object) -> None:
        where.append(condition)
        values.extend(given)

    if query.ip:
        holds("address BETWEEN ? AND ?", *_address_range(query.ip))
    if query.source:
        holds("source_key = ?", query.source)
    if query.asn is not None:
        holds("asn = ?", query.asn)
    if query.ground:
        holds(f"{ground_column(query.ground)} > 0")
    if query.since is not None:
        holds("last_seen >= ?", query.since)
    if query.until is not None:
        holds("last_seen < ?", query.until)
    if query.states:
        holds(f"state IN ({', '.join('?' * len(query.states))})", *(state.value for state in query.states))
    if query.domain:
        holds("id IN (SELECT incident FROM domain WHERE domain = ?)", query.domain.lower())
    return where, values


def ground_column(ground: str) -> str:
    """Return the column that counts a ground; ValueError for what is none."""
    if ground not in GROUNDS:
        raise ValueError(f"{ground} is no ground; allowed: {', '.join(GROUNDS)}")
    return ground.replace("-", "_")


def _address_range(text: str) -> tuple[bytes, bytes]:
    network = ip_network(text, strict=False)
    if network.version == 6 and network.prefixlen > 64:  # noqa: PLR2004 - sources are /64
        network = network.supernet(new_prefix=64)
    return address_octets(str(network)) or b"", address_octets(str(network.broadcast_address)) or b""
