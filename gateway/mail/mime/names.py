"""File names as a reader sees them: RFC 2231, RFC 2047 (where it has no business but stands all the same), raw octets.

Nothing here raises. A charset that is unknown, or that the octets are not in, gives way to UTF-8, then GB18030 (what
raw names from Chinese clients are), then Latin-1, which takes everything.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from binascii import a2b_qp
from encodings.aliases import aliases
from urllib.parse import unquote_to_bytes

# RFC 2047 §2: encoded-word = "=?" charset "?" encoding "?" encoded-text "?="; RFC 2231 §5 adds "*" language.
_WORD = re.compile(rb"=\?([^?*\s]{1,64}+)(?:\*[^?\s]{0,64}+)?\?([BbQq])\?([^?\r\n]*+)\?=")
_GAP = re.compile(rb"[ \t\r\n]*+")
_NOT_ALPHABET = re.compile(r"[^a-z0-9]+")
# GBK and GB 2312 are subsets, and their labels stand on GB18030 text.
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "x_gbk": "gb18030", "x_euc_cn": "gb18030", "windows_936": "gb18030"}
# Codecs of Python that are no charsets of mail; two of them are slower than linear.
_NOT_CHARSETS = frozenset({"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "mbcs", "rot_13"})
_CODECS = frozenset(aliases.values()) | {"gb18030", "utf_8_sig", "koi8_u", "cp1125", "iso8859_1"}


def codec(charset: str) -> str:
    """Return the codec of a charset's name or "".

    Only names in Python's own table are looked up: it would remember every name that a stranger invents, for ever.
    """
    name = _NOT_ALPHABET.sub("_", charset.lower()).strip("_")
    known = _WIDER.get(name) or aliases.get(name) or (name if name in _CODECS else "")
    known = _WIDER.get(known, known)
    return "" if known in _NOT_CHARSETS or known.endswith("_codec") else known


def as_text(octets: bytes, charset: str = "") -> str:
    """Decode octets that declare ``charset`` ("" for none)."""
    for name in (codec(charset) if charset else "", "utf-8", "gb18030"):
        if name:
            try:
                return octets.decode(name)
            except (UnicodeError, LookupError):
                continue
    return octets.decode("latin-1")


def decoded_words(value: bytes) -> str:
    """Decode a value that may hold encoded-words, also within a quoted string (which RFC 2047 §5 forbids)."""
    if b"=?" not in value:
        return as_text(value)
    # Charset ("" for what is no encoded-word) and octets: adjacent words of one charset are one text, since characters
    # are cut between two of them: forbidden (§5), and common.
    runs: list[tuple[str, list[bytes]]] = []
    at = 0
    while word := _WORD.search(value, at):
        gap = value[at : word.start()]
        # RFC 2047 §6.2: white space between adjacent encoded-words is not shown.
        if gap and not (runs and runs[-1][0] and _GAP.fullmatch(gap)):
            runs.append(("", [gap]))
        charset = word[1].decode("latin-1").lower()
        if not runs or runs[-1][0] != charset:
            runs.append((charset, []))
        runs[-1][1].append(_word_octets(word[2], word[3]))
        at = word.end()
    runs.append(("", [value[at:]]))
    return "".join(as_text(b"".join(octets), charset) for charset, octets in runs)


def _word_octets(encoding: bytes, text: bytes) -> bytes:
    # RFC 2047 §4.2: "_" is a space.
    if encoding in b"Qq":
        return a2b_qp(text, header=True)
    text = text.rstrip(b"= \t")
    try:
        return b64decode(text[: len(text) - (len(text) % 4 == 1)] + b"==")
    except Base64Error:
        return text


def extended_value(sections: list[tuple[bool, bytes]]) -> str:
    """Decode RFC 2231 sections in order, each (percent-encoded, octets); the first one declares the charset (§4)."""
    charset, first = _declared(*sections[0])
    rest = [unquote_to_bytes(octets) if encoded else octets for encoded, octets in sections[1:]]
    octets = b"".join([first, *rest])
    return as_text(octets, charset) if charset else decoded_words(octets)


def _declared(encoded: bool, octets: bytes) -> tuple[str, bytes]:  # noqa: FBT001 - a section's own mark, not a switch
    if not encoded:
        return "", octets
    # RFC 2231 §4: charset ' language ' text; both may be left out, the quotation marks may not, and sometimes are.
    pieces = octets.split(b"'", 2)
    if len(pieces) < 3:  # noqa: PLR2004 - the three of the line above
        return "utf-8", unquote_to_bytes(octets)
    return pieces[0].decode("latin-1") or "utf-8", unquote_to_bytes(pieces[2])
