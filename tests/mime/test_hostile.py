"""Mail made to keep us busy: the octets looked at stay in proportion to the octets received, and limits show.

What is counted are octets handed to ``find`` and to slices, so that nothing here depends on a clock.
"""

import pytest

from gateway.mail.content import Content
from gateway.mail.header import HeaderSection
from gateway.mail.mime import Habits, MimeTree, blocks, parse, transfer
from gateway.mail.mime.habits import USUAL
from gateway.mail.mime.limits import DEFAULT_LIMITS
from gateway.mail.mime.readings import readings
from gateway.mail.mime.scanner import _Scan
from gateway.mail.mime.transfer import alternatives, decode
from tests.mime.test_partition import assert_partition

SIZE = 400_000
HEAD = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"


class Counted:
    """Octets that count how many of them were looked at."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.looked_at = 0

    def __len__(self) -> int:
        return len(self.octets)

    def __getitem__(self, index: slice) -> bytes:
        piece = self.octets[index]
        self.looked_at += len(piece)
        return piece

    def find(self, needle: bytes, start: int, end: int) -> int:
        found = self.octets.find(needle, start, end)
        self.looked_at += max(0, (found if found >= 0 else min(end, len(self.octets))) - start)
        return found


def nested(count: int, boundary: bytes = b"b%d") -> bytes:
    parts = ((boundary % n if b"%" in boundary else boundary) for n in range(count))
    return b"".join(b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n--%b\r\n" % (b, b) for b in parts)


def filled(unit: bytes, head: bytes = b"") -> bytes:
    return head + unit * ((SIZE - len(head)) // len(unit))


HOSTILE = {
    "100,000 fields": b"X: y\r\n" * 100_000 + b"\r\n",
    "one line": filled(b"a", b"\r\n"),
    "one field": filled(b"a", b"Content-Type: "),
    "blanks in a field": filled(b" ", b"Content-Type: text/plain;"),
    "parameters": filled(b"; a=b", b"Content-Type: text/plain"),
    "quoted pairs": filled(b"\\", b'Content-Type: text/plain; a="'),
    "comments": filled(b"(", b"Content-Type: "),
    "one encoded-word after another": filled(b"=?utf-8?q?a?= ", b"Content-Disposition: x; filename="),
    "encoded-words": filled(b"=?utf-8?q?", b"Content-Disposition: x; filename="),
    "5,000 nested": nested(5000),
    "5,000 nested, one boundary": nested(5000, b"a"),
    "5,000 enclosed messages": b"Content-Type: message/rfc822\r\n\r\n" * 5000,
    "delimiters": filled(b"--a\r\n", HEAD),
    "delimiters and empty lines": filled(b"--a\r\n\r\n", HEAD),
    "delimiters and fields": filled(b"--a\r\nX: y\r\n", HEAD),
    "almost delimiters": filled(b"--ab\r\n", HEAD),
    "delimiters within lines": filled(b"x--a\r\n", HEAD),
    "delimiters after the end": filled(b"--a\r\n", HEAD + b"--a--\r\n"),
    "hyphens": filled(b"-", HEAD.replace(b"=a", b"=----") + b"\r\n"),
    "boundaries that never occur": HEAD
    + b"".join(b"--a\r\nContent-Type: multipart/x; boundary=x%d\r\n\r\n" % n for n in range(18_000)),
    "deep, then one line": filled(b"x", nested(50) + b"\r\n"),
    "deep, then hyphens": filled(b"--b\r\n", nested(50) + b"\r\n"),
    "five open, then hyphens": filled(b"--b\r\n", nested(5) + b"\r\n"),
    "no file begins": filled(b"begin ", b"\r\n"),
    "begun files": filled(b"begin 644 x\r\n#0V%T\r\n", b"\r\n"),
    "files": filled(b"begin 644 x\r\n`\r\nend\r\n", b"\r\n"),
    "yEnc": filled(b"=ybegin name=x\r\n", b"\r\n"),
    "BinHex": filled(b"(This file must be converted with BinHex 4.0)\r\n", b"\r\n"),
    "lines of white space": filled(b" \r\n", b"X: y\r\n"),
    "CR": filled(b"\r"),
    "LF": filled(b"\n", HEAD),
    "NUL": filled(b"\0"),
    "LF parts": filled(b"--a\n\n", HEAD),
}


def scan(octets: bytes, habits: Habits = USUAL) -> tuple[MimeTree, float]:
    """Return the tree and how often each octet was looked at."""
    counted = Counted(octets)
    tree = _Scan(counted, DEFAULT_LIMITS, habits, HeaderSection(octets[: 1 << 20])).tree()
    return tree, counted.looked_at / len(octets)


@pytest.mark.parametrize("octets", HOSTILE.values(), ids=HOSTILE)
def test_no_octet_is_looked_at_more_than_some_times(octets):
    tree, times = scan(octets)
    assert_partition(octets, tree)
    # An empty line of either kind, a header, a delimiter of each of four multiparts, blocks: a dozen.
    assert times < 16
    assert len(tree.parts) <= DEFAULT_LIMITS.max_parts + 1


@pytest.mark.parametrize("octets", HOSTILE.values(), ids=HOSTILE)
def test_every_reading_ends(octets):
    found = list(readings(Content(octets[: SIZE // 8])))
    assert found[0].name == "usual"
    for reading in found:
        for leaf in reading.leaves:
            assert isinstance(leaf.part.filename, str)


@pytest.mark.parametrize(
    ("octets", "truncated"),
    [
        (HOSTILE["5,000 nested"], "depth"),
        (HOSTILE["5,000 enclosed messages"], "depth"),
        (HOSTILE["delimiters"], "parts"),
        (HOSTILE["almost delimiters"] * 2, "delimiters"),
        (HOSTILE["boundaries that never occur"], "parts"),
        (HOSTILE["no file begins"], "blocks"),
        (b"X: " + b"y" * (1 << 21), "header"),
    ],
)
def test_what_was_not_looked_at_shows(octets, truncated):
    assert parse(Content(octets)).truncated == truncated


@pytest.mark.parametrize("size", [SIZE // 4, SIZE])
def test_twice_the_siblings_cost_twice(size):
    """Siblings whose own boundary never occurs: each was once searched for to the end of the content."""
    unit = b"--a\r\nContent-Type: multipart/x; boundary=never\r\n\r\n"
    _, times = scan(HEAD + unit * min(size // len(unit), DEFAULT_LIMITS.max_parts - 1))
    assert times < 16


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "uuencode", "yenc", "binhex"])
@pytest.mark.parametrize("unit", [b"=", b"A=", b"=\r\n", b"\n", b"!a\n", b"\x90", b"-", b" ", b"=3"])
def test_decoding_what_is_made_to_be_hard_ends(unit, encoding):
    octets = filled(unit)
    assert len(decode(octets, encoding, max_octets=SIZE).octets) <= SIZE
    alternatives(octets, encoding)


def test_texts_and_lines_beyond_a_limit_show(monkeypatch):
    monkeypatch.setattr(transfer, "MAX_SEGMENTS", 2)
    assert [decode(b"aA==" * n, "base64", max_octets=9).truncated for n in (2, 3, 4)] == [False, False, True]
    monkeypatch.setattr(blocks, "MAX_LINES", 2)
    monkeypatch.setattr(blocks, "MAX_ESCAPES", 2)
    assert [decode(b"a=a" * n, "yenc", max_octets=9).truncated for n in (2, 3)] == [False, True]
    assert [decode(b"!80  \n" * n, "uuencode", max_octets=9).truncated for n in (2, 3)] == [False, True]
