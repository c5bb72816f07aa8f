"""What an opaque S/MIME part holds (RFC 5652, RFC 8551): the signed or compressed content, or that it is encrypted.

clamd takes such a part for octets; a mail client shows what is inside as a mail. BER, as OpenSSL streams it
(indefinite lengths, strings in pieces), is read like DER. Signatures are not checked here, nor is anything else that
does not lead to the content.
"""

import zlib
from dataclasses import dataclass, field

# id-signedData, id-envelopedData, id-encryptedData; id-ct-compressedData, id-ct-authEnvelopedData.
_SIGNED = bytes.fromhex("2a864886f70d010702")
_ENCRYPTED = frozenset(
    bytes.fromhex(oid) for oid in ("2a864886f70d010703", "2a864886f70d010706", "2a864886f70d0109100117")
)
_COMPRESSED = bytes.fromhex("2a864886f70d0109100109")
_OID, _OCTET_STRING, _SEQUENCE = 0x06, 0x04, 0x30
_CONSTRUCTED, _CONTEXT_0 = 0x20, 0xA0
_INDEFINITE, _LONG, _LONGEST = 0x80, 0x80, 4
# ContentInfo, SignedData, EncapsulatedContentInfo and strings in pieces stay far above this.
_MAX_DEPTH = 12
_MAX_PIECES = 100_000


@dataclass(frozen=True, slots=True)
class Opaque:
    """``content`` as a client unwraps it, b"" for none; ``encrypted`` when only the recipient can."""

    content: bytes = field(default=b"", repr=False)
    encrypted: bool = False


class _NotBerError(Exception):
    """The octets end too soon or nest too deep."""


@dataclass(frozen=True, slots=True)
class _Value:
    tag: int
    start: int
    end: int
    after: int


def unwrap(octets: bytes, most_octets: int) -> Opaque | None:
    """Return what a CMS structure holds; None when the octets are none."""
    if not octets.startswith(b"\x30") or b"\x2a\x86\x48\x86\xf7\x0d\x01" not in octets[:32]:
        return None
    try:
        return _unwrap(octets, most_octets)
    except (_NotBerError, zlib.error):
        return None


def _unwrap(octets: bytes, most_octets: int) -> Opaque | None:
    kind, content = _typed(octets, _value(octets, 0, len(octets)))
    if kind in _ENCRYPTED:
        return Opaque(encrypted=True)
    if kind not in (_SIGNED, _COMPRESSED) or content is None:
        return None
    # SignedData and CompressedData alike: the one SEQUENCE in them that begins with a type and has a [0] next.
    for inner in _children(octets, content):
        if inner.tag == _SEQUENCE:
            _, string = _typed(octets, inner)
            if string is not None:
                data = _string(octets, string, 0)
                return Opaque(
                    content=zlib.decompressobj().decompress(data, most_octets) if kind == _COMPRESSED else data
                )
    return Opaque()


def _typed(octets: bytes, sequence: _Value) -> tuple[bytes, _Value | None]:
    """Return the type of a ContentInfo and what its explicit [0] holds."""
    kind, inside = b"", None
    for child in _children(octets, sequence):
        if child.tag == _OID and not kind:
            kind = octets[child.start : child.end]
        elif child.tag == _CONTEXT_0:
            inside = next(iter(_children(octets, child)), None)
    return kind, inside


def _string(octets: bytes, value: _Value, depth: int) -> bytes:
    if depth > _MAX_DEPTH:
        raise _NotBerError
    if value.tag == _OCTET_STRING:
        return octets[value.start : value.end]
    if value.tag == _OCTET_STRING | _CONSTRUCTED:
        return b"".join(_string(octets, child, depth + 1) for child in _children(octets, value))
    return b""


def _children(octets: bytes, value: _Value) -> list[_Value]:
    found: list[_Value] = []
    at = value.start
    while at < value.end and octets[at : at + 2] != b"\0\0":
        child = _value(octets, at, value.end)
        found.append(child)
        at = child.after
        if len(found) > _MAX_PIECES:
            raise _NotBerError
    return found


def _value(octets: bytes, at: int, limit: int, depth: int = 0) -> _Value:
    """Return the tag-length-value at an offset."""
    if at + 2 > limit or depth > _MAX_DEPTH:
        raise _NotBerError
    tag, length, start = octets[at], octets[at + 1], at + 2
    if length == _INDEFINITE:
        end = _end_of_contents(octets, start, limit, depth)
        return _Value(tag, start, end, end + 2)
    if length & _LONG:
        count = length & ~_LONG
        if count > _LONGEST or start + count > limit:
            raise _NotBerError
        length, start = int.from_bytes(octets[start : start + count], "big"), start + count
    # A length beyond the end is a part that was cut short: what is there is looked at.
    end = min(start + length, limit)
    return _Value(tag, start, end, end)


def _end_of_contents(octets: bytes, at: int, limit: int, depth: int) -> int:
    while at < limit and octets[at : at + 2] != b"\0\0":
        at = _value(octets, at, limit, depth + 1).after
    return min(at, limit)
