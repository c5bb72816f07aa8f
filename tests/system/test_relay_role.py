"""What breaks if these fail: an open relay, or a relay that refuses its own networks.

The names that mail is sent to are served by a real Unbound on this machine, and lead to mail servers on port 25 of
loopback addresses, which needs root.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.system.internet import mail_servers, name_server
from tests.system.parts import Gateway, Sink, message, settings, to_maildir, trace_id, until

pytestmark = pytest.mark.real

# Loopback addresses nobody else uses: 127.25.0.0/16.
FIRST, SECOND, DEAD = "127.25.0.1", "127.25.0.2", "127.25.0.3"

RECORDS = (
    "far.test. 60 IN MX 10 mail1.far.test.",
    f"mail1.far.test. 60 IN A {FIRST}",
    "backup.test. 60 IN MX 20 mail2.backup.test.",
    "backup.test. 60 IN MX 10 dead.backup.test.",
    f"dead.backup.test. 60 IN A {DEAD}",
    f"mail2.backup.test. 60 IN A {SECOND}",
    f"implicit.test. 60 IN A {FIRST}",
    "nomail.test. 60 IN MX 0 .",
    "loop.test. 60 IN MX 10 mx.gate.test.",
    "mx.gate.test. 60 IN A 127.0.0.1",
)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with name_server(tmp_path_factory.mktemp("unbound"), RECORDS) as address:
        yield address


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Sink]]:
    """The mail servers behind the MX records, by address."""
    with mail_servers({FIRST: (), SECOND: ()}) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway], names: str) -> Gateway:
    """An mx listener, a relay listener for this machine, and one for networks that this machine is not in."""
    found = shared_gateway()
    more = f'[dns]\nservers = ["{names}"]\n'
    found.configure(
        settings(
            'role = "mx"',
            'role = "relay"\nnetworks = ["127.0.0.1"]',
            'role = "relay"\nnetworks = ["192.0.2.0/24"]',
            more=more,
        ),
        {"box": to_maildir("box.test", "senders.test")},
    )
    return found.start()


def relay(gateway: Gateway, recipient: str) -> str:
    """Send one mail through the relay listener; return its trace id."""
    with gateway.connect("relay") as wire:
        wire.hello()
        reply = wire.mail(recipient, content=message())
    assert reply.startswith("250 2.0.0"), reply
    return trace_id(reply)


def test_trusted_networks_reach_a_foreign_domain_by_its_mx(gateway: Gateway, servers: dict[str, Sink]) -> None:
    identity = relay(gateway, "bob@far.test")
    [line] = gateway.await_line("delivery_attempted", identity, "status=sent")
    assert f"relay=mail1.far.test[{FIRST}]:25" in line
    [dump] = servers[FIRST].await_message(identity)
    assert b"X-Rcpt-Args: <bob@far.test>" in dump


def test_a_dead_first_mx_costs_nothing_but_the_second_one(gateway: Gateway, servers: dict[str, Sink]) -> None:
    identity = relay(gateway, "bob@backup.test")
    [line] = gateway.await_line("delivery_attempted", identity, "status=sent")
    assert f"relay=mail2.backup.test[{SECOND}]:25" in line
    servers[SECOND].await_message(identity)


def test_a_domain_without_mx_is_its_own_mail_server(gateway: Gateway, servers: dict[str, Sink]) -> None:
    identity = relay(gateway, "bob@implicit.test")
    gateway.await_line("delivery_attempted", identity, f"relay=implicit.test[{FIRST}]:25", "status=sent")


@pytest.mark.parametrize(
    ("domain", "status"),
    [("nomail.test", "5.1.10"), ("nosuchdomain.test", "5.1.2"), ("loop.test", "5.4.6")],
)
def test_mail_nobody_can_take_goes_back_to_its_sender(gateway: Gateway, domain: str, status: str) -> None:
    """Null MX (RFC 7505), no such domain, an MX that is this gateway: the sender hears it at once, as a DSN."""
    before = len(gateway.maildir("anna@senders.test"))
    identity = relay(gateway, f"bob@{domain}")
    [line] = gateway.await_line("delivery_attempted", identity, "status=bounced")
    assert f"dsn={status}" in line
    notice = gateway.await_maildir("anna@senders.test", before + 1)[-1]
    assert b"Content-Type: multipart/report" in notice
    assert f"Status: {status}".encode() in notice


def test_a_configured_domain_on_the_relay_listener_follows_its_policy(gateway: Gateway) -> None:
    relay(gateway, "own@box.test")
    gateway.await_maildir("own@box.test")


def test_others_are_refused_on_the_relay_listener_even_for_configured_domains(gateway: Gateway) -> None:
    for recipient in ("bob@far.test", "own@box.test"):
        with gateway.connect("relay", 1) as wire:
            wire.hello()
            assert wire.say("MAIL FROM:<anna@senders.test>").startswith("250")
            assert wire.say(f"RCPT TO:<{recipient}>").startswith("550 5.7.1")
            assert wire.say("DATA")[0] == "5"


@pytest.mark.parametrize(
    "path",
    [
        "<bob@far.test>",
        "<bob%far.test@box.test>",
        "<bob%far.test@mx.gate.test>",
        "<far.test!bob@box.test>",
        "<@box.test:bob@far.test>",
        "<@box.test,@mx.gate.test:bob@far.test>",
        '<"bob@far.test"@box.test>',
        '<"bob@far.test">',
        "<bob@far.test@box.test>",
        "<bob@box.test@far.test>",
        "<bob@[127.0.0.1]>",
        "<bob@[127.25.0.1]>",
        "<bob@[IPv6:::1]>",
        "<bob@mx.gate.test>",
        "<bob@localhost>",
        "<bob>",
        "<bob@sub.box.test>",
        "<bob@box.test.far.test>",
        "<bob@notbox.test>",
        "<bob@b\N{CYRILLIC SMALL LETTER O}x.test>",
        "<bob@box.test.>",
        "<bob@.box.test>",
        "<bob@box.test\0.far.test>",
        "bob@far.test",
        "<|/bin/sh@box.test>",
        '<"|/bin/sh"@box.test>',
        "<-oQ/tmp@box.test>",
        "<../../etc/passwd@box.test>",
        "<`id`@box.test>",
        "<$(id)@box.test>",
        '<"a\\\\"@box.test>',
    ],
)
def test_no_form_of_address_makes_an_open_relay(gateway: Gateway, path: str) -> None:
    with gateway.connect() as wire:
        wire.hello()
        assert wire.say("MAIL FROM:<anna@senders.test> SMTPUTF8").startswith("250")
        reply = wire.say(f"RCPT TO:{path}")
        assert reply[0] == "5", reply
        assert reply[4:5] == "5", reply
        assert wire.say("DATA")[0] == "5"


def test_a_sender_of_ours_opens_nothing(gateway: Gateway) -> None:
    with gateway.connect() as wire:
        wire.hello("box.test")
        for sender in ("postmaster@box.test", "", "anna@mx.gate.test"):
            wire.say("RSET")
            assert wire.say(f"MAIL FROM:<{sender}>").startswith("250")
            assert wire.say("RCPT TO:<bob@far.test>").startswith("550 5.7.1")


def test_nothing_of_all_this_was_ever_sent(gateway: Gateway) -> None:
    """What was refused left no trace in the queue; what was taken has gone."""
    until(lambda: not gateway.queue(), what="an empty queue")
