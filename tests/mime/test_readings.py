"""What any client may show must be among the leaves of some reading: what is not, passes unscanned."""

import base64
import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.content import Content
from gateway.mail.mime import MimeLimits
from gateway.mail.mime.habits import Habits
from gateway.mail.mime.readings import Leaf, leaves, readings
from gateway.mail.mime.scanner import parse
from tests.mime.mails import WORDS

EVIL = b"evil attachment, as a client saves it"
ATTACHMENT = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(
    EVIL
)
UU = b"begin 644 evil.exe\r\n" + binascii.b2a_uu(EVIL).replace(b"\n", b"\r\n") + b"`\r\nend\r\n"
HEAD = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"
MIXED = HEAD + b"--a\r\n" + ATTACHMENT + b"\r\n--a--\r\n"


def shown(octets: bytes) -> dict[bytes, str]:
    """Return what is shown by some reader, with the first reading that has it."""
    found: dict[bytes, str] = {}
    for reading in readings(Content(octets)):
        assert reading.truncated == ""
        for leaf in reading.leaves:
            for data in (leaf.decode().octets, *leaf.alternatives()):
                found.setdefault(data.strip(), reading.name)
    return found


@pytest.mark.parametrize(
    ("octets", "reader"),
    [
        pytest.param(MIXED, "usual", id="ordinary"),
        pytest.param(MIXED.partition(b"\r\n--a--")[0], "usual", id="no close-delimiter"),
        pytest.param(b"Content-Type: text/plain\r\n" + MIXED, "fields=last", id="two types"),
        pytest.param(b"Content-Transfer-Encoding: 7bit\r\n" + ATTACHMENT, "fields=last", id="two transfer encodings"),
        pytest.param(MIXED.replace(b"boundary=a", b"boundary=b; boundary=a"), "boundary=last", id="two boundaries"),
        pytest.param(
            MIXED.replace(b"boundary=a", b"boundary*=utf-8''a; boundary=b"), "boundary=last", id="an RFC 2231 boundary"
        ),
        pytest.param(
            b"Content-Type: text/plain\r\n" + MIXED.replace(b"-Type:", b"-Type :", 1), "fields=last", id="blank"
        ),
        pytest.param(
            MIXED.replace(b"\r\n\r\n", b"\r\nContent-Type : text/plain\r\n\r\n", 1), "usual", id="blank, the other way"
        ),
        pytest.param(
            b"Content-Type : x/y\r\n" + MIXED.replace(b"\r\n\r\n", b"\r\nContent-Type : x/y\r\n\r\n", 1),
            "spaced_names=ignored",
            id="a field only with its obsolete blank",
        ),
        pytest.param(
            MIXED.replace(b"multipart/mixed", b"text/plain"), "stray_boundary=honoured", id="multipart in text"
        ),
        pytest.param(MIXED.replace(b"multipart/mixed", b"multipart"), "stray_boundary=honoured", id="malformed type"),
        pytest.param(MIXED.replace(b"; boundary=a", b""), "no_boundary=guessed", id="no boundary"),
        pytest.param(
            MIXED.replace(b"\r\n\r\n", b"\r\nno field\r\n\r\n--a\r\n", 1).replace(
                b"\r\n\r\n--a\r\n--a", b"\r\n\r\n--a"
            ),
            "usual",
            id="no field",
        ),
        pytest.param(b"Subject: x\r\nno field\r\n" + MIXED, "usual", id="stepping over what is no field"),
        pytest.param(
            HEAD
            + b"--a\r\nContent-Transfer-Encoding: base64\r\n \r\nI:"
            + base64.b64encode(b" " + EVIL)[1:]
            + b"\r\n--a--",
            "header_end=white-line",
            id="a line of white space",
        ),
        pytest.param(
            HEAD + b"--a\r\nContent-Transfer-Encoding: base64\r\n" + base64.b64encode(EVIL) + b"\r\n--a--",
            "header_end=not-a-field",
            id="no empty line",
        ),
        pytest.param(MIXED.replace(b"--a\r\n", b"--abc\r\n", 1), "delimiter=beginning", id="boundary and more"),
        pytest.param(MIXED.replace(b"\r\n--a\r\n", b"\r\nx--a\r\n", 1), "delimiter_place=anywhere", id="within a line"),
        pytest.param(HEAD + b"--a--\r\n" + MIXED.partition(b"\r\n\r\n")[2], "epilogue=read", id="in the epilogue"),
        pytest.param(
            HEAD + b"--a\r\n" + HEAD.replace(b"=a", b"=b") + b"--b\r\n\r\n1\r\n--a\r\nContent-Type: x/y\r\n\r\n--b\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(EVIL) + b"\r\n--b--\r\n--a--\r\n",
            "enclosing=text",
            id="an enclosing delimiter within",
        ),
        pytest.param(
            b"Content-Transfer-Encoding: base64\r\n" + HEAD + base64.b64encode(MIXED.partition(b"\r\n\r\n")[2]),
            "encoded_multipart=decoded",
            id="an encoded multipart",
        ),
        pytest.param(
            b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(MIXED),
            "usual",
            id="an encoded message",
        ),
        pytest.param(
            b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + MIXED,
            "encoded_message=as-is",
            id="a message that only says it is encoded",
        ),
        pytest.param(
            ATTACHMENT.replace(b": base64", b": base 64"), "unknown_encoding=base64", id="an encoding that nobody knows"
        ),
        pytest.param(MIXED.replace(b"\r\n--a\r\n", b"\r--a\r", 1), "bare_cr=line-end", id="CR alone"),
        pytest.param(MIXED.replace(b"base64", b"ba\0se64"), "nul=removed", id="NUL in a header"),
        pytest.param(HEAD + UU + b"--a\r\n\r\n1\r\n--a--\r\n", "mime=ignored", id="uuencode in the preamble"),
        pytest.param(b"\r\n" + UU, "usual", id="uuencode in text"),
        pytest.param(
            b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(UU), "usual", id="uuencode in encoded text"
        ),
        pytest.param(
            ATTACHMENT.replace(base64.b64encode(EVIL), b"QUJD QQ==\r\n" + base64.b64encode(EVIL)).replace(b"EVIL", b""),
            None,
            id="base64 after padding",
        ),
    ],
)
def test_what_a_client_shows_is_found(octets, reader):
    found = shown(octets)
    if reader is None:
        assert any(EVIL in data for data in found)
    else:
        assert found.get(EVIL) == reader


def test_readers_that_differ_in_two_ways_are_found_too():
    octets = b"Content-Type: text/plain\r\n" + MIXED.replace(b"--a\r\n", b"--abc\r\n", 1)
    assert shown(octets)[EVIL] == "fields=last, delimiter=beginning"


def test_an_ordinary_mail_has_one_reading():
    (reading,) = readings(Content(MIXED))
    assert (reading.name, len(reading.leaves), reading.ambiguities) == ("usual", 1, ())


def test_only_what_stands_in_the_received_octets_is_separable():
    encoded = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(MIXED)
    outer, inner = leaves(Content(encoded)).leaves
    assert (outer.is_separable, outer.part.media_type) == (True, "message/rfc822")
    assert (inner.is_separable, inner.part.media_type) == (False, "application/octet-stream")
    assert inner.decode().octets == EVIL
    # Its offsets count in the decoded octets.
    assert inner.content.octets == MIXED
    assert MIXED[inner.part.body_start : inner.part.body_end] == base64.b64encode(EVIL)


def test_a_message_encoded_within_one_encoded():
    octets = MIXED
    for _ in range(3):
        octets = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(octets)
    found = leaves(Content(octets)).leaves
    assert [len(leaf.origin) for leaf in found] == [0, 1, 2, 3]
    assert found[-1].decode().octets == EVIL


def test_limits_that_are_reached_show():
    encoded = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(MIXED)
    assert leaves(Content(encoded), limits=MimeLimits(max_decoded_octets=50)).truncated == "decoded"
    assert leaves(Content(encoded), limits=MimeLimits(max_depth=0)).truncated == "depth"
    several = b"Content-Type: text/plain\r\n" + MIXED.replace(b"--a\r\n", b"--abc\r\n", 1)
    assert list(readings(Content(several), limits=MimeLimits(max_readings=2)))[-1].truncated == "readings"


def test_a_limit_within_an_encoded_message_shows():
    deep = base64.b64encode(b"Content-Type: message/rfc822\r\n\r\n" * 60)
    octets = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + deep
    assert leaves(Content(octets)).truncated == "depth"


BEFORE_MIME = Habits(mime="ignored")
PIECES = [
    UU,
    b"=ybegin line=128 size=3 name=a\r\nxyz\r\n=yend size=3\r\n",
    b"(This file must be converted with BinHex 4.0)\r\n:abc:\r\n",
    b"a text that begins and ends\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Type: text/html\r\n",
    b"Content-Type: image/png\r\n",
    b"Content-Type: message/rfc822\r\n",
    HEAD,
    b"--a\r\n",
    b"--a--\r\n",
    b"no field\r\n",
    b"x\0\r",
    b"\r\n",
]


@given(st.lists(st.sampled_from([*PIECES, *WORDS]), max_size=12))
def test_the_reader_from_before_mime_is_passed_over_only_where_it_has_nothing_to_add(pieces):
    """Its scan is spared for most mail: a leaf or an ambiguity that only it has would be lost without a word."""
    content = Content(b"".join(pieces))
    first, *others = readings(content)
    if any(other.habits.mime == "ignored" for other in others):
        return
    text = parse(content, habits=BEFORE_MIME)
    keys = {leaf.key for leaf in first.leaves}
    blocks = [Leaf(part=part, content=content) for part in text.leaves if part.is_block and part.body_end > part.start]
    assert [leaf for leaf in blocks if leaf.key not in keys] == []
    assert set(text.ambiguities) <= set(first.ambiguities)
