"""The table of who sends in our name: what the reports of others say about our domains.

A report is taken once, by who wrote it, its id and domain (RFC 9990 §3.5.4), however often its file is read. One
process writes at a time; reading needs no lock.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.senderauth.dmarc.ingest import ReceivedReport
from gateway.storage import Database, Migration, Phase, Row, Schema, Statement, Write, open_readonly

FILE = Path("dmarc/reports-received.sqlite")


def _create(schema: Schema) -> None:
    schema.execute(
        """CREATE TABLE report (
            id INTEGER PRIMARY KEY, reporter TEXT NOT NULL, report_id TEXT NOT NULL, domain TEXT NOT NULL,
            begin INTEGER NOT NULL, end INTEGER NOT NULL, policy TEXT NOT NULL, messages INTEGER NOT NULL,
            file TEXT NOT NULL, ingested_at REAL NOT NULL, UNIQUE (reporter, report_id, domain, begin)
        )"""
    )
    schema.execute(
        """CREATE TABLE source (
            report INTEGER NOT NULL REFERENCES report (id), client TEXT NOT NULL, author TEXT NOT NULL,
            count INTEGER NOT NULL, disposition TEXT NOT NULL, dkim TEXT NOT NULL, spf TEXT NOT NULL,
            signers TEXT NOT NULL, envelopes TEXT NOT NULL
        )"""
    )
    schema.execute("CREATE INDEX source_report ON source (report)")
    schema.execute("CREATE INDEX report_begin ON report (begin)")


MIGRATIONS = (Migration(1, "reports received", _create),)

_COLUMNS = "id, reporter, report_id, domain, begin, end, policy, messages, file, ingested_at"
_REPORT = Statement(f"INSERT INTO report ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", Phase.INSERT)  # noqa: S608
_SOURCE = Statement("INSERT INTO source VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", Phase.UPDATE)
_KNOWN = "SELECT 1 FROM report WHERE reporter = ? AND report_id = ? AND domain = ? AND begin = ?"
_HIGHEST = "SELECT coalesce(max(id), 0) FROM report"
_SENDERS = """
SELECT s.author, s.client, sum(s.count), sum(CASE WHEN s.dkim = 'pass' OR s.spf = 'pass' THEN s.count ELSE 0 END),
    sum(CASE WHEN s.dkim = 'pass' THEN s.count ELSE 0 END), sum(CASE WHEN s.spf = 'pass' THEN s.count ELSE 0 END),
    sum(CASE WHEN s.disposition IN ('reject', 'quarantine') THEN s.count ELSE 0 END), min(r.begin), max(r.end),
    group_concat(DISTINCT replace(r.reporter, ',', ';')), group_concat(DISTINCT s.signers),
    group_concat(DISTINCT s.envelopes)
FROM source s JOIN report r ON r.id = s.report
WHERE r.end >= ? AND (? = '' OR s.author = ? OR s.author LIKE ? ESCAPE '\\')
GROUP BY s.author, s.client
ORDER BY sum(CASE WHEN s.dkim = 'pass' OR s.spf = 'pass' THEN 0 ELSE s.count END) DESC, sum(s.count) DESC, s.author,
    s.client
LIMIT ?
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """One client that sends with an author of ours; counts are messages, times UTC seconds.

    ``passing`` DMARC, ``dkim`` and ``spf`` aligned; ``refused`` were rejected or quarantined somewhere. ``signers`` and
    ``envelopes`` are the domains that passed by themselves.
    """

    author: str
    client: str
    messages: int
    passing: int
    dkim: int
    spf: int
    refused: int
    first: int
    last: int
    reporters: tuple[str, ...]
    signers: tuple[str, ...]
    envelopes: tuple[str, ...]


class ReceivedReports:
    """The table, open for writing; raises StorageError, StorageLocked while another command writes."""

    def __init__(self, data: Path) -> None:
        self._database = Database(data / FILE, MIGRATIONS, synchronous="FULL")
        self._next = int(self._database.read_now(_HIGHEST)[0][0]) + 1

    def is_known(self, report: ReceivedReport) -> bool:
        """Tell whether this report was taken before."""
        return bool(self._database.read_now(_KNOWN, (report.reporter, report.report_id, report.domain, report.begin)))

    async def add(self, report: ReceivedReport, file: str, now: float) -> None:
        """Take a report that is not known."""
        number, self._next = self._next, self._next + 1
        facts = (report.reporter, report.report_id, report.domain, report.begin, report.end, report.policy)
        writes: list[Write] = [(_REPORT, (number, *facts, report.messages, file, now))]
        for row in report.rows:
            values = (row.client, row.author, row.count, row.disposition, row.dkim, row.spf, row.signers, row.envelopes)
            writes.append((_SOURCE, (number, *values)))
        await self._database.commit(writes)

    async def close(self) -> None:
        """Close the table."""
        await self._database.close()


def read_senders(data: Path, domain: str, since: float, limit: int) -> list[Sender]:
    """Return who sent in the name of ``domain`` and below it ("" for all), those that fail most first."""
    path = data / FILE
    if not path.exists():
        return []
    below = "%." + domain.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    with open_readonly(path) as database:
        rows = database.read(_SENDERS, (since, domain, domain, below, limit))
    return [_sender(row) for row in rows]


def _sender(row: Row) -> Sender:
    author, client, messages, passing, dkim, spf, refused, first, last, reporters, signers, envelopes = row
    return Sender(
        author=author,
        client=client,
        messages=messages,
        passing=passing,
        dkim=dkim,
        spf=spf,
        refused=refused,
        first=first,
        last=last,
        reporters=_names([reporters], ","),
        signers=_names(_split(signers)),
        envelopes=_names(_split(envelopes)),
    )


def _split(joined: str) -> Sequence[str]:
    return (joined or "").split(",")


def _names(texts: Iterable[str], separator: str = " ") -> tuple[str, ...]:
    found = {name for text in texts for name in (text or "").split(separator) if name}
    return tuple(sorted(found))
