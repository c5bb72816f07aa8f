"""Transfer encodings and blocks: what a client decodes and we do not, nothing has scanned."""

import base64
import binascii
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.content import Content
from gateway.mail.mime import transfer
from gateway.mail.mime.transfer import alternatives, decode
from tests.mime.mails import scanned

MANY = 1 << 20


def decoded(octets: bytes, encoding: str) -> bytes:
    return decode(octets, encoding, max_octets=MANY).octets


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (b"aGVsbG8=", b"hello"),
        (b"aGVs\r\nbG8=\r\n", b"hello"),
        # RFC 2045 §6.8: characters outside the alphabet are ignored.
        (b"aG Vs!\xff\0\tbG8=", b"hello"),
        (b"aGVsbG8", b"hello"),
        (b"aGVsbG", b"hell"),
        (b"aGVsb", b"hel"),
        (b"aGVsbG8=aGVsbG8=", b"hellohello"),
        (b"aGVsbG8===\r\n=aGVsbG8", b"hellohello"),
        (b"aA==aA==aA==", b"hhh"),
        (b"====", b""),
        (b"", b""),
        (b"!!!!", b""),
    ],
)
def test_base64(encoded, expected):
    assert decoded(encoded, "base64") == expected


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        # RFC 2045 §6.7.
        (b"a=3Db", b"a=b"),
        (b"a=3db", b"a=b"),
        (b"a=\r\nb", b"ab"),
        (b"a=\nb", b"ab"),
        (b"a= \t\r\nb", b"ab"),
        (b"a \t\r\nb ", b"a\r\nb"),
        # The notes on robust decoders: what is no escape stays.
        (b"a=XYb", b"a=XYb"),
        (b"a=", b"a"),
        (b"a=3", b"a=3"),
        (b"a_b", b"a_b"),
        (b"a\xffb", b"a\xffb"),
    ],
)
def test_quoted_printable(encoded, expected):
    assert decoded(encoded, "quoted-printable") == expected


@given(st.binary(max_size=300), st.integers(0, 3))
def test_what_encoders_write_is_read(data, junk):
    lines = base64.encodebytes(data).replace(b"\n", b" " * junk + b"\r\n")
    assert decoded(lines, "base64") == data
    assert decoded(quopri.encodestring(data.replace(b"\r", b"")).replace(b"\n", b"\r\n"), "quoted-printable") == (
        data.replace(b"\r", b"").replace(b"\n", b"\r\n")
    )


@given(st.binary(), st.sampled_from(sorted(set(transfer.NAMES.values()))))
def test_any_octets_are_decoded_to_something_bounded(octets, encoding):
    assert len(decode(octets, encoding, max_octets=100).octets) <= 100
    assert all(isinstance(other, bytes) for other in alternatives(octets, encoding))


def test_a_bound_that_is_reached_shows():
    assert decode(b"aGVsbG8=", "base64", max_octets=4) == (b"hell", (), True)
    assert not decode(b"aGVsbG8=", "base64", max_octets=5).truncated


def test_decoders_that_differ_about_padding_are_all_followed():
    first, second = b"aGVsbG8=", b"d29ybGQ="
    found = {decoded(first + second, "base64"), *alternatives(first + second, "base64")}
    assert {b"helloworld", b"hello"} <= found
    # A decoder that takes "=" for junk.
    assert binascii.a2b_base64(b"aGVsbG8" + b"d29ybGQ" + b"==") in found
    assert alternatives(first, "base64") == ()
    assert alternatives(b"-_-_", "base64") == (b"\xfb\xff\xbf",)


UU = (
    b"begin 644 eicar.com\r\n"
    + b"".join(binascii.b2a_uu(piece).replace(b"\n", b"\r\n") for piece in (b"x" * 45, b"yz"))
    + b"`\r\nend\r\n"
)
UU_DATA = b"x" * 45 + b"yz"
YENC = (
    b"=ybegin line=128 size=4 name=a b.exe\r\n"
    + bytes([0x41 + 42, ord("="), 61 + 64, ord("="), 0x40])
    + b"\r\n=yend size=4\r\n"
)
# RFC 1741's format, made with the encoder that Python had until 3.10: "data" in a file called "f".
BINHEX_DATA = b"data" * 4


def binhexed(name: bytes, data: bytes) -> bytes:
    header = bytes([len(name)]) + name + b"\0" + b"TEXTabcd" + b"\0\0"
    header += len(data).to_bytes(4, "big") + b"\0" * 4 + b"\0\0"
    packed = header.replace(b"\x90", b"\x90\0") + data.replace(b"\x90", b"\x90\0") + b"\0\0\0\0"
    alphabet = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    coded = base64.b64encode(packed).rstrip(b"=").translate(bytes.maketrans(plain, alphabet))
    return b"(This file must be converted with BinHex 4.0)\r\n:" + coded + b":"


@pytest.mark.parametrize(
    ("block", "name", "encoding", "data"),
    [
        (UU, "eicar.com", "uuencode", UU_DATA),
        (UU.replace(b"\r\n", b"\n"), "eicar.com", "uuencode", UU_DATA),
        # Outlook takes a first line without a mode.
        (UU.replace(b"begin 644 ", b"begin  "), "eicar.com", "uuencode", UU_DATA),
        (UU.replace(b"eicar.com", "发票.zip".encode("gbk")), "发票.zip", "uuencode", UU_DATA),
        (UU.partition(b"`")[0], "eicar.com", "uuencode", UU_DATA),
        (b"begin-base64 644 x.bin\r\naGVs\r\nbG8=\r\n====\r\n", "x.bin", "uuencode", b"hello"),
        (YENC, "a b.exe", "yenc", b"A" + bytes([(61 + 64 - 106) % 256, (0x40 - 106) % 256])),
        (binhexed(b"f", BINHEX_DATA), "", "binhex", BINHEX_DATA),
    ],
)
@pytest.mark.parametrize("before", [b"", b"Hello,\r\n\r\n"])
@pytest.mark.parametrize("header", [b"", b"Content-Type: text/plain; charset=x\r\n", b"Content-Type: text/html\r\n"])
def test_files_within_text_are_parts(header, before, block, name, encoding, data):
    octets = header + b"\r\n" + before + block
    content = Content(octets)
    text, found = content.mime.parts
    assert (found.filename, found.encoding, found.is_attachment, found.parent) == (name, encoding, True, text.index)
    assert octets[found.start : found.end] == block
    assert found.decoded(content) == data


def test_several_blocks_in_one_text():
    octets = b"\r\n1\r\n" + UU + b"2\r\n" + YENC + b"3\r\n" + UU + binhexed(b"f", b"x")
    blocks = [part for part in scanned(octets).parts if part.is_block]
    assert [block.encoding for block in blocks] == ["uuencode", "yenc", "uuencode", "binhex"]


@pytest.mark.parametrize(
    "text",
    [
        b"begin 644 words, then a sentence\r\nthat is much too long for its first character\r\n",
        b"we begin 644 times\r\n",
        b"begin\r\n",
        b"=ybegin\r\n",
        b"x=ybegin line=1 name=x\r\n",
    ],
)
def test_text_that_only_talks_of_it_is_text(text):
    assert len(scanned(b"\r\n" + text).parts) == 1


def test_uuencode_as_a_transfer_encoding():
    octets = b"Content-Transfer-Encoding: x-uuencode\r\nContent-Type: application/zip\r\n\r\n" + UU
    content = Content(octets)
    assert content.mime.parts[0].decoded(content) == UU_DATA


def test_a_checksum_character_after_a_uuencoded_line():
    lines = UU.replace(b"\r\n", b"#\r\n").replace(b"eicar.com#", b"eicar.com").replace(b"end#", b"end")
    assert decoded(lines, "uuencode") == UU_DATA


def test_a_binhex_run_cannot_expand_without_bound():
    packed = b"\0" * 30 + b"a" + b"\x90\xff" * 5000
    coded = (
        binhexed(b"", b"").partition(b":")[0]
        + b":"
        + base64.b64encode(packed).translate(
            bytes.maketrans(
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
                b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr",
            )
        )
    )
    done = decode(coded, "binhex", max_octets=1000)
    assert done.truncated
    assert len(done.octets) == 1000


@given(st.lists(st.sampled_from([b"aGVs", b"bG8", b"=", b"==", b"\r\n", b"!", b"a"]), max_size=10))
def test_base64_is_split_at_its_padding_wherever_that_stands(pieces):
    """Padding at the end alone takes a shorter way: the data must be the same."""
    clean = b"".join(pieces).replace(b"\r\n", b"").replace(b"!", b"")
    expected = b"".join(transfer.quanta(text) for text in clean.replace(b"=", b" ").split())
    assert decoded(b"".join(pieces), "base64") == expected


ODD = st.lists(st.sampled_from([b"aGVsbG8", b"=", b"==", b"\r\n", b"-", b"_", b" ", b"Q", b"QUJD"]), max_size=12)


@given(ODD, st.sampled_from([4, 5, 6, 1000]))
def test_base64_in_pieces_is_what_it_is_in_one_and_nothing_odd_is_passed_over(pieces, most):
    """A large attachment is decoded as it is read: what that makes must be what a client makes of the whole."""
    whole = b"".join(pieces)
    one = decode(whole, "base64", max_octets=most)
    done = transfer.decode_base64(iter(pieces), max_octets=most)
    if done is None:
        assert b"=" in whole
    else:
        assert (done.octets, done.truncated) == (one.octets, one.truncated)
        assert done.truncated or done.defects == one.defects
    if alternatives(whole, "base64"):
        assert transfer.may_have_alternatives(iter(pieces))


def test_a_part_of_a_content_in_a_file_decodes_as_one_in_memory(tmp_path):
    for body in (base64.encodebytes(bytes(range(256)) * 3000), b"QUJD=QUJD", b"QUI-_w"):
        octets = b"Content-Transfer-Encoding: base64\r\n\r\n" + body
        (tmp_path / "content").write_bytes(octets)
        there = Content(path=tmp_path / "content", size=len(octets))
        part, leaf = Content(octets).mime.parts[0], there.mime.parts[0]
        assert leaf.decode(there) == part.decode(Content(octets))
        assert leaf.raw(there) == body
