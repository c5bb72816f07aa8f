"""How one reader of mail resolves what a malformed content leaves open; the defaults are what most readers do.

A mail client has one set of habits for all parts of a mail, so that a reading is a scan with one ``Habits``. Each
field below is an ambiguity that was met in a client or a library; the names of the ambiguities that a habit answers
stand in ``ANSWERS``.
"""

from dataclasses import dataclass, fields
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """One reader's choices."""

    # Several Content-Type or Content-Transfer-Encoding fields: which one counts.
    fields: Literal["first", "last"] = "first"
    # Several boundaries in one Content-Type, by repetition or by RFC 2231: which one counts.
    boundary: Literal["first", "last"] = "first"
    # "Content-Type :", with obsolete white space (RFC 5322 §4.5): a field, or not.
    spaced_names: Literal["taken", "ignored"] = "taken"
    # Where a header section ends: at the empty line; at a line that is no field (Python); at a line of white space.
    header_end: Literal["empty-line", "not-a-field", "white-line"] = "empty-line"
    # "--boundaryX": RFC 2046 §5.1.1 lets the beginning suffice (Dovecot does), most readers compare the line.
    delimiter: Literal["line", "beginning"] = "line"
    # "text--boundary--", not at the beginning of a line: text, or a delimiter (Stalwart).
    delimiter_place: Literal["line", "anywhere"] = "line"
    # A delimiter after the close-delimiter: epilogue, or one more part.
    epilogue: Literal["ignored", "read"] = "ignored"
    # An enclosing multipart's delimiter within an inner one: ends the inner (RFC 2046 §5.1.2), or is its text.
    enclosing: Literal["ends", "text"] = "ends"
    # An inner multipart with the boundary of an enclosing one: whose the delimiters are.
    reused_boundary: Literal["inner", "outer"] = "inner"
    # A delimiter before the empty line of a header section: ends the section, or is stepped over.
    header_delimiter: Literal["ends", "stepped-over"] = "ends"
    # A multipart without boundary: text, or the first line with two hyphens is taken for a delimiter.
    no_boundary: Literal["text", "guessed"] = "text"
    # A boundary on something that is no multipart.
    stray_boundary: Literal["ignored", "honoured"] = "ignored"
    # A transfer encoding on a multipart, which RFC 2045 §6.4 forbids.
    encoded_multipart: Literal["as-is", "decoded"] = "as-is"
    # A transfer encoding on an enclosed message, which RFC 2046 §5.2.1 forbids: undone, or ignored.
    encoded_message: Literal["decoded", "as-is"] = "decoded"
    # A transfer encoding that is not known.
    unknown_encoding: Literal["identity", "base64", "quoted-printable"] = "identity"
    # A reader from before MIME sees one text, and in it blocks (`gateway.mail.mime.blocks`).
    mime: Literal["read", "ignored"] = "read"
    # The two below change the octets before the scan, so that offsets count in other octets than were received.
    # A CR without LF: an octet, or the end of a line.
    bare_cr: Literal["octet", "line-end"] = "octet"
    # NUL octets: octets, or nothing.
    nul: Literal["octet", "removed"] = "octet"

    def __str__(self) -> str:
        """Return what differs from the usual habits, or "usual"."""
        names = (field.name for field in fields(self) if getattr(self, field.name) != field.default)
        return ", ".join(f"{name}={getattr(self, name)}" for name in names) or "usual"


USUAL = Habits()

# Which other habits a reader may have where an ambiguity of this name was met.
ANSWERS: dict[str, tuple[tuple[str, str], ...]] = {
    "content-type-conflict": (("fields", "last"),),
    "transfer-encoding-conflict": (("fields", "last"),),
    "boundary-conflict": (("boundary", "last"),),
    "field-name-space": (("spaced_names", "ignored"),),
    "not-a-field": (("header_end", "not-a-field"),),
    "white-line": (("header_end", "white-line"),),
    "boundary-prefix": (("delimiter", "beginning"),),
    "delimiter-in-line": (("delimiter_place", "anywhere"),),
    "delimiter-in-epilogue": (("epilogue", "read"),),
    "unclosed-multipart": (("enclosing", "text"),),
    "boundary-missing": (("no_boundary", "guessed"),),
    "boundary-in-leaf": (("stray_boundary", "honoured"),),
    "boundary-reused": (("reused_boundary", "outer"),),
    "delimiter-in-header": (("header_delimiter", "stepped-over"),),
    "message-encoded": (("encoded_message", "as-is"),),
    "multipart-encoded": (("encoded_multipart", "decoded"),),
    "transfer-encoding-unknown": (("unknown_encoding", "base64"), ("unknown_encoding", "quoted-printable")),
    "bare-cr": (("bare_cr", "line-end"),),
    "nul": (("nul", "removed"),),
}
