"""The abuse desk's own rows held against the chain: blocks, suspensions, guarantees, tickets, reports.

Each row of the chain that tells of one names it, and says what must stand in it; what changes every minute, such as
attempts counted, is not told and not compared. A row that the chain does not name was added by somebody else.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.incidents.chain import Row
from gateway.incidents.values import printable
from gateway.storage import ReadDatabase


@dataclass(frozen=True, slots=True)
class Seal:
    """What a kind of row tells of a ``table``: the fact that names the row, and the fact that each column has."""

    table: str
    number: str
    columns: Mapping[str, str]


def _same(*names: str, **renamed: str) -> dict[str, str]:
    return {name: name for name in names} | renamed


SEALS = {
    "block-began": Seal("block", "block", _same("entry", "how", "reason", "until")),
    "block-ended": Seal("block", "block", _same("proof", end_reason="reason")),
    "suspended": Seal("suspension", "suspension", _same("sender", "how", "reason", kind="sender_kind")),
    "restored": Seal("suspension", "suspension", _same("guarantee", "override")),
    "guarantee-recorded": Seal(
        "guarantee",
        "guarantee",
        _same(
            *("company", "manager", "scope", "subject", "client", "contact", "telephone", "signed_on", "accepted_by"),
            *("letter_sha256", "letter_octets", "licence_sha256", "licence_octets", "recorded_at"),
        ),
    ),
    "ticket-opened": Seal("ticket", "ticket", _same("format", "reporter", "trace_id", "matched_by", "sha256")),
    "reported": Seal("report", "report", _same("format", recipient="to", kind="report_kind")),
}
# A report that was only tried out stands in its table and not in the chain.
_WHOLE = ("block", "suspension", "guarantee", "ticket")


@dataclass(slots=True)
class DeskRows:
    """What the chain says must stand in the desk's tables, by table and number."""

    expected: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)

    def take(self, row: Row) -> None:
        """Note what a row of the chain tells."""
        seal = SEALS.get(row.kind)
        facts = row.facts
        if seal is None or seal.number not in facts:
            return
        columns = self.expected.setdefault(seal.table, {}).setdefault(int(facts[seal.number]), {})
        columns.update({column: facts[fact] for column, fact in seal.columns.items() if fact in facts})

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
            for number in left:
                yield f"{table} {number}", "it is missing"


def _plain(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value
