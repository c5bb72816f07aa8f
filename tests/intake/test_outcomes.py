"""The final dot has one outcome: stored once and told once, or 4yz and nothing kept (invariants 1, 4, 7)."""

import asyncio
import re
from ipaddress import ip_address
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.intake.acceptance import judged
from gateway.journal.events import InternalError, MessageJudged, SessionClosed, StorageFailed, TransactionAborted
from gateway.mail.connection import Connection, Role
from gateway.mail.transaction import Transaction
from gateway.policy.verdict import Verdict
from gateway.smtp import replies
from gateway.storage import StorageFull, StorageUnavailable


async def test_250_only_after_the_message_is_durable(door) -> None:
    door.custody.opened = asyncio.Event()
    client = await door.connect()
    await client.greet()
    await client.begin()
    client.send(b"body\r\n.\r\nNOOP\r\n")
    await door.custody.entered.wait()
    reading = asyncio.get_running_loop().create_task(client.reply())
    done, _ = await asyncio.wait([reading], timeout=0.05)
    assert not done
    door.custody.opened.set()
    assert (await reading).startswith("250 2.0.0 [")
    assert (await client.reply()).startswith("250 ")


async def test_one_trace_id_from_session_to_reply(door) -> None:
    client = await door.connect()
    await client.greet()
    ids = [re.search(r"\[(\w{26})\]", await client.mail())[1] for _ in range(3)]
    await client.say("QUIT")
    await client.close()
    await door.idle()
    assert len(set(ids)) == 3
    assert (
        ids
        == [message.trace_id for message in door.custody.stored]
        == [event.trace_id for event in door.of(MessageJudged)]
    )
    # Most sessions bring one message: the first transaction has the session's own id.
    assert ids[0] == door.of(SessionClosed)[0].trace_id == door.of(MessageJudged)[2].session_id


async def test_judged_event_tells_the_message(door) -> None:
    client = await door.connect()
    await client.greet()
    await client.mail(b"Message-ID: <a@b>\r\nSubject: =?x?\x00\r\n\r\n")
    (event,) = door.of(MessageJudged)
    assert (event.message_id, event.reverse_path, event.client) == ("<a@b>", "sender@example.org", "127.0.0.1")
    assert event.dispositions == (("user@example.com", "accept", 0.0, "", ""),)
    assert event.durable_at >= event.received_at >= event.enveloped_at >= event.connected_at > 0


def test_judging_and_storing_are_told_apart() -> None:
    """``delay`` of the log and ``tidegate trace`` add the two: counted twice, every mail would look slower."""
    clock = FakeClock()
    connection = Connection(
        session_id="S",
        client_address=ip_address("192.0.2.1"),
        client_port=1,
        local_address="192.0.2.2",
        local_port=25,
        role=Role.MX,
        connected=clock.stamp(),
        hostname="mx.example.net",
    )
    received = clock.stamp()
    tx = Transaction(trace_id="T", connection=connection, enveloped=received, received=received)
    clock.advance(2)
    filtered = clock.stamp()
    clock.advance(0.5)
    event = judged(tx, Verdict(dispositions=(), reply=None), replies.ACCEPTED, filtered, clock.stamp())
    assert (event.filtered_seconds, event.durable_seconds) == (2.0, 0.5)


@pytest.mark.parametrize(
    ("fault", "code"), [(StorageFull("full"), "452 4.3.1"), (StorageUnavailable("locked"), "451 4.3.0")]
)
async def test_storage_that_fails_is_4yz(door, fault, code) -> None:
    door.custody.fault = fault
    client = await door.connect()
    await client.greet()
    assert (await client.mail()).startswith(f"{code} [")
    assert not door.handed_over
    assert [event.error for event in door.of(StorageFailed)] == [str(fault)]
    assert [event.reply[:9] for event in door.of(MessageJudged)] == [code]
    assert [event.reason for event in door.of(TransactionAborted)] == ["not stored"]
    door.custody.fault = None
    assert (await client.mail()).startswith("250 ")


async def test_bug_in_the_pipeline_is_451_and_the_session_goes_on(door) -> None:
    """aiosmtpd would answer ``500 Error: (ValueError) …`` and let CR LF in the text make reply lines."""
    client = await door.connect()
    await client.greet()
    await client.say("MAIL FROM:<sender@example.org>")
    door.gate.fault = ValueError("secret\r\n250 fine")
    assert await client.say("RCPT TO:<user@example.com>") == "451 4.3.0 local error, try again later"
    door.gate.fault = None
    assert (await client.say("RCPT TO:<user@example.com>")).startswith("250 ")
    await client.say("DATA")
    door.gate.fault = ValueError("secret\r\n250 fine")
    client.send(b".\r\n")
    answer = await client.reply()
    assert answer.startswith("451 4.3.0 [")
    assert "secret" not in answer
    assert len(door.of(InternalError)) == 2
    door.gate.fault = None
    assert (await client.mail()).startswith("250 ")
    assert len(door.custody.stored) == 1


async def test_bug_behind_the_commit_is_still_250(door, monkeypatch) -> None:
    """The message is in custody: refusing it now would deliver it twice."""
    monkeypatch.setattr(door.server._listener, "on_stored", lambda _message: 1 / 0)
    client = await door.connect()
    await client.greet()
    assert (await client.mail()).startswith("250 ")
    assert [event.where for event in door.of(InternalError)] == ["on-stored"]


async def test_bug_at_admission_is_421(open_door, monkeypatch) -> None:
    door = await open_door()

    async def admit(connection) -> None:
        raise KeyError(connection)

    monkeypatch.setattr(type(door.gate), "admit", lambda _self, connection: admit(connection))
    client = await door.connect()
    assert (await client.reply()).startswith("421 4.7.1")
    assert [event.where for event in door.of(InternalError)] == ["admit"]


async def test_reply_budget_is_451_and_nothing_is_stored(open_door, fake_clock) -> None:
    door = await open_door(clock=fake_clock)
    door.gate.opened = asyncio.Event()
    client = await door.connect()
    await client.greet()
    await client.begin()
    client.send(b"body\r\n.\r\n")
    await door.until(lambda: door.gate.transactions)
    door.pass_time(119)
    door.pass_time(2)
    assert (await client.reply()).startswith("451 4.3.0 [")
    assert not door.custody.stored
    assert [event.reason for event in door.of(TransactionAborted)] == ["data_reply_budget spent"]
    door.gate.opened = None
    assert (await client.mail()).startswith("250 ")
    assert len(door.custody.stored) == 1


# --- the client that leaves


async def leave_after_the_dot(door, how) -> None:
    door.custody.opened = asyncio.Event()
    client = await door.connect()
    await client.greet()
    await client.begin()
    client.send(b"body\r\n.\r\n")
    await door.custody.entered.wait()
    how(client)
    await asyncio.sleep(0.05)
    door.custody.opened.set()


@pytest.mark.parametrize("how", ["close", "abort", "half-close"])
async def test_client_that_leaves_after_the_dot_is_delivered_once(door, how) -> None:
    """aiosmtpd cancels its handler task when the client disconnects or half-closes, even while the commit runs."""
    ways = {
        "close": lambda client: client.writer.close(),
        "abort": lambda client: client.writer.transport.abort(),
        "half-close": lambda client: client.writer.write_eof(),
    }
    await leave_after_the_dot(door, ways[how])
    await door.until(lambda: door.of(SessionClosed))
    assert len(door.custody.stored) == len(door.handed_over) == len(door.of(MessageJudged)) == 1
    assert not door.of(TransactionAborted)
    if how == "half-close":
        assert (await door.clients[0].reply()).startswith("250 2.0.0 [")


async def test_client_that_leaves_while_filters_work_is_delivered_once(door) -> None:
    door.gate.opened = asyncio.Event()
    client = await door.connect()
    await client.greet()
    await client.begin()
    client.send(b"body\r\n.\r\n")
    await door.until(lambda: door.gate.transactions)
    client.writer.transport.abort()
    door.gate.opened.set()
    await door.until(lambda: door.of(SessionClosed))
    assert len(door.custody.stored) == len(door.handed_over) == 1


async def test_half_closed_batch_is_answered_to_its_end(door) -> None:
    client = await door.connect()
    await client.greet()
    await client.begin()
    client.send(b"body\r\n.\r\nNOOP\r\nQUIT\r\n")
    client.writer.write_eof()
    assert [(await client.reply())[:3] for _ in range(3)] == ["250", "250", "221"]
    assert len(door.custody.stored) == 1


CONTENT = b"Subject: x\r\n\r\n..a\r\nbody\r\n.\r\n"


@pytest.mark.parametrize("octets", range(len(CONTENT)))
@pytest.mark.parametrize("how", ["close", "write_eof"])
async def test_truncated_data_is_never_stored(door, octets, how) -> None:
    """A truncated or aborted content is never delivered, wherever it breaks off."""
    client = await door.connect()
    await client.greet()
    await client.begin()
    client.send(CONTENT[:octets])
    getattr(client.writer, how)()
    await door.until(lambda: door.of(SessionClosed))
    assert not door.gate.transactions
    assert not door.custody.stored
    assert [event.reason for event in door.of(TransactionAborted)] == ["disconnect"]


@pytest.mark.parametrize("octets", range(len(b"BDAT 6 LAST\r\nabcdef")))
async def test_truncated_bdat_is_never_stored(door, octets) -> None:
    client = await door.connect()
    await client.greet()
    await client.say("MAIL FROM:<sender@example.org>")
    await client.say("RCPT TO:<user@example.com>")
    client.send(b"BDAT 2\r\nab")
    await client.reply()
    client.send(b"BDAT 6 LAST\r\nabcdef"[:octets])
    client.writer.write_eof()
    await door.until(lambda: door.of(SessionClosed))
    assert not door.custody.stored
    assert [event.reason for event in door.of(TransactionAborted)] == ["disconnect"]


# --- large contents


async def test_large_content_goes_to_a_file_in_constant_memory(open_door) -> None:
    door = await open_door(smtp={"spill": 65_536})
    client = await door.connect()
    await client.greet()
    content = b"".join(b"line %07d\r\n..dotted\r\n" % n for n in range(200_000))
    await client.begin()
    most = 0
    for start in range(0, len(content), 50_000):
        client.send(content[start : start + 50_000])
        await client.writer.drain()
        most = max(most, door.counters.add_octets(0))
    client.send(b".\r\n")
    assert (await client.reply()).startswith("250 ")
    stored = door.custody.stored[0].content
    assert stored.path == door.custody.folder / door.custody.stored[0].trace_id
    assert b"".join(stored.chunks()) == content.replace(b"\r\n..", b"\r\n.")
    # One piece that is being written and one that comes, whatever the content's size.
    assert 0 < most < 1_200_000
    assert door.counters.add_octets(0) == 0


@pytest.mark.parametrize("why", ["refused", "truncated", "storage", "bare", "reset"])
async def test_spill_file_of_what_was_not_accepted_is_removed(open_door, why, tmp_path: Path) -> None:
    door = await open_door(smtp={"spill": 65_536})
    client = await door.connect()
    await client.greet()
    if why == "refused":
        door.gate.verdict_reply = replies.CONTENT_REJECT
    if why == "storage":
        door.custody.fault = StorageFull("full")
    if why == "reset":
        await client.say("MAIL FROM:<sender@example.org>")
        await client.say("RCPT TO:<user@example.com>")
        client.send(b"BDAT 300000\r\n" + b"x" * 300_000)
        assert (await client.reply()).startswith("250 ")
        await door.until(lambda: list(tmp_path.iterdir()))
        assert (await client.say("RSET")).startswith("250 ")
    else:
        await client.begin()
        client.send(b"x" * 300_000)
        await door.until(lambda: list(tmp_path.iterdir()))
        if why == "truncated":
            await client.close()
        else:
            client.send((b"\n" if why == "bare" else b"\r\n") + b"\r\n.\r\n")
            assert (await client.reply())[0] in "45"
    await door.until(lambda: not list(tmp_path.iterdir()))
    assert door.counters.add_octets(0) == 0


async def test_disk_that_fails_while_spilling_is_4yz(open_door, monkeypatch) -> None:
    door = await open_door(smtp={"spill": 65_536})
    monkeypatch.setattr(
        door.custody.__class__, "spill_path", lambda _self, trace_id: Path("/proc/no-such-folder") / trace_id
    )
    client = await door.connect()
    await client.greet()
    assert (await client.mail(b"x" * 300_000 + b"\r\n")).startswith("451 4.3.0 [")
    assert [event.operation for event in door.of(StorageFailed)] == ["spill"]
    assert (await client.mail()).startswith("250 ")


async def test_content_without_any_line_end_stays_within_bounds(open_door) -> None:
    door = await open_door(smtp={"spill": 65_536})
    client = await door.connect()
    await client.greet()
    await client.begin()
    most = 0
    for _ in range(200):
        client.send(b"x" * 50_000)
        await client.writer.drain()
        most = max(most, door.counters.add_octets(0))
    client.send(b"\r\n.\r\n")
    assert (await client.reply()).startswith("250 ")
    assert door.custody.stored[0].octets == 10_000_002
    assert most < 1_200_000


async def test_content_far_beyond_the_most_is_cut_off(open_door) -> None:
    """A refused content is read to its end, but one that has no end in sight is not waited for."""
    door = await open_door(config={"max_message": 65_536})
    client = await door.connect()
    await client.greet()
    await client.begin()
    client.send(b"x" * 1_000_000)
    assert (await client.reply()).startswith("552 5.3.4")
    assert await client.reply() == ""
    assert not door.custody.stored
