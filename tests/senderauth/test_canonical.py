"""Canonical bodies and fields, however the octets are cut into pieces: dkimpy's answer for the whole, at once."""

import asyncio
import hashlib
import time

import pytest
from dkim.canonicalization import Relaxed, Simple
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.content import Content
from gateway.senderauth.dkim.canonical import BodyForm, SignedMessage, canonical_field, digests

ODD = st.lists(
    st.sampled_from([b" ", b"  ", b"\t", b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"a", b"bc", b" \r\n", b"\t\r\n \r\n"]),
    max_size=40,
)
ORDINARY = st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"word", b"."]), max_size=40)


def digest(algorithm: str, pieces, length=None):
    form = BodyForm(algorithm, length)
    return digests(pieces, [form])[form]


@given(ORDINARY)
def test_bodies_are_as_dkimpy_has_them(words):
    # dkimpy keeps white space at the end of a last line that has no end; no content from intake ends so.
    body = b"".join(words) + b"\r\n"
    for algorithm, theirs in (("simple", Simple), ("relaxed", Relaxed)):
        expected = theirs.canonicalize_body(body)
        found = digest(algorithm, [body])
        assert found.digest == hashlib.sha256(expected).digest()
        assert found.octets == len(expected)


@given(ODD, st.integers(0, 12))
def test_pieces_do_not_matter(words, length):
    body = b"".join(words)
    one_by_one = [body[at : at + 1] for at in range(len(body))]
    for algorithm in ("simple", "relaxed"):
        for form_length in (None, length):
            whole = digest(algorithm, [body], form_length)
            assert digest(algorithm, words, form_length) == whole
            assert digest(algorithm, one_by_one, form_length) == whole


@given(ODD, st.integers(0, 12))
def test_a_length_counts_canonical_octets(words, length):
    body = b"".join(words) + b"\r\n"
    canonical = Simple.canonicalize_body(body)
    if length <= len(canonical):
        assert digest("simple", [body], length).digest == hashlib.sha256(canonical[:length]).digest()


@pytest.mark.parametrize(
    ("algorithm", "body", "canonical"),
    [
        # RFC 6376 §3.4.3, §3.4.4, §3.4.5
        ("simple", b"", b"\r\n"),
        ("relaxed", b"", b""),
        ("simple", b"\r\n\r\n", b"\r\n"),
        ("relaxed", b"\r\n\r\n", b""),
        ("relaxed", b" \r\n", b""),
        ("simple", b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n"),
        ("relaxed", b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),
        ("simple", b"no end", b"no end\r\n"),
        ("relaxed", b"no end \t", b"no end\r\n"),
        ("simple", b"bare\r", b"bare\r\r\n"),
    ],
)
def test_the_rfcs_bodies(algorithm, body, canonical):
    assert digest(algorithm, [body]).digest == hashlib.sha256(canonical).digest()


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b" X\r\n", b"x:X\r\n"),
        (b" Y\t\r\n\tZ  \r\n", b"x:Y Z\r\n"),
        (b"\r\n folded\r\n", b"x:folded\r\n"),
        (b"\r\n", b"x:\r\n"),
        (b"plain", b"x:plain\r\n"),
        (b" plain \n", b"x:plain\r\n"),
        (b"a b\r\n", b"x:a b\r\n"),
        # A form feed is no white space of RFC 6376's.
        (b" a\x0c\r\n", b"x:a\x0c\r\n"),
    ],
)
def test_the_rfcs_fields(raw, canonical):
    assert canonical_field(b"X", raw, "relaxed") == canonical
    assert canonical_field(b"X", raw, "simple") == b"X:" + raw


@given(st.lists(st.sampled_from([b" ", b"  ", b"\t", b"\r\n ", b"a", b"b:", b"="]), max_size=12))
def test_fields_are_as_dkimpy_has_them(parts):
    raw = b"".join(parts) + b"\r\n"
    [(name, value)] = Relaxed.canonicalize_headers([(b"X", raw)])
    assert canonical_field(b"X", raw, "relaxed") == name + b":" + value


@pytest.mark.parametrize(
    "body", [b"\r\n" * 2_000_000, b" \t" * 2_000_000, b"\n\r\n" * 1_000_000, b"a \r\n" * 1_000_000]
)
def test_hostile_bodies_take_linear_time(body):
    # 4 MB: a fifth of a second here; quadratic work would take minutes.
    began = time.process_time()
    digests([body], [BodyForm("relaxed"), BodyForm("simple")])
    assert time.process_time() - began < 5


async def test_a_large_body_leaves_the_loop_free(tmp_path):
    """Invariant: no evaluation stalls the loop; here 30 MB, while the loop counts its own rounds."""
    path = tmp_path / "content"
    path.write_bytes(b"From: a@b.example\r\n\r\n" + b"line \t of text\r\n" * 2_000_000)
    message = SignedMessage.of(Content(path=path, size=path.stat().st_size))
    preparing = asyncio.ensure_future(message.prepare([BodyForm("relaxed"), BodyForm("simple")]))
    rounds = 0
    while not preparing.done():
        await asyncio.sleep(0)
        rounds += 1
    assert rounds > 20
    assert message.body_digest(BodyForm("simple")).octets == 32_000_000


@pytest.mark.parametrize("size", [100, 200_000])
async def test_the_body_begins_behind_the_empty_line(size, tmp_path):
    body = b"b" * size + b"\r\n"
    for octets in (b"A: 1\r\n\r\n" + body, b"A: 1\n\n" + body, b"\r\n" + body):
        path = tmp_path / "content"
        path.write_bytes(octets)
        for content in (Content(octets), Content(path=path, size=len(octets))):
            message = SignedMessage.of(content)
            await message.prepare([BodyForm("simple")])
            assert message.body_digest(BodyForm("simple")).digest == hashlib.sha256(body).digest()
