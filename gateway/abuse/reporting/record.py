"""Reports on record, as the view ``reports_sent`` has them."""

from pathlib import Path
from typing import Any

from gateway.abuse.reporting.contacts import NOBODY
from gateway.incidents import IncidentReader

COLUMNS = (
    "report",
    "at",
    "kind",
    "format",
    "recipient",
    "contact_origin",
    "source_kind",
    "source",
    "incident",
    "incidents",
    "state",
    "bounced_at",
    "bounce",
    "answered_at",
    "trace_id",
    "file",
)


def reports(data: Path, *, kind: str, state: str, incident: int | None, limit: int) -> list[dict[str, Any]]:
    """Return reports, the latest first; "" and None stand for any; StorageError."""
    where: list[str] = ["1"]
    values: list[object] = []
    if state == NOBODY:
        where.append("recipient = ''")
    elif state:
        where.append("recipient <> ''")
    for condition, value in (("kind = ?", kind), ("state = ?", "" if state == NOBODY else state)):
        if value:
            where.append(condition)
            values.append(value)
    if incident is not None:
        where.append("report IN (SELECT report FROM report_incident WHERE report_incident.incident = ?)")
        values.append(incident)
    with IncidentReader(data) as reader:
        rows = reader.rows(
            f"SELECT {', '.join(COLUMNS)} FROM reports_sent WHERE {' AND '.join(where)}"  # noqa: S608 - constants
            " ORDER BY report DESC LIMIT ?",
            (*values, limit),
        )
    found = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    # It was looked for, and there was nobody to tell: nothing was written.
    return [each if each["recipient"] else each | {"state": NOBODY} for each in found]
