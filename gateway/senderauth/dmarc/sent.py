"""What became of the reports that were due: sent, withheld or failed, one row a domain, day and mailbox.

So that no report leaves twice, however often a day is gone through, and that it can be told what was sent to whom.
One process writes at a time; reading needs no lock. Rows go after KEPT_SECONDS.
"""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from enum import StrEnum
from pathlib import Path

from gateway.storage import Database, Migration, Phase, Row, Schema, Statement, open_readonly

FILE = Path("dmarc/reports-sent.sqlite")
# As long as other evidence of a year is kept; a row has some 200 octets.
KEPT_SECONDS = 400 * 86_400.0


class State(StrEnum):
    """What became of one report to one mailbox."""

    SENT = "sent"
    # Not wanted there, or larger than is taken there: final.
    WITHHELD = "withheld"
    # DNS or the gateway did not answer: tried again when the day is gone through again.
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentReport:
    """One row; ``begin`` is the day's first UTC second, ``at`` when, ``octets`` the mail's size, 0 for none."""

    domain: str
    begin: int
    address: str
    state: State
    at: float
    messages: int
    octets: int = 0
    trace_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayDone:
    """A day gone through to its end; ``domains`` had something to report."""

    begin: int
    at: float
    domains: int
    sent: int
    withheld: int
    failed: int


_REPORT = tuple(field.name for field in fields(SentReport))
_DAY = tuple(field.name for field in fields(DayDone))


def _create(schema: Schema) -> None:
    schema.execute(
        """CREATE TABLE report (
            domain TEXT NOT NULL, begin INTEGER NOT NULL, address TEXT NOT NULL, state TEXT NOT NULL, at REAL NOT NULL,
            messages INTEGER NOT NULL, octets INTEGER NOT NULL, trace_id TEXT NOT NULL, reason TEXT NOT NULL,
            PRIMARY KEY (begin, domain, address)
        )"""
    )
    schema.execute(
        """CREATE TABLE day (
            begin INTEGER PRIMARY KEY, at REAL NOT NULL, domains INTEGER NOT NULL, sent INTEGER NOT NULL,
            withheld INTEGER NOT NULL, failed INTEGER NOT NULL
        )"""
    )


MIGRATIONS = (Migration(1, "reports sent", _create),)


def _upsert(table: str, columns: Sequence[str]) -> Statement:
    # Names are this file's constants.
    marks = ", ".join("?" for _ in columns)
    sql = f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
    return Statement(sql, Phase.UPDATE)


_KEEP_REPORT, _KEEP_DAY = _upsert("report", _REPORT), _upsert("day", _DAY)
_PRUNE_REPORTS = Statement("DELETE FROM report WHERE begin < ?", Phase.DELETE)
_PRUNE_DAYS = Statement("DELETE FROM day WHERE begin < ?", Phase.DELETE)
_OF_DAY = f"SELECT {', '.join(_REPORT)} FROM report WHERE begin = ? ORDER BY domain, address"  # noqa: S608
_LATEST = f"SELECT {', '.join(_REPORT)} FROM report ORDER BY begin DESC, domain, address LIMIT ?"  # noqa: S608
_DONE = f"SELECT {', '.join(_DAY)} FROM day WHERE begin = ?"  # noqa: S608


class SentReports:
    """The record, open for writing; raises StorageError, StorageLocked while another command writes."""

    def __init__(self, data: Path) -> None:
        self._database = Database(data / FILE, MIGRATIONS, synchronous="FULL")

    def of_day(self, begin: int) -> list[SentReport]:
        """Return what is on record of a day."""
        return list(_reports(self._database.read_now(_OF_DAY, (begin,))))

    async def keep(self, report: SentReport) -> None:
        """Put one report on record, durably."""
        await self._database.commit([(_KEEP_REPORT, astuple(report))])

    async def keep_day(self, day: DayDone) -> None:
        """Put on record that a day was gone through; what is too old goes."""
        before = int(day.at - KEPT_SECONDS)
        await self._database.commit([(_KEEP_DAY, astuple(day)), (_PRUNE_REPORTS, (before,)), (_PRUNE_DAYS, (before,))])

    async def close(self) -> None:
        """Close the record."""
        await self._database.close()


def read_latest(data: Path, limit: int) -> list[SentReport]:
    """Return the latest rows, newest day first; none when there is no record."""
    return list(_reports(_read(data, _LATEST, (limit,))))


def read_day_done(data: Path, begin: int) -> DayDone | None:
    """Return how a day was gone through last, None when it was not."""
    rows = _read(data, _DONE, (begin,))
    return DayDone(**dict(zip(_DAY, rows[0], strict=True))) if rows else None


def _read(data: Path, sql: str, parameters: tuple[object, ...]) -> list[Row]:
    path = data / FILE
    if not path.exists():
        return []
    with open_readonly(path) as database:
        return database.read(sql, parameters)


def _reports(rows: Sequence[Row]) -> Iterator[SentReport]:
    for row in rows:
        values = dict(zip(_REPORT, row, strict=True))
        yield SentReport(**values | {"state": State(values["state"])})
