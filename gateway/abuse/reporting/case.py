"""What is known of an incident, gathered for a report: its last sightings, and one message with its circumstances.

Personal data of our users is replaced where the configuration wants that (RFC 6590), before anything is written down:
no report can forget it. A mail that is itself a report, or another automatic answer, is never the evidence of one:
two desks must not report one another's reports.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Self

from gateway.abuse.complaints.octets import shown
from gateway.abuse.writing import MARK
from gateway.config.abuse_desk import Reporting
from gateway.incidents import IncidentReader
from gateway.incidents.evidence import EvidenceBrokenError, EvidenceStore
from gateway.incidents.reader import EvidenceRow
from gateway.incidents.redaction import Redactor, redaction_key
from gateway.incidents.values import Incident, Sighting
from gateway.mail.header import HeaderSection

# What a report needs of them: the last ones, and their recipients.
MAX_SIGHTINGS = 20
# Larger mails are reported by their header section: no abuse desk wants megabytes.
MAX_MESSAGE_OCTETS = 256 * 1024
# Of an incident's evidence the latest that can be used; older ones say nothing more.
_MOST_TRIED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One incident, ready to be told.

    ``address`` is the source's IP address; ``message`` the evidence as it may leave, header section and body, or the
    header section alone (``is_whole`` tells); b"" where there is none. ``port`` is the client's, 0 when not known.
    """

    incident: Incident
    address: str
    port: int
    helo: str
    mail_from: str
    recipients: tuple[str, ...]
    subject: str
    message_id: str
    last_seen: float
    findings: tuple[str, ...]
    virus: str
    message: bytes
    is_whole: bool
    sha256: str
    trace_id: str

    @property
    def when(self) -> datetime:
        """When the source was last seen."""
        return datetime.fromtimestamp(self.last_seen, UTC)

    @property
    def feedback_type(self) -> str:
        """The word of RFC 5965 §3.5 and RFC 6430 for what it sent."""
        if self.virus or self.incident.viruses:
            return "virus"
        return "fraud" if "false-source" in self.incident.grounds else "abuse"


class Cases:
    """Gathers cases from one data folder; a context manager; StorageError."""

    def __init__(self, data: Path, settings: Reporting) -> None:
        self._reader, self._evidence = IncidentReader(data), EvidenceStore(data)
        self._settings = settings
        self._key = redaction_key(data) if settings.redact else b""

    def of(self, incident: Incident) -> Case:
        """Return what is known of an incident."""
        sightings = tuple(each.sighting for each in self._reader.sightings(incident.id, MAX_SIGHTINGS))
        last = next(iter(sightings), None)
        row, message = next(self._usable(incident.id), (None, b""))
        facts = _connection(row)
        recipients = tuple(dict.fromkeys(address for each in sightings for address in each.recipients))
        redactor = Redactor(self._key, recipients) if self._key else None
        whole = self._settings.evidence == "message" and len(message) <= MAX_MESSAGE_OCTETS
        kept = message if whole else _header(message)
        return Case(
            incident=incident,
            address=str(facts.get("client") or (last.client if last else "")) or address_of(incident.source.key),
            port=_port(facts.get("client_port")),
            helo=shown(str(facts.get("helo") or (last.helo if last else ""))),
            mail_from=last.reverse_path if last else "",
            recipients=tuple(redactor.pseudonym(each) for each in recipients) if redactor else recipients,
            subject=_redacted(redactor, last.subject if last else ""),
            message_id=last.message_id if last else "",
            last_seen=incident.last_seen,
            findings=tuple(_redacted(redactor, each) for each in (last.findings if last else ())),
            virus=last.virus if last else "",
            message=_message(kept, redactor, whole=whole),
            is_whole=whole and bool(message),
            sha256=row.sha256 if row else "",
            trace_id=_trace_id(row, last),
        )

    def _usable(self, incident: int) -> Iterator[tuple[EvidenceRow, bytes]]:
        """Yield the evidence that may be reported, the latest first."""
        rows = [row for row in self._reader.evidence(incident) if row.removed_at is None]
        for row in rows[: -_MOST_TRIED - 1 : -1]:
            try:
                message = self._evidence.read(row)
            except EvidenceBrokenError:
                continue
            if "complaint" not in row.facts and not is_report(HeaderSection(message)):
                yield row, message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()


def is_report(header: HeaderSection) -> bool:
    """Whether a mail is a report or one of ours: it is never reported."""
    kind = header.first("content-type")
    is_multipart_report = kind is not None and kind.value.lower().startswith(b"multipart/report")
    return is_multipart_report or bool(header.count(MARK))


def _connection(row: EvidenceRow | None) -> dict[str, Any]:
    facts = row.facts.get("connection") if row else None
    return facts if isinstance(facts, dict) else {}


def _port(value: object) -> int:
    return value if isinstance(value, int) and 0 < value < 1 << 16 else 0


def address_of(key: str) -> str:
    """Return the first address of a source's network."""
    try:
        return str(ip_network(key).network_address)
    except ValueError:
        return key


def _header(message: bytes) -> bytes:
    return HeaderSection(message).octets if message else b""


def _message(message: bytes, redactor: Redactor | None, *, whole: bool) -> bytes:
    if not message or redactor is None:
        return message
    return redactor.message(message) if whole else redactor.message(message + b"\r\n\r\n").rstrip(b"\r\n") + b"\r\n"


def _redacted(redactor: Redactor | None, text: str) -> str:
    return redactor.text(text) if redactor else text


def _trace_id(row: EvidenceRow | None, last: Sighting | None) -> str:
    if row is not None:
        return row.trace_id
    return last.trace_id if last else ""
