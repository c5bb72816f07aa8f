"""The door with the real pipeline behind it: the open-relay forms, look-alikes and unsafe local parts, by SMTP."""

import pytest

from gateway.clock import SystemClock
from gateway.config.loader import load
from gateway.dns.zone import ZoneResolver
from gateway.filters import catalogue
from gateway.journal.events import MessageJudged, RecipientRefused
from gateway.pipeline.gate import Gate
from gateway.pipeline.verifier import Verification

CONTENT = (
    b"Date: Tue, 01 Sep 2026 10:00:00 +0000\r\nFrom: a@example.org\r\nTo: user@example.com\r\n"
    b"Message-ID: <1@example.org>\r\nSubject: hello\r\n\r\nHello.\r\n"
)


class EverybodyExists:
    async def verify(self, mailbox, policy) -> Verification:  # noqa: ARG002 - the protocol's
        return Verification(outcome="exists")


@pytest.fixture
async def real_door(open_door, tmp_path):
    async def build(policy="", **options):
        door = await open_door(**options)
        folder = tmp_path / "policies"
        folder.mkdir()
        ours = 'domains = ["example.com", "例子.中国"]\nnext_hop = "smtp://192.0.2.25"\n'
        (folder / "ours.toml").write_text(ours + policy, "utf-8")
        (tmp_path / "tidegate.toml").write_text(
            'hostname = "mx.example.net"\n[[listen]]\naddress = "127.0.0.1:0"\n[limits]\nfree_disk_floor = 0\n',
            "utf-8",
        )
        kinds = catalogue()
        door.gate = Gate(
            load(tmp_path / "tidegate.toml", kinds),
            filters=kinds,
            resolver=ZoneResolver(),
            clock=SystemClock(),
            verifier=EverybodyExists(),
            events=door.events,
        )
        return door

    return build


FORMS = [
    *("user@elsewhere.example", "user%elsewhere.example@example.com", "elsewhere.example!user@example.com"),
    *("@example.com:user@elsewhere.example", '"user@elsewhere.example"@example.com', "user@[192.0.2.1]"),
    *("user@[IPv6:::1]", "user@sub.example.com", "user@examp1e.com", "user@ex\u0430mple.com"),
    *("user@example.com.elsewhere.example", "user@elsewhere.example@example.com", "user"),
    *("|program@example.com", "-f@example.com", "`id`@example.com", "a/../b@example.com"),
]
OURS = [
    *("user@example.com", "User@EXAMPLE.com", "postmaster", "POSTMASTER@example.com"),
    *("user@例子.中国", "user@xn--fsqu00a.xn--fiqs8s"),
]


@pytest.mark.parametrize("path", FORMS)
async def test_no_form_of_open_relay_is_accepted(real_door, path) -> None:
    door = await real_door()
    client = await door.connect()
    await client.greet()
    assert (await client.say("MAIL FROM:<a@example.org> SMTPUTF8")).startswith("250 ")
    answer = await client.say(f"RCPT TO:<{path}>")
    assert answer.startswith("5"), answer
    assert len(door.of(RecipientRefused)) == 1
    assert (await client.say("DATA")).startswith("554 ")


@pytest.mark.parametrize("path", OURS)
async def test_our_domains_are_taken(real_door, path) -> None:
    door = await real_door()
    client = await door.connect()
    await client.greet()
    await client.say("MAIL FROM:<a@example.org> SMTPUTF8")
    assert (await client.say(f"RCPT TO:<{path}>")).startswith("250 "), path
    await client.say("DATA")
    client.send(CONTENT + b".\r\n")
    assert (await client.reply()).startswith("250 2.0.0 [")
    assert len(door.handed_over) == 1


async def test_a_refusal_names_the_filter_that_decided(real_door) -> None:
    """Without the name, metrics and trace cannot tell one policy's refusals from another's."""
    door = await real_door(policy="[filters.size]\nmaximum = 1000\n")
    client = await door.connect()
    await client.greet()
    await client.say("MAIL FROM:<a@example.org> SIZE=2000")
    assert (await client.say("RCPT TO:<user@example.com>")).startswith("552 5.3.4")
    assert (await client.say("RCPT TO:<user@elsewhere.example>")).startswith("550 5.7.1")
    assert [event.filter for event in door.of(RecipientRefused)] == ["size", ""]


async def test_the_event_tells_what_each_finding_was_worth(real_door) -> None:
    door = await real_door()
    client = await door.connect()
    await client.greet("EHLO [192.0.2.1]")
    await client.say("MAIL FROM:<a@example.org>")
    await client.say("RCPT TO:<user@example.com>")
    await client.say("DATA")
    client.send(CONTENT.replace(b"Message-ID", b"X-Other") + b".\r\n")
    assert (await client.reply()).startswith("250 ")
    [event] = door.of(MessageJudged)
    assert set(event.judgements) == {
        ("user@example.com", "helo", "literal-mismatch", 1.0, ""),
        ("user@example.com", "header-sanity", "missing-message-id", 0.5, ""),
    }
    assert event.dispositions[0][2] == 1.5


async def test_null_reverse_path_takes_one_recipient(real_door) -> None:
    door = await real_door()
    client = await door.connect()
    await client.greet()
    await client.say("MAIL FROM:<>")
    assert (await client.say("RCPT TO:<user@example.com>")).startswith("250 ")
    assert (await client.say("RCPT TO:<other@example.com>")).startswith("452 4.5.3")


async def test_stranger_at_a_relay_listener_is_refused(real_door) -> None:
    door = await real_door(listen={"role": "relay", "networks": ("192.0.2.0/24",)})
    client = await door.connect()
    await client.greet()
    await client.say("MAIL FROM:<a@example.org>")
    assert (await client.say("RCPT TO:<user@elsewhere.example>")).startswith("550 5.7.1")


async def test_trusted_network_relays_to_anywhere(real_door) -> None:
    door = await real_door(listen={"role": "relay", "networks": ("127.0.0.0/8",)})
    client = await door.connect()
    await client.greet()
    await client.say("MAIL FROM:<a@example.org>")
    assert (await client.say("RCPT TO:<user@elsewhere.example>")).startswith("250 ")
    await client.say("DATA")
    client.send(CONTENT + b".\r\n")
    assert (await client.reply()).startswith("250 2.0.0 [")
