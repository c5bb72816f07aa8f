"""What complainants wrote, kept whole as evidence with the ticket (contract.md §4 a).

The mail of a complaint and what follows it, compressed, sealed in the chain, exported like any message kept, and pruned
with its ticket. Its facts stand under ``complaint``: who complained is no spam source, so a redacted bundle names
nobody there, and no report is ever made of such a mail.
"""

from dataclasses import dataclass

from gateway.abuse.complaints.letter import Letter
from gateway.incidents import Change
from gateway.incidents.evidence import EvidenceStore, Packed
from gateway.incidents.reader import IncidentReader

COMPLAINT, FOLLOW_UP = "complaint", "follow-up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """A mail to file: of which ticket, ``what`` it is there, and who wrote it."""

    ticket: int
    incident: int | None
    what: str
    letter: Letter
    format: str = ""


def file_mail(change: Change, store: EvidenceStore, packed: Packed, filed: Filed) -> int:
    """Keep a complainant's mail within a change; return the evidence's number."""
    facts = {
        "ticket": filed.ticket,
        "what": filed.what,
        "reporter": filed.letter.reporter,
        "address": filed.letter.address,
        "format": filed.format,
    }
    return store.keep(change, filed.incident, filed.letter.trace_id, packed, {"complaint": facts})


def original_mail(reader: IncidentReader, store: EvidenceStore, trace_id: str) -> bytes | None:
    """Return a complaint's mail as it came, None when it is not kept; EvidenceBrokenError when it is not as it was."""
    kept = [row for row in reader.evidence_of_trace(trace_id) if row.removed_at is None]
    return store.read(kept[0]) if kept else None
