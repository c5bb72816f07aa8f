"""A person answers a complaint: a response on the way, or the outcome, which closes the ticket and stops its clocks.

An answer that comes back has told nobody anything: its ticket is ``undelivered``, and due again in the time that the
contract gives, from the moment when that is known.
"""

from dataclasses import dataclass

from gateway.abuse.complaints.answering import Case, answer
from gateway.abuse.complaints.automatic import is_machine
from gateway.abuse.complaints.deadlines import CLOCK_OF, TicketClocks
from gateway.abuse.complaints.letter import mailbox_of
from gateway.abuse.complaints.opening import note_answer
from gateway.abuse.complaints.ticket import SELECT, Ticket, ticket_of
from gateway.abuse.post import new_token, put
from gateway.abuse.writing import Writer, write
from gateway.incidents import Change, IncidentBook
from gateway.incidents.values import printable

RESPONSE, OUTCOME = "response", "outcome"


class UnanswerableError(Exception):
    """The ticket cannot be answered so; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is answered: ``kind`` response or outcome; ``language`` "" for the complaint's; ``by`` who, from where.

    ``mailed`` False: the complainant was told by other means, and nothing is sent. ``to`` is another address of theirs,
    where the one that they wrote from does not take mail.
    """

    ticket: int
    kind: str
    text: str
    by: str
    place: str
    language: str = ""
    mailed: bool = True
    to: str = ""


def give(book: IncidentBook, given: Answer, writer: Writer, zone: str, clocks: TicketClocks) -> Ticket:
    """Put an answer on record, its mail to leave at once; return the ticket as it was.

    Raises UnanswerableError, StorageError.
    """
    if not given.text.strip():
        raise UnanswerableError("an answer says something")
    with book.change(given.by, "complaint answer", given.place) as change:
        rows = change.execute(f"{SELECT} WHERE id = ?", (given.ticket,))
        if not rows:
            raise UnanswerableError(f"there is no ticket {given.ticket}")
        ticket = ticket_of(rows[0])
        if ticket.state == "closed":
            raise UnanswerableError(f"ticket {ticket.id} is closed: its outcome was told")
        if given.mailed:
            _mail(change, ticket, given, writer, zone)
        _note(change, ticket, given)
        at = change.at
    met = [ticket.response_deadline] if ticket.responded_at is None else []
    clocks.stop([*met, *([ticket.outcome_deadline] if given.kind == OUTCOME else [])], at, given.by)
    return ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """An answer that came back: of which ticket, which answer, why, and when the next one is due (UTC seconds)."""

    ticket: int
    answer: str
    reason: str
    due_at: float


def take_back(change: Change, number: int, mail: int, reason: str, clocks: TicketClocks) -> Undelivered | None:
    """Make a ticket due again whose answer came back; None where another answer has gone out since.

    Its clock is put on the service level's record by ``settling``.
    """
    ticket = ticket_of(change.execute(f"{SELECT} WHERE id = ?", (number,))[0])
    rows = change.execute(
        "SELECT kind FROM ticket_mail WHERE ticket = ? AND mail = ? AND NOT EXISTS (SELECT 1 FROM"
        " ticket_mail later WHERE later.ticket = ticket_mail.ticket AND later.id > ticket_mail.id"
        " AND later.kind IN ('response', 'outcome'))",
        (number, mail),
    )
    kind = str(rows[0][0]) if rows else ""
    if kind not in CLOCK_OF or (kind == RESPONSE and ticket.state == "closed"):
        return None
    subject = f"complaint {ticket.trace_id}, {kind} undelivered"
    due = clocks.wanted(CLOCK_OF[kind], subject, change.at).due
    clock = change.start_clock(CLOCK_OF[kind], subject, due, incident=ticket.incident, ticket=number)
    met = "outcome_at" if kind == OUTCOME else "responded_at"
    change.execute(
        f"UPDATE ticket SET state = 'undelivered', {met} = NULL, {kind}_clock = ?, {kind}_deadline = NULL,"  # noqa: S608 - constants
        f" {kind}_due = ? WHERE id = ?",
        (clock, due, number),
    )
    facts = {"ticket": number, "answer": kind, "due_at": due, "reason": reason}
    change.record("ticket-undelivered", ticket.incident, facts)
    return Undelivered(ticket=number, answer=kind, reason=reason, due_at=due)


def _mail(change: Change, ticket: Ticket, given: Answer, writer: Writer, zone: str) -> None:
    reporter = given.to or ticket.reporter
    mailbox = mailbox_of(reporter)
    if mailbox is None or is_machine(mailbox.local_part):
        told = reporter or "nobody"
        raise UnanswerableError(f"no answer reaches {told}; say --to ADDRESS, or --no-mail when it was told otherwise")
    if mailbox.key == writer.address.casefold():
        raise UnanswerableError("that is our own abuse address")
    case = Case(
        ticket=ticket.id,
        received=ticket.opened_at,
        subject=ticket.subject,
        about=ticket.about,
        message_id=_message_id(change, ticket),
        response_due=ticket.response_due,
        outcome_due=ticket.outcome_due,
        zone=zone,
    )
    language = given.language or ticket.language
    letter = answer(given.kind, case, reporter, writer, (language, given.text, change.at))
    written = write(letter, writer, token=new_token(), returned=True)
    to = (reporter, letter.subject, written.message_id)
    note_answer(change, ticket.id, given.kind, put(change, written), to)


def _message_id(change: Change, ticket: Ticket) -> str:
    rows = change.execute(
        "SELECT message_id FROM ticket_mail WHERE ticket = ? AND kind IN ('complaint', 'follow-up')"
        " AND message_id <> '' ORDER BY id DESC LIMIT 1",
        (ticket.id,),
    )
    return str(rows[0][0]) if rows else ""


def _note(change: Change, ticket: Ticket, given: Answer) -> None:
    text = printable(given.text)
    if given.kind == OUTCOME:
        change.execute(
            "UPDATE ticket SET state = 'closed', outcome = ?, outcome_at = ?, answered_by = ?,"
            " responded_at = coalesce(responded_at, ?) WHERE id = ?",
            (text, change.at, given.by, change.at, ticket.id),
        )
    else:
        change.execute(
            "UPDATE ticket SET state = 'answered', answered_by = ?, responded_at = coalesce(responded_at, ?)"
            " WHERE id = ?",
            (given.by, change.at, ticket.id),
        )
    for clock in (ticket.response_clock, ticket.outcome_clock if given.kind == OUTCOME else None):
        if clock is not None:
            change.stop_clock(clock)
    facts = {"ticket": ticket.id, "answer": given.kind, "mailed": given.mailed, "text": text}
    change.record("ticket-answered", ticket.incident, facts)
