"""Mail that the gateway writes itself: one door into the queue, which says no in words and signs what it takes."""

import asyncio
from dataclasses import replace

import dkim
import pytest

from gateway.admin.control import ControlClient
from gateway.admin.protocol import Done, Failed
from gateway.mail.own_mail import COMMAND, OwnMail
from gateway.policy.signing import generate_key, read_signing_key
from tests.system.parts import Gateway, settings, to_maildir

MAIL = OwnMail(
    sender="reports@own.test",
    recipients=("owner@there.test",),
    octets=b"From: reports@own.test\r\nTo: owner@there.test\r\nSubject: A report\r\n"
    b"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@own.test>\r\n\r\nHere it is.\r\n",
    purpose="test-report",
)


def test_what_is_handed_over_is_what_is_taken():
    assert OwnMail.read(MAIL.arguments()) == MAIL


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sender": None}, "sender is missing"),
        ({"recipients": []}, "1 to 100 recipients"),
        ({"recipients": "a@b.test"}, "recipients is no list"),
        ({"recipients": ["a@b.test"] * 101}, "1 to 100 recipients"),
        ({"content": "?"}, "not base 64"),
        ({"content": ""}, "content is empty"),
        ({"purpose": "Anything at all"}, "purpose"),
        ({"notify": ["ALWAYS"]}, "notify"),
    ],
)
def test_what_is_no_mail_is_refused_with_the_reason(changed, said):
    with pytest.raises(ValueError, match=said):
        OwnMail.read(MAIL.arguments() | changed)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    gateway = Gateway(tmp_path_factory.mktemp("gateway"))
    (gateway.folder / "own.pem").write_bytes(generate_key("rsa"))
    signing = '[signing]\nkeys = [{ selector = "s1", file = "../own.pem" }]\n'
    policies = {"own": to_maildir("own.test", more=signing), "there": to_maildir("there.test")}
    gateway.configure(settings('role = "mx"'), policies)
    try:
        yield gateway.start()
    finally:
        gateway.destroy()


def handed_over(gateway: Gateway, mail: OwnMail) -> Done | Failed:
    return asyncio.run(ControlClient(gateway.data / "control.sock").call(COMMAND, **mail.arguments()))


def test_it_is_signed_delivered_and_told(gateway):
    answer = handed_over(gateway, MAIL)
    assert isinstance(answer, Done), answer
    [stored] = gateway.await_maildir("owner@there.test")
    key = read_signing_key((gateway.folder / "own.pem").read_bytes(), "own.test", "s1")
    signed = stored[stored.index(b"DKIM-Signature:") :]
    assert dkim.verify(signed, dnsfunc=lambda *_, **__: key.record.encode())
    assert signed.endswith(MAIL.octets)
    gateway.await_line("notice_queued", answer.result["trace_id"], "test-report")


def test_what_is_no_address_and_what_is_too_large_is_refused(gateway):
    for mail, said in (
        (replace(MAIL, recipients=("nobody",)), "no address"),
        (replace(MAIL, sender="a b@own.test"), "no address"),
    ):
        answer = handed_over(gateway, mail)
        assert isinstance(answer, Failed)
        assert (answer.code, said in answer.message) == ("refused", True), answer
