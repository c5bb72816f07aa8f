"""A header value must read as mail readers show it: a rule on the subject sees what the recipient sees.

Expectations come from RFC 2047 (its examples in §8 among them) and RFC 2231; what those forbid and mail has all the
same is read as mail readers do.
"""

from base64 import b64encode
from quopri import encodestring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.text.words import decode_extended, decode_header

INVOICE = "代开发票，请联系我们"


def b(octets: bytes, charset: str) -> bytes:
    return b"=?" + charset.encode() + b"?B?" + b64encode(octets) + b"?="


def q(octets: bytes, charset: str) -> bytes:
    return b"=?" + charset.encode() + b"?Q?" + encodestring(octets, header=True).replace(b"=\n", b"") + b"?="


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"plain", "plain"),
        (b" folded\r\n value ", "folded value"),
        # RFC 2047 §8.
        (b"(=?ISO-8859-1?Q?a?=)", "(a)"),
        (b"(=?ISO-8859-1?Q?a?= b)", "(a b)"),
        (b"(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"),
        (b"(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)", "(ab)"),
        (b"(=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=)", "(ab)"),
        (b"(=?ISO-8859-1?Q?a_b?=)", "(a b)"),
        (b"(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)"),
        (b"=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
        (b"=?ISO-8859-1?Q?Andr=E9?= Pirard", "André Pirard"),
        (
            (
                b"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n"
                b" =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?="
            ),
            "If you can read this you understand the example.",
        ),
        # RFC 2231 §5: with a language.
        (b"=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore"),
    ],
)
def test_what_the_rfcs_say(octets: bytes, text: str):
    assert decode_header(octets) == text


@pytest.mark.parametrize(
    ("codec", "charset"), [("gbk", "gb2312"), ("utf-8", "utf-8"), ("gbk", "big5"), ("gbk", "x-unknown")]
)
def test_chinese_under_right_and_wrong_labels(codec: str, charset: str):
    assert decode_header(b(INVOICE.encode(codec), charset)) == INVOICE
    assert decode_header(q(INVOICE.encode(codec), charset)) == INVOICE


@pytest.mark.parametrize("split", range(1, 12))
@pytest.mark.parametrize(("codec", "charset"), [("gbk", "gb2312"), ("utf-8", "utf-8"), ("iso2022_jp", "iso-2022-jp")])
def test_a_character_split_between_words_is_joined(codec: str, charset: str, split: int):
    text = "請求書在中" if codec == "iso2022_jp" else INVOICE
    octets = text.encode(codec)
    assert decode_header(b(octets[:split], charset) + b"\r\n " + b(octets[split:], charset)) == text
    assert decode_header(q(octets[:split], charset) + b" " + b(octets[split:], charset)) == text


@pytest.mark.parametrize("split", range(1, 20))
def test_base64_split_between_words_at_any_place_is_joined(split: int):
    whole = b64encode(INVOICE.encode("gbk"))
    octets = b"=?gb2312?B?" + whole[:split] + b"?= =?GB2312?b?" + whole[split:] + b"?="
    assert decode_header(octets) == INVOICE


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        # Within quotes, and joined to their neighbours.
        (b'"=?utf-8?Q?a_b?="', '"a b"'),
        (b"Re:=?utf-8?Q?a?=b", "Re:ab"),
        (b"=?utf-8?B?YQ==?==?utf-8?B?Yg==?=", "ab"),
        # Spaces and question marks inside.
        (b"=?utf-8?Q?a b c?=", "a b c"),
        (b"=?utf-8?Q?Really? Yes?=", "Really? Yes"),
        (b"=?utf-8?B?5Lit 5paH?=", "中文"),
        (b"=?utf-8?B?5Lit\r\n 5paH?=", "中文"),
        # Padding missing, doubled.
        (b"=?utf-8?B?YQ?=", "a"),
        (b"=?utf-8?B?YQ===?=", "a"),
        (b"=?utf-8?B?YWJjZ?=", "abc"),
        # Not encoded-words.
        (b"=?utf-8?X?a?=", "=?utf-8?X?a?="),
        (b"=?utf-8?Q?a", "=?utf-8?Q?a"),
        (b"=?utf-8?Q?a =?utf-8?Q?b?=", "=?utf-8?Q?a b"),
        (b"a =? b ?= c", "a =? b ?= c"),
        # Octets above 127 as they are (RFC 6532), and in a legacy charset.
        (INVOICE.encode(), INVOICE),
        (INVOICE.encode("gbk"), INVOICE),
        (b"Re: " + INVOICE.encode("gbk") + b" =?utf-8?Q?x?=", "Re: " + INVOICE + " x"),
        # Raw ISO-2022-JP.
        (b"\x1b$B@A5a=q\x1b(B", "請求書"),
    ],
)
def test_what_mail_has_all_the_same(octets: bytes, text: str):
    assert decode_header(octets) == text


def test_a_charset_from_elsewhere_decides_about_short_raw_octets():
    assert decode_header("Тест".encode("koi8-r"), "koi8-r") == "Тест"


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        # RFC 2231 §4.
        (b"us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", "This is ***fun***"),
        (b"GB2312''%B4%FA%BF%AA%B7%A2%C6%B1.exe", "代开发票.exe"),
        (b"utf-8''%e4%bb%a3", "代"),
        # Neither charset nor language: taken as they are.
        (b"plain%20name", "plain name"),
        (b"''a%zz", "a%zz"),
    ],
)
def test_extended_parameter_values(octets: bytes, text: str):
    assert decode_extended(octets) == text


@given(st.binary(max_size=300))
def test_any_octets_become_text_that_encodes(octets: bytes):
    assert isinstance(decode_header(octets).encode("utf-8"), bytes)
    assert isinstance(decode_extended(octets).encode("utf-8"), bytes)


@given(
    st.lists(
        st.sampled_from(
            [b"=?", b"?=", b"?B?", b"?q?", b"utf-8", b"gb2312", b"=", b"?", b" ", b"YQ==", b"\xd6", b"\r\n ", b"_"]
        )
    )
)
def test_any_pieces_of_encoded_words_become_text(pieces: list[bytes]):
    assert isinstance(decode_header(b"".join(pieces)).encode("utf-8"), bytes)


@given(
    st.text(min_size=1, max_size=40).filter(lambda text: text == text.strip() and "\r" not in text and "\n" not in text)
)
def test_what_was_encoded_is_read_back(text: str):
    try:
        octets = text.encode()
    except UnicodeEncodeError:
        return
    if octets.startswith(b"\xef\xbb\xbf") or b"\x1b" in octets:
        return
    assert decode_header(b(octets, "utf-8")) == text


@pytest.mark.parametrize(
    "octets",
    [
        b"=?" * 250_000,
        b"=?utf-8?q?" * 50_000,
        b"=?x?b?" + b"?" * 500_000,
        b"=?a?q?x?= " * 50_000,
        b"=?gb2312?B?1tA=?= a " * 20_000,
    ],
    ids=["openings", "words without ends", "question marks", "adjacent", "apart"],
)
def test_hostile_values_take_linear_time(octets: bytes):
    """A quadratic reader would not end before the test's time limit."""
    assert decode_header(octets)
