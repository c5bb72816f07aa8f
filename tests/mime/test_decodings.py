"""A body is decoded once for all who ask, who get what each would decode; what is kept is bounded."""

import base64
import gc
import re
import weakref
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.content import Content
from gateway.mail.mime import readings
from gateway.mail.mime.decodings import MAX_KEPT_OCTETS
from gateway.mail.mime.part import MimePart
from gateway.mail.mime.readings import leaves
from gateway.mail.mime.transfer import NAMES, decode

MUCH = 1 << 20


def mail(body: bytes, encoding: str = "base64") -> bytes:
    kind = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: "
    return kind + encoding.encode() + b"\r\n\r\n" + body


def the_part(content: Content) -> MimePart:
    return content.mime.parts[0]


@given(st.binary(max_size=300), st.sampled_from(sorted(NAMES)), st.lists(st.integers(0, 400), max_size=4))
def test_whoever_asks_first_the_answer_is_that_of_decoding(body: bytes, encoding: str, asked: list[int]):
    content = Content(mail(body, encoding))
    part = the_part(content)
    for most in (*asked, MUCH, *asked):
        assert part.decode(content, max_octets=most) == decode(part.raw(content), part.encoding, max_octets=most)


def test_what_was_decoded_is_kept_until_it_is_let_go():
    content = Content(mail(base64.b64encode(b"x" * 1000)))
    first = the_part(content).decoded(content)
    assert the_part(content).decoded(content) is first
    content.forget_decodings()
    again = the_part(content).decoded(content)
    assert again == first
    assert again is not first


def test_no_more_is_kept_than_has_room():
    content = Content(mail(base64.b64encode(b"x" * (MAX_KEPT_OCTETS + 1))))
    part = the_part(content)
    assert part.decoded(content) == part.decoded(content)
    assert part.decoded(content) is not part.decoded(content)


def test_of_a_content_in_a_file_nothing_is_kept(tmp_path: Path):
    octets = mail(base64.b64encode(b"x" * 1000))
    path = tmp_path / "content"
    path.write_bytes(octets)
    content = Content(path=path, size=len(octets))
    assert the_part(content).decoded(content) is not the_part(content).decoded(content)


def test_leaves_are_looked_for_once_and_kept_where_they_hold_nothing_but_places(monkeypatch: pytest.MonkeyPatch):
    plain = Content(mail(base64.b64encode(b"x")))
    enclosed = Content(
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(mail(b"eA=="))
    )
    first = leaves(plain)
    leaves(enclosed)
    walked: list[Content] = []
    walk = readings._walk
    monkeypatch.setattr(readings, "_walk", lambda first, *rest: (walked.append(first.content), walk(first, *rest))[1])
    assert leaves(plain) == first
    assert [leaf.content for leaf in first.leaves] == [plain]
    assert leaves(enclosed).leaves
    assert walked == [enclosed]


def test_a_content_that_was_walked_is_gone_with_its_last_holder():
    """Octets in a circle wait for the garbage collector, which workers run rarely: a hundred megabytes of them."""

    class Watched(Content):
        """One that can be referred to weakly."""

    content = Watched(mail(base64.b64encode(b"x")))
    gone = weakref.ref(content)
    gc.disable()
    try:
        leaves(content)
        for reading in readings.readings(content):
            assert reading.leaves
        del content, reading
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("octets", range(950, 1001))
def test_who_wants_little_of_binhex_gets_no_runs_for_data(octets: int):
    """What is not truncated is kept: the scanner would be given what rules made of it that want its beginning."""
    data = b"A" * octets + b"V" * 10 + b"IRUS"
    fork = b"\x01a\0TEXTTEST\0\0" + len(data).to_bytes(4, "big") + bytes(6)
    packed = fork + _runs(data) + bytes(200)
    digits = base64.b64encode(packed + bytes(-len(packed) % 3)).translate(_BASE64_TO_HQX)
    content = Content(mail(b"(This file must be converted with BinHex 4.0)\r\n:" + digits + b":", "x-binhex"))
    asked = the_part(content).decode(content, max_octets=1000)
    assert asked == (data[:1000], (), len(data) > 1000)
    assert the_part(content).decoded(content) == data


def _runs(data: bytes) -> bytes:
    # RFC 1741's appendix: an octet, 0x90, and how often it stands there.
    return re.sub(rb"(.)\1{3,254}", lambda run: run[1] + b"\x90" + bytes([len(run[0])]), data)


_BASE64_TO_HQX = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr",
)
