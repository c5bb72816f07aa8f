"""A batch as CSV (RFC 4180): UTF-8, CR LF, the columns of ``COLUMNS`` in this order, times in UTC.

A cell that a spreadsheet would take for a formula begins with an apostrophe: what is in it comes from spammers.
"""

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime

from gateway.abuse.complaints.octets import shown
from gateway.abuse.reporting.case import Case

COLUMNS = (
    "incident",
    "source_kind",
    "source",
    "address",
    "asn",
    "network",
    "state",
    "first_seen",
    "last_seen",
    "messages",
    "viruses",
    "grounds",
    "helo",
    "mail_from",
    "recipient",
    "subject",
    "message_id",
    "findings",
    "evidence_sha256",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(cases: Iterable[Case]) -> bytes:
    """Return the table of a batch."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(COLUMNS)
    table.writerows([_cell(value) for value in row(case)] for case in cases)
    return text.getvalue().encode("utf-8", "replace")


def row(case: Case) -> tuple[object, ...]:
    """Return a case's values in the order of the columns."""
    incident = case.incident
    return (
        incident.id,
        incident.source.kind.value,
        incident.source.key,
        case.address,
        incident.asn or "",
        incident.network,
        incident.state.value,
        _time(incident.first_seen),
        _time(incident.last_seen),
        incident.sightings,
        incident.viruses,
        " ".join(incident.grounds),
        case.helo,
        case.mail_from,
        next(iter(case.recipients), ""),
        case.subject,
        case.message_id,
        "; ".join(case.findings),
        case.sha256,
    )


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = shown(value, 500)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _time(utc: float) -> str:
    return f"{datetime.fromtimestamp(utc, UTC):%Y-%m-%d %H:%M:%S}"
