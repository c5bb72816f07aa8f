"""What the door has learned is every worker's, and outlives a restart: correspondents, triplets, a client's past.

If these fail, two workers judge one client differently, or each restart greylists everybody anew.
"""

from collections.abc import Callable

import pytest

from tests.system.parts import Gateway, Wire, message, settings, to_maildir, until

# What each memory says is made visible at RCPT; nothing is asked of DNS.
POLICY = """\
[filters.spf]
enabled = false
[filters.penpal]
on = { known = "reject" }
[filters.reputation]
least = 2.0
on = { bad = "reject" }
"""
GREYLIST = '[filters.greylist]\nenabled = true\ndelay = "1s"\nspf_pass = false\nclient_after = 0\n'
LISTS = '[[list]]\nname = "bad"\nfile = "bad.txt"\naction = "reject"\nidentities = ["helo"]\n'
# Waiting for a condition knocks often.
LIMITS = """\
[limits]
free_disk_floor = "1M"
connection_rate = "0/1m"
network_connection_rate = "0/1m"
"""
# Each in a network of its own: what is refused here counts against its client.
STRANGER, FRIEND, SPAMMER = "198.51.100.7", "192.0.2.10", "203.0.113.9"


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway]) -> Gateway:
    found = shared_gateway()
    listeners = ('role = "mx"\nproxy_protocol_from = ["127.0.0.1/32"]', 'role = "relay"\nnetworks = ["127.0.0.1"]')
    found.configure(
        settings(*listeners, workers=2, more=LIMITS),
        {"box": to_maildir("box.test", more=POLICY), "grey": to_maildir("grey.test", more=POLICY + GREYLIST)},
    )
    (found.folder / "blocklists/lists.toml").write_text(LISTS, encoding="utf-8")
    (found.folder / "blocklists/bad.txt").write_text("robot.test\n", encoding="utf-8")
    return found.start()


def rcpt(gateway: Gateway, recipient: str, *, sender: str, client: str = STRANGER, helo: str = "mail.far.test") -> str:
    """Return the reply to RCPT that a client of this address gets."""
    with Wire(gateway.port("mx")) as wire:
        wire.send(f"PROXY TCP4 {client} 127.0.0.1 40000 25\r\n".encode())
        assert wire.reply().startswith("220 ")
        wire.hello(helo)
        wire.say(f"MAIL FROM:<{sender}>")
        return wire.say(f"RCPT TO:<{recipient}>")


def everywhere(gateway: Gateway, expected: str, recipient: str, **asked: str) -> None:
    """Wait until every worker answers so; a connection goes to either."""
    until(
        lambda: all(rcpt(gateway, recipient, **asked).startswith(expected) for _ in range(8)),
        what=f"{expected} for {recipient} {asked}",
    )


def known(gateway: Gateway) -> None:
    """Hold every worker to all that was learned, and to nothing beyond it."""
    everywhere(gateway, "550 5.7.1", "anna@box.test", sender="friend@far.test", client=FRIEND)
    everywhere(gateway, "250", "anna@box.test", sender="nobody@far.test")
    everywhere(gateway, "250", "bert@box.test", sender="friend@far.test")
    everywhere(gateway, "550 5.7.1", "anna@box.test", sender="x@bulk.test", client=SPAMMER)
    everywhere(gateway, "250", "anna@grey.test", sender="news@far.test")


def test_what_one_worker_learns_all_know_and_a_restart_forgets_nothing(gateway: Gateway) -> None:
    # A user of ours writes to a friend.
    with gateway.connect("relay") as wire:
        wire.hello()
        assert wire.mail("friend@far.test", sender="anna@box.test", content=message()).startswith("250")
    # A robot is refused, for its name, until its address is known for it.
    until(
        lambda: (
            rcpt(gateway, "anna@box.test", sender="x@bulk.test", client=SPAMMER, helo="robot.test")
            and rcpt(gateway, "anna@box.test", sender="x@bulk.test", client=SPAMMER).startswith("550")
        ),
        what="a bad past",
    )
    # A stranger comes back.
    assert rcpt(gateway, "anna@grey.test", sender="news@far.test").startswith("451 4.7.1")
    until(lambda: rcpt(gateway, "anna@grey.test", sender="news@far.test").startswith("250"), what="the triplet")
    known(gateway)
    gateway.stop()
    gateway.start()
    known(gateway)
    # The second triplet begins anew: it is not the file's absence that lets everybody in.
    assert rcpt(gateway, "bert@grey.test", sender="news@far.test").startswith("451 4.7.1")
