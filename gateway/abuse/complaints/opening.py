"""A complaint becomes a ticket: one transaction with its clocks, the incident it confirms, and the acknowledgement."""

import json
from dataclasses import asdict, dataclass

from gateway.abuse.complaints.answering import Case, answer
from gateway.abuse.complaints.automatic import ONCE_SECONDS
from gateway.abuse.complaints.complaint import Complaint
from gateway.abuse.complaints.deadlines import OUTCOME, RESPONSE, Clock
from gateway.abuse.complaints.letter import Letter
from gateway.abuse.complaints.matching import Match
from gateway.abuse.complaints.settling import started
from gateway.abuse.post import new_token, put
from gateway.abuse.writing import Writer, write
from gateway.incidents import Change
from gateway.incidents.values import Incident, State, printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A complaint as it came in: what it is, what it is about, how it may be answered.

    ``unanswerable`` says why no machine answers it; ``at`` is when it was received.
    """

    letter: Letter
    complaint: Complaint
    match: Match
    language: str
    unanswerable: str
    at: float
    sha256: str
    octets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How complaints are answered: who writes, in whose time zone, whether at once, and whether that counts."""

    writer: Writer
    zone: str
    acknowledge: bool
    acknowledgement_counts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What came of it: the ticket's number, its incident, and whether an acknowledgement leaves."""

    ticket: int
    incident: int | None
    acknowledged: bool


def open_ticket(change: Change, received: Received, clocks: dict[str, Clock], manner: Manner) -> Opened:
    """Put a ticket on record."""
    ticket = _ticket(change, received, clocks)
    incident = confirm(change, received.match, received.complaint, ticket)
    numbers = {
        kind: change.start_clock(kind, clock.subject, clock.due, incident=incident, ticket=ticket)
        for kind, clock in clocks.items()
    }
    for kind, clock in clocks.items():
        started(change, numbers[kind], clock.started, clock.number)
    change.execute(
        "UPDATE ticket SET incident = ?, response_clock = ?, outcome_clock = ? WHERE id = ?",
        (incident, numbers[RESPONSE], numbers[OUTCOME], ticket),
    )
    note_mail(change, ticket, "complaint", received.letter)
    change.record(
        "ticket-opened",
        incident,
        {
            "ticket": ticket,
            "format": received.complaint.format.value,
            "reporter": printable(received.letter.reporter),
            "trace_id": received.letter.trace_id,
            "matched_by": received.match.by,
            "sha256": received.sha256,
        },
    )
    acknowledged = manner.acknowledge and _acknowledge(change, received, ticket, clocks, manner)
    if acknowledged and manner.acknowledgement_counts:
        change.execute("UPDATE ticket SET state = 'answered', responded_at = ? WHERE id = ?", (change.at, ticket))
        change.stop_clock(numbers[RESPONSE])
    return Opened(ticket=ticket, incident=incident, acknowledged=acknowledged)


def note_mail(change: Change, ticket: int, kind: str, letter: Letter) -> None:
    """Put a mail from the complainant on record."""
    change.execute(
        "INSERT INTO ticket_mail (ticket, at, kind, party, subject, message_id, trace_id) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            ticket,
            change.at,
            kind,
            printable(letter.reporter),
            printable(letter.subject),
            printable(letter.message_id),
            letter.trace_id,
        ),
    )


def note_answer(change: Change, ticket: int, kind: str, mail: int, to: tuple[str, str, str]) -> None:
    """Put a mail of ours on record; ``to`` is whom, its subject and its Message-ID."""
    change.execute(
        "INSERT INTO ticket_mail (ticket, at, kind, party, subject, message_id, trace_id, mail)"
        " VALUES (?, ?, ?, ?, ?, ?, '', ?)",
        (ticket, change.at, kind, *to, mail),
    )


def _ticket(change: Change, received: Received, clocks: dict[str, Clock]) -> int:
    letter, complaint, match = received.letter, received.complaint, received.match
    source = match.source
    facts = {name: value for name, value in asdict(complaint).items() if value}
    return change.insert(
        "INSERT INTO ticket (opened_at, format, feedback_type, trace_id, address, reporter, language, subject,"
        " about_trace_id, about_message_id, source_kind, source_key, matched_by, sha256, octets, unanswerable, facts,"
        " response_deadline, outcome_deadline, response_due, outcome_due)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            received.at,
            complaint.format.value,
            printable(complaint.feedback_type),
            letter.trace_id,
            printable(letter.address),
            printable(letter.reporter),
            received.language,
            printable(complaint.subject or letter.subject),
            match.trace_id,
            printable(match.message_id),
            source.kind.value if source else "",
            source.key if source else "",
            match.by,
            received.sha256,
            received.octets,
            received.unanswerable,
            printable(json.dumps(facts, ensure_ascii=True)),
            clocks[RESPONSE].number,
            clocks[OUTCOME].number,
            clocks[RESPONSE].due,
            clocks[OUTCOME].due,
        ),
    )


def confirm(change: Change, match: Match, complaint: Complaint, ticket: int) -> int | None:
    """Return the incident, opened and confirmed where the complaint proves that the mail was ours to answer for."""
    if not match.is_proven or match.source is None or complaint.is_praise:
        return match.incident
    reason = f"complaint, ticket {ticket}"
    incident: Incident = change.open(match.source, reason)
    if incident.state is State.OPEN:
        change.move(incident.id, State.CONFIRMED, reason)
    change.note(incident.id, f"{reason}: {complaint.format} {complaint.feedback_type} {match.trace_id}".strip())
    return incident.id


def _acknowledge(change: Change, received: Received, ticket: int, clocks: dict[str, Clock], manner: Manner) -> bool:
    to = received.letter.return_path
    if received.unanswerable or _answered_today(change, to):
        return False
    case = Case(
        ticket=ticket,
        received=received.at,
        subject="",
        about=received.match.trace_id,
        message_id=received.letter.message_id,
        response_due=clocks[RESPONSE].due,
        outcome_due=clocks[OUTCOME].due,
        zone=manner.zone,
    )
    letter = answer("acknowledgement", case, to, manner.writer, (received.language, "", change.at))
    # RFC 3834 §3.3: the null reverse-path, so that nothing answers it.
    written = write(letter, manner.writer, token=new_token(), returned=False)
    note_answer(change, ticket, "acknowledgement", put(change, written), (to, letter.subject, written.message_id))
    return True


def _answered_today(change: Change, to: str) -> bool:
    # RFC 3834 §2: not the same sender again and again.
    rows = change.execute(
        "SELECT 1 FROM ticket_mail WHERE party = ? COLLATE NOCASE AND kind = 'acknowledgement' AND at > ? LIMIT 1",
        (to, change.at - ONCE_SECONDS),
    )
    return bool(rows)
