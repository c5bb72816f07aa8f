"""What breaks if these fail: unknown mailboxes are accepted, known ones refused, a next hop asked at every RCPT."""

import asyncio
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.delivery.callout import UNREACHABLE_SECONDS, CalloutVerifier
from gateway.delivery.connector import Connector
from gateway.delivery.route import Router
from gateway.delivery.tls import TlsContexts
from gateway.dns.zone import ZoneResolver
from gateway.pipeline.verifier import Verification
from tests.delivery.conftest import HostFactory, Peer, to, write_config
from tests.delivery.test_connector import Keep


class Desk:
    """A verifier for ``ours.test`` behind one next hop."""

    def __init__(self, folder: Path, *next_hops: str, zone: str = "", timeout: str = "5s") -> None:
        snapshot = write_config(folder, list(next_hops), f'[callout]\ntimeout = "{timeout}"')
        self.clock = FakeClock()
        router = Router(ZoneResolver(zone), Keep(), lambda: "mx.ours.test")  # type: ignore[arg-type]
        connector = Connector(router, self.clock, TlsContexts())
        self.verifier = CalloutVerifier(router, connector, self.clock, lambda: snapshot)
        policy = snapshot.policies.for_domain("ours.test")
        assert policy is not None
        self.policy = policy

    async def ask(self, address: str) -> Verification:
        return await self.verifier.verify(to(address).path.mailbox, self.policy)

    async def outcome(self, address: str) -> str:
        return (await self.ask(address)).outcome


async def directory(peer: Peer) -> None:
    await peer.greet("250-next.test\r\n250 PIPELINING")
    while True:
        line = await peer.hear()
        if not line.startswith("RCPT"):
            peer.say("250 ok")
        elif "known@" in line and "unknown@" not in line:
            peer.say("250 2.1.5 here")
        elif "later@" in line:
            peer.say("450 4.2.1 ask later")
        else:
            peer.say("550 5.1.1 no such user")


async def test_the_next_hop_says_who_exists_over_one_connection(host: HostFactory, tmp_path: Path) -> None:
    running = await host(directory)
    desk = Desk(tmp_path, running.url)
    assert await desk.outcome("known@ours.test") == "exists"
    assert await desk.ask("unknown@ours.test") == Verification(outcome="unknown", reply="550 5.1.1 no such user")
    assert await desk.outcome("later@ours.test") == "undetermined"
    assert len(running.peers) == 1
    # RFC 5321 §3.5.3 has nothing better than RCPT; nothing is left open behind it.
    assert running.peers[0].heard[1:4] == ["MAIL FROM:<>", "RCPT TO:<known@ours.test>", "RSET"]
    await desk.verifier.close()


async def test_answers_are_believed_for_their_time(host: HostFactory, tmp_path: Path) -> None:
    running = await host(directory)
    desk = Desk(tmp_path, running.url)
    for _ in range(3):
        await desk.ask("known@ours.test")
        await desk.ask("unknown@ours.test")
    assert desk.verifier.asked == 2
    desk.clock.advance(3601)
    await desk.ask("known@ours.test")
    await desk.ask("unknown@ours.test")
    # callout.negative_ttl is an hour, positive_ttl a day.
    assert desk.verifier.asked == 3
    desk.clock.advance(86_400)
    await desk.ask("KNOWN@ours.test")
    assert desk.verifier.asked == 4
    await desk.verifier.close()


async def test_an_undetermined_answer_is_not_kept(host: HostFactory, tmp_path: Path) -> None:
    running = await host(directory)
    desk = Desk(tmp_path, running.url)
    await desk.ask("later@ours.test")
    await desk.ask("later@ours.test")
    assert desk.verifier.asked == 2
    await desk.verifier.close()


async def test_equal_questions_are_asked_once(host: HostFactory, tmp_path: Path) -> None:
    running = await host(directory)
    desk = Desk(tmp_path, running.url)
    answers = await asyncio.gather(*(desk.outcome("known@ours.test") for _ in range(20)))
    assert answers == ["exists"] * 20
    assert desk.verifier.asked == 1
    await desk.verifier.close()


async def test_a_next_hop_that_cannot_be_reached_is_undetermined_and_left_alone(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "smtp://127.0.0.1:1")
    assert await desk.outcome("known@ours.test") == "undetermined"
    assert await desk.outcome("other@ours.test") == "undetermined"
    assert desk.verifier.asked == 1
    desk.clock.advance(UNREACHABLE_SECONDS + 1)
    assert await desk.outcome("known@ours.test") == "undetermined"
    assert desk.verifier.asked == 2


async def test_the_second_host_is_asked_when_the_first_is_down(host: HostFactory, tmp_path: Path) -> None:
    running = await host(directory)
    desk = Desk(tmp_path, "smtp://127.0.0.1:1", running.url)
    assert await desk.outcome("known@ours.test") == "exists"
    await desk.verifier.close()


@pytest.mark.parametrize("when", ["greeting", "rcpt"])
async def test_silence_ends_in_time(host: HostFactory, tmp_path: Path, when: str) -> None:
    async def silent(peer: Peer) -> None:
        if when == "rcpt":
            await peer.greet()
        await peer.closed()

    running = await host(silent)
    desk = Desk(tmp_path, running.url, timeout="50ms")
    assert await desk.outcome("known@ours.test") == "undetermined"


async def test_a_closed_idle_connection_is_replaced(host: HostFactory, tmp_path: Path) -> None:
    async def once(peer: Peer) -> None:
        await peer.greet("250 next.test")
        for _ in range(3):
            await peer.hear()
            peer.say("250 ok")

    running = await host(once)
    desk = Desk(tmp_path, running.url)
    assert await desk.outcome("one@ours.test") == "exists"
    assert await desk.outcome("two@ours.test") == "exists"
    assert len(running.peers) == 2


async def test_a_refused_null_reverse_path_says_nothing_of_the_mailbox(host: HostFactory, tmp_path: Path) -> None:
    async def refusing(peer: Peer) -> None:
        await peer.greet()
        for _ in range(3):
            await peer.hear()
        peer.say("550 5.7.1 no null senders", "503 5.5.1 no", "250 ok")
        await peer.closed()

    running = await host(refusing)
    desk = Desk(tmp_path, running.url)
    assert await desk.outcome("known@ours.test") == "undetermined"
    await desk.verifier.close()


async def test_a_maildir_takes_every_mailbox(tmp_path: Path) -> None:
    assert await Desk(tmp_path, f"maildir:{tmp_path}/mail").outcome("anybody@ours.test") == "exists"


async def test_a_domain_that_takes_no_mail_has_no_mailboxes(tmp_path: Path) -> None:
    assert await Desk(tmp_path, "mx:", zone="ours.test MX 0 .").outcome("anybody@ours.test") == "unknown"


async def test_the_memory_is_bounded(host: HostFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.delivery.callout.MAX_ANSWERS", 2)
    running = await host(directory)
    desk = Desk(tmp_path, running.url)
    for name in ("a", "b", "c", "c", "b"):
        await desk.ask(f"{name}@ours.test")
    assert desk.verifier.asked == 3
    await desk.ask("a@ours.test")
    assert desk.verifier.asked == 4
    await desk.verifier.close()
