"""XARF version 4 (xarf.org): one JSON document an incident, category messaging, type spam.

The schema wants the client's port; where it is not on record the port of the service stands there, as in its own
example. It wants an envelope sender that is an address; the null one becomes one at a domain that is none (RFC 6761).
"""

import base64
import hashlib
import json
import uuid
from typing import Any

from gateway.abuse.complaints.octets import shown
from gateway.abuse.reporting.case import Case
from gateway.abuse.writing import Writer

VERSION = "4.2.0"
_SMTP_PORT = 25
# Ours, so that one incident of one second has one report id, whoever asks again.
_NAMESPACE = uuid.UUID("7b0f4bd1-6cf9-4c5e-9a52-0d3f8f6d1c11")
# RFC 4122 §4.1.3 has version 5 for names; the schema's format takes any.
_NO_SENDER = "null-sender@tidegate.invalid"
# The schema allows 5 MB an item; a batch of hundreds must stay a mail.
MAX_PAYLOAD_OCTETS = 32 * 1024
_TAGS = {"advertising": "advertising", "no-opt-out": "no-opt-out", "hidden-sender": "hidden-sender"}
_TAGS |= {"false-source": "false-source", "harmful": "harmful"}


def document(case: Case, writer: Writer) -> dict[str, Any]:
    """Return a case as plain values."""
    domain = writer.address.rpartition("@")[2]
    us = {"org": writer.organisation or domain, "contact": writer.address, "domain": domain}
    found: dict[str, Any] = {
        "xarf_version": VERSION,
        "report_id": str(uuid.uuid5(_NAMESPACE, f"{writer.hostname} {case.incident.id} {case.last_seen}")),
        "timestamp": f"{case.when:%Y-%m-%dT%H:%M:%SZ}",
        "reporter": us,
        "sender": us,
        "source_identifier": case.address,
        "source_port": case.port or _SMTP_PORT,
        "category": "messaging",
        "type": "spam",
        "evidence_source": "automated_filter",
        "protocol": "smtp",
        "smtp_from": case.mail_from if "@" in case.mail_from and case.mail_from.isascii() else _NO_SENDER,
        "subject": shown(case.subject, 500),
        "message_id": shown(case.message_id, 200),
        "recipient_count": max(1, len(case.recipients)),
        "tags": [f"ground:{_TAGS[ground]}" for ground in case.incident.grounds],
        "description": _description(case),
    }
    if case.recipients and case.recipients[0].isascii():
        found["smtp_to"] = case.recipients[0]
    if case.message:
        found["evidence"] = [_evidence(case)]
    return {name: value for name, value in found.items() if value not in ("", [])}


def write(case: Case, writer: Writer) -> bytes:
    """Return a case as JSON."""
    return json.dumps(document(case, writer), ensure_ascii=False, indent=2).encode() + b"\n"


def _description(case: Case) -> str:
    seen = f"{case.incident.sightings} spam messages"
    return shown(f"{seen}, the last of them {case.when:%Y-%m-%d %H:%M:%S} UTC: {'; '.join(case.findings)}", 1000)


def _evidence(case: Case) -> dict[str, Any]:
    payload = case.message[:MAX_PAYLOAD_OCTETS]
    cut = "" if len(payload) == len(case.message) else ", its beginning"
    return {
        "content_type": "message/rfc822" if case.is_whole else "text/rfc822-headers",
        "description": f"Message as received, recipients' addresses as pseudonyms{cut}",
        "payload": base64.b64encode(payload).decode("ascii"),
        "hash": f"sha256:{hashlib.sha256(payload).hexdigest()}",
        "size": len(payload),
    }
