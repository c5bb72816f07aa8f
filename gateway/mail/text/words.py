"""Header values as a reader sees them: encoded-words (RFC 2047), extended parameters (RFC 2231), raw 8-bit octets.

Lenient where mail readers are, because what they show is what was said: encoded-words within quoted strings, without
white space around them, with spaces or question marks inside, with a language (RFC 2231 §5), folded in the middle, with
wrong padding; a character or a base64 quantum split between adjacent words (forbidden by RFC 2047 §5, produced
by many Chinese and Japanese programs). Something that only resembles an encoded-word stays as it is.

Linear; at most MAX_RUNS pieces of one value are guessed at, the others are read as they are declared.
"""

import re
from binascii import Error, a2b_base64, a2b_qp
from urllib.parse import unquote_to_bytes

from gateway.mail.text import charsets

# A subject has a handful of words; recovering a wrong label costs up to half a millisecond each.
MAX_RUNS = 16

_FOLD = re.compile(rb"\r?\n(?=[ \t])|[\r\n]+")
# RFC 2047 §2: =?charset?encoding?text?=. The text may hold "?" and "=" here, but neither the end nor the beginning of a
# word ("==?=" ends base64). Every repetition is possessive, so each octet is looked at twice at most.
_WORD = re.compile(rb"=\?([!-<>@-~]{1,64}+)\?([bBqQ])\?((?:[^?=]|\?(?!=)|=(?!\?[^=]))*+)\?=")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
_QUANTUM = 4


def decode_header(octets: bytes, fallback: str = "") -> str:
    """Return a header value as text, unfolded and stripped; ``fallback`` is a charset for raw 8-bit octets.

    Not for structured fields as a whole: a comma that an encoded-word hides would become one of the syntax
    (``addresses`` takes care of it).
    """
    if b"\n" in octets or b"\r" in octets:
        octets = _FOLD.sub(b"", octets)
    if b"=?" not in octets:
        return charsets.decode(octets, fallback).strip()
    return "".join(_decoded(_runs(octets), fallback)).strip()


def decode_extended(octets: bytes) -> str:
    """Return an extended parameter value, ``utf-8'en'%E4%B8%AD`` (RFC 2231 §4), as text."""
    charset, quote, rest = octets.partition(b"'")
    _, second, value = rest.partition(b"'")
    if not (quote and second):
        charset, value = b"", octets
    return charsets.decode(unquote_to_bytes(value), charset.decode("latin-1"))


# A run is a charset, and octets that are read together.
_Run = tuple[str, bytes]


def _runs(octets: bytes) -> list[_Run]:
    """Split a value into raw pieces (charset "") and encoded ones, adjacent words of one charset in one piece."""
    runs: list[_Run] = []
    at = 0
    charset = ""
    parts: list[tuple[bytes, bytes]] = []
    for match in _WORD.finditer(octets):
        between = octets[at : match.start()]
        label = match[1].decode("ascii").lower()
        # RFC 2047 §6.2: white space between adjacent encoded-words is not shown.
        adjacent = parts and not between.strip(b" \t")
        if parts and not (adjacent and label == charset):
            runs.append((charset, _joined(parts)))
            parts = []
        if between and not adjacent:
            runs.append(("", between))
        charset = label
        parts.append((match[2], match[3]))
        at = match.end()
    if parts:
        runs.append((charset, _joined(parts)))
    if at < len(octets):
        runs.append(("", octets[at:]))
    return runs


def _decoded(runs: list[_Run], fallback: str) -> list[str]:
    text = [charsets.decode(octets, charset or fallback) for charset, octets in runs[:MAX_RUNS]]
    text += [charsets.decode_as_declared(octets, charset or fallback) for charset, octets in runs[MAX_RUNS:]]
    return text


def _joined(parts: list[tuple[bytes, bytes]]) -> bytes:
    """Return the octets of adjacent words; base64 that ends within a quantum goes on in the next word."""
    octets: list[bytes] = []
    open_base64 = b""
    for encoding, text in parts:
        if encoding in b"bB":
            open_base64 += _NOT_BASE64.sub(b"", text)
            if len(open_base64) % _QUANTUM and b"=" not in text:
                continue
            octets.append(_base64(open_base64))
            open_base64 = b""
        else:
            octets += (_base64(open_base64), a2b_qp(text, header=True))
            open_base64 = b""
    octets.append(_base64(open_base64))
    return b"".join(octets)


def _base64(text: bytes) -> bytes:
    # One character over a quantum holds six bits: no octet.
    if len(text) % _QUANTUM == 1:
        text = text[:-1]
    try:
        return a2b_base64(text + b"=" * (-len(text) % _QUANTUM))
    except Error:
        return b""
