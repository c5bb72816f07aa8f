"""RFC 6590: our people's addresses become pseudonyms wherever they stand, and the rest stays as it was."""

import base64
import email
import email.policy
import quopri

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.incidents.redaction import Redactor, redaction_key

KEY = b"k" * 32
ZHANG = "zhang@corp.test"


@pytest.fixture
def redactor() -> Redactor:
    return Redactor(KEY, [ZHANG])


def mail(body: bytes, *fields: bytes) -> bytes:
    return b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def test_a_pseudonym_keeps_the_domain_and_is_the_same_for_the_same_address(redactor):
    local, _, domain = redactor.pseudonym(ZHANG).partition("@")
    assert domain == "corp.test"
    assert local.isalnum()
    assert "zhang" not in local
    assert redactor.pseudonym("ZHANG@Corp.test").partition("@")[0] == local
    assert redactor.pseudonym("zhang@else.test").partition("@")[0] != local
    assert Redactor(b"x" * 32).pseudonym(ZHANG) != redactor.pseudonym(ZHANG)


@pytest.mark.parametrize(
    "text",
    ["zhang@corp.test", "<ZHANG@corp.test>,", "?u=zhang%40corp.test&x", "mailto:Zhang@Corp.Test", "zhang=40corp.test"],
)
def test_an_address_is_found_however_it_is_written(redactor, text):
    assert "zhang" not in redactor.text(text).lower()
    assert "corp.test" in redactor.text(text).lower()


FIELDS = {
    "To with a name": b"To: Zhang San <zhang@corp.test>",
    "folded": b"To: Zhang\r\n San\r\n\t<zhang@corp.test>",
    "name in encoded words": b"Cc: =?utf-8?B?" + base64.b64encode("Zhang 三".encode()) + b"?= <zhang@corp.test>",
    "all in encoded words": b"To: =?utf-8?B?" + base64.b64encode(b"Zhang <zhang@corp.test>") + b"?=",
    "a trace field": b"Received: from x by y\r\n for <zhang@corp.test>; Mon, 1 Jan 2026 00:00:00 +0000",
    "the subject": b"Subject: =?utf-8?Q?Dear_zhang=40corp.test?=",
    "unsubscribing": b"List-Unsubscribe: <https://x.example/?e=zhang%40corp.test>",
    "delivered": b"Delivered-To: zhang@corp.test",
}


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_a_field_that_names_somebody_does_not_any_more(redactor, field):
    done = redactor.message(mail(b"body\r\n", b"From: spam@bulk.example", field))
    shown = str(email.message_from_bytes(done, policy=email.policy.default))
    assert "zhang" not in shown.lower()
    assert b"spam@bulk.example" in done


BODIES = {
    "plain": (b"7bit", b"Dear zhang@corp.test\r\n"),
    "base64": (b"base64", base64.encodebytes(b"Dear zhang@corp.test")),
    "quoted-printable": (b"quoted-printable", quopri.encodestring("亲爱的 zhang@corp.test".encode())),
    "softly broken": (b"quoted-printable", b"Dear zha=\r\nng=40corp.te=\r\nst\r\n"),
}


@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "in parts"])
@pytest.mark.parametrize(("encoding", "body"), BODIES.values(), ids=BODIES)
def test_a_body_that_names_somebody_does_not_any_more(redactor, wrapped, encoding, body):
    fields = (b"Content-Type: text/plain; charset=utf-8", b"Content-Transfer-Encoding: " + encoding)
    message = mail(body, *fields)
    if wrapped:
        message = mail(b"--B\r\n" + message + b"\r\n--B--\r\n", b'Content-Type: multipart/mixed; boundary="B"')
    done = email.message_from_bytes(redactor.message(message))
    [part] = [part for part in done.walk() if not part.is_multipart()]
    decoded = part.get_payload(decode=True)
    assert b"zhang" not in decoded
    assert b"@corp.test" in decoded or b"=40corp.test" in decoded


def test_an_attached_message_is_redacted_too_with_those_that_it_names(redactor):
    inner = mail(b"Dear wang@corp.test\r\n", b"To: wang@corp.test")
    done = redactor.message(mail(inner, b"Content-Type: message/rfc822"))
    assert b"wang" not in done


def test_what_names_nobody_stays_octet_by_octet(redactor):
    body = (
        b"--B\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(bytes(range(256))) + b"\r\n--B--\r\n"
    )
    message = mail(
        body, b"From: a@bulk.example", b"Subject: x\r\n folded", b"Content-Type: multipart/mixed; boundary=B"
    )
    assert redactor.message(message) == message


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            [
                *(b"\r\n", b"\n", b"--B", b"--", b"Content-Type: multipart/mixed; boundary=B", b"zhang@corp.test"),
                *(b"=?utf-8?B?", b"Content-Transfer-Encoding: base64", b"To:", b"?=", b"message/rfc822"),
                *(b"\xff\xfe", b" ", b"=", b"a"),
            ]
        ),
        max_size=40,
    )
)
def test_whatever_a_mail_looks_like_it_is_redacted_not_raised(redactor, pieces):
    assert b"zhang@corp.test" not in redactor.message(b"".join(pieces))


def test_an_address_in_a_fields_name_is_redacted_too(redactor):
    assert b"zhang@corp.test" not in redactor.message(b"zhang@corp.testX: =?utf-8?B?emhhbmdAY29ycC50ZXN0?=")


def test_nesting_without_end_is_cut_off(redactor):
    message = b"Content-Type: message/rfc822\r\n\r\n" * 5000 + b"zhang@corp.test"
    assert b"zhang" not in redactor.message(message)


def test_the_key_is_made_once_and_nobody_else_reads_it(tmp_path):
    key = redaction_key(tmp_path)
    assert redaction_key(tmp_path) == key
    assert len(key) == 32
    assert (tmp_path / "incidents/redaction.key").stat().st_mode & 0o077 == 0
