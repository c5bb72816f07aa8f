"""What breaks if these fail: what a client is offered and what it may take, counted over all workers."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.system.parts import Gateway, Wire, message, received, settings, swaks, to_maildir, until

LIMITED = """\
[limits]
free_disk_floor = "1M"
exempt = []
connections_per_client = 6
messages_per_client = "40/1h"
recipients_per_client = "60/1h"
connection_rate = "200/1m"
"""


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway]) -> Gateway:
    found = shared_gateway()
    found.configure(settings(workers=2), {"box": to_maildir("box.test")})
    return found.start()


@pytest.fixture
def limited(new_gateway: Callable[[], Gateway]) -> Gateway:
    """Two workers that count this machine's clients like everybody's, the gateway's own probes among them."""
    found = new_gateway()
    found.configure(settings(workers=2, more=LIMITED), {"box": to_maildir("box.test")})
    return found.start()


def test_what_ehlo_offers(gateway: Gateway) -> None:
    with gateway.connect() as wire:
        lines = wire.hello().splitlines()
    assert lines[0] == "250-mx.gate.test"
    offered = {line[4:] for line in lines[1:]}
    assert offered == {
        "PIPELINING",
        "SIZE 52428800",
        "8BITMIME",
        "SMTPUTF8",
        "CHUNKING",
        "DSN",
        "ENHANCEDSTATUSCODES",
        "LIMITS MAILMAX=500 RCPTMAX=1000",
    }


def test_commands_beside_the_mail(gateway: Gateway) -> None:
    with gateway.connect() as wire:
        wire.hello()
        for line, reply in (
            ("VRFY bob", "252 2.5.0"),
            ("EXPN list", "502 5.5.1"),
            ("ETRN box.test", "502 5.5.1"),
            ("HELP", "214 2.0.0"),
            ("NOOP", "250 2.0.0"),
            ("RSET", "250 2.0.0"),
            ("DATA", "503 5.5.1"),
            ("RCPT TO:<bob@box.test>", "503 5.5.1"),
            ("AUTH PLAIN AGEAYg==", "5"),
            ("QUIT", "221 2.0.0"),
        ):
            assert wire.say(line).startswith(reply), line
        assert wire.rest() == b""


@pytest.mark.real
def test_a_client_that_only_says_helo(gateway: Gateway) -> None:
    told = swaks(gateway.port(), "--protocol", "SMTP", "--from", "anna@senders.test", "--to", "helo@box.test")
    assert "HELO client.example" in told
    [stored] = gateway.await_maildir("helo@box.test")
    assert " with SMTP id " in " ".join(str(received(stored)["Received"]).split())


def test_reset_leaves_nothing_for_the_next_mail(gateway: Gateway) -> None:
    with gateway.connect() as wire:
        wire.hello()
        for line in ("MAIL FROM:<first@senders.test>", "RCPT TO:<first@box.test>", "RSET"):
            assert wire.say(line).startswith("250")
        assert wire.mail("second@box.test", sender="second@senders.test", content=message()).startswith("250")
        for line in ("MAIL FROM:<first@senders.test>", "RCPT TO:<first@box.test>"):
            assert wire.say(line).startswith("250")
        wire.hello()
        assert wire.mail("third@box.test", content=message()).startswith("250")
    gateway.await_maildir("second@box.test")
    gateway.await_maildir("third@box.test")
    assert not gateway.maildir("first@box.test")


@pytest.mark.parametrize(
    "end",
    [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r"],
    ids=repr,
)
def test_no_other_end_of_data_smuggles_a_second_mail(gateway: Gateway, end: bytes) -> None:
    smuggled = (
        b"MAIL FROM:<evil@senders.test>\r\nRCPT TO:<smuggled@box.test>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n.\r\n"
    )
    with gateway.connect() as wire:
        wire.hello()
        wire.begin("cover@box.test")
        wire.send(message() + b"text" + end + smuggled)
        assert wire.reply()[:3] in {"550", "554"}
    assert not gateway.maildir("smuggled@box.test")


def test_connections_of_one_client_are_counted_over_all_workers(limited: Gateway) -> None:
    with ExitStack() as stack:
        greetings = [stack.enter_context(Wire(limited.port())).reply() for _ in range(10)]
    codes = [reply[:3] for reply in greetings]
    # A probe of the gateway's own, at its start and once a minute, may have one of the six places.
    assert (codes.count("220"), codes.count("421")) in {(6, 4), (5, 5)}, codes
    assert {reply[:9] for reply in greetings if reply.startswith("421")} == {"421 4.7.0"}
    assert "too many connections from your network" in next(r for r in greetings if r.startswith("421"))
    # Never a reset; and who has left makes room.
    until(lambda: _greeted(limited), what="a free place")
    limited.await_line("session_refused", "too many connections")


def _greeted(gateway: Gateway) -> bool:
    with Wire(gateway.port()) as wire:
        return wire.reply().startswith("220")


def taken(replies: list[str]) -> int:
    """Return how many of the replies are 250; none may come behind a refusal.

    A probe of the gateway's own, from this machine and once a minute, takes its place in the count.
    """
    count = replies.count("250 2.0.0")
    assert replies == ["250 2.0.0"] * count + ["450 4.7.1"] * (len(replies) - count)
    return count


def test_messages_and_recipients_of_one_client_are_counted_over_all_workers(limited: Gateway) -> None:
    replies = [limited.mail("often@box.test")[:9] for _ in range(45)]
    assert taken(replies) in range(38, 41), replies
    limited.path.write_text(limited.path.read_text().replace("40/1h", "0/1h"))
    assert limited.ask("reload").status == 0
    replies = [limited.mail("often@box.test")[:9] for _ in range(25)]
    assert taken(replies) in range(18, 23), replies
