"""What the antivirus's findings mean for the copies of a message (contract.md §5).

Each copy says in ``X-Virus-Status`` what is known of it. A cleaned mail's copies leave without the infected parts, and
where the policy keeps originals the recipient has a second copy, untouched, in quarantine. Where a mail could not be
cleaned the recipient's copy is quarantined, and a notice goes out in its place: the same message under a rendition in
which nothing is left of the received octets, so that it is durable and delivered with the mail it tells of. It leaves
from the null reverse-path, to our own recipient; the sender, who may be forged, hears nothing.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import lru_cache

from gateway.antivirus.notices import Circumstances, Language, message_held
from gateway.config.filter_settings import ANTIVIRUS
from gateway.filters.antivirus import Options
from gateway.mail import trace_fields
from gateway.mail.content import Content
from gateway.mail.envelope import Recipient
from gateway.mail.rendition import Edit, Rendition
from gateway.mail.text.words import decode_header
from gateway.mail.transaction import Transaction
from gateway.pipeline.plan import Plan
from gateway.policy.action import Action
from gateway.policy.finding import Finding
from gateway.policy.verdict import Disposition

# The reason of a copy that is the untouched original of a cleaned mail.
ORIGINAL_KEPT = "antivirus original kept"
_FIELD = "X-Virus-Status"
_SCANNED = "X-Virus-Scanned"
# The fields above with their continuation lines, and the line behind which they stand, as ``trace_fields`` writes them.
_WRITTEN = re.compile(rb"^X-Virus-(?:Status|Scanned):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", re.MULTILINE)
_INFECTED = re.compile(rb"^X-Virus-Status:\s+Infected\b", re.MULTILINE)
_ID = re.compile(rb"^X-Tidegate-Id: [^\r\n]*\r\n", re.MULTILINE)
# What a scanner has looked at to its end, though it may have found other things than viruses.
_CLEAN = frozenset({"clean", "macros", "deceptive-name", "archive-executable", "mime-ambiguous"})
_DELIVERED = frozenset({Action.ACCEPT, Action.TAG})
_VIRUS = frozenset({"infected", "cleaned"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Who writes: our name, whom recipients may ask, whether any scanner is configured."""

    name: str
    contact: str
    scans: bool


def finding_of(disposition: Disposition) -> Finding | None:
    """Return the gravest thing that the antivirus said for a recipient, None when it was not asked."""
    found = (j.finding for j in disposition.judgements if j.finding.filter == ANTIVIRUS)
    return next(found, None)


def options_of(plan: Plan) -> Options:
    """Return a policy's ``[antivirus]``."""
    setting = plan.policy.filters.get(ANTIVIRUS)
    return setting.options if setting is not None and isinstance(setting.options, Options) else Options()


def is_infected(disposition: Disposition) -> bool:
    """Tell whether a virus was found, removed or not: then nobody outside hears of the mail (invariant 4)."""
    finding = finding_of(disposition)
    return finding is not None and finding.result in _VIRUS


def status_fields(finding: Finding | None, host: Host) -> bytes:
    """Return the fields that say what is known of a copy."""
    if finding is None:
        why = "switched off" if host.scans else "no scanner configured"
        return _scanned(f"Unscanned ({why})", "", host.name)
    facts = dict(finding.detail)
    if finding.result == "infected":
        said = f"Infected ({facts['name']})"
    elif finding.result == "cleaned":
        said = f"Clean ({facts['name']} removed)"
    elif finding.result in _CLEAN:
        said = "Clean"
    else:
        return trace_fields.text_field(_FIELD, f"Unscanned ({finding.reason or finding.result})")
    return _scanned(said, facts.get("version", ""), host.name)


def says_infected(rendition: Rendition) -> bool:
    """Tell whether a copy says of itself that it holds a virus: then it is kept back for that."""
    return any(_INFECTED.search(edit.replacement) for edit in rendition.edits)


def rescanned(rendition: Rendition, content: Content, said: str, version: str, hostname: str) -> Rendition:
    """Return a rendition that says what a later scan said, in the place of what the first one did."""
    fields = _scanned(said, version, hostname)
    edits = [replace(edit, replacement=_WRITTEN.sub(b"", edit.replacement)) for edit in rendition.edits]
    for place, edit in enumerate(edits):
        if (line := _ID.search(edit.replacement)) is not None:
            text = edit.replacement
            edits[place] = replace(edit, replacement=text[: line.end()] + fields + text[line.end() :])
            return Rendition(tuple(edits))
    return Rendition.of((*edits, Edit(0, 0, fields + trace_fields.separator(content))))


@lru_cache(maxsize=64)  # nearly all mail is clean by the same signatures
def _scanned(said: str, version: str, hostname: str) -> bytes:
    by = trace_fields.text_field(_SCANNED, f"{version} at {hostname}") if version else b""
    return trace_fields.text_field(_FIELD, said) + by


def subject_tag(disposition: Disposition, plan: Plan) -> str:
    """Return what stands before the subject of a mail that is delivered although infected."""
    finding = finding_of(disposition)
    if finding is None or finding.result != "infected" or disposition.action is not Action.ACCEPT:
        return ""
    return options_of(plan).subject_tag


def original(finding: Finding) -> Finding:
    """Return what there was to say of a mail before it was cleaned."""
    return replace(finding, result="infected", edits=()) if finding.result == "cleaned" else finding


def leaving(disposition: Disposition) -> Finding | None:
    """Return what is to be said of a recipient's copy: one that is not delivered is kept as it came, virus and all."""
    finding = finding_of(disposition)
    return finding if finding is None or disposition.action in _DELIVERED else original(finding)


def edits(disposition: Disposition) -> tuple[Edit, ...]:
    """Return what takes the infected parts out of a recipient's copy; nothing for one that is not delivered."""
    finding = finding_of(disposition)
    return finding.edits if finding is not None and disposition.action in _DELIVERED else ()


def keeps_original(disposition: Disposition, plan: Plan) -> bool:
    """Tell whether the untouched message of a cleaned mail goes into quarantine too."""
    return bool(edits(disposition)) and options_of(plan).keep_original


def wants_notice(disposition: Disposition, plan: Plan) -> bool:
    """Tell whether a recipient gets a notice in the place of a mail that could not be cleaned."""
    finding = finding_of(disposition)
    infected = finding is not None and finding.result == "infected"
    return infected and disposition.action is Action.QUARANTINE and options_of(plan).mode == "clean"


def notice(tx: Transaction, disposition: Disposition, plan: Plan, host: Host, utc: float) -> bytes:
    """Return the notice as a message of its own, without trace fields (RFC 5322; RFC 3834 §5: it answers nothing)."""
    finding = finding_of(disposition)
    virus = dict(finding.detail).get("name", "") if finding is not None else ""
    field = tx.content.header.first("subject")
    about = Circumstances(trace_id=tx.trace_id, at=utc, contact=host.contact, keeps_original=True)
    subject, text = message_held(
        Language(options_of(plan).language),
        about,
        sender=tx.envelope.reverse_path.wire,
        subject=decode_header(field.value) if field is not None else "",
        virus=virus,
    )
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(display_name="Tidegate", addr_spec=f"postmaster@{host.name}")
    message["To"] = _to(disposition.recipient)
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.fromtimestamp(utc, UTC))
    message["Message-ID"] = f"<{tx.trace_id}.notice@{host.name}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text, cte="base64")
    return message.as_bytes()


def _to(recipient: Recipient) -> str:
    # RFC 5322 §3.4: a group without members, where the address needs SMTPUTF8 and this text has none.
    wire = recipient.path.mailbox.wire
    return wire if wire.isascii() else "undisclosed-recipients:;"
