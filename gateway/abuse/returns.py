"""What comes back to mail of ours: notifications (RFC 3464) to its own address, and people's answers by reference.

A notification of failure makes it bounced, with the remote's words; one of delay or success changes nothing. An
answer is noted once. Machines' answers are neither: they are read, and nothing follows from them.
"""

import re
from dataclasses import dataclass

from gateway.abuse.complaints.automatic import automatic
from gateway.abuse.complaints.letter import Letter
from gateway.abuse.complaints.octets import body, shown, text
from gateway.incidents import Change
from gateway.mail.content import Content
from gateway.mail.text import charsets

_STATUS = frozenset({"message/delivery-status", "message/global-delivery-status"})
_FIELD = re.compile(
    r"^(action|status|diagnostic-code)[ \t]*:[ \t]*(.{0,1000}(?:\r?\n[ \t]+.{0,1000}){0,10})",
    re.IGNORECASE | re.MULTILINE,
)
_MAX_OCTETS = 64 * 1024
# Exim's, which said no more than that in a field for twenty years, and called itself automatic.
FAILED = "x-failed-recipients"


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What a mail that came back says: ``what`` is bounced, answered, notice or automatic."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMailRow:
    """A mail of ours: its number, the ticket or report it belongs to."""

    mail: int
    ticket: int | None
    report: int | None
    incident: int | None


def reading(letter: Letter, content: Content) -> Returned:
    """Return what a mail that came back says."""
    for part in content.mime.parts:
        if part.media_type in _STATUS:
            found = _failure(charsets.decode(body(part, content, _MAX_OCTETS)))
            return Returned(what="bounced", reason=found) if found else Returned(what="notice", reason="not a failure")
    is_failure = bool(letter.header.count(FAILED))
    if not is_failure and (why := automatic(letter.header)):
        return Returned(what="automatic", reason=why)
    if is_failure or not letter.return_path:
        # A notification in a form of its own: its first line says as much as it can.
        first = next((text(part, content, _MAX_OCTETS) for part in content.mime.leaves), "")
        return Returned(what="bounced", reason=shown(first) or "a notification without reason")
    return Returned(what="answered", reason=letter.subject)


def _failure(status: str) -> str:
    """Return what the report of a failure says, "" for one of delay or success."""
    fields = {match[1].lower(): shown(match[2]) for match in _FIELD.finditer(status)}
    if fields.get("action", "").split(" ")[0].lower() != "failed":
        return ""
    return shown(" ".join(filter(None, (fields.get("status"), fields.get("diagnostic-code"))))) or "failed"


def by_token(change: Change, token: str) -> OwnMailRow | None:
    """Return the mail that a notification came back for."""
    return _row(change, "m.token = ?", token)


def by_answers(change: Change, answers: tuple[str, ...]) -> OwnMailRow | None:
    """Return the mail of ours that one of these Message-IDs names."""
    for message_id in answers:
        if found := _row(change, "m.message_id = ?", message_id):
            return found
    return None


def _row(change: Change, condition: str, value: str) -> OwnMailRow | None:
    rows = change.execute(
        "SELECT m.id, t.ticket, r.id, coalesce(r.incident, k.incident) FROM desk_mail m"  # noqa: S608 - constants
        " LEFT JOIN ticket_mail t ON t.mail = m.id LEFT JOIN ticket k ON k.id = t.ticket"
        f" LEFT JOIN report r ON r.mail = m.id WHERE {condition} AND m.token <> ''",
        (value,),
    )
    return OwnMailRow(mail=rows[0][0], ticket=rows[0][1], report=rows[0][2], incident=rows[0][3]) if rows else None


def note(change: Change, own: OwnMailRow, returned: Returned) -> bool:
    """Put it on record; False where it says nothing new, as the second notification of one mail."""
    if returned.what == "bounced":
        if not change.execute(
            "UPDATE desk_mail SET state = 'bounced', problem = ? WHERE id = ? AND state <> 'bounced' RETURNING id",
            (returned.reason, own.mail),
        ):
            return False
        change.execute(
            "UPDATE report SET bounced_at = ?, bounce = ? WHERE mail = ?", (change.at, returned.reason, own.mail)
        )
    elif returned.what == "answered":
        change.execute(
            "UPDATE report SET answered_at = coalesce(answered_at, ?), answer = ? WHERE mail = ?",
            (change.at, returned.reason, own.mail),
        )
    else:
        return False
    facts = {"mail": own.mail, "report": own.report, "ticket": own.ticket, "reason": returned.reason}
    change.record(f"mail-{returned.what}", own.incident, facts)
    return True
