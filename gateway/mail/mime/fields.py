"""The structured fields of a MIME header: type or token, then parameters (RFC 2045 §5.1, RFC 2183, RFC 2231).

Lenient: a missing semicolon before a parameter, a missing quotation mark at the end, blanks around "=", comments
around the type are all taken as mail clients take them. Linear: every repetition is possessive.
"""

import re
from typing import NamedTuple

from gateway.mail.mime.names import decoded_words, extended_value

# RFC 2045 §5.1: type "/" subtype; what a token may hold is left wider.
_MEDIA_TYPE = re.compile(rb"[\s\"']*+([^\s/;,\"'()=]++)\s*+/\s*+([^\s/;,\"'()=]++)")
_TOKEN = re.compile(rb"[\s\"']*+([^\s;,\"'()]++)")
# The look-behind lets a run of separators be tried once, not once for each of its octets.
_PARAMETER = re.compile(
    rb"""(?<![;\s])[;\s]++([^\s=;"*]++)(?:\*([0-9]{1,4}))?+(\*)?+\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)|([^;]*+))""",
    re.DOTALL,
)
_QUOTED_PAIR = re.compile(rb'\\(["\\])')
_COMMENT = re.compile(rb"\([^()]*+\)")
# RFC 822's comments nest; deeper than this nobody writes.
_COMMENT_DEPTH = 5


class Parameter(NamedTuple):
    """One ``name*section*=value`` as written: ``section`` is -1 without one, ``encoded`` the trailing asterisk."""

    name: str
    section: int
    encoded: bool
    quoted: bool
    value: bytes

    @property
    def token(self) -> bytes:
        """The value where white space cannot belong to it."""
        if self.quoted:
            return self.value
        words = self.value.split(None, 1)
        return words[0] if words else b""


def without_comments(value: bytes) -> bytes:
    """Return the part of a value before its parameters without comments (RFC 5322 §3.2.2)."""
    head, semicolon, rest = value.partition(b";")
    for _ in range(_COMMENT_DEPTH):
        if b"(" not in head:
            break
        head = _COMMENT.sub(b" ", head)
    return head + semicolon + rest


def media_type(value: bytes) -> str:
    """Return ``type/subtype`` in lower case, or "" when the value has none."""
    if b"(" in value:
        value = without_comments(value)
    found = _MEDIA_TYPE.match(value)
    return f"{found[1].decode('latin-1')}/{found[2].decode('latin-1')}".lower() if found else ""


def token(value: bytes) -> str:
    """Return the first token in lower case, or ""."""
    if b"(" in value:
        value = without_comments(value)
    found = _TOKEN.match(value)
    return found[1].decode("latin-1").lower() if found else ""


def parameters(value: bytes) -> list[Parameter]:
    """Return every parameter in order, duplicates too."""
    return [
        Parameter(
            found[1].decode("latin-1").lower(),
            int(found[2]) if found[2] else -1,
            found[3] is not None,
            found[4] is not None,
            _QUOTED_PAIR.sub(rb"\1", found[4]) if found[4] is not None else found[5].strip(),
        )
        for found in _PARAMETER.finditer(value)
    ]


def parameter_texts(name: str, found: list[Parameter]) -> list[str]:
    """Return what a parameter may mean, decoded, the preferred meaning first: RFC 2231 §3 and §4, then plain ones."""
    mine = [parameter for parameter in found if parameter.name == name]
    sections = sorted((p for p in mine if p.section >= 0), key=lambda p: p.section)
    texts = [extended_value([(True, p.value)]) for p in mine if p.section < 0 and p.encoded]
    if sections:
        texts.append(extended_value([(p.encoded, p.value) for p in sections]))
    texts += [decoded_words(p.value) for p in mine if p.section < 0 and not p.encoded]
    return texts


def boundaries(found: list[Parameter]) -> list[bytes]:
    """Return the boundaries that a reader may find, the preferred one first, without repetition."""
    mine = [parameter for parameter in found if parameter.name == "boundary"]
    plain = [parameter.token for parameter in mine if parameter.section < 0 and not parameter.encoded]
    extended = [] if len(plain) == len(mine) else [_extended_boundary(mine)]
    # RFC 2046 §5.1.1: a boundary does not end with white space.
    return list(dict.fromkeys(value for boundary in plain + extended if (value := boundary.rstrip(b" \t\r\n"))))


def _extended_boundary(mine: list[Parameter]) -> bytes:
    single = [(True, p.value) for p in mine if p.section < 0 and p.encoded]
    sections = sorted((p for p in mine if p.section >= 0), key=lambda p: p.section)
    text = extended_value(single[:1] or [(p.encoded, p.value) for p in sections])
    return text.encode("utf-8", "surrogateescape")
