"""XARF: a JSON document in a mail (xarf.org, version 4; the older versions' names are read too).

The part may say application/json, application/xarf+json or only have the name of such a file. JSON that is broken,
deep, huge or of another kind is no XARF report; nothing raises.
"""

import json
from collections.abc import Iterator
from typing import Any

from gateway.abuse.complaints import mentions
from gateway.abuse.complaints.complaint import Complaint, Format
from gateway.abuse.complaints.octets import MAX_PART_OCTETS, body, shown
from gateway.abuse.complaints.original import Original
from gateway.mail.content import Content
from gateway.mail.mime import MimePart, MimeTree
from gateway.mail.text import charsets

_TYPES = frozenset({"application/json", "application/xarf+json", "text/json"})
# Version 3 has the same things by other names.
_VERSIONS = ("xarf_version", "Version", "version")
_SOURCES = ("source_identifier", "SourceIp", "source_ip", "Source-IP")


def read(tree: MimeTree, content: Content, originals: list[Original]) -> Complaint | None:
    """Return the complaint of a XARF report, None for a mail that has none."""
    for part in tree.parts:
        if part.is_leaf and _may_be(part):
            document = _document(body(part, content), part.charset)
            if document is not None:
                return _complaint(document, originals)
    return None


def _may_be(part: MimePart) -> bool:
    small = part.body_end - part.body_start <= MAX_PART_OCTETS
    return small and (part.media_type in _TYPES or part.filename.lower().endswith(".json"))


def _document(octets: bytes, charset: str) -> dict[str, Any] | None:
    try:
        found = json.loads(charsets.decode(octets, charset))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return found if any(isinstance(found.get(name), str | int | float) for name in _VERSIONS) else None


def _complaint(document: dict[str, Any], originals: list[Original]) -> Complaint:
    report = document.get("Report")
    report = report if isinstance(report, dict) else {}
    flat = {**report, **document}
    defects = () if _text(document, "xarf_version").startswith("4.") else ("not version 4",)
    return Complaint(
        format=Format.XARF,
        feedback_type=_kind(flat),
        sources=mentions.first((*_sources(flat), *(s for o in originals for s in o.sources))),
        message_ids=mentions.first((*_message_ids(flat), *(i for o in originals for i in o.message_ids))),
        trace_ids=mentions.first(i for o in originals for i in o.trace_ids),
        mail_from=_text(flat, "smtp_from", "SmtpMailFromAddress"),
        recipients=tuple(filter(None, (_text(flat, "smtp_to", "SmtpRcptToAddress"),))),
        arrived=_text(flat, "timestamp", "Date"),
        subject=_text(flat, "subject", "SmtpMessageSubject") or next((o.subject for o in originals), ""),
        user_agent=_text(flat, "reported_by", "UserAgent"),
        defects=defects,
    )


def _kind(document: dict[str, Any]) -> str:
    kind = _text(document, "type", "ReportType").lower()
    return {"spam": "abuse", "phishing": "fraud", "fraud": "fraud", "malware": "virus"}.get(kind, "other")


def _sources(document: dict[str, Any]) -> Iterator[str]:
    for name in _SOURCES:
        if found := mentions.address(_text(document, name)):
            yield found


def _message_ids(document: dict[str, Any]) -> Iterator[str]:
    text = _text(document, "message_id", most=1000)
    yield from mentions.message_ids(text if text.startswith("<") else f"<{text}>")


def _text(document: dict[str, Any], *names: str, most: int = 200) -> str:
    for name in names:
        value = document.get(name)
        if isinstance(value, str) and value:
            return shown(value[: most * 4], most)
    return ""
