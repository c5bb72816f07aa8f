"""File names: a name that is not decoded hides an extension, one that raises hides a mail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.mime.names import as_text, codec, decoded_words
from tests.mime.mails import message

CHINESE = "发票.zip"


@pytest.mark.parametrize(
    ("disposition", "expected"),
    [
        ("attachment; filename=a.txt", "a.txt"),
        ('attachment; filename="a b.txt"', "a b.txt"),
        ("attachment; filename=a b.txt", "a b.txt"),
        ("attachment; filename=a(1).txt", "a(1).txt"),
        ("attachment;filename = a.txt ; x=y", "a.txt"),
        ('attachment; filename="a\\"b.txt"', 'a"b.txt'),
        # A Windows path: its backslashes quote nothing.
        ('attachment; filename="C:\\dir\\a.txt"', "C:\\dir\\a.txt"),
        ('attachment; filename="a.txt', "a.txt"),
        ('attachment; filename=""', ""),
        ('attachment filename="a.txt"', "a.txt"),
        # RFC 2231 §4, the example's form; §3; §4.1.
        ("attachment; filename*=utf-8'zh'%E5%8F%91%E7%A5%A8.zip", CHINESE),
        ("attachment; filename*=gbk''%B7%A2%C6%B1.zip", CHINESE),
        ("attachment; filename*=%E5%8F%91%E7%A5%A8.zip", CHINESE),
        ("attachment; filename*0=a; filename*1=b; filename*2=.txt", "ab.txt"),
        ("attachment; filename*1=b.txt; filename*0=a", "ab.txt"),
        ("attachment; filename*0*=utf-8''%E5%8F; filename*1*=%91%E7%A5%A8; filename*2=.zip", CHINESE),
        # Readers that know RFC 2231 take its form before the plain one.
        ("attachment; filename=x.zip; filename*=utf-8''%E5%8F%91%E7%A5%A8.zip", CHINESE),
        # RFC 2047 in a parameter, which §5 forbids.
        ('attachment; filename="=?utf-8?B?5Y+R56Wo?=.zip"', CHINESE),
        ('attachment; filename="=?gb2312?Q?=B7=A2=C6=B1.zip?="', CHINESE),
        ("attachment; filename==?gb18030?B?t6LGsS56aXA=?=", CHINESE),
        ('attachment; filename="=?utf-8?B?5Y+R?=\r\n =?utf-8?B?56WoLnppcA?="', CHINESE),
        # A character cut between two encoded-words.
        ('attachment; filename="=?utf-8?B?5Y8=?= =?utf-8?B?keelqC56aXA=?="', CHINESE),
        ('attachment; filename="=?utf-8?Q?a_b=2Etxt?="', "a b.txt"),
        # Raw octets.
        ('attachment; filename="发票.zip"', CHINESE),
        ('attachment; filename="发票.zip"'.encode("gb18030"), CHINESE),
        (b'attachment; filename="\xff\xff.zip"', "\xff\xff.zip"),
        # A charset that nobody knows, and one that the octets are not in.
        ("attachment; filename*=x-no-such''%E5%8F%91%E7%A5%A8.zip", CHINESE),
        ("attachment; filename*=us-ascii''%E5%8F%91%E7%A5%A8.zip", CHINESE),
        ("attachment; filename*=idna''xn--a.zip", "xn--a.zip"),
    ],
)
def test_names(disposition, expected):
    line = disposition if isinstance(disposition, bytes) else disposition.encode()
    assert message(b"Content-Disposition: " + line).filename == expected
    as_name = line.replace(b"filename", b"name").replace(b"attachment", b"application/zip")
    assert message(b"Content-Type: " + as_name).filename == expected


def test_every_name_that_some_reader_shows_can_be_asked_for():
    part = message(
        "Content-Type: application/zip; name=type.exe",
        "Content-Disposition: attachment; filename=plain.txt; filename*=utf-8''extended.zip",
        "Content-Disposition: attachment; filename=second.scr",
    )
    assert part.filename == "extended.zip"
    assert part.filenames == ("extended.zip", "plain.txt", "second.scr", "type.exe")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("Content-Disposition: attachment",), True),
        (("Content-Disposition: ATTACHMENT; filename=x",), True),
        (("Content-Disposition: inline",), False),
        (("Content-Disposition: inline; filename=x",), True),
        (("Content-Type: text/plain; name=x",), True),
        (("Content-Type: text/html",), False),
        (("Content-Type: multipart/mixed; boundary=a; name=x",), False),
        (("Subject: x",), False),
    ],
)
def test_what_is_offered_as_a_file(lines, expected):
    assert message(*lines).is_attachment is expected


def test_charset_and_disposition_in_lower_case():
    part = message('Content-Type: text/plain; charset="UTF-8"', "Content-Disposition: InLine")
    assert (part.charset, part.disposition) == ("utf-8", "inline")


def test_no_invented_charset_is_looked_up():
    """Python remembers every name it was asked for."""
    assert [codec(name) for name in ("x-1", "../x", "zip", "hex", "idna", "punycode", "unicode_escape")] == [""] * 7
    assert (codec("GBK"), codec("ISO-8859-1"), codec("UTF8")) == ("gb18030", "latin_1", "utf_8")


@given(st.binary(max_size=60), st.text(max_size=12))
def test_any_octets_in_any_charset_are_some_text(octets, charset):
    assert isinstance(as_text(octets, charset), str)


@given(
    st.lists(st.sampled_from([b"=?", b"?=", b"?", b"B", b"q", b"utf-8", b"gbk", b"=e5", b"_", b"5Y+R", b" ", b"\xff"]))
)
def test_any_encoded_words_are_some_text(pieces):
    assert isinstance(decoded_words(b"".join(pieces)), str)
