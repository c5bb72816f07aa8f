"""A mail to an abuse address → ``Complaint``, in the most telling of the forms it may have.

ARF, XARF, a mail forwarded as attachment, one forwarded inline (its header fields or our trace id quoted in the
text), or plain words. Never raises but OSError, when a large content cannot be read; bounded in time and memory
whatever it is given.
"""

from gateway.abuse.complaints import arf, mentions, xarf
from gateway.abuse.complaints.complaint import Complaint, Format
from gateway.abuse.complaints.octets import MAX_PART_OCTETS, shown, text
from gateway.abuse.complaints.original import Original, originals
from gateway.mail.content import Content
from gateway.mail.mime import MimeTree
from gateway.mail.text import html

# What people write above and below a forwarded mail, with the mail.
MAX_TEXT_CHARACTERS = 256 * 1024
_MAX_TEXTS = 10


def read(content: Content, hostname: str) -> Complaint:
    """Return what a mail complains of; ``hostname`` is ours, as it stands in Received fields."""
    tree = content.mime
    enclosed = originals(tree, content, hostname)
    found = arf.read(tree, content, enclosed) or xarf.read(tree, content, enclosed)
    if found is None and enclosed:
        found = _attached(enclosed)
    if found is None or found.says_nothing:
        quoted = _inline(said(tree, content), found)
        found = quoted if found is None or not quoted.says_nothing else found
    return found


def said(tree: MimeTree, content: Content) -> str:
    """Return what the complaint's author wrote: its first texts, outside enclosed mails."""
    texts: list[str] = []
    inside = -1
    for part in tree.parts:
        if part.start < inside:
            continue
        if part.is_message:
            inside = part.end
        elif part.is_leaf and not part.is_attachment and part.media_type in ("text/plain", "text/html"):
            shown_text = text(part, content, MAX_PART_OCTETS)[:MAX_TEXT_CHARACTERS]
            texts.append(html.to_text(shown_text).text if part.media_type == "text/html" else shown_text)
        if len(texts) >= _MAX_TEXTS:
            break
    return "\n".join(texts)[:MAX_TEXT_CHARACTERS]


def _attached(enclosed: list[Original]) -> Complaint:
    return Complaint(
        format=Format.ATTACHED,
        sources=mentions.first(s for o in enclosed for s in o.sources),
        message_ids=mentions.first(i for o in enclosed for i in o.message_ids),
        trace_ids=mentions.first(i for o in enclosed for i in o.trace_ids),
        mail_from=enclosed[0].mail_from,
        recipients=enclosed[0].recipients,
        subject=enclosed[0].subject,
    )


def _inline(written: str, before: Complaint | None) -> Complaint:
    """Return what is quoted in a text: header fields say most, then whatever looks like an id or an address."""
    fields = mentions.quoted_fields(written)
    ids = " ".join(fields.get("message-id", []))
    traced = mentions.first(
        (*(i for v in fields.get("x-tidegate-id", []) for i in mentions.trace_ids(v)), *mentions.trace_ids(written))
    )
    named = " ".join((*fields.get("source-ip", []), *fields.get("x-originating-ip", []), *fields.get("received", [])))
    sources = mentions.first((*mentions.addresses(named), *mentions.addresses(written)))
    is_quoted = bool(fields or traced)
    return Complaint(
        format=before.format if before else Format.INLINE if is_quoted else Format.PLAIN,
        feedback_type=before.feedback_type if before else "",
        sources=sources,
        message_ids=mentions.first((*mentions.message_ids(ids), *mentions.message_ids(written))),
        trace_ids=traced,
        subject=before.subject if before else "",
        mail_from=shown(before.mail_from) if before else "",
        defects=before.defects if before else (),
    )
