"""What breaks if these fail: mail that could not go at once is lost, comes too late, or its sender hears nothing."""

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
    to_maildir,
    to_server,
    trace_id,
    until,
)

pytestmark = pytest.mark.real

QUEUE = """\
[queue]
retry = ["1s*"]
expire = "{expire}"
delay_notice = "{delay_notice}"
"""


@pytest.fixture(scope="module")
def sink(shared_sink: Callable[..., Sink]) -> Sink:
    return shared_sink()


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway], sink: Sink) -> Gateway:
    """A delay notice after a second, expiry after five."""
    found = shared_gateway()
    found.configure(
        settings(workers=1, more=QUEUE.format(expire="5s", delay_notice="1s")),
        {"sink": to_server("sink.test", url=sink.url()), "senders": to_maildir("senders.test")},
    )
    return found.start()


@pytest.fixture
def patient(gateway: Gateway) -> Gateway:
    """The gateway with mail that does not expire while a test runs."""
    gateway.path.write_text(settings(workers=1, more=QUEUE.format(expire="1h", delay_notice="30m")))
    assert gateway.ask("reload").status == 0
    return gateway


@pytest.fixture
def impatient(gateway: Gateway) -> Gateway:
    gateway.path.write_text(settings(workers=1, more=QUEUE.format(expire="5s", delay_notice="1s")))
    assert gateway.ask("reload").status == 0
    return gateway


@pytest.mark.parametrize("trouble", ["-r RCPT", "-r .", "-Q DATA", "stopped"])
def test_mail_goes_when_its_server_is_well_again(patient: Gateway, sink: Sink, trouble: str) -> None:
    sink.stop()
    if trouble != "stopped":
        sink.start(*trouble.split())
    address = f"{''.join(filter(str.isalpha, trouble))}@sink.test"
    identity = trace_id(patient.mail(address))
    patient.await_line("delivery_attempted", identity, "status=deferred")
    assert patient.states()[address] == "queued"
    # The line may be there before the attempt is on record.
    [copy] = until(lambda: (found := patient.queue("--recipient", address)) and found[0]["attempts"] and found)
    assert copy["last"][0] == "4", copy
    shown = patient.ask("queue", "show", identity).out
    assert "deferred by" in shown
    sink.stop()
    sink.start("-c")
    [dump] = sink.await_message(identity)
    assert f"X-Rcpt-Args: <{address}>".encode() in dump
    patient.await_line("delivery_attempted", identity, "status=sent")
    until(lambda: not patient.queue("--recipient", address))
    story = until(lambda: "sent by" in (found := patient.ask("trace", identity).out) and found)
    assert "deferred by" in story
    assert f"now       <{address}> delivered" in story


def test_flush_tries_at_once_and_hold_keeps_back(patient: Gateway, sink: Sink) -> None:
    sink.stop()
    patient.path.write_text(settings(workers=1, more='[queue]\nretry = ["1h*"]\nexpire = "2d"\ndelay_notice = "1d"\n'))
    assert patient.ask("reload").status == 0
    kept = trace_id(patient.mail("kept@sink.test"))
    sent = trace_id(patient.mail("sent@sink.test"))
    for identity in (kept, sent):
        patient.await_line("delivery_attempted", identity, "status=deferred")
    sink.start("-c")
    assert patient.ask("queue", "hold", kept).out == "1 copy held\n"
    assert patient.ask("queue", "flush").out == "1 copy made due now\n"
    sink.await_message(sent)
    until(lambda: patient.states() == {"kept@sink.test": "held"})
    assert not [dump for dump in sink.messages() if kept.encode() in dump]
    listed = patient.run("queue", "list")
    assert re.search(rf"^{kept}\t.*\theld\t<anna@senders\.test>\t<kept@sink\.test>\t", listed.out, re.MULTILINE)
    assert patient.ask("queue", "release", "--recipient", "kept@sink.test").out == "1 copy released\n"
    sink.await_message(kept)
    until(lambda: not patient.queue())


def test_each_way_to_select_messages(patient: Gateway, sink: Sink) -> None:
    """By id, recipient, domain, age and next hop; and a change of nothing is a negative result."""
    sink.stop()
    # One attempt: after four refusals in a row the next hop would be left alone for a minute, also in the next test.
    patient.path.write_text(settings(workers=1, more='[queue]\nretry = ["1h*"]\nexpire = "2d"\ndelay_notice = "1d"\n'))
    assert patient.ask("reload").status == 0
    identity = trace_id(patient.mail("one@sink.test", "two@sink.test"))
    patient.await_line("delivery_attempted", identity, "status=deferred", count=2)
    route = sink.url()
    for options, count in (
        ((), 2),
        (("--recipient", "ONE@sink.test"), 1),
        (("--domain", "SINK.test"), 2),
        (("--domain", "other.test"), 0),
        (("--next-hop", route), 2),
        (("--next-hop", "smtp://127.0.0.1:9"), 0),
        (("--older-than", "1h"), 0),
        (("--state", "queued"), 2),
        (("--state", "quarantined"), 0),
    ):
        assert len(patient.queue(*options)) == count, options
    assert patient.ask("queue", "hold", "--domain", "other.test").status == 1
    assert patient.ask("queue", "hold", "--recipient", "two@sink.test").out == "1 copy held\n"
    assert patient.states() == {"one@sink.test": "queued", "two@sink.test": "held"}
    refused = patient.ask("queue", "drop")
    assert refused.status == 2
    assert "say which" in refused.err
    assert patient.ask("queue", "drop", identity).out == "2 copies dropped\n"
    assert patient.ask("queue", "drop", identity).status == 1
    missing = patient.ask("queue", "show", identity)
    assert missing.status == 1
    assert f"not in custody: {identity}; `tidegate trace ID` tells what became of a message" in missing.err
    sink.start("-c")


def notices(gateway: Gateway, sender: str, action: str, count: int = 1) -> list[bytes]:
    """Wait for so many delivery status notifications of one kind; return them."""
    wanted = f"Action: {action}".encode()
    return until(
        lambda: (
            (found := [mail for mail in gateway.maildir(sender) if wanted in mail]) and len(found) >= count and found
        ),
        what=lambda: f"{count} notices with {wanted!r} for {sender}; log:\n{gateway.log()[-2000:]}",
    )


def test_a_sender_hears_of_a_delay_and_then_of_the_failure(impatient: Gateway, sink: Sink) -> None:
    sink.stop()
    sink.start("-r", "RCPT")
    content = message()
    identity = trace_id(impatient.mail("slow@sink.test", sender="delayed@senders.test", content=content))
    [delayed] = notices(impatient, "delayed@senders.test", "delayed")
    [failed] = notices(impatient, "delayed@senders.test", "failed")
    for notice, status in ((delayed, "4."), (failed, "4.4.7")):
        mail = received(notice)
        # RFC 3464 §2, RFC 3834 §5, RFC 5321 §6.1: a report, automatic, with a null reverse-path.
        assert mail.get_content_type() == "multipart/report"
        assert mail["Return-Path"] == "<>"
        assert mail["Auto-Submitted"] == "auto-replied"
        assert mail["To"] == "delayed@senders.test"
        assert b"Final-Recipient: rfc822; slow@sink.test\r\n" in notice
        assert f"Status: {status}".encode() in notice
        assert f"Message-ID: <{message_id(content)}>".encode() in notice
    impatient.await_line("delivery_attempted", identity, "status=expired")
    until(lambda: not impatient.queue())
    story = until(lambda: "notice" in (found := impatient.ask("trace", identity).out) and found)
    assert "notice    " in story
    assert "now       <slow@sink.test> failed" in story or "expired" in story.splitlines()[0], story


def test_a_refusal_of_the_next_hop_comes_back_at_once_with_its_words(impatient: Gateway, sink: Sink) -> None:
    sink.stop()
    sink.start("-f", "RCPT", "-B", "550 5.1.1 no such mailbox here")
    impatient.mail("gone@sink.test", sender="refused@senders.test")
    [failed] = notices(impatient, "refused@senders.test", "failed")
    assert b"Status: 5.1.1" in failed
    assert b"no such mailbox here" in failed
    assert b"Diagnostic-Code: smtp; 550 5.1.1 no such mailbox here" in failed


def test_a_null_sender_is_told_nothing_and_notices_make_no_notices(impatient: Gateway, sink: Sink) -> None:
    sink.stop()
    sink.start("-f", "RCPT")
    identity = trace_id(impatient.mail("bounce@sink.test", sender=""))
    impatient.await_line("delivery_attempted", identity, "status=bounced")
    # A notice that cannot be delivered to its sender ends there too: the sender's own domain refuses.
    about = trace_id(impatient.mail("gone@sink.test", sender="also@sink.test"))
    [queued] = impatient.await_line("notice_queued", f"about={about}")
    notice = re.search(r"id=(\w+)", queued)[1]
    impatient.await_line("delivery_attempted", notice, "status=bounced")
    until(lambda: not impatient.queue())
    assert not impatient.lines("notice_queued", f"about={identity}")
    assert not impatient.lines("notice_queued", f"about={notice}")


def test_a_sender_who_asked_for_no_notices_gets_none_and_who_asked_for_success_gets_it(
    impatient: Gateway, sink: Sink
) -> None:
    """RFC 3461 §4.1: NOTIFY=NEVER; NOTIFY=SUCCESS to a next hop without DSN is answered as relayed."""
    sink.stop()
    sink.start("-N")
    with impatient.connect() as wire:
        wire.hello()
        wire.say("MAIL FROM:<wanted@senders.test> ENVID=my-id")
        assert wire.say("RCPT TO:<fine@sink.test> NOTIFY=SUCCESS").startswith("250")
        wire.say("DATA")
        wire.finish(message())
    [relayed] = notices(impatient, "wanted@senders.test", "relayed")
    assert b"Original-Envelope-Id: my-id" in relayed
    sink.stop()
    sink.start("-f", "RCPT")
    with impatient.connect() as wire:
        wire.hello()
        wire.say("MAIL FROM:<never@senders.test>")
        assert wire.say("RCPT TO:<gone@sink.test> NOTIFY=NEVER").startswith("250")
        wire.say("DATA")
        identity = trace_id(wire.finish(message()))
    impatient.await_line("delivery_attempted", identity, "status=bounced")
    until(lambda: not impatient.queue())
    assert not impatient.maildir("never@senders.test")


def test_a_dead_server_delays_nobody_else(patient: Gateway, sink: Sink) -> None:
    sink.stop()
    for number in range(20):
        patient.mail(f"dead{number}@sink.test")
    assert patient.mail("alive@senders.test").startswith("250")
    patient.await_maildir("alive@senders.test", seconds=5)
    until(lambda: not patient.queue("--recipient", "alive@senders.test"), what="its delivery on record")
    assert patient.ask("queue", "drop", "--all").out == "20 copies dropped\n"
