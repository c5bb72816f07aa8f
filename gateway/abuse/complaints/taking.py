"""One mail of the desk's folder: what it is, and what follows from that, in one transaction.

In this order: read before; back to a mail of ours; our own mail; an answer to our mail; a machine's mail or spam that
names no mail; and everything else is a complaint.
"""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from gateway.abuse import returns
from gateway.abuse.complaints import letter, reading
from gateway.abuse.complaints.automatic import automatic, forged, unanswerable
from gateway.abuse.complaints.complaint import Complaint, Format
from gateway.abuse.complaints.deadlines import RESPONSE, TicketClocks
from gateway.abuse.complaints.filing import COMPLAINT, FOLLOW_UP, Filed, file_mail
from gateway.abuse.complaints.letter import Letter, language_of
from gateway.abuse.complaints.matching import Match, Matcher
from gateway.abuse.complaints.opening import Manner, Received, confirm, note_mail, open_ticket
from gateway.abuse.identity import writer_of
from gateway.abuse.post import BY
from gateway.abuse.returns import OwnMailRow
from gateway.abuse.sightings import Neighbourhood
from gateway.abuse.writing import MARK
from gateway.config.models import GatewayConfig
from gateway.incidents import Change, IncidentBook
from gateway.incidents.evidence import EvidenceStore, pack
from gateway.incidents.values import printable
from gateway.mail.content import Content
from gateway.mail.trace_id import trace_id_time
from gateway.pipeline.admission import abuse_keys

# A search of a large gateway's journal takes some seconds, and a complaint may name twenty mails.
MATCH_SECONDS = 5.0
DAY_SECONDS = 86_400.0
# Of one complainant; whoever reports more by hand is a program, whose mails are many of one thing.
MOST_TICKETS_A_DAY = 50
_SAME = "SELECT id FROM ticket WHERE reporter = ? AND about_trace_id = ? AND state <> 'closed' ORDER BY id LIMIT 1"
_COUNTED = "SELECT count(*) FROM ticket WHERE reporter = ? AND opened_at > ?"
_LAST = "SELECT id FROM ticket WHERE reporter = ? AND state <> 'closed' ORDER BY id DESC LIMIT 1"
# What our own X-Spam-Flag says of a mail that the policy would have marked, and worse.
_SPAM_LEVELS = frozenset({"yes"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What taking a mail needs: the configuration, the record and its evidence, the clocks, who a mail's source is.

    ``undelivered`` is told of an answer that came back: its ticket, the mail's number, and why.
    """

    config: GatewayConfig
    book: IncidentBook
    store: EvidenceStore
    clocks: TicketClocks
    near: Neighbourhood
    zone: str
    now: Callable[[], float]

    undelivered: Callable[[Change, int, int, str], None]

    def change(self, operation: str) -> AbstractContextManager[Change]:
        """Begin a change in the gateway's name."""
        return self.book.change(BY, operation)


def take(content: Content, trace_id: str, around: Around) -> str:
    """Do what a mail asks for; return what it was."""
    found = letter.read(content, trace_id)
    with around.change("complaint desk") as change:
        if change.execute("SELECT 1 FROM desk_seen WHERE trace_id = ?", (trace_id,)):
            return "seen"
        if what := _known(change, found, content, around):
            return what
    complaint = reading.read(content, around.config.hostname)
    if why := _nothing(found, complaint, content):
        with around.change("complaint desk") as change:
            return _seen(change, found, "set-aside", why)
    patience = 0.0 if _is_flood(found, around) else MATCH_SECONDS
    with Matcher(around.config.data, around.near, around.now, patience) as matcher:
        match = matcher.match(complaint, "" if forged(found.header) else found.reporter)
    if what := _again(found, complaint, match, content, around):
        return what
    return opened(found, complaint, match, content, around, reading.said(content.mime, content))


def opened(found: Letter, complaint: Complaint, match: Match, content: Content, around: Around, text: str = "") -> str:
    """Open a ticket for a complaint; ``text`` is what its author wrote, whose language we answer in."""
    config = around.config
    received = Received(
        letter=found,
        complaint=complaint,
        match=match,
        language=language_of(f"{found.subject} {text}", config.complaints.language),
        unanswerable=unanswerable(found, _own(config)),
        at=_received(found, around.now()),
        sha256=_sha256(content),
        octets=content.size,
    )
    manner = Manner(
        writer=writer_of(config),
        zone=around.zone,
        acknowledge=config.complaints.acknowledge,
        acknowledgement_counts=config.complaints.acknowledgement_counts,
    )
    clocks = around.clocks.start(f"complaint {found.trace_id}", received.at, around.now(), BY)
    packed = pack(content.chunks())
    with around.change("complaint desk") as change:
        ticket = open_ticket(change, received, clocks, manner)
        filed = Filed(
            ticket=ticket.ticket,
            incident=ticket.incident,
            what=COMPLAINT,
            letter=found,
            format=complaint.format.value,
        )
        file_mail(change, around.store, packed, filed)
        _seen(change, found, "ticket", complaint.format.value, ticket=ticket.ticket)
    if ticket.acknowledged and config.complaints.acknowledgement_counts:
        around.clocks.stop([clocks[RESPONSE].number], around.now(), BY)
    return "ticket"


def _known(change: Change, found: Letter, content: Content, around: Around) -> str:
    """Return what a mail is that belongs to one of ours, "" for any other."""
    own = returns.by_token(change, found.token) if found.token else returns.by_answers(change, found.answers)
    if own is not None:
        return _came_back(change, found, own, content, around)
    if found.token or found.header.count(MARK):
        return _seen(change, found, "set-aside", "to no mail of ours" if found.token else "our own mail")
    if found.ticket is not None and not (automatic(found.header) or forged(found.header)) and _is_of(change, found):
        return _followed_up(change, found, found.ticket, content, around)
    return ""


def _came_back(change: Change, found: Letter, own: OwnMailRow, content: Content, around: Around) -> str:
    returned = returns.reading(found, content)
    is_new = returns.note(change, own, returned)
    if own.ticket is not None and returned.what == "answered":
        return _followed_up(change, found, own.ticket, content, around)
    if own.ticket is not None and returned.what == "bounced" and is_new:
        around.undelivered(change, own.ticket, own.mail, returned.reason)
    return _seen(change, found, returned.what, returned.reason, ticket=own.ticket, report=own.report)


def _followed_up(change: Change, found: Letter, ticket: int, content: Content, around: Around) -> str:
    """Note what a complainant adds; "" where the outcome was told: an objection is a ticket of its own, with clocks."""
    rows = change.execute("SELECT incident FROM ticket WHERE id = ? AND state <> 'closed'", (ticket,))
    if not rows:
        return ""
    note_mail(change, ticket, FOLLOW_UP, found)
    filed = Filed(ticket=ticket, incident=rows[0][0], what=FOLLOW_UP, letter=found)
    file_mail(change, around.store, pack(content.chunks()), filed)
    return _seen(change, found, "follow-up", found.subject, ticket=ticket)


def _is_flood(found: Letter, around: Around) -> bool:
    """Whether a complainant had all the tickets of a day: the journal is not searched for more."""
    with around.change("complaint desk") as change:
        counted = change.execute(_COUNTED, (printable(found.reporter), around.now() - DAY_SECONDS))
    return bool(counted[0][0] >= MOST_TICKETS_A_DAY)


def _again(found: Letter, complaint: Complaint, match: Match, content: Content, around: Around) -> str:
    """Take a complaint that is one too many to a ticket that is open, "" for one that opens its own.

    One ticket is enough of one mail and complainant; and whoever floods the desk does not bury everybody else's tickets
    under theirs: what they write is kept with their last one, and confirms what it proves all the same.
    """
    reporter = printable(found.reporter)
    with around.change("complaint desk") as change:
        rows = change.execute(_SAME, (reporter, match.trace_id)) if match.trace_id else []
        if not rows and change.execute(_COUNTED, (reporter, around.now() - DAY_SECONDS))[0][0] >= MOST_TICKETS_A_DAY:
            rows = change.execute(_LAST, (reporter,))
            if rows:
                confirm(change, match, complaint, rows[0][0])
        return _followed_up(change, found, rows[0][0], content, around) if rows else ""


def _is_of(change: Change, found: Letter) -> bool:
    """Whether the ticket that a subject names is this writer's: a number can be guessed."""
    rows = change.execute("SELECT reporter FROM ticket WHERE id = ?", (found.ticket,))
    return bool(rows) and rows[0][0].casefold() == found.reporter.casefold()


def _nothing(found: Letter, complaint: Complaint, content: Content) -> str:
    """Return why a mail is no complaint, "" for one that is."""
    if not complaint.says_nothing or complaint.format is not Format.PLAIN:
        return ""
    if why := automatic(found.header) or ("" if found.return_path else "null reverse-path"):
        return f"complains of nothing: {why}"
    flag = content.header.first("x-spam-flag")
    if flag is not None and flag.text.strip().lower() in _SPAM_LEVELS:
        return "spam that names no mail"
    return ""


def _seen(
    change: Change, found: Letter, what: str, reason: str, *, ticket: int | None = None, report: int | None = None
) -> str:
    change.execute(
        "INSERT INTO desk_seen (trace_id, at, what, ticket, report, reason) VALUES (?, ?, ?, ?, ?, ?)",
        (found.trace_id, change.at, what, ticket, report, printable(reason)),
    )
    return what


def _own(config: GatewayConfig) -> frozenset[str]:
    writer = writer_of(config)
    return abuse_keys(config) | {writer.address.casefold(), config.contact.postmaster.casefold()}


def _received(found: Letter, now: float) -> float:
    try:
        return min(trace_id_time(found.trace_id), now)
    except ValueError:
        return now


def _sha256(content: Content) -> str:
    digest = hashlib.sha256()
    for piece in content.chunks():
        digest.update(piece)
    return digest.hexdigest()
