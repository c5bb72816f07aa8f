"""A body is decoded once for all who ask, who get what each would decode; what is kept is bounded."""

import base64
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.content import Content
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


def test_leaves_are_looked_for_once_and_kept_where_they_hold_nothing_but_places():
    plain = Content(mail(base64.b64encode(b"x")))
    assert leaves(plain) is leaves(plain)
    enclosed = Content(
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(mail(b"eA=="))
    )
    assert leaves(enclosed) is not leaves(enclosed)
