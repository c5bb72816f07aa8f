"""The abuse desk's own rows held against the chain: blocks, suspensions, guarantees, tickets, reports, clocks.

Each row of the chain that tells of one names it, and says what must stand in it: by its facts, and by when it was
written, by whom and of which incident. What changes every minute, such as attempts counted, is not told and not
compared. A row that the chain does not name was added by somebody else.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.incidents.chain import Row
from gateway.incidents.values import printable
from gateway.storage import ReadDatabase


@dataclass(frozen=True, slots=True)
class Seal:
    """What a kind of row tells of a ``table``: the fact that names the row, and the fact that each column has.

    ``fields`` are columns with what stands in the row's own fields; ``still`` those that are empty from then on.
    """

    table: str
    number: str
    columns: Mapping[str, str]
    fields: Mapping[str, str] = field(default_factory=dict)
    still: tuple[str, ...] = ()


def _same(*names: str, **renamed: str) -> dict[str, str]:
    return {name: name for name in names} | renamed


_BEGUN = {"incident": "incident", "by": "by", "began_at": "at"}
_ENDED = {"ended_at": "at", "ended_by": "by"}
SEALS = {
    "block-began": Seal("block", "block", _same("entry", "how", "reason", "until"), _BEGUN, ("ended_at",)),
    "block-ended": Seal("block", "block", _same("proof", end_reason="reason"), _ENDED),
    "suspended": Seal(
        "suspension", "suspension", _same("sender", "how", "reason", kind="sender_kind"), _BEGUN, ("ended_at",)
    ),
    "restored": Seal("suspension", "suspension", _same("guarantee", "override"), _ENDED),
    "guarantee-recorded": Seal(
        "guarantee",
        "guarantee",
        _same(
            *("company", "manager", "scope", "subject", "client", "contact", "telephone", "signed_on", "accepted_by"),
            *("letter_sha256", "letter_octets", "licence_sha256", "licence_octets", "recorded_at"),
        ),
        _same("incident"),
    ),
    "ticket-opened": Seal(
        "ticket", "ticket", _same("format", "reporter", "trace_id", "matched_by", "sha256"), _same("incident")
    ),
    "ticket-answered": Seal("ticket", "ticket", {"outcome": "text"}, {"outcome_at": "at", "answered_by": "by"}),
    "reported": Seal("report", "report", _same("format", recipient="to", kind="report_kind"), _same("at")),
    "clock-started": Seal("clock", "clock", _same("due_at", kind="clock_kind"), _same("incident")),
    "clock-stopped": Seal("clock", "clock", {}, {"met_at": "at"}),
}
# A report that was only tried out stands in its table and not in the chain.
_WHOLE = ("block", "suspension", "guarantee", "ticket")
# A clock goes with its ticket or its incident; the tickets' rows say when they are due.
_MAY_GO = ("clock",)


@dataclass(slots=True)
class DeskRows:
    """What the chain says must stand in the desk's tables, by table and number."""

    expected: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    # By entry, the block that began last.
    _standing: dict[str, int] = field(default_factory=dict)

    def take(self, row: Row) -> None:
        """Note what a row of the chain tells."""
        seal = SEALS.get(row.kind)
        facts = row.facts
        if row.kind == "ticket-undelivered":
            self._undelivered(row)
        if seal is None or seal.number not in facts:
            return
        if row.kind == "ticket-answered" and facts.get("answer") != "outcome":
            return
        if row.kind == "block-began":
            self._replaced(row)
        columns = self.expected.setdefault(seal.table, {}).setdefault(int(facts[seal.number]), {})
        columns.update({column: facts[fact] for column, fact in seal.columns.items() if fact in facts})
        if row.kind == "clock-stopped" and "by" in facts:
            # Stopped on the service level's record, at a time of its own.
            return
        columns.update({column: row.fields.get(name) for column, name in seal.fields.items()})
        columns.update(dict.fromkeys(seal.still))

    def _replaced(self, row: Row) -> None:
        """Expect that a block which stood for the same entry ended when this one began."""
        facts = row.facts
        before = self.expected.get("block", {}).get(self._standing.get(facts["entry"], 0))
        if before is not None and before.get("ended_at") is None:
            before.update(ended_at=row.fields.get("at"), ended_by=row.fields.get("by"), end_reason="replaced")
        self._standing[facts["entry"]] = int(facts["block"])

    def _undelivered(self, row: Row) -> None:
        """Expect no more of an outcome that came back: the ticket is due again."""
        columns = self.expected.get("ticket", {}).get(int(row.facts["ticket"]), {})
        for name in ("outcome", "outcome_at", "answered_by"):
            columns.pop(name, None)

    def gone(self, table: str, numbers: Iterable[int]) -> None:
        """Expect rows no more that retention removed."""
        for number in numbers:
            self.expected.get(table, {}).pop(number, None)

    def flaws(self, database: ReadDatabase, incidents: Mapping[int, object]) -> Iterator[tuple[str, str]]:
        """Yield where something is not as recorded, and what; rows of pruned incidents are passed over."""
        for table in dict.fromkeys(seal.table for seal in SEALS.values()):
            left = dict(self.expected.get(table, {}))
            names = [row[1] for row in database.read(f"PRAGMA table_info({table})")]
            for values in database.rows(f"SELECT * FROM {table} ORDER BY id"):  # noqa: S608 - constants
                stored = dict(zip(names, values, strict=True))
                recorded = left.pop(stored["id"], None)
                where = f"{table} {stored['id']}"
                if recorded is None:
                    if table in _WHOLE and (stored["incident"] is None or stored["incident"] in incidents):
                        yield where, "it is not on record"
                    continue
                differs = [name for name, value in recorded.items() if _plain(stored.get(name)) != _plain(value)]
                if differs:
                    yield where, f"it is not what was recorded: {', '.join(differs)}"
            for number in left if table not in _MAY_GO else ():
                yield f"{table} {number}", "it is missing"


def _plain(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value
