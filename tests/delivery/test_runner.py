"""What breaks if these fail: mail is lost, sent twice or stuck between the spool and its next hop."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.admin.dropped import dropped_rows
from gateway.admin.queue import QueueDesk
from gateway.clock import FakeClock
from gateway.config.loader import load
from gateway.delivery import runner as runner_module
from gateway.journal.events import DeliveryAttempted, InternalError, NoticeQueued, StorageFailed
from gateway.mail.envelope import Envelope
from gateway.mail.rendition import Edit, Rendition
from gateway.mail.trace_id import new_trace_id
from gateway.spool.message import Origin, QueueQuery, RecipientState, SpoolMessage
from gateway.storage import StorageFull
from tests.delivery.conftest import MAIL, HostFactory, Office, Peer, good, message, sender, to

ROUTE = "smtp://127.0.0.1:{port}?tls=none"


def many(count: int, route: str, **given: Any) -> list[SpoolMessage]:
    ids = [new_trace_id(1_790_000_000 + n / 1000, lambda size: b"\0" * size) for n in range(count)]
    return [message(trace_id=trace_id, route=route, **given) for trace_id in ids]


async def test_fresh_mail_is_delivered_and_its_custody_ends(office: Any, host: HostFactory) -> None:
    running = await host(good)
    place: Office = await office([running.url])
    await place.post(message(route=running.url))
    await place.written()
    assert place.statuses() == [("b@ours.test", "sent")]
    assert await place.queued() == []


def taking(heard: list[str]) -> Callable[[Peer], Awaitable[None]]:
    """Return what a next hop does that takes a mail; its envelope's commands are in ``heard`` then."""

    async def play(peer: Peer) -> None:
        await peer.greet()
        heard.extend(await peer.envelope())
        await peer.hear_content()
        peer.say("250 2.0.0 taken")
        await peer.closed()

    return play


async def test_a_notice_in_the_place_of_a_mail_leaves_from_nobody(office: Any, host: HostFactory) -> None:
    """Else whoever the mail with the virus was forged to come from hears from the next hop of a notice to our user."""
    heard: list[str] = []
    running = await host(taking(heard))
    place: Office = await office([running.url])
    notice = Rendition.of([Edit(0, 0, b"Received: x\r\n"), Edit(0, len(MAIL), b"Subject: a virus\r\n\r\n...\r\n")])
    envelope = Envelope(reverse_path=sender("a@sender.test"), ret="FULL", envid="x")
    await place.post(message(route=running.url, hostile=True, renditions=(notice,), envelope=envelope))
    await place.written()
    assert heard[0].startswith("MAIL FROM:<>")
    assert "ENVID" not in heard[0]
    assert heard[1].startswith("RCPT TO:<b@ours.test>")


@pytest.mark.parametrize("octets", [MAIL, b""])
async def test_a_hostile_mail_that_leaves_as_it_came_keeps_its_sender(office: Any, host: HostFactory, octets: bytes):
    """One that its policy delivers, tagged, or that was released: it is no notice, an empty one neither."""
    heard: list[str] = []
    running = await host(taking(heard))
    place: Office = await office([running.url])
    fields = Rendition.of([Edit(0, 0, b"Received: x\r\n")])
    envelope = Envelope(reverse_path=sender("a@sender.test"))
    await place.post(message(route=running.url, hostile=True, renditions=(fields,), envelope=envelope, octets=octets))
    await place.written()
    assert heard[0].startswith("MAIL FROM:<a@sender.test>")


async def test_invariant_11_the_ledger_row_has_the_contracts_delays(office: Any, host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        place.clock.advance(2)
        await peer.envelope()
        await peer.hear_content()
        place.clock.advance(3)
        peer.say("250 2.0.0 taken")
        await peer.closed()

    running = await host(play)
    place: Office = await office([running.url])
    await place.post(message(route=running.url, received=place.clock.stamp()))
    await place.written()
    shard = next(iter(place.custody._shards.values()))
    rows = await shard.database.read(
        "SELECT send_delay_seconds, receive_delay_seconds, status, attempt_count, customer FROM ledger", ()
    )
    # contract.md §2: from the final dot to the first octet of content, and to the reply to our final dot.
    assert rows == [(2.0, 5.0, "delivered", 1, "ours")]


async def test_the_event_has_postfixs_delays(office: Any, host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        place.clock.advance(2)
        await peer.greet()
        await peer.envelope()
        await peer.hear_content()
        place.clock.advance(3)
        peer.say("250 2.0.0 taken")

    running = await host(play)
    place: Office = await office([running.url])
    await place.post(message(route=running.url, received=place.clock.stamp()))
    await place.written()
    [event] = [e for e in place.events.events if isinstance(e, DeliveryAttempted)]
    assert event.delays == (0.0, 0.0, 2.0, 3.0)
    assert event.delay_seconds == 5.0
    assert event.relay == f"127.0.0.1[127.0.0.1]:{running.port}"
    assert (event.phase, event.reply, event.attempt) == ("end-of-data", "250 2.0.0 taken", 1)


async def test_recipients_with_one_rendition_share_a_transaction(office: Any, host: HostFactory) -> None:
    running = await host(good)
    place: Office = await office([running.url])
    await place.post(message("b@ours.test", "c@ours.test", "d@ours.test", route=running.url))
    await place.written()
    assert [line for line in running.peers[0].heard if line.startswith("RCPT")] == [
        f"RCPT TO:<{name}@ours.test>" for name in "bcd"
    ]


async def test_a_hundred_and_more_recipients_go_in_several_transactions(office: Any, host: HostFactory) -> None:
    running = await host(good)
    place: Office = await office([running.url])
    await place.post(message(*(f"u{n}@ours.test" for n in range(250)), route=running.url))
    await place.written()
    assert len(place.statuses()) == 250
    assert all(status == "sent" for _, status in place.statuses())
    assert sum(line == "DATA" for peer in running.peers for line in peer.heard) == 3


async def test_rcptmax_splits_and_452_sends_the_rest_at_once(office: Any, host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet("250-next.test\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=3")
        while True:
            lines = []
            while not lines or lines[-1] != "DATA":
                lines.append(await peer.hear())
            assert len(lines) <= 5
            # It announces three and takes two (RFC 5321 §4.5.3.1.10).
            verdicts = ["250 ok", "250 ok", *["452 4.5.3 too many"] * (len(lines) - 4)]
            peer.say("250 ok", *verdicts[: len(lines) - 2], "354 go")
            await peer.hear_content()
            peer.say("250 2.0.0 taken")

    running = await host(play)
    place: Office = await office([running.url])
    await place.post(message(*(f"u{n}@ours.test" for n in range(7)), route=running.url))
    await place.written()
    assert sorted(place.statuses()) == [(f"u{n}@ours.test", "sent") for n in range(7)]


async def test_a_transient_refusal_waits_for_its_retry(office: Any, host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        if peer.number == 0:
            await peer.envelope("250 ok", "450 4.2.0 greylisted", "503 5.5.1 no")
            await peer.closed()
        await good_rest(peer)

    running = await host(play)
    place: Office = await office([running.url])
    stored = await place.post(message(route=running.url))
    await place.written()
    [waiting] = await place.queued()
    [copy] = waiting.recipients
    assert copy.state is RecipientState.QUEUED
    # queue.retry begins with a minute, give or take a tenth.
    assert 54 <= copy.due - place.clock.stamp().utc <= 66
    assert [(a.status, a.phase, a.reply) for a in copy.attempts] == [("deferred", "rcpt", "450 4.2.0 greylisted")]
    running.peers[0].cut()
    await place.pass_time(70)
    await place.until(lambda: len(place.statuses()) == 2)
    await place.written()
    assert place.statuses()[1] == (stored.recipients[0].recipient.path.wire, "sent")
    assert await place.queued() == []


async def good_rest(peer: Peer) -> None:
    while True:
        await peer.take()


async def test_a_permanent_refusal_is_returned_to_the_sender(office: Any, host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.envelope("250 ok", "550 5.1.1 user unknown", "503 5.5.1 no")
        assert await peer.hear() == "RSET"
        peer.say("250 ok")
        notices.append(await peer.take())

    notices: list[bytes] = []
    running = await host(play)
    # The sender is local too, so that the notice comes back over the same next hop.
    place: Office = await office([running.url])
    await place.post(message(route=running.url, reverse_path="boss@ours.test"))
    await place.until(lambda: len(place.statuses()) == 2)
    await place.written()
    assert place.statuses() == [("b@ours.test", "bounced"), ("boss@ours.test", "sent")]
    [queued] = [e for e in place.events.events if isinstance(e, NoticeQueued)]
    assert (queued.notice, queued.recipient, queued.about) == ("failed", "boss@ours.test", message().trace_id)
    assert "MAIL FROM:<>" in running.peers[0].heard[5]
    assert b"Status: 5.1.1\r\n" in notices[0]
    assert await place.queued() == []


async def test_a_failed_notice_is_not_answered_by_another(office: Any, host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.envelope("250 ok", "550 5.1.1 user unknown", "503 5.5.1 no")
        await peer.closed()

    running = await host(play)
    place: Office = await office([running.url])
    await place.post(
        message(route=running.url, reverse_path="", origin=Origin.NOTICE)
        if False
        else message(route=running.url, reverse_path="")
    )
    await place.written()
    assert place.statuses() == [("b@ours.test", "bounced")]
    assert not [e for e in place.events.events if isinstance(e, NoticeQueued)]
    assert await place.queued() == []


async def test_a_lost_reply_is_retried_and_counted_as_possible_duplicate(office: Any, host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        if peer.number == 0:
            await peer.envelope()
            await peer.hear_content()
            peer.cut()
            return
        await good_rest(peer)

    running = await host(play)
    place: Office = await office([running.url])
    await place.post(message(route=running.url))
    await place.written()
    [event] = [e for e in place.events.events if isinstance(e, DeliveryAttempted)]
    assert event.status == "deferred"
    assert event.possible_duplicate
    await place.pass_time(70)
    await place.until(lambda: ("b@ours.test", "sent") in place.statuses())
    await place.written()


async def test_a_connection_closed_while_idle_costs_no_attempt(office: Any, host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.take()
        if peer.number == 0:
            await peer.hear()
            peer.cut()
        await peer.closed()

    running = await host(play)
    place: Office = await office([running.url], main="[queue]\nper_next_hop = { start = 1, most = 1 }")
    first, second = many(2, running.url)
    await place.post(first)
    await place.written()
    await place.post(second)
    await place.written()
    assert [(e.status, e.attempt) for e in place.events.events if isinstance(e, DeliveryAttempted)] == [
        ("sent", 1),
        ("sent", 1),
    ]
    assert len(running.peers) == 2


@pytest.mark.parametrize("refusal", ["greeting", "ehlo", "mail", "lost"])
async def test_the_next_host_is_tried_within_the_same_attempt(office: Any, host: HostFactory, refusal: str) -> None:
    async def bad(peer: Peer) -> None:
        if refusal == "greeting":
            peer.say("554 5.3.2 no mail here")
            return
        peer.say("220 bad.test")
        await peer.hear()
        if refusal == "ehlo":
            peer.say("421 4.3.2 closing")
            return
        peer.say("250-bad.test\r\n250 PIPELINING")
        await peer.hear()
        if refusal == "mail":
            peer.say("421 4.3.2 too busy")

    first, second = await host(bad), await host(good)
    place: Office = await office([first.url, second.url])
    await place.post(message(route=f"{first.url} {second.url}"))
    await place.written()
    [event] = [e for e in place.events.events if isinstance(e, DeliveryAttempted)]
    assert (event.status, event.attempt) == ("sent", 1)
    assert event.relay.endswith(f":{second.port}")


async def test_a_host_that_failed_is_rested_so_that_others_do_not_wait_for_it(office: Any, host: HostFactory) -> None:
    async def bad(peer: Peer) -> None:
        peer.say("421 4.3.2 too busy")

    first, second = await host(bad), await host(good)
    place: Office = await office(
        [first.url, second.url], main="[queue]\nper_next_hop = { start = 1, most = 1 }\nreuse = 1"
    )
    for each in many(6, f"{first.url} {second.url}"):
        await place.post(each)
        await place.written()
    assert len(first.peers) == 1
    assert [status for _, status in place.statuses()] == ["sent"] * 6


async def test_a_dead_next_hop_is_left_alone_and_delays_nobody_else(office: Any, host: HostFactory) -> None:
    alive = await host(good)
    dead = "smtp://127.0.0.1:1?tls=none"
    place: Office = await office([dead])
    (place.snapshot.config.policies / "alive.toml").write_text(f'domains = ["alive.test"]\nnext_hop = "{alive.url}"\n')
    place.snapshot = load(place.snapshot.path, {})
    for number, each in enumerate(many(60, dead)):
        await place.post(each)
        if number % 10 == 0:
            ours = replace(
                each, trace_id=each.trace_id[:-2] + "ZZ", recipients=message("x@alive.test", route=alive.url).recipients
            )
            await place.post(ours)
    await place.written()
    events = [e for e in place.events.events if isinstance(e, DeliveryAttempted)]
    assert [e.status for e in events if e.recipient == "x@alive.test"] == ["sent"] * 6
    ours = [e for e in events if e.recipient == "b@ours.test"]
    assert [e.status for e in ours] == ["deferred"] * 60
    # A window's worth found out; the others were not tried.
    assert sum("suspended" not in e.reply for e in ours) <= 5
    assert all("refused" in e.reply.lower() for e in ours)
    waiting = await place.queued()
    assert min(m.recipients[0].due for m in waiting) >= place.clock.stamp().utc + 54


async def test_a_revived_next_hop_gets_its_mail(office: Any, host: HostFactory) -> None:
    up = asyncio.Event()

    async def play(peer: Peer) -> None:
        if not up.is_set():
            peer.say("421 4.3.2 down")
            return
        await good(peer)

    running = await host(play)
    place: Office = await office([running.url])
    for each in many(20, running.url):
        await place.post(each)
    await place.written()
    assert {status for _, status in place.statuses()} == {"deferred"}
    up.set()
    await place.pass_time(300)
    await place.until(lambda: sum(status == "sent" for _, status in place.statuses()) == 20)
    await place.written()
    assert await place.queued() == []


async def test_a_full_disk_delays_the_record_and_never_repeats_the_delivery(
    office: Any, host: HostFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await host(good)
    place: Office = await office([running.url])
    settle, full = place.custody.settle, [True]

    async def refusing(*given: Any, **named: Any) -> Any:
        if full[0]:
            raise StorageFull("no space left")
        return await settle(*given, **named)

    monkeypatch.setattr(place.custody, "settle", refusing)
    monkeypatch.setattr("gateway.delivery.settler.RETRY_SECONDS", (0.01,))
    await place.post(message(route=running.url))
    await place.until(lambda: len([e for e in place.events.events if isinstance(e, StorageFailed)]) >= 3)
    # The copy is still queued in the spool, and a look at it must not send it again.
    await place.pass_time(1000)
    await place.until(lambda: len([e for e in place.events.events if isinstance(e, StorageFailed)]) >= 6)
    assert place.runner.in_hand == 1
    full[0] = False
    await place.written()
    assert place.statuses() == [("b@ours.test", "sent")]
    assert await place.queued() == []


async def test_what_the_spool_holds_is_delivered_after_a_restart(office: Any, host: HostFactory) -> None:
    running = await host(good)
    place: Office = await office([running.url])
    for each in many(230, running.url):
        await place.custody.store(each)
    assert place.statuses() == []
    place.runner.wake()
    await place.until(lambda: len(place.statuses()) == 230)
    await place.written()
    assert await place.queued() == []
    # Each exactly once.
    assert len({e.trace_id for e in place.events.events if isinstance(e, DeliveryAttempted)}) == 230


async def test_mail_beyond_the_memory_bound_goes_through_the_spool(
    office: Any, host: HostFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "MAX_LANE_OCTETS", 3 * len(MAIL))
    running = await host(good)
    place: Office = await office([running.url])
    for each in many(100, running.url):
        await place.post(each)
    await place.until(lambda: len(place.statuses()) == 100)
    await place.written()
    assert len({e.trace_id for e in place.events.events if isinstance(e, DeliveryAttempted)}) == 100
    assert await place.queued() == []


async def test_a_corrected_next_hop_counts_for_mail_that_waits(office: Any, host: HostFactory) -> None:
    running = await host(good)
    wrong = "smtp://127.0.0.1:1?tls=none"
    place: Office = await office([wrong])
    await place.post(message(route=wrong))
    await place.written()
    (place.snapshot.config.policies / "ours.toml").write_text(f'domains = ["ours.test"]\nnext_hop = "{running.url}"\n')
    place.snapshot = load(place.snapshot.path, {})
    await place.pass_time(300)
    await place.until(lambda: ("b@ours.test", "sent") in place.statuses())
    await place.written()


async def test_drain_ends_what_runs_and_leaves_the_rest(office: Any, host: HostFactory) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.envelope()
        await peer.hear_content()
        started.set()
        await go.wait()
        peer.say("250 2.0.0 taken")
        await peer.closed()

    running = await host(play)
    place: Office = await office([running.url], main="[queue]\nper_next_hop = { start = 1, most = 1 }")
    first, second = many(2, running.url)
    await place.post(first)
    await place.post(second)
    await started.wait()
    draining = asyncio.create_task(place.runner.drain(10))
    await asyncio.sleep(0)
    go.set()
    await draining
    assert place.statuses() == [("b@ours.test", "sent")]
    [left] = await place.queued()
    assert left.trace_id == second.trace_id
    assert left.recipients[0].attempts == ()


async def test_drain_does_not_wait_for_ever(office: Any, host: HostFactory) -> None:
    started = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.hear()
        started.set()
        await peer.closed()
        await asyncio.Event().wait()

    running = await host(play)
    place: Office = await office([running.url])
    await place.post(message(route=running.url))
    await started.wait()
    await place.runner.drain(0.05)
    assert len(await place.queued()) == 1


async def test_expired_mail_is_given_up_and_returned(office: Any, host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        while True:
            lines = await peer.envelope("250 ok", "450 4.2.0 later", "503 5.5.1 no")
            assert lines
            assert await peer.hear() == "RSET"
            peer.say("250 ok")

    running = await host(play)
    place: Office = await office([running.url])
    old = message(
        route=running.url, received=FakeClock(1_790_000_000.0 - 6 * 86_400).stamp(), reverse_path="boss@ours.test"
    )
    await place.post(old)
    await place.until(lambda: len(place.statuses()) == 2)
    await place.written()
    assert place.statuses()[0] == ("b@ours.test", "expired")
    [notice] = await place.queued()
    assert notice.origin is Origin.NOTICE
    content = await place.custody.content(notice)
    assert b"Status: 4.4.7\r\n" in (content.octets or b"")


async def test_a_delay_is_told_once(office: Any, host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        while True:
            line = await peer.hear()
            peer.say("450 4.2.0 later" if line.startswith("RCPT") else "503 5.5.1 no" if line == "DATA" else "250 ok")

    running = await host(play)
    place: Office = await office([running.url])
    old = message(
        route=running.url, received=FakeClock(1_790_000_000.0 - 5 * 3600).stamp(), reverse_path="boss@ours.test"
    )
    await place.post(old)
    await place.until(lambda: len(place.statuses()) == 2)
    await place.written()
    await place.pass_time(5 * 3600)
    await place.until(lambda: len(place.statuses()) >= 4)
    await place.written()
    told = [e.notice for e in place.events.events if isinstance(e, NoticeQueued)]
    assert told == ["delayed"]


async def test_success_is_reported_when_asked_and_the_next_hop_will_not(office: Any, host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet("250-next.test\r\n250 PIPELINING")
        while True:
            taken.append(await peer.take())

    taken: list[bytes] = []
    running = await host(play)
    place: Office = await office([running.url])
    asking = to("b@ours.test", notify=frozenset({"SUCCESS"}))
    await place.post(message(asking, route=running.url, reverse_path="boss@ours.test"))
    await place.until(lambda: len(taken) == 2)
    await place.written()
    # RFC 3461 §5.2.2: relayed to a system without DSN.
    assert b"Action: relayed\r\n" in taken[1]


async def test_a_next_hop_with_dsn_takes_the_request_over(office: Any, host: HostFactory) -> None:
    running = await host(good)
    place: Office = await office([running.url])
    asking = to("b@ours.test", notify=frozenset({"SUCCESS"}))
    await place.post(message(asking, route=running.url, reverse_path="boss@ours.test"))
    await place.written()
    assert not [e for e in place.events.events if isinstance(e, NoticeQueued)]


async def test_a_domain_with_a_null_mx_is_refused_at_once(office: Any) -> None:
    place: Office = await office(["mx:"], zone="ours.test MX 0 .\n")
    await place.post(message("b@ours.test", "c@ours.test", route="mx:ours.test", reverse_path=""))
    await place.written()
    assert place.statuses() == [("b@ours.test", "bounced"), ("c@ours.test", "bounced")]
    events = [e for e in place.events.events if isinstance(e, DeliveryAttempted)]
    # RFC 7505 §4.1.
    assert events[0].reply.startswith("556 5.1.10")
    assert events[0].phase == "lookup"


async def test_dns_that_does_not_answer_defers(office: Any) -> None:
    place: Office = await office(["mx:"], zone="ours.test * !SERVFAIL\n")
    await place.post(message(route="mx:ours.test"))
    await place.written()
    assert place.statuses() == [("b@ours.test", "deferred")]


async def test_a_bug_in_settling_is_told_and_holds_up_nobody(
    office: Any, host: HostFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await host(good)
    place: Office = await office([running.url])
    real, broken = runner_module.decide, [True]

    def decide(*given: Any) -> Any:
        if broken.pop() if broken else False:
            raise ZeroDivisionError
        return real(*given)

    monkeypatch.setattr(runner_module, "decide", decide)
    first, second = many(2, running.url)
    await place.post(first)
    await place.until(lambda: any(isinstance(e, InternalError) for e in place.events.events))
    await place.post(second)
    await place.until(lambda: place.statuses() == [("b@ours.test", "sent")])
    # It was sent, and is not sent again while this process lives.
    await place.until(lambda: place.runner.in_hand == 1)
    await place.pass_time(1000)
    assert sum(line == "DATA" for peer in running.peers for line in peer.heard) == 2


async def test_a_flush_tries_a_dead_next_hop_at_once(office: Any, host: HostFactory) -> None:
    """Whoever has repaired a server and flushes the queue would else watch nothing happen for five minutes."""
    # Bound and not listening: connections are refused, and nobody else gets the port.
    door = socket.socket()
    door.bind(("127.0.0.1", 0))
    url = ROUTE.format(port=door.getsockname()[1])
    place: Office = await office([url], main="[queue]\nper_next_hop = { start = 1, most = 1 }")
    for one in many(3, url):
        await place.post(one)
    await place.written()
    assert {status for _, status in place.statuses()} == {"deferred"}
    revived = await host(good, sock=door)
    await place.custody.reschedule(QueueQuery(), place.clock.stamp().utc)
    place.runner.flush()
    await place.until(lambda: [status for _, status in place.statuses()].count("sent") == 3)
    await place.written()
    assert len(revived.peers) == 1


async def test_what_an_operator_holds_or_drops_is_not_sent_from_memory(office: Any, host: HostFactory) -> None:
    """Mail that waits for a slow next hop lies in memory; a held copy of it was sent all the same."""
    go = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.envelope()
        await peer.hear_content()
        await go.wait()
        peer.say("250 2.0.0 taken")
        while True:
            await peer.take()

    running = await host(play)
    place: Office = await office([running.url], main="[queue]\nper_next_hop = { start = 1, most = 1 }")
    first, held, dropped, last = many(4, running.url)
    for one in (first, held, dropped, last):
        await place.post(one)
    await place.until(lambda: bool(running.peers and running.peers[0].heard[-1:] == ["DATA"]))
    desk = QueueDesk(
        place.custody,
        clock=place.clock,
        events=place.events,
        records=dropped_rows(place.clock),
        recall=place.runner.recall,
    )
    assert await desk.handle("queue.hold", {"ids": [held.trace_id]}) == {"changed": 1}
    assert await desk.handle("queue.drop", {"ids": [dropped.trace_id]}) == {"changed": 1}
    go.set()
    await place.written()
    assert place.statuses() == [("b@ours.test", "sent")] * 2
    [left] = await place.queued()
    assert (left.trace_id, left.recipients[0].state) == (held.trace_id, RecipientState.HELD)


async def test_recipients_that_an_operator_left_alone_go_on(office: Any, host: HostFactory) -> None:
    go = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.envelope()
        await peer.hear_content()
        await go.wait()
        peer.say("250 2.0.0 taken")
        while True:
            await peer.take()

    running = await host(play)
    place: Office = await office([running.url], main="[queue]\nper_next_hop = { start = 1, most = 1 }")
    first, second = many(2, running.url)
    second = message("b@ours.test", "c@ours.test", trace_id=second.trace_id, route=running.url)
    for one in (first, second):
        await place.post(one)
    await place.until(lambda: bool(running.peers and running.peers[0].heard[-1:] == ["DATA"]))
    await place.custody.hold(QueueQuery(recipient="c@ours.test"))
    place.runner.recall({second.trace_id})
    go.set()
    await place.until(lambda: len(place.statuses()) == 2)
    await place.written()
    assert place.statuses() == [("b@ours.test", "sent")] * 2
    [left] = await place.queued()
    assert [copy.recipient.path.wire for copy in left.recipients] == ["c@ours.test"]
