"""If one of these fails, a mail that is attached as a file, or lies in an archive, hides what is attached to it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.antivirus.archive.kinds import kinds_of
from tests.antivirus.conftest import EICAR
from tests.antivirus.test_archive import paths, walk, zipped


def kept_mail(name: bytes, octets: bytes) -> bytes:
    return (
        b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n\r\nhello\r\n--b\r\n"
        b'Content-Disposition: attachment; filename="' + name + b'"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        + base64.encodebytes(octets) + b"\r\n--b--\r\n"
    )  # fmt: skip


def test_a_mail_kept_as_a_file_is_looked_into():
    report = walk(zipped(("a.eml", kept_mail(b"in.zip", zipped(("eicar.com", EICAR))))))
    assert paths(report) == ["a.eml", "a.eml/text/plain", "a.eml/in.zip", "a.eml/in.zip/eicar.com"]
    assert "executable" in report.entries[-1].risks
    assert bytes(report.entries[-1].octets) == EICAR
    assert walk(b"From a@b.test Mon Jun  1 08:00:00 2026\n" + kept_mail(b"e.com", EICAR)).kinds == ("mail",)


@pytest.mark.parametrize(
    "octets",
    [
        b"Dear colleagues: see below.\r\n\r\nContent-Type: in the body\r\n",
        b"From: a@b.test\r\nSent: Monday\r\n\r\nquoted\r\n",
        b"Subject: a header section alone\r\nMIME-Version: 1.0\r\n\r\n",
        b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n",
    ],
    ids=["text", "quotation", "header", "calendar"],
)
def test_a_text_that_only_resembles_a_mail_is_none(octets):
    assert kinds_of(octets) == ()


def test_a_kept_mail_of_more_parts_than_anybody_reads_is_a_limit():
    octets = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 6000
    assert walk(octets).limit == "parts"


@given(st.binary(max_size=300))
def test_any_octets_behind_a_kept_mails_header_are_a_report(rest):
    walk(b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + rest)
