"""What breaks if these fail: mail from real clients does not reach real next hops, or not as it was written."""

import re
from collections.abc import Callable

import pytest

from tests.system.parts import (
    Gateway,
    Sink,
    message,
    message_id,
    received,
    settings,
    smtp_source,
    swaks,
    to_maildir,
    to_server,
    trace_id,
    until,
)

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def smtp_sink(shared_sink: Callable[..., Sink]) -> Sink:
    return shared_sink()


@pytest.fixture(scope="module")
def lmtp_sink(shared_sink: Callable[..., Sink]) -> Sink:
    return shared_sink("-L")


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway], smtp_sink: Sink, lmtp_sink: Sink) -> Gateway:
    """One domain for each kind of next hop, two workers."""
    found = shared_gateway()
    found.configure(
        settings(workers=2),
        {
            "sink": to_server("sink.test", url=smtp_sink.url()),
            "lmtp": to_server("lmtp.test", url=lmtp_sink.url("lmtp")),
            "box": to_maildir("box.test", "例子.test"),
        },
    )
    return found.start()


def own_fields_of(stored: bytes, author_field: bytes) -> list[str]:
    """Return the names of the fields above the author's first field."""
    above = stored[: stored.index(author_field)]
    return re.findall(r"^([A-Za-z-]+):", above.decode(), re.MULTILINE)


def test_swaks_to_smtp_sink(gateway: Gateway, smtp_sink: Sink) -> None:
    told = swaks(
        gateway.port(), "--from", "anna@senders.test", "--to", "bob@sink.test", "--header", "Subject: by swaks"
    )
    identity = trace_id(told)
    [dump] = smtp_sink.await_message(f"X-Tidegate-Id: {identity}")
    assert b"X-Mail-Args: <anna@senders.test>" in dump
    assert b"X-Rcpt-Args: <bob@sink.test>" in dump
    assert b"Subject: by swaks\n" in dump
    assert b"This is a test mailing" in dump


def test_swaks_to_a_maildir(gateway: Gateway) -> None:
    swaks(gateway.port(), "--from", "anna@senders.test", "--to", "carl@box.test", "--pipeline", "--body", ".a dot")
    [stored] = gateway.await_maildir("carl@box.test")
    assert received(stored)["Return-Path"] == "<anna@senders.test>"
    assert b"\r\n.a dot\r\n" in stored


def test_swaks_to_lmtp_whose_server_answers_for_each_recipient(gateway: Gateway, lmtp_sink: Sink) -> None:
    told = swaks(gateway.port(), "--from", "anna@senders.test", "--to", "dora@lmtp.test,emil@lmtp.test")
    identity = trace_id(told)
    gateway.await_line("delivery_attempted", identity, "to=<dora@lmtp.test>", "status=sent")
    gateway.await_line("delivery_attempted", identity, "to=<emil@lmtp.test>", "status=sent")
    [dump] = lmtp_sink.await_message(identity)
    assert b"X-Rcpt-Args: <dora@lmtp.test>\nX-Rcpt-Args: <emil@lmtp.test>" in dump


def test_two_hundred_mails_of_smtp_source_arrive_once_each(gateway: Gateway, smtp_sink: Sink) -> None:
    smtp_source(
        gateway.port(), "-s", "10", "-m", "200", "-l", "8192", "-f", "load@senders.test", "-t", "load@sink.test"
    )
    dumps = smtp_sink.await_message("X-Rcpt-Args: <load@sink.test>", count=200)
    gateway.await_line("delivery_attempted", "load@sink.test", "status=sent", count=200)
    identities = [re.search(rb"X-Tidegate-Id: (\S+)", dump)[1] for dump in dumps]
    assert len(set(identities)) == len(identities) == 200
    until(lambda: not gateway.queue(), what="an empty queue")


def test_smtp_source_in_one_session_and_large(gateway: Gateway, smtp_sink: Sink) -> None:
    smtp_source(gateway.port(), "-d", "-m", "5", "-l", "3000000", "-f", "load@senders.test", "-t", "large@sink.test")
    gateway.await_line("delivery_attempted", "large@sink.test", "status=sent", count=5)
    dumps = smtp_sink.await_message("X-Rcpt-Args: <large@sink.test>", count=5)
    assert min(map(len, dumps)) > 2_900_000


CONTENTS = {
    "plain": message(),
    "lines longer than 998 octets": message("X-Long: " + "x" * 3000, body="y" * 100_000 + "\r\n" + "z" * 999),
    "dots": message(body=".\r\n..\r\n.x\r\n.\r\n\r\n."),
    "eight bits": message(body="Grüße").replace("Grüße".encode(), b"Gr\xfc\xdfe \x80\xff"),
    "odd white space": message("X-Odd:  a\t \r\n\t b  \r\n  c ", body=" \r\n\t\r\n\r\n\r\n  end  \r\n\r\n"),
    "no body": message().partition(b"\r\n\r\n")[0] + b"\r\n",
    "empty lines only": b"\r\n\r\n\r\n",
    "no header section": b"Hello, this is no field.\r\n",
    "control characters": message(body="\x01\x07\x1b[31m\x7f\x0b\x0c"),
    "a kilobyte in one field": message(*(f"X-{i}: {i}" for i in range(300))),
    "no line end at the end": message(body="last line")[:-2] + b" \r\n",
    "half a megabyte": message(body="\r\n".join(f"{i:08d} spilled to a file" for i in range(20_000))),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_header_section_and_body_leave_octet_for_octet(gateway: Gateway, smtp_sink: Sink, name: str) -> None:
    content = CONTENTS[name]
    address = f"{name.replace(' ', '-')}@box.test"
    identity = trace_id(gateway.mail(address, "same@sink.test", content=content))
    [stored] = gateway.await_maildir(address)
    assert stored.endswith(b"\r\n" + content), stored[-500:]
    ours = stored[: -len(content)]
    assert all(field in ours for field in (b"Received: from client.example", identity.encode()))
    [dump] = smtp_sink.await_message(identity)
    gateway.await_line("delivery_attempted", identity, "to=<same@sink.test>", "status=sent")
    [dump] = smtp_sink.await_message(identity)
    # The sink writes LF for CR LF, and an empty line behind each message.
    assert dump.rstrip(b"\n").endswith(content.replace(b"\r\n", b"\n").rstrip(b"\n"))


def test_fields_above_the_authors_are_ours_and_forged_ones_are_gone(gateway: Gateway) -> None:
    forged = (
        "X-Tidegate-Id: 01FORGED",
        "X-Spam-Flag: NO",
        "Authentication-Results: mx.gate.test; dkim=pass header.d=bank.example",
        "Authentication-Results: other.example; spf=pass",
    )
    content = message(*forged)
    identity = trace_id(gateway.mail("forged@box.test", content=content))
    [stored] = gateway.await_maildir("forged@box.test")
    assert own_fields_of(stored, b"From: anna") == [
        "Return-Path",
        "Delivered-To",
        "Received",
        "X-Tidegate-Id",
        "X-Virus-Status",
    ]
    assert received(stored).get_all("X-Tidegate-Id") == [identity]
    assert received(stored).get_all("Authentication-Results") == ["other.example; spf=pass"]
    assert b"X-Spam-Flag" not in stored
    trace = " ".join(str(received(stored)["Received"]).split())
    assert re.fullmatch(
        rf"from client\.example \(unknown \[127\.0\.0\.1\]\) by mx\.gate\.test \(Tidegate\) with ESMTP id {identity} "
        r"for <forged@box\.test>; \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000",
        trace,
    ), trace


def test_an_international_address_in_either_spelling(gateway: Gateway) -> None:
    with gateway.connect() as wire:
        wire.hello()
        assert wire.say("MAIL FROM:<анна@senders.test> SMTPUTF8 BODY=8BITMIME").startswith("250")
        assert wire.say("RCPT TO:<用户@例子.test>").startswith("250")
        assert wire.say("RCPT TO:<plain@xn--fsqu00a.test>").startswith("250")
        assert wire.say("DATA").startswith("354")
        assert wire.finish(message("X-Ü: é")).startswith("250 2.0.0")
    gateway.await_line("delivery_attempted", "to=<plain@xn--fsqu00a.test>", "status=sent")
    until_stored = list((gateway.folder / "maildir").glob("xn--fsqu00a.test/*/new/*"))
    assert until_stored


def test_content_in_chunks(gateway: Gateway) -> None:
    """BDAT (RFC 3030) carries what DATA does."""
    content = message(body=".dot\r\n.")
    with gateway.connect() as wire:
        assert "250-CHUNKING" in wire.hello()
        wire.send(b"MAIL FROM:<anna@senders.test>\r\nRCPT TO:<chunks@box.test>\r\n")
        assert wire.reply().startswith("250")
        assert wire.reply().startswith("250")
        wire.send(b"BDAT 10\r\n" + content[:10])
        assert wire.reply().startswith("250 2.0.0")
        wire.send(b"BDAT %d LAST\r\n" % (len(content) - 10) + content[10:])
        assert wire.reply().startswith("250 2.0.0")
    [stored] = gateway.await_maildir("chunks@box.test")
    assert stored.endswith(content)


def test_a_hundred_recipients_of_one_mail(gateway: Gateway, smtp_sink: Sink) -> None:
    recipients = [f"r{number}@sink.test" for number in range(100)]
    identity = trace_id(gateway.mail(*recipients))
    gateway.await_line("delivery_attempted", identity, "status=sent", count=100)
    dumps = smtp_sink.await_message(identity)
    heard = [address for dump in dumps for address in re.findall(rb"X-Rcpt-Args: <(r\d+@sink\.test)>", dump)]
    assert sorted(heard) == sorted(address.encode() for address in recipients)


def test_a_client_that_goes_in_the_middle_of_its_mail_leaves_nothing(gateway: Gateway) -> None:
    content = message()
    with gateway.connect() as wire:
        wire.hello()
        wire.begin("cut@box.test")
        wire.send(content)
    gateway.await_line("transaction_aborted", "cut@box.test")
    assert not gateway.maildir("cut@box.test")
    answer = gateway.ask("trace", "cut@box.test")
    assert "aborted" in answer.out
    assert "not taken" in answer.out
    assert message_id(content) not in gateway.log()


def test_delivery_status_requests_go_on_to_the_next_hop(gateway: Gateway, smtp_sink: Sink) -> None:
    """RFC 3461 §5.2: what we accepted of RET, ENVID, NOTIFY and ORCPT is passed to a next hop that offers DSN."""
    with gateway.connect() as wire:
        wire.hello()
        assert wire.say("MAIL FROM:<anna@senders.test> RET=HDRS ENVID=QQ+2B314159").startswith("250")
        rcpt = "RCPT TO:<dsn@sink.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Dsn@Sink.test"
        assert wire.say(rcpt).startswith("250")
        assert wire.say("DATA").startswith("354")
        identity = trace_id(wire.finish(message()))
    [dump] = smtp_sink.await_message(identity)
    assert b"X-Mail-Args: <anna@senders.test>" in dump
    assert b"RET=HDRS" in dump
    assert b"ENVID=QQ+2B314159" in dump
    assert b"ORCPT=rfc822;Dsn@Sink.test" in dump
    assert re.search(rb"NOTIFY=(SUCCESS,FAILURE|FAILURE,SUCCESS)", dump)
