"""Where a content ends: the same however TCP cuts it up, and only at CR LF . CR LF (RFC 5321 §4.1.1.4, §4.5.2)."""

import asyncio
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.intake.content import ContentRules, ContentWriter
from gateway.intake.framing import DotFramer
from gateway.intake.input import Input
from gateway.smtp import replies

END = b"\r\n.\r\n"
# What matters to the framer, in every combination, and one octet that does not.
TOKENS = st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"\r\n..", b"\n.\n", b"\r.\r", b"x"])
STREAMS = st.builds(
    lambda tokens, rest: b"".join(tokens) + END + rest, st.lists(TOKENS, max_size=12), st.binary(max_size=6)
)


def by_the_book(stream: bytes) -> tuple[bytes, bytes]:
    """The content and what follows, as RFC 5321 §4.5.2 says it: line by line."""
    content, at = b"", 0
    while True:
        end = stream.index(b"\r\n", at) + 2
        line, at = stream[at:end], end
        if line == b".\r\n":
            return content, stream[at:]
        content += line.removeprefix(b".")


def framed(pieces: list[bytes]) -> tuple[bytes, bytes]:
    framer, content = DotFramer(), b""
    for number, piece in enumerate(pieces):
        content += framer.feed(piece)
        if framer.rest is not None:
            return content, framer.rest + b"".join(pieces[number + 1 :])
    raise AssertionError("the end was not found")


@given(STREAMS, st.data())
def test_any_cut_gives_what_the_book_says(stream, data) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=5)))
    pieces = [stream[a:b] for a, b in itertools.pairwise([0, *cuts, len(stream)])]
    assert framed(pieces) == by_the_book(stream)


@given(STREAMS)
def test_octet_by_octet_gives_what_the_book_says(stream) -> None:
    assert framed([stream[i : i + 1] for i in range(len(stream))]) == by_the_book(stream)


@pytest.mark.parametrize(
    "content", [b"", b".", b"..", b"a", b"\r", b"\r\n", b"\r\n.", b".\n", b"\n.\r\n.x", b"\r\r\n", b"..\r\n"]
)
def test_every_single_and_double_cut(content) -> None:
    stream = content + END + b".\r\nQUIT\r\n"
    expected = by_the_book(stream)
    for a, b in itertools.combinations_with_replacement(range(len(stream) + 1), 2):
        assert framed([stream[:a], stream[a:b], stream[b:]]) == expected, (a, b)


def test_thousands_of_stuffed_dots_in_one_chunk() -> None:
    # The first few are taken one by one, the rest in bulk: both ways must agree, and an attack must not cost a loop.
    stream = b"..a\r\n" * 5000 + b".\r\nrest"
    assert framed([stream]) == (b".a\r\n" * 5000, b"rest")
    assert framed([stream[:17], stream[17:]]) == (b".a\r\n" * 5000, b"rest")


# --- what becomes of newlines

RULES = ContentRules(max_octets=10_000, spill_octets=10_000, normalise_newlines=False)
NORMALISE = ContentRules(max_octets=10_000, spill_octets=10_000, normalise_newlines=True)


def written(rules: ContentRules, pieces: list[bytes]):
    writer = ContentWriter(rules, lambda _: True, lambda: Path("unused"))
    for piece in pieces:
        writer.write(piece)
    result = asyncio.run(writer.finish())
    return getattr(result, "octets", result)


CONTENTS = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x", b"\x85", b"\x0b"]), max_size=10).map(b"".join)


def cut(content: bytes, data: st.DataObject) -> list[bytes]:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(content)), max_size=4)))
    return [content[a:b] for a, b in itertools.pairwise([0, *cuts, len(content)])]


@given(CONTENTS, st.data())
def test_a_bare_cr_or_lf_is_found_however_it_is_cut(content, data) -> None:
    bare = content.replace(b"\r\n", b"")
    expected = replies.BARE_NEWLINE if b"\r" in bare or b"\n" in bare else content
    assert written(RULES, cut(content, data)) == expected


@given(CONTENTS, st.data())
def test_normalised_content_has_no_bare_newline_and_the_same_lines(content, data) -> None:
    result = written(NORMALISE, cut(content, data))
    assert b"\r" not in result.replace(b"\r\n", b"")
    assert b"\n" not in result.replace(b"\r\n", b"")
    assert result == written(NORMALISE, [content])
    assert result.replace(b"\r\n", b"") == content.replace(b"\r", b"").replace(b"\n", b"")
    if written(RULES, [content]) == content:
        assert result == content


# --- lines and chunks from the input


class Fed:
    """An Input that is fed the given pieces, one a wait."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = iter(pieces)
        self.input = Input(asyncio.get_running_loop(), self._next)

    def _next(self) -> None:
        asyncio.get_running_loop().call_soon(self._feed)

    def _feed(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            self.input.feed_eof()
        else:
            self.input.feed(piece)


@given(st.lists(st.binary(max_size=8).map(lambda b: b.replace(b"\n", b"")), min_size=1, max_size=6), st.data())
def test_lines_come_out_as_they_went_in(lines, data) -> None:
    stream = b"".join(line + b"\r\n" for line in lines)

    async def read() -> list[bytes]:
        fed = Fed(cut(stream, data))
        return [await fed.input.line() for _ in lines]

    assert asyncio.run(read()) == [line + b"\r\n" for line in lines]


@given(st.binary(min_size=1, max_size=30), st.data())
def test_chunks_take_exactly_their_octets(stream, data) -> None:
    size = data.draw(st.integers(1, len(stream)))

    async def read() -> bytes:
        fed = Fed([piece for piece in cut(stream, data) if piece])
        got = b""
        while len(got) < size:
            got += await fed.input.at_most(size - len(got))
        return got

    assert asyncio.run(read()) == stream[:size]
