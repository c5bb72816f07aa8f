"""Files within text, from before MIME: uuencode (POSIX uuencode), yEnc (yenc-draft.1.3), BinHex 4.0 (RFC 1741).

Mail clients show them as attachments. ``find_blocks`` gives their exact ranges, whole lines, first line to last; a
block without its last line reaches to the end of the text, as clients take it.
"""

import re
from binascii import Error as UuError
from binascii import a2b_base64, a2b_uu
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import NamedTuple

from gateway.mail.mime.octets import Octets

# A first line: mode and name, or (Outlook) two blanks and a name alone; POSIX's base64 form as well.
_BEGIN = re.compile(rb"begin(?:-base64)?+[ \t]++(?:[0-7]{3,6}+(?=[ \t\r\n]))?+[ \t]*+([^\r\n]*+)\r?\n([^\r\n]*+)")
_YBEGIN = re.compile(rb"=ybegin [^\r\n]*?name=([^\r\n]*+)")
# One search finds "begin 644", "begin-base64" and "=ybegin".
_BEGUN = b"begin"
_BINHEX = b"(This file must be converted with BinHex"
# A first line with a name, and the line after it; a line of SMTP is 1,000 octets.
_FIRST_OCTETS = 2048
# A text with more than these is made to keep us busy; "blocks" in MimeTree.truncated.
MAX_BLOCKS = 200
MAX_CANDIDATES = 20_000

# A line carries 45 octets: 45 MB are a million lines. One octet in 64 is escaped: 50 MB have 800,000.
MAX_LINES = 1_000_000
MAX_ESCAPES = 1_000_000
_YENC = bytes((octet - 42) % 256 for octet in range(256))
_YENC_ESCAPED = bytes((octet - 106) % 256 for octet in range(256))
_HQX = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_HQX_TO_BASE64 = bytes.maketrans(_HQX, _BASE64)
_NOT_HQX = bytes(sorted(set(range(256)) - set(_HQX)))
_RUN = 0x90
# RFC 1741's appendix, before the data: name length, name, version, type, creator, flags, two lengths, checksum.
_MAX_HQX_HEADER_OCTETS = 1 + 255 + 1 + 4 + 4 + 2 + 4 + 4 + 2


class Block(NamedTuple):
    """Octets ``start`` to ``end`` are one file, called ``name``, encoded as ``encoding``."""

    start: int
    end: int
    encoding: str
    name: bytes


def may_hold_blocks(octets: Octets) -> bool:
    """Tell whether a search could find a block anywhere: every format's first line has one of two texts."""
    size = len(octets)
    return octets.find(_BEGUN, 0, size) >= 0 or octets.find(_BINHEX, 0, size) >= 0


class Search:
    """The blocks of one text, ``start`` to ``end`` of some octets; ``exhausted`` when there were too many."""

    __slots__ = ("_at", "_candidates", "_end", "_octets", "_start", "exhausted")

    def __init__(self, octets: Octets, start: int, end: int) -> None:
        self._octets, self._start, self._end = octets, start, end
        self._at = start
        self._candidates = 0
        self.exhausted = False

    def blocks(self) -> Iterator[Block]:
        """Yield every block in order; they do not overlap."""
        binhex = self._binhex(self._start)
        for number, block in enumerate(self._begun()):
            while binhex and binhex.end <= block.start:
                yield binhex
                binhex = self._binhex(binhex.end)
            if binhex and binhex.start < block.end:
                binhex = self._binhex(block.end)
            yield block
            if number >= MAX_BLOCKS:
                self.exhausted = True
                return
        if binhex:
            yield binhex

    def _begun(self) -> Iterator[Block]:
        while (found := self._octets.find(_BEGUN, self._at, self._end)) >= 0:
            self._candidates += 1
            if self._candidates > MAX_CANDIDATES:
                self.exhausted = True
                return
            block = self._uuencoded(found) if self._at_line_start(found) else self._yenc(found)
            self._at = block.end if block else found + 5
            if block:
                yield block

    def _at_line_start(self, at: int) -> bool:
        return at == self._start or self._octets[at - 1 : at] in (b"\n", b"\r")

    def _uuencoded(self, at: int) -> Block | None:
        head = self._octets[at : min(at + _FIRST_OCTETS, self._end)]
        match = _BEGIN.match(head)
        if match is None:
            return None
        base64 = head.startswith(b"begin-base64")
        if not base64 and not _uu_line(match[2]):
            return None
        last = b"\n====" if base64 else b"\nend"
        return Block(at, self._line_after(last, at + match.start(2) - 1), "uuencode", match[1].strip(b" \t\"'"))

    def _yenc(self, at: int) -> Block | None:
        start = at - 2
        if start < self._start or self._octets[start:at] != b"=y" or not self._at_line_start(start):
            return None
        match = _YBEGIN.match(self._octets[start : min(start + _FIRST_OCTETS, self._end)])
        if match is None:
            return None
        return Block(start, self._line_after(b"\n=yend", start), "yenc", match[1].strip(b' \t"'))

    def _line_after(self, last: bytes, at: int) -> int:
        found = self._octets.find(last, at, self._end)
        if found < 0:
            return self._end
        line_end = self._octets.find(b"\n", found + 1, self._end)
        return line_end + 1 if line_end >= 0 else self._end

    def _binhex(self, at: int) -> Block | None:
        # RFC 1741 §3 (the format is its appendix): the data stand between two colons.
        found = self._octets.find(_BINHEX, at, self._end)
        if found < 0:
            return None
        opening = self._octets.find(b":", found, self._end)
        closing = self._octets.find(b":", opening + 1, self._end) if opening >= 0 else -1
        return Block(found, closing + 1 if closing >= 0 else self._end, "binhex", b"")


def _uu_line(line: bytes) -> bool:
    # The first character counts the octets of the line, 45 at most in practice, 63 by the format.
    if not line or not 0x20 <= line[0] <= 0x60:  # noqa: PLR2004 - the format's range of characters
        return False
    wanted = ((line[0] - 0x20 & 0x3F) + 2) // 3 * 4
    # Blanks at the end are lost on the way; a checksum character may follow.
    return wanted - 4 <= len(line) - 1 <= wanted + 3 or line.strip() in (b"`", b"end")


def decode_uuencode(octets: bytes) -> tuple[bytes, bool]:
    """Decode a block (its first line may be missing), each line as far as it goes; tell whether all were looked at."""
    start = octets.find(b"begin") if octets.startswith(b"begin") else octets.find(b"\nbegin") + 1
    lines = BytesIO(octets)
    if octets.startswith(b"begin", start):
        lines.seek(start)
        if lines.readline().startswith(b"begin-base64"):
            return _lenient_base64(octets[lines.tell() :].partition(b"====")[0]), True
    decoded: list[bytes] = []
    for line in islice(lines, MAX_LINES):
        if line.rstrip() == b"end":
            return b"".join(decoded), True
        decoded.append(_uu_decoded(line.rstrip(b"\r\n")))
    return b"".join(decoded), not lines.readline()


def _uu_decoded(line: bytes) -> bytes:
    try:
        return a2b_uu(line)
    except UuError:
        # Encoders that count wrongly, or characters after the data: as many as the line's first character says.
        wanted = (((line[0] - 0x20) & 0x3F) * 4 + 5) // 3
        try:
            return a2b_uu(line[:wanted])
        except UuError:
            return b""


def _lenient_base64(octets: bytes) -> bytes:
    clean = octets.translate(None, bytes(sorted(set(range(256)) - set(_BASE64))))
    clean = clean[:-1] if len(clean) % 4 == 1 else clean
    return a2b_base64(clean + b"=" * (-len(clean) % 4))


def decode_yenc(octets: bytes) -> tuple[bytes, bool]:
    """Decode a block: what stands between its first and last lines; tell whether all of it was looked at."""
    start = 0
    while octets.startswith((b"=ybegin", b"=ypart"), start):
        start = octets.find(b"\n", start) + 1 or len(octets)
    last = octets.rfind(b"\n=yend", start)
    body = octets[start : last if last >= 0 else len(octets)]
    # Two dots at a line's beginning are one (the encoding comes from news).
    body = body.replace(b"\n..", b"\n.").translate(None, b"\r\n")
    first, *escaped = body.split(b"=", MAX_ESCAPES)
    pieces = [first.translate(_YENC)]
    pieces += [piece[:1].translate(_YENC_ESCAPED) + piece[1:].translate(_YENC) for piece in escaped]
    return b"".join(pieces), len(escaped) < MAX_ESCAPES or b"=" not in escaped[-1]


def decode_binhex(octets: bytes, max_octets: int) -> bytes:
    """Decode a block to its data fork; all that was decoded when its header does not fit."""
    packed = octets.partition(b":")[2].partition(b":")[0] if octets.startswith(_BINHEX) else octets
    clean = packed.translate(None, _NOT_HQX)
    # Behind what was expanded the runs stand as they are, and nothing of that may count as data.
    most = max_octets + _MAX_HQX_HEADER_OCTETS
    plain = _runs_expanded(_lenient_base64(clean.translate(_HQX_TO_BASE64)), most)
    if not plain:
        return b""
    fork = 1 + plain[0] + 1 + 4 + 4 + 2
    length = int.from_bytes(plain[fork : fork + 4], "big")
    data = plain[fork + 10 :]
    return data[:length] if 0 < length <= len(data) else plain


def _runs_expanded(packed: bytes, max_octets: int) -> bytes:
    # 0x90 n: the octet before it n times in all; 0x90 0 is 0x90 itself.
    out = bytearray()
    at = 0
    while (found := packed.find(b"\x90", at)) >= 0 and len(out) <= max_octets:
        out += packed[at:found]
        count = packed[found + 1] if found + 1 < len(packed) else 0
        if count == 0:
            out.append(_RUN)
        elif out:
            out += out[-1:] * (count - 1)
        at = found + 2
    return bytes(out + packed[at:])
