"""What a header says its part is: media type, boundary, transfer encoding (RFC 2045 §5, §6; RFC 2046 §5.1)."""

from gateway.mail.header import HeaderField
from gateway.mail.mime import fields
from gateway.mail.mime.delimiters import Notes
from gateway.mail.mime.draft import Draft
from gateway.mail.mime.habits import Habits
from gateway.mail.mime.limits import MAX_BOUNDARY_OCTETS
from gateway.mail.mime.transfer import IDENTITIES, NAMES

_CONFLICTS = {
    "content-type": "content-type-conflict",
    "content-transfer-encoding": "transfer-encoding-conflict",
}


def describe(draft: Draft, habits: Habits, notes: Notes) -> None:
    """Set what the header of ``draft`` declares, and note where readers differ about it."""
    if habits.mime == "ignored":
        return
    _describe_type(draft, habits, notes)
    _describe_encoding(draft, habits, notes)
    if draft.encoding in IDENTITIES:
        return
    if draft.media_type == "message/rfc822":
        # RFC 2046 §5.2.1: the same for an enclosed message; RFC 6532 §3.5 allows it for message/global.
        notes.ambiguous("message-encoded")
        if habits.encoded_message == "as-is":
            draft.encoding = "binary"
    elif draft.is_multipart:
        # RFC 2045 §6.4: no encoding but 7bit, 8bit and binary on a multipart; most readers take it as it stands.
        notes.ambiguous("multipart-encoded")
        if habits.encoded_multipart == "decoded":
            draft.boundary = b""
        else:
            draft.encoding = "binary"


def _describe_type(draft: Draft, habits: Habits, notes: Notes) -> None:
    if draft.parent is not None and draft.parent.media_type == "multipart/digest":
        # RFC 2046 §5.1.5: the default of a digest's parts.
        draft.media_type = "message/rfc822"
    field = _counting(draft, "content-type", habits, notes)
    if field is None:
        return
    value = draft.type_value = field.value
    declared = fields.media_type(value)
    if declared:
        draft.media_type = declared
    else:
        # RFC 2045 §5.2: what cannot be understood is text/plain.
        draft.media_type = "text/plain"
        draft.defects.append("content-type-malformed")
    if draft.media_type.startswith("multipart/") or b"boundary" in value.lower():
        _describe_boundary(draft, habits, notes)


def _describe_boundary(draft: Draft, habits: Habits, notes: Notes) -> None:
    found = fields.boundaries(fields.parameters(draft.type_value))
    if not draft.media_type.startswith("multipart/"):
        if found:
            notes.ambiguous("boundary-in-leaf")
        if habits.stray_boundary == "ignored":
            return
    if len(found) > 1:
        notes.ambiguous("boundary-conflict")
    if not found:
        draft.defects.append("boundary-missing")
        notes.ambiguous("boundary-missing")
        return
    boundary = found[0 if habits.boundary == "first" else -1]
    if len(boundary) > MAX_BOUNDARY_OCTETS:
        notes.limit("boundary")
        return
    draft.boundary = boundary


def _describe_encoding(draft: Draft, habits: Habits, notes: Notes) -> None:
    field = _counting(draft, "content-transfer-encoding", habits, notes)
    if field is None:
        return
    declared = fields.token(field.value)
    known = NAMES.get(declared)
    if known is None:
        # RFC 2045 §6.4: an unknown encoding makes the part opaque; readers show the octets, or guess.
        draft.defects.append("transfer-encoding-unknown")
        notes.ambiguous("transfer-encoding-unknown")
        known = "binary" if habits.unknown_encoding == "identity" else habits.unknown_encoding
    draft.encoding = known


def _counting(draft: Draft, name: str, habits: Habits, notes: Notes) -> HeaderField | None:
    """Return the field that counts of those called ``name``."""
    found = draft.header.get_all(name)
    if not found:
        return None
    if any(field.value_start - field.start > len(name) + 1 for field in found):
        notes.ambiguous("field-name-space")
        if habits.spaced_names == "ignored":
            found = [field for field in found if field.value_start - field.start == len(name) + 1]
    if len(found) > 1 and len({field.value.lower() for field in found}) > 1:
        notes.ambiguous(_CONFLICTS[name])
    return found[0 if habits.fields == "first" else -1] if found else None
