"""The running gateway with real lists before it: who is listed hears so, who is new comes back, and a restart forgets
nothing."""

import socket

import pytest

from gateway.ledger import Ledger
from tests.system.parts import Gateway, Wire, message, received, settings, to_maildir, until

pytestmark = pytest.mark.real

LISTED = "127.0.0.2"
DNSBL = """
[filters.dnsbl]
on = { listed = "reject" }
lists = [
  { zone = "dnsbl.test", codes = { "127.0.0.[2-8]" = 6.0 } },
  { zone = "servfail.test", score = 9.0 },
  { zone = "slow.test", score = 9.0 },
]
[filters.uribl]
lists = [{ zone = "uribl.test", score = 6.0, probe = "exact-only.test" }]
"""
TOLERANT = '[filters.dnsbl]\nlists = [{ zone = "dnsbl.test", score = 6.0 }]\n'
GREYLIST = '[filters.greylist]\nenabled = true\ndelay = "1s"\n[filters.spf]\nenabled = false\n'


class From(Wire):
    """A client at an address of its own."""

    def __init__(self, port: int, address: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 30, source_address=(address, 0))
        self._file = self.socket.makefile("rb")


@pytest.fixture
def gateway(tmp_path):
    made = Gateway(tmp_path)
    yield made
    log = made.log_path.read_text(encoding="utf-8", errors="replace") if made.log_path.exists() else ""
    made.destroy()
    assert "internal_error" not in log
    assert "Traceback" not in log


def serve(gateway: Gateway, unbound: str, policies: dict[str, str], *, workers: int = 1) -> Gateway:
    # A list that is late once is left alone for minutes: patience, for a machine that has other things to do.
    more = (
        f'[dns]\nservers = ["{unbound}"]\ntimeout = "5s"\n'
        '[own_listings]\naddresses = ["198.51.100.7"]\nzones = ["dnsbl.test"]\n'
    )
    gateway.configure(settings(workers=workers, more=more), policies)
    return gateway.start()


def rcpt(gateway: Gateway, address: str, recipient: str, sender: str = "anna@senders.test") -> str:
    with From(gateway.port(), address) as wire:
        assert wire.reply().startswith("220 ")
        wire.hello()
        assert wire.say(f"MAIL FROM:<{sender}>").startswith("250")
        return wire.say(f"RCPT TO:<{recipient}>")


def test_the_recipients_policy_decides_about_a_listed_client(gateway, unbound):
    serve(
        gateway,
        unbound,
        {"strict": to_maildir("strict.test", more=DNSBL), "mild": to_maildir("mild.test", more=TOLERANT)},
    )
    told = "listed by dnsbl.test (127.0.0.2): Listed by dnsbl.test, see https://dnsbl.test/q?127.0.0.2"
    assert rcpt(gateway, LISTED, "a@strict.test").startswith("550 5.7.1 ")
    # The text is waited for a second at most, and is known the next time.
    until(lambda: told in rcpt(gateway, LISTED, "a@strict.test"), what="the list's own words")
    assert rcpt(gateway, LISTED, "postmaster@strict.test").startswith("250")
    # The other domain scores it: 6 is more than 5, so the mail is marked.
    with From(gateway.port(), LISTED) as wire:
        wire.reply()
        wire.hello()
        assert wire.mail("b@mild.test", content=message()).startswith("250")
    [marked] = gateway.await_maildir("b@mild.test")
    assert received(marked)["X-Spam-Flag"] == "YES"
    assert "dnsbl.listed=6" in received(marked)["X-Spam-Status"]
    # A client that is on no list, beside a list that fails: taken.
    assert rcpt(gateway, "127.0.0.9", "a@strict.test").startswith("250")
    # The list that fails, and our own listing, are told.
    gateway.await_line("dns_list_changed", "zone=servfail.test", "state=unreachable")
    gateway.await_line("own_listing_changed", "identity=198.51.100.7", "state=listed", "code=127.0.0.4")
    assert not gateway.lines("dns_list_changed", "zone=dnsbl.test")


def test_a_clients_verified_name_is_in_received_and_in_its_reputation(gateway, unbound):
    listener = 'role = "mx"\nproxy_protocol_from = ["127.0.0.1/32"]'
    policy = to_maildir("named.test", more="[filters.iprev]\nenabled = true\n[filters.reputation]\nleast = 1.0\n")
    gateway.configure(settings(listener, more=f'[dns]\nservers = ["{unbound}"]\n'), {"named": policy})
    gateway.start()

    def mail() -> bytes:
        with Wire(gateway.port()) as wire:
            wire.send(b"PROXY TCP4 203.0.113.99 127.0.0.1 40000 25\r\n")
            wire.reply()
            wire.hello()
            assert wire.mail("a@named.test", content=message()).startswith("250")
        return gateway.await_maildir("a@named.test", len(gateway.maildir("a@named.test")) or 1)[-1]

    assert "(mail.good.test [203.0.113.99])" in received(mail())["Received"]
    # Two mails, and a second for them to be written down: from then on its name is good.
    until(lambda: b"reputation.good=-1" in mail(), what="a good reputation")


def test_a_local_list_knows_the_clients_name_without_any_filter_that_asks_for_it(gateway, unbound):
    """An operator types a name; the clients that have it are refused at RCPT, by every policy."""
    listener = 'role = "mx"\nproxy_protocol_from = ["127.0.0.1/32"]'
    text = settings(listener, workers=2, more=f'[dns]\nservers = ["{unbound}"]\n')
    gateway.configure(text, {"named": to_maildir("named.test")})
    lists = '[[list]]\nname = "bad"\naction = "reject"\n'
    (gateway.folder / "blocklists/lists.toml").write_text(lists, encoding="utf-8")
    gateway.start()

    def answer(client: str) -> str:
        with Wire(gateway.port()) as wire:
            wire.send(f"PROXY TCP4 {client} 127.0.0.1 40000 25\r\n".encode())
            assert wire.reply().startswith("220 ")
            wire.hello()
            wire.say("MAIL FROM:<>")
            return wire.say("RCPT TO:<a@named.test>")

    assert answer("203.0.113.99").startswith("250")
    assert gateway.ask("blocklist", "add", ".good.test", "--list", "bad", "--reason", "a wave").status == 0
    until(lambda: all(answer("203.0.113.99").startswith("550") for _ in range(8)), what="the name on every worker")
    assert "mail.good.test listed by bad: a wave" in answer("203.0.113.99")
    assert answer("203.0.113.98").startswith("250")


def test_links_to_listed_domains_count(gateway, unbound):
    serve(gateway, unbound, {"strict": to_maildir("strict.test", more=DNSBL)})
    assert gateway.mail("a@strict.test", content=message(body="see https://www.spam-domain.test/now")).startswith("250")
    [marked] = gateway.await_maildir("a@strict.test")
    assert "uribl.listed=6" in received(marked)["X-Spam-Status"]


def test_a_new_triplet_comes_back_and_the_time_is_kept_apart(gateway, unbound):
    """Greylisting survives a restart, is shared by two workers, and is no delay of ours (contract.md §2)."""
    serve(gateway, unbound, {"grey": to_maildir("grey.test", more=GREYLIST)}, workers=2)
    assert rcpt(gateway, "127.0.0.9", "a@grey.test").startswith("451 4.7.1 ")
    gateway.stop()
    gateway.start()

    def comes_back() -> str:
        with From(gateway.port(), "127.0.0.10") as wire:
            wire.reply()
            wire.hello()
            reply = wire.mail("a@grey.test", content=message())
        return reply if reply.startswith("250") else ""

    until(comes_back, what="the triplet to pass")
    gateway.await_maildir("a@grey.test")
    [record] = until(lambda: list(Ledger(gateway.data).between(0.0, 4e9)), what="the ledger's row")
    assert record.greylisted_seconds >= 1.0
    assert record.receive_delay_seconds < record.greylisted_seconds + 30
    # Known from now on: no second wait, whichever worker answers.
    assert all(rcpt(gateway, "127.0.0.9", "a@grey.test").startswith("250") for _ in range(4))
