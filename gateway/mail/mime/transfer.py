"""Transfer encodings, undone as the most lenient reader would (RFC 2045 §6): what any client shows must be scanned."""

import re
from binascii import a2b_base64, a2b_qp
from collections.abc import Iterable
from io import BytesIO
from typing import NamedTuple

from gateway.mail.mime.blocks import decode_binhex, decode_uuencode, decode_yenc

IDENTITIES = frozenset({"7bit", "8bit", "binary"})
# What the names in the wild mean; RFC 2045 §6.1 has five, the others are older or somebody's own.
NAMES = {
    "7bit": "7bit",
    "8bit": "8bit",
    "binary": "binary",
    "base64": "base64",
    "quoted-printable": "quoted-printable",
    "7-bit": "7bit",
    "8-bit": "8bit",
    "base-64": "base64",
    "uuencode": "uuencode",
    "x-uuencode": "uuencode",
    "x-uue": "uuencode",
    "uue": "uuencode",
    "uu": "uuencode",
    "x-uu": "uuencode",
    "yenc": "yenc",
    "x-yenc": "yenc",
    "binhex": "binhex",
    "x-binhex": "binhex",
    "binhex40": "binhex",
    "x-binhex40": "binhex",
    "mac-binhex40": "binhex",
}

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_JUNK = bytes(sorted(set(range(256)) - set(_ALPHABET) - set(b"=")))
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_PADDING = re.compile(rb"=+")
# Base64 texts put one after the other in one body; each costs a microsecond.
MAX_SEGMENTS = 10_000
# RFC 2045 §6.7 (3): white space at the end of an encoded line was added on the way. The look-behind keeps it linear.
_BLANK_ENDS = (b" \r\n", b"\t\r\n", b" \n", b"\t\n")
_TRAILING = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n|\Z)")


class Decoded(NamedTuple):
    """Data and what was wrong with its encoding; ``truncated`` when there is more than was asked for or looked at."""

    octets: bytes
    defects: tuple[str, ...] = ()
    truncated: bool = False


def decode(octets: bytes, encoding: str, *, max_octets: int) -> Decoded:
    """Undo ``encoding`` (a value of NAMES; anything else is identity)."""
    return cut(_decode(octets, encoding, max_octets), max_octets)


def cut(done: Decoded, max_octets: int) -> Decoded:
    """Return no more of it than was asked for."""
    if len(done.octets) <= max_octets:
        return done
    return Decoded(done.octets[:max_octets], done.defects, truncated=True)


def _decode(octets: bytes, encoding: str, max_octets: int) -> Decoded:
    if encoding == "base64":
        return _base64(octets)
    if encoding == "quoted-printable":
        return Decoded(quoted_printable(octets))
    if encoding == "uuencode":
        data, complete = decode_uuencode(octets)
        return Decoded(data, (), not complete)
    if encoding == "yenc":
        data, complete = decode_yenc(octets)
        return Decoded(data, (), not complete)
    if encoding == "binhex":
        return Decoded(decode_binhex(octets, max_octets))
    return Decoded(octets)


def quoted_printable(octets: bytes) -> bytes:
    """Undo quoted-printable; what is no escape stays as it is (RFC 2045 §6.7, notes on robust decoders)."""
    # Encoders write none; looking for it everywhere costs ten times what decoding does.
    if any(blank in octets for blank in _BLANK_ENDS) or octets.endswith((b" ", b"\t")):
        octets = _TRAILING.sub(b"", octets)
    return a2b_qp(octets)


def _base64(octets: bytes) -> Decoded:
    # RFC 2045 §6.8: characters outside the alphabet are to be ignored.
    clean = octets.translate(None, _JUNK)
    text = clean.rstrip(b"=")
    if b"=" not in text:
        return Decoded(quanta(text), ("base64-length",) if len(text) % 4 == 1 else ())
    # "=" ends a text, and another one may follow: RFC 2045 leaves it open, clients that go on exist.
    segments = _PADDING.split(clean, MAX_SEGMENTS)
    data = b"".join(quanta(segment.replace(b"=", b"")) for segment in segments)
    return Decoded(data, ("base64-padding",), b"=" in segments[-1].rstrip(b"="))


def decode_base64(chunks: Iterable[bytes], *, max_octets: int) -> Decoded | None:
    """Undo base64 that comes in pieces; None when it has padding before its end, which ``decode`` is for."""
    made = BytesIO()
    rest, padded = b"", False
    for chunk in chunks:
        clean = chunk.translate(None, _JUNK)
        text = clean.rstrip(b"=")
        if (padded and text) or b"=" in text:
            return None
        padded = padded or len(text) < len(clean)
        text = rest + text
        whole = len(text) // 4 * 4
        made.write(a2b_base64(text[:whole]))
        rest = text[whole:]
        if made.tell() > max_octets:
            break
    else:
        made.write(quanta(rest))
    if made.tell() <= max_octets:
        return Decoded(made.getvalue(), ("base64-length",) if len(rest) == 1 else ())
    made.truncate(max_octets)
    return Decoded(made.getvalue(), (), truncated=True)


def may_have_alternatives(chunks: Iterable[bytes]) -> bool:
    """Tell whether ``alternatives`` has any of base64 that comes in pieces; True when it cannot be told so."""
    padded = False
    for chunk in chunks:
        if b"-" in chunk or b"_" in chunk:
            return True
        clean = chunk.translate(None, _JUNK)
        text = clean.rstrip(b"=")
        if (padded and text) or b"=" in text:
            return True
        padded = padded or len(text) < len(clean)
    return False


def quanta(clean: bytes) -> bytes:
    """Decode characters of the alphabet only; a last quantum without its padding counts."""
    rest = len(clean) % 4
    if rest == 1:
        clean = clean[:-1]
    return a2b_base64(clean + b"=" * (-len(clean) % 4))


def _may_differ(octets: bytes) -> bool:
    if b"-" in octets or b"_" in octets:
        return True
    padding = octets.find(b"=")
    # Behind the first "=" there is more than padding.
    return padding >= 0 and bool(octets[padding:].translate(None, _JUNK).strip(b"="))


def alternatives(octets: bytes, encoding: str) -> tuple[bytes, ...]:
    """Return what other decoders make of the same body, where they differ from ``decode``."""
    if encoding != "base64" or not _may_differ(octets):
        return ()
    found: list[bytes] = []
    clean = octets.translate(None, _JUNK)
    if b"=" in clean.rstrip(b"="):
        found.append(quanta(clean[: clean.index(b"=")]))
        found.append(quanta(clean.replace(b"=", b"")))
    if b"-" in octets or b"_" in octets:
        found.append(_base64(octets.translate(_URL_SAFE)).octets)
    return tuple(found)
