"""Timeouts, minimum rates, draining, reload: what happens while a session waits (RFC 5321 §4.5.3.2, §3.8)."""

import asyncio
import gc
import socket
import weakref

import pytest

from gateway.config.models import Smtp
from gateway.intake.fakes import FakeSnapshot
from gateway.journal.events import SessionClosed, SessionRefused, TransactionAborted


async def test_command_timeout_is_421(open_door, fake_clock) -> None:
    door = await open_door(clock=fake_clock)
    client = await door.connect()
    await client.greet()
    door.pass_time(299)
    assert (await client.say("NOOP")).startswith("250 ")
    door.pass_time(299)
    assert (await client.say("NOOP")).startswith("250 ")
    door.pass_time(301)
    assert (await client.reply()).startswith("421 4.4.2")
    assert await client.reply() == ""
    await door.until(lambda: door.of(SessionClosed))
    assert door.of(SessionClosed)[0].end == "timeout"


async def test_a_command_line_has_its_time_as_a_whole(open_door, fake_clock) -> None:
    """An octet before each timeout would hold a place of `limits.connections` for a week."""
    door = await open_door(clock=fake_clock)
    client = await door.connect()
    await client.greet()
    (session,) = door.server._listener.sessions
    for number, octet in enumerate((b"N", b"O")):
        client.send(octet)
        await door.until(lambda number=number: door.waiting() and session._input.buffered == number + 1)
        door.pass_time(140)
    client.send(b"O")
    await door.until(lambda: door.waiting() and session._input.buffered == 3)
    door.pass_time(30)
    assert (await client.reply()).startswith("421 4.4.2")


async def test_the_next_command_line_has_its_own_time(open_door, fake_clock) -> None:
    door = await open_door(clock=fake_clock)
    client = await door.connect()
    await client.greet()
    (session,) = door.server._listener.sessions
    for _ in range(3):
        client.send(b"NO")
        await door.until(lambda: door.waiting() and session._input.buffered == 2)
        door.pass_time(200)
        assert (await client.say("OP")).startswith("250 ")


async def test_timeout_is_refreshed_by_every_block_of_data(open_door, fake_clock) -> None:
    """aiosmtpd starts one timer at DATA: a slow but honest transfer would be cut."""
    door = await open_door(clock=fake_clock, smtp={"min_rate": 0})
    client = await door.connect()
    await client.greet()
    await client.begin()
    for number in range(10):
        client.send(b"x" * 10 + b"\r\n")
        await door.until(lambda number=number: door.waiting() and pace(door)._octets == (number + 1) * 12)
        door.pass_time(170)
    client.send(b".\r\n")
    assert (await client.reply()).startswith("250 ")


def pace(door):
    (session,) = door.server._listener.sessions
    return session._pace


async def test_block_timeout_within_data(open_door, fake_clock) -> None:
    door = await open_door(clock=fake_clock)
    client = await door.connect()
    await client.greet()
    await client.begin()
    await door.until(door.waiting)
    door.pass_time(181)
    assert (await client.reply()).startswith("421 4.4.2")
    await door.until(lambda: door.of(SessionClosed))
    assert [event.reason for event in door.of(TransactionAborted)] == ["timeout"]
    assert not door.custody.stored


async def test_minimum_rate(open_door, fake_clock) -> None:
    """A client that sends an octet now and then never reaches a block timeout; the average ends it."""
    door = await open_door(clock=fake_clock)
    client = await door.connect()
    await client.greet()
    await client.begin()
    for number in range(2):
        client.send(b"x")
        await door.until(lambda number=number: door.waiting() and pace(door) and pace(door)._octets == number + 1)
        door.pass_time(100)
    assert (await client.reply()).startswith("421 4.4.2")
    await door.until(lambda: door.of(SessionClosed))
    assert door.of(SessionClosed)[0].end == "too-slow"


async def test_timer_stands_still_while_we_work(open_door, fake_clock) -> None:
    """aiosmtpd's timeout goes on while filters run and closes under them."""
    door = await open_door(clock=fake_clock, smtp={"data_reply_budget": 10_000.0})
    door.custody.opened = asyncio.Event()
    client = await door.connect()
    await client.greet()
    await client.begin()
    client.send(b"body\r\n.\r\n")
    await door.custody.entered.wait()
    door.pass_time(5000)
    door.custody.opened.set()
    assert (await client.reply()).startswith("250 ")


async def test_reading_pauses_while_nobody_wants_more(open_door) -> None:
    """A client that sends on while the filters work does not fill our memory."""
    door = await open_door()
    door.gate.opened = asyncio.Event()
    client = await door.connect()
    await client.greet()
    await client.begin()
    client.send(b"body\r\n.\r\n")
    await door.until(lambda: door.gate.transactions)
    flood = b"NOOP\r\n" * 200_000
    pouring = asyncio.get_running_loop().create_task(pour(client, flood))
    (session,) = door.server._listener.sessions
    await door.until(lambda: session._reading_paused)
    assert session._input.buffered < 700_000
    pouring.cancel()
    await asyncio.gather(pouring, return_exceptions=True)
    door.gate.opened.set()
    assert (await client.reply()).startswith("250 ")
    assert (await client.reply()).startswith("250 ")


async def pour(client, octets: bytes) -> None:
    for start in range(0, len(octets), 60_000):
        client.send(octets[start : start + 60_000])
        await client.writer.drain()


@pytest.mark.parametrize("last", [b"QUIT\r\n", b"GET / HTTP/1.1\r\n"])
async def test_client_that_neither_reads_nor_leaves_is_gone_after_a_while(open_door, fake_clock, last) -> None:
    door = await open_door(clock=fake_clock)
    with socket.create_connection(door.address) as client:
        client.sendall(last)
        await door.until(lambda: door.of(SessionClosed))
        door.pass_time(6)
        await door.idle()


# --- early talkers


async def test_early_talker_is_a_fact(open_door) -> None:
    door = await open_door(smtp={"greet_delay": 0.2})
    early, patient = await door.connect(), await door.connect()
    early.send(b"EHLO client.example\r\n")
    for client in (early, patient):
        assert (await client.reply()).startswith("220 ")
    assert (await early.reply()).startswith("250")
    assert (await patient.say("EHLO client.example")).startswith("250")
    for client in (early, patient):
        assert (await client.mail()).startswith("250 ")
    assert [tx.connection.early_talker for tx in door.gate.transactions] == [True, False]
    assert sorted(connection.early_talker for connection in door.gate.connections) == [False, True]


async def test_early_talker_without_a_delay_is_seen_in_the_kernel(open_door) -> None:
    """Without greet_delay nothing is read before the banner, so it is the kernel that has what came too early."""
    door = await open_door()
    # A blocking client: its octets are here before the loop runs again and accepts.
    with socket.create_connection(door.address) as early:
        early.sendall(b"EHLO client.example\r\n")
        await door.until(lambda: door.gate.connections)
        assert door.gate.connections[0].early_talker
    with socket.create_connection(door.address):
        await door.until(lambda: len(door.gate.connections) == 2)
        assert not door.gate.connections[1].early_talker


# --- draining


async def test_drain_says_421_to_idle_sessions_and_refuses_new_ones(door) -> None:
    idle = await door.connect()
    await idle.greet()
    await door.server.drain(5)
    assert (await idle.reply()).startswith("421 4.3.2")
    assert await idle.reply() == ""
    with pytest.raises(OSError, match=r"."):
        await door.connect()
    assert [event.end for event in door.of(SessionClosed)] == ["shutdown"]


async def drained(door, client, seconds: float) -> str:
    """Drain while a client has something open; return what it is told."""
    draining = asyncio.get_running_loop().create_task(door.server.drain(seconds))
    told = await client.reply()
    await client.close()
    await draining
    return told


async def test_drain_lets_running_transactions_finish(door) -> None:
    client = await door.connect()
    await client.greet()
    await client.begin()
    draining = asyncio.get_running_loop().create_task(door.server.drain(30))
    await door.until(lambda: door.server._listener.draining)
    client.send(b"body\r\n")
    await asyncio.sleep(0.02)
    assert not draining.done()
    client.send(b".\r\n")
    assert (await client.reply()).startswith("250 2.0.0 [")
    assert (await client.reply()).startswith("421 4.3.2")
    await draining
    assert len(door.custody.stored) == 1


async def test_drain_cuts_what_has_not_finished_in_time(door) -> None:
    client = await door.connect()
    await client.greet()
    await client.begin()
    assert (await drained(door, client, 0.05)).startswith("421 4.3.2")
    assert not door.custody.stored
    assert [event.reason for event in door.of(TransactionAborted)] == ["shutdown"]


async def test_drain_never_cuts_a_commit(door) -> None:
    door.custody.opened = asyncio.Event()
    client = await door.connect()
    await client.greet()
    await client.begin()
    client.send(b"body\r\n.\r\n")
    await door.custody.entered.wait()
    draining = asyncio.get_running_loop().create_task(door.server.drain(0.01))
    await asyncio.sleep(0.05)
    assert not draining.done()
    door.custody.opened.set()
    assert (await client.reply()).startswith("250 2.0.0 [")
    await client.close()
    await draining
    assert len(door.handed_over) == 1


async def test_drain_stops_judging_when_time_is_up(door) -> None:
    door.gate.opened = asyncio.Event()
    client = await door.connect()
    await client.greet()
    await client.begin()
    client.send(b"body\r\n.\r\n")
    await door.until(lambda: door.gate.transactions)
    assert (await drained(door, client, 0.01)).startswith("421 4.3.2")
    assert not door.custody.stored
    assert [event.reason for event in door.of(TransactionAborted)] == ["shutdown"]


async def test_client_that_comes_while_draining_is_told(open_door) -> None:
    door = await open_door()
    door.server._listener.draining = True
    client = await door.connect()
    assert (await client.reply()).startswith("421 4.3.2")
    await door.until(lambda: door.of(SessionRefused))


# --- reload


async def test_running_transaction_keeps_its_snapshot(open_door) -> None:
    """A reload holds from the next transaction on; nothing is dropped."""
    door = await open_door()
    client = await door.connect()
    await client.greet()
    await client.begin()
    old = door.gate.snapshot.config
    door.gate.snapshot = FakeSnapshot(old.model_copy(update={"smtp": Smtp(bare_newline="normalise")}))
    client.send(b"a\nb\r\n.\r\n")
    assert (await client.reply()).startswith("550 5.5.2")
    assert (await client.mail(b"a\nb\r\n")).startswith("250 ")
    assert door.custody.stored[0].content.octets == b"a\r\nb\r\n"


# --- memory


async def test_session_leaves_no_cycles_behind(door) -> None:
    """At a thousand sessions a second the garbage collector would cost more than the sessions' own objects."""
    gc.disable()
    try:
        client = await door.connect()
        await client.greet()
        await client.mail()
        (session,) = door.server._listener.sessions
        remembered = weakref.ref(session)
        del session
        await client.say("QUIT")
        await client.close()
        await door.idle()
        await door.until(lambda: remembered() is None)
    finally:
        gc.enable()


async def test_pipelined_flood_leaves_turns_to_others(door) -> None:
    """A quarter of a megabyte of commands comes in one read; the other sessions must not wait for its end."""
    client, other = await door.connect(limit=2**24), await door.connect()
    await client.greet()
    await other.greet()
    await client.say("MAIL FROM:<sender@example.org>")
    client.send(b"RCPT TO:<user@example.com>\r\n" * 9000)
    await door.until(lambda: len(door.gate.asked) > 50)
    assert (await other.say("NOOP")).startswith("250 ")
    assert len(door.gate.asked) < 9000


async def test_drain_cuts_what_waits_for_a_filter_at_rcpt(door, monkeypatch) -> None:
    """A callout may take half a minute; a worker that is told to stop does not wait for it."""
    asked = asyncio.Event()

    async def never(*_) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(type(door.gate), "judge_recipient", never)
    client = await door.connect()
    await client.greet()
    await client.say("MAIL FROM:<sender@example.org>")
    client.send(b"RCPT TO:<user@example.com>\r\n")
    await asked.wait()
    assert (await drained(door, client, 0.01)).startswith("421 4.3.2")
