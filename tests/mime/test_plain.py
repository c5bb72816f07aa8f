"""The short way to the parts of a mail that is one text: what it says is what the whole scan says, or nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.content import Content
from gateway.mail.mime import parse
from gateway.mail.mime.readings import readings
from tests.mime.mails import WORDS, contents

FROM = b"From: a@b.test\r\n"
# Fields that are nearly plain: what of them is taken must be what the scan makes of them.
FIELDS = [
    b"Content-Type: text/plain\r\n",
    b"content-type:TEXT/HTML; charset=utf-8\r\n",
    b'Content-Type: text/plain;\r\n\tcharset="gb18030"; format=flowed; delsp=yes;\r\n',
    b"Content-Type: text/plain; charset=x boundary=a\r\n",
    b"Content-Type: text/plain; charset=x; name=a.exe\r\n",
    b"Content-Type: text/plain (or not); charset=x\r\n",
    b"Content-Type : text/plain\r\n",
    b"Content-Transfer-Encoding: 8bit\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Transfer-Encoding:\r\n",
    b"Content-Transfer-Encoding: (7bit) base64\r\n",
    b"Content-Disposition: inline\r\n",
    b"Subject: begin\r\n",
    b"X: \r\n \r\n",
    b"Cont\0ent-Type: x/y\r\n",
    b"X: a\rContent-Type: x/y\r\n",
]
nearly_plain = st.tuples(
    st.lists(st.sampled_from(FIELDS), max_size=4).map(b"".join),
    st.sampled_from([b"\r\n", b"\n", b""]),
    st.lists(st.sampled_from(WORDS), max_size=6).map(b"".join),
).map(b"".join)


def read(content: Content) -> list[object]:
    """Return all that readings say."""
    return [
        (r.habits, r.tree.parts, r.ambiguities, r.truncated, [(leaf.part, leaf.origin) for leaf in r.leaves])
        for r in readings(content)
    ]


def the_long_way(content: Content) -> Content:
    content.__dict__["one_text"] = None
    return content


def check(octets: bytes) -> bool:
    content = Content(octets)
    if content.one_text is None:
        return False
    assert content.mime == parse(content)
    short = read(content)
    assert short == read(the_long_way(content))
    return True


@given(contents | nearly_plain)
def test_it_never_says_otherwise_than_the_scan_and_all_readings(octets):
    check(octets)


def test_it_never_says_otherwise_of_the_messages_of_others(material):
    told = [check(path.read_bytes()) for path in material.rglob("*") if path.is_file()]
    assert any(told)


@pytest.mark.parametrize(
    "octets",
    [
        FROM + b"\r\nhello\r\n",
        FROM + FIELDS[0] + b"\r\nhello\r\n",
        FROM + FIELDS[1] + FIELDS[7] + b"\r\n<p>hello\r\n",
        FROM + FIELDS[2] + b"\r\n\xc4\xe3\xba\xc3\r\n",
        FROM,
        FROM + b"\n",
    ],
)
def test_most_mail_without_files_is_told_by_it(octets):
    assert check(octets)


@pytest.mark.parametrize("field", FIELDS[3:7] + FIELDS[8:])
def test_what_is_not_as_plain_as_can_be_is_read_in_full(field):
    assert not check(FROM + field + b"\r\nhello\r\n")


def test_a_content_in_a_file_is_read_in_full(tmp_path):
    (tmp_path / "content").write_bytes(FROM + b"\r\nhello\r\n")
    assert Content(path=tmp_path / "content", size=len(FROM) + 9).one_text is None
