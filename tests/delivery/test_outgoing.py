"""What breaks if these fail: content changed on its way, a message smuggled out in ours, data that never ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.outgoing import Stuffer, framed

PIECES = st.lists(
    st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"a", b"..", b"\r\n.", b"\r\n.\r\n", b" "]), max_size=12
)


def unframed(octets: bytes) -> bytes:
    """Undo what RFC 5321 §4.5.2 asks of a sender, as a receiver does."""
    assert octets == b".\r\n" or octets.endswith(b"\r\n.\r\n")
    lines = octets[:-3].split(b"\r\n")
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b".\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"\r\n.\r\n", b"\r\n..\r\n.\r\n"),
        (b"a\r\n..b", b"a\r\n...b\r\n.\r\n"),
    ],
)
def test_dots_are_stuffed_and_the_end_is_marked(content: bytes, wire: bytes) -> None:
    assert framed(content) == wire


@pytest.mark.parametrize("evil", [b"a\n.\nb", b"a\r.\rb", b"a\n.\r\nb", b"a\r.\r\nb", b"a\r\n.\nb", b"a\r\n.\rb"])
def test_no_form_of_smuggled_end_leaves(evil: bytes) -> None:
    wire = framed(evil)
    rest = wire.replace(b"\r\n", b"")
    assert b"\r" not in rest
    assert b"\n" not in rest
    assert wire.count(b"\r\n.\r\n") == 1


@given(PIECES)
def test_pieces_leave_as_the_whole_would(pieces: list[bytes]) -> None:
    stuffer = Stuffer()
    wire = b"".join(stuffer.feed(piece) for piece in pieces) + stuffer.finish()
    assert wire == framed(b"".join(pieces))


@given(PIECES.map(b"".join))
def test_a_receiver_gets_back_the_very_octets(content: bytes) -> None:
    wire = framed(content)
    assert wire.find(b"\r\n.\r\n") in (-1, len(wire) - 5)
    clean = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    wanted = clean if not clean or clean.endswith(b"\r\n") else clean + b"\r\n"
    assert unframed(wire) == wanted
