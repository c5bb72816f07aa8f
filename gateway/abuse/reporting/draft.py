"""A report as it would leave: written, but neither on record nor sent. What a dry run shows."""

from dataclasses import dataclass

from gateway.abuse.post import put
from gateway.abuse.writing import Written
from gateway.incidents import Change
from gateway.incidents.values import printable

ASSOCIATION, OPERATOR, LISTING = "association", "operator", "listing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One report: ``kind`` association, operator or listing; ``format`` csv, xarf, arf, text, or several with "+".

    ``written`` is the mail, None for one into a folder, whose ``file`` is then set, or for a source that has nobody to
    tell (``recipient`` ""). ``incidents`` are those it tells of.
    """

    kind: str
    format: str
    recipient: str
    origin: str = ""
    source_kind: str = ""
    source_key: str = ""
    incidents: tuple[int, ...] = ()
    written: Written | None = None
    file: str = ""
    sha256: str = ""


def keep(change: Change, draft: Draft, day: str) -> int | None:
    """Put a report on record, its mail to leave once the change is durable; None for one that is there already."""
    mail = put(change, draft.written) if draft.written else None
    rows = change.execute(
        "INSERT INTO report (at, day, kind, format, recipient, contact_origin, source_kind, source_key, incident, mail,"
        " file, sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id",
        (
            change.at,
            day,
            draft.kind,
            draft.format,
            draft.recipient,
            draft.origin,
            draft.source_kind,
            printable(draft.source_key),
            draft.incidents[0] if len(draft.incidents) == 1 else None,
            mail,
            draft.file,
            draft.written.sha256 if draft.written else draft.sha256,
        ),
    )
    if not rows:
        if mail is not None:
            change.execute("DELETE FROM desk_mail WHERE id = ?", (mail,))
        return None
    report = int(rows[0][0])
    change.execute_many(
        "INSERT INTO report_incident (report, incident) VALUES (?, ?)", [(report, each) for each in draft.incidents]
    )
    facts = {"report": report, "report_kind": draft.kind, "format": draft.format, "to": draft.recipient}
    if not (draft.written or draft.file):
        return report
    for incident in draft.incidents:
        change.reported(incident, facts)
    if not draft.incidents:
        change.record("reported", None, facts | {"about": printable(draft.source_key)})
    return report
