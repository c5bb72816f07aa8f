"""ARF: multipart/report with message/feedback-report (RFC 5965), and the feedback types registered since (RFC 6430).

Read as leniently as the senders write: the report type need not be said, fields may be missing or repeated, the part
may be encoded. What is not understood is a defect, and the rest counts.
"""

from collections.abc import Iterator

from gateway.abuse.complaints import mentions
from gateway.abuse.complaints.complaint import Complaint, Format
from gateway.abuse.complaints.octets import body, shown
from gateway.abuse.complaints.original import FEEDBACK_REPORT, Original
from gateway.mail.content import Content
from gateway.mail.header import HeaderSection
from gateway.mail.mime import MimeTree
from gateway.mail.text.words import decode_header

# RFC 5965 §3.5, RFC 6430, RFC 6591 (auth-failure), and what is in use beside.
FEEDBACK_TYPES = frozenset({"abuse", "fraud", "virus", "other", "not-spam", "auth-failure", "opt-out", "opt-out-list"})
# A batch may count; what a stranger writes must not become a number without end.
MAX_INCIDENTS = 1_000_000


def read(tree: MimeTree, content: Content, originals: list[Original]) -> Complaint | None:
    """Return the complaint of an ARF report, None for a mail that is none."""
    part = next((part for part in tree.parts if part.media_type == FEEDBACK_REPORT), None)
    if part is None:
        return None
    fields = HeaderSection(body(part, content).lstrip(b"\r\n"))
    kind = _one(fields, "feedback-type").lower()
    return Complaint(
        format=Format.ARF,
        feedback_type=kind if kind in FEEDBACK_TYPES else "other",
        sources=mentions.first((*_sources(fields), *(s for o in originals for s in o.sources))),
        message_ids=mentions.first(i for o in originals for i in o.message_ids),
        trace_ids=mentions.first(i for o in originals for i in o.trace_ids),
        mail_from=_one(fields, "original-mail-from").strip("<>") or next((o.mail_from for o in originals), ""),
        recipients=mentions.first(value.strip("<>") for value in _all(fields, "original-rcpt-to")),
        reported=mentions.first((*_all(fields, "reported-domain"), *_all(fields, "reported-uri"))),
        arrived=_one(fields, "arrival-date") or _one(fields, "received-date"),
        subject=next((o.subject for o in originals if o.subject), ""),
        user_agent=_one(fields, "user-agent"),
        incidents=_count(_one(fields, "incidents")),
        defects=tuple(_defects(fields, kind, originals)),
    )


def _sources(fields: HeaderSection) -> Iterator[str]:
    for value in _all(fields, "source-ip"):
        if found := mentions.address(value):
            yield found


def _all(fields: HeaderSection, name: str) -> tuple[str, ...]:
    return tuple(shown(decode_header(field.value)) for field in fields.get_all(name)[: mentions.MOST])


def _one(fields: HeaderSection, name: str) -> str:
    return next(iter(_all(fields, name)), "")


def _count(text: str) -> int:
    return min(int(text[:7]), MAX_INCIDENTS) if text.isascii() and text.isdigit() and int(text[:7]) else 1


def _defects(fields: HeaderSection, kind: str, originals: list[Original]) -> Iterator[str]:
    # RFC 5965 §3.1: these three must be there once, and the third part is the mail or its header section.
    for name in ("feedback-type", "user-agent", "version"):
        if fields.count(name) != 1:
            yield f"{name} {fields.count(name)} times"
    if kind and kind not in FEEDBACK_TYPES:
        yield f"unknown feedback type {kind}"
    if not originals:
        yield "no mail enclosed"
