"""Which mail a machine must not answer (RFC 3834 §2), so that no two machines ever answer each other.

Not answered: what is automatic itself (Auto-Submitted, the fields that older programs write), what comes from lists
or in bulk, notifications (null reverse-path, multipart/report other than feedback reports, which people's tools write
too), mail from machines' mailboxes, mail whose sender is forged, our own, and anybody a second time within a day.
Silence costs nobody anything: the complaint is read and its ticket is open all the same.
"""

import re
from collections.abc import Collection

from gateway.abuse.complaints.letter import Letter, mailbox_of
from gateway.mail.header import HeaderSection

# RFC 3834 §2: at most one answer to a sender in so long; a week is its suggestion for vacations, ours is about tickets.
ONCE_SECONDS = 86_400.0
# RFC 3834 §2 ("-request", "owner-" …), and what programs are called.
_MACHINE = re.compile(
    r"mailer-daemon|postmaster|no-?reply|do-?not-?reply|bounces?|.*-(?:request|owner|bounces?|errors)|owner-.*"
    r"|(?:bounces?|return|report|fbl|listserv|majordomo)[-+=].*|listserv|majordomo|daemon|autoreply|automailer|root|nobody",
    re.IGNORECASE,
)
_FAILED = re.compile(r"\b(spf|dmarc)=fail\b", re.IGNORECASE)
_PRECEDENCE = frozenset({"bulk", "list", "junk", "auto_reply"})
# Written by autoresponders that do not know RFC 3834; their presence is enough.
_MARKS = (
    "list-id",
    "list-unsubscribe",
    "list-post",
    "list-help",
    "mailing-list",
    "feedback-id",
    "x-auto-response-suppress",
    "x-autoreply",
    "x-autorespond",
    "x-autoreply-from",
    "x-mail-autoreply",
    "x-loop",
    "x-failed-recipients",
    "x-tidegate-desk",
)


def unanswerable(letter: Letter, own: Collection[str]) -> str:
    """Return why no machine may answer a mail, "" when it may; ``own`` are comparison forms of our own addresses."""
    if not letter.return_path:
        return "null reverse-path"
    mailbox = mailbox_of(letter.return_path)
    if mailbox is None:
        return "no address to answer to"
    if mailbox.key in own:
        return "our own address"
    if is_machine(mailbox.local_part):
        return f"sent by {mailbox.local_part.lower()}@"
    return forged(letter.header) or automatic(letter.header)


def is_machine(local_part: str) -> bool:
    """Whether a mailbox is a program's, by its name: nobody reads there."""
    return _MACHINE.fullmatch(local_part) is not None


def forged(header: HeaderSection) -> str:
    """Return which check says that the sender is not who it says, "" for none: an answer would go to a bystander."""
    # Ours is the first; what was forged in its name has been removed (invariant 6).
    field = header.first("authentication-results")
    match = _FAILED.search(field.text) if field else None
    return f"{match[1].lower()} failed" if match else ""


def automatic(header: HeaderSection) -> str:
    """Return what tells that a mail is automatic or one of many, "" for nothing."""
    # RFC 3834 §5: any value but "no", whatever parameters follow.
    for field in header.get_all("auto-submitted"):
        word = field.text.partition(";")[0].partition("(")[0].strip().lower()
        if word != "no":
            return f"Auto-Submitted: {word[:40]}"
    for field in header.get_all("precedence"):
        if field.text.strip().lower() in _PRECEDENCE:
            return f"Precedence: {field.text.strip().lower()}"
    for name in _MARKS:
        if header.count(name):
            return f"{name} field"
    kind = header.first("content-type")
    value = kind.value.lower() if kind is not None else b""
    if value.startswith(b"multipart/report") and b"feedback-report" not in value:
        return "multipart/report"
    return ""
