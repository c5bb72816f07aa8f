"""What breaks if these fail: a recipient's outcome is lost, mail is sent twice, a next hop is spoken to wrongly."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.delivery.client import SmtpConnection
from gateway.delivery.transfer import Channel, Failure, Transfer
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope
from gateway.mail.rendition import AS_RECEIVED, Edit, Rendition
from tests.delivery.conftest import (
    EHLO,
    MAIL,
    TRACE_ID,
    HostFactory,
    Peer,
    connect,
    connected,
    good,
    replies_of,
    result_of,
    sender,
    to,
    transfer,
)


async def test_the_envelope_goes_in_one_group_and_the_content_unchanged(host: HostFactory) -> None:
    seen = []

    async def play(peer: Peer) -> None:
        await peer.greet()
        # RFC 2920 §3.1: the whole group is there before anything is answered.
        seen.append(await peer.envelope("250 ok", "250 ok", "251 will forward", "354 go"))
        seen.append(await peer.hear_content())
        peer.say("250 2.0.0 queued as 1")

    running = await host(play)
    result = await result_of(await connected(running.target()), transfer("b@ours.test", "c@ours.test"))
    assert seen[0] == [
        f"MAIL FROM:<a@sender.test> SIZE={len(MAIL)}",
        "RCPT TO:<b@ours.test>",
        "RCPT TO:<c@ours.test>",
        "DATA",
    ]
    assert seen[1] == MAIL.replace(b"\r\n.dot", b"\r\n..dot") + b".\r\n"
    assert replies_of(result) == ["250 2.0.0 queued as 1"] * 2
    assert [outcome.phase for outcome in result.outcomes] == ["end-of-data"] * 2


async def test_without_pipelining_each_command_waits_for_its_reply(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet("250 next.test")
        for reply in ("250 ok", "250 ok", "550 5.1.1 no", "354 go"):
            line = await peer.hear()
            # Nothing may follow before the reply; one turn of the loop would have brought it.
            await asyncio.sleep(0)
            assert peer.reader._buffer == b"", f"sent behind {line}"  # type: ignore[attr-defined]
            peer.say(reply)
        await peer.hear_content()
        peer.say("250 ok")

    running = await host(play)
    result = await result_of(await connected(running.target()), transfer("b@ours.test", "c@ours.test"))
    assert replies_of(result) == ["250 ok", "550 5.1.1 no"]


async def test_without_pipelining_data_is_not_asked_for_when_nobody_is_left(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet("250 next.test")
        await peer.hear()
        peer.say("250 ok")
        await peer.hear()
        peer.say("550 5.1.1 no")
        assert await peer.hear() == "RSET"
        peer.say("250 ok")
        assert (await peer.hear()).startswith("MAIL")
        peer.say("550 5.7.1 go away")

    running = await host(play)
    connection = await connected(running.target())
    assert replies_of(await result_of(connection, transfer())) == ["550 5.1.1 no"]
    assert replies_of(await result_of(connection, transfer())) == ["550 5.7.1 go away"]


async def test_354_with_no_recipient_is_ended_with_a_lone_dot_and_counts_for_nobody(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.envelope("250 ok", "550 5.1.1 no", "354 go")
        # RFC 2920 §3.1.
        assert await peer.hear_content() == b".\r\n"
        peer.say("250 2.0.0 an empty message, thank you")
        await peer.take()

    running = await host(play)
    connection = await connected(running.target())
    first = await result_of(connection, transfer())
    assert replies_of(first) == ["550 5.1.1 no"]
    assert first.started is None
    assert replies_of(await result_of(connection, transfer())) == ["250 2.0.0 taken"]


async def test_a_refused_data_is_followed_by_rset(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.envelope("250 ok", "250 ok", "451 4.3.0 not now")
        assert await peer.hear() == "RSET"
        peer.say("250 ok")
        await peer.take()

    running = await host(play)
    connection = await connected(running.target())
    refused = await result_of(connection, transfer())
    assert [(o.phase, str(o.reply)) for o in refused.outcomes] == [("data", "451 4.3.0 not now")]
    assert replies_of(await result_of(connection, transfer())) == ["250 2.0.0 taken"]


async def test_a_refused_mail_refuses_every_recipient(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.envelope("550 5.7.1 not you", "503 5.5.1 no", "503 5.5.1 no", "503 5.5.1 no")

    running = await host(play)
    result = await result_of(await connected(running.target()), transfer("b@ours.test", "c@ours.test"))
    assert [(o.phase, str(o.reply)) for o in result.outcomes] == [("mail", "550 5.7.1 not you")] * 2


async def test_a_reply_lost_behind_the_final_dot_is_a_possible_duplicate(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.envelope("250 ok", "250 ok", "550 5.1.1 no", "354 go")
        await peer.hear_content()
        peer.cut()

    running = await host(play)
    result = await result_of(await connected(running.target()), transfer("b@ours.test", "c@ours.test"))
    lost, refused = result.outcomes
    assert lost.reply.is_transient
    assert lost.possible_duplicate
    # What was decided before stays decided.
    assert (str(refused.reply), refused.possible_duplicate) == ("550 5.1.1 no", False)
    assert not result.refused_by_host


async def test_a_connection_lost_before_the_content_is_no_duplicate_and_may_go_elsewhere(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.hear()
        peer.cut()

    running = await host(play)
    result = await result_of(await connected(running.target()), transfer())
    assert result.outcomes[0].reply.is_transient
    assert not result.outcomes[0].possible_duplicate
    assert result.refused_by_host
    assert not result.stale


async def test_a_connection_closed_while_idle_is_stale_not_a_failure(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.take()
        await peer.hear()
        peer.say("421 4.4.2 idle too long")

    running = await host(play)
    connection = await connected(running.target())
    await result_of(connection, transfer())
    result = await result_of(connection, transfer())
    assert result.stale
    assert not connection.is_usable


async def test_replies_split_at_any_octet_and_of_many_lines_are_understood(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.envelope()
        await peer.hear_content()
        for octet in b"250-2.0.0 first\r\n250-2.0.0 second\r\n250 2.0.0 third\r\n":
            peer.writer.write(bytes([octet]))
            await peer.writer.drain()
            await asyncio.sleep(0)

    running = await host(play)
    result = await result_of(await connected(running.target()), transfer())
    assert replies_of(result) == ["250 2.0.0 first\nsecond\nthird"]


async def test_an_unasked_reply_puts_the_connection_out_of_use(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.envelope()
        await peer.hear_content()
        peer.say("250 2.0.0 taken", "250 2.0.0 and another")

    running = await host(play)
    connection = await connected(running.target())
    assert replies_of(await result_of(connection, transfer())) == ["250 2.0.0 taken"]
    # The second 250 must never be read as the answer to the next message.
    assert not connection.is_usable


async def test_nonsense_is_a_protocol_error_and_the_mail_waits(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.hear()
        peer.say("hello, what do you want?")

    running = await host(play)
    result = await result_of(await connected(running.target()), transfer())
    assert result.outcomes[0].reply.is_transient


@pytest.mark.parametrize("yes", ["250 sure", "200 ok"])
async def test_a_success_to_data_is_neither_yes_nor_no(host: HostFactory, yes: str) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.envelope("250 ok", "250 ok", yes)

    running = await host(play)
    connection = await connected(running.target())
    result = await result_of(connection, transfer())
    assert result.outcomes[0].reply.is_transient
    assert not connection.is_usable


async def test_lmtp_answers_for_each_recipient(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 next.test LMTP")
        assert await peer.hear() == "LHLO mx.ours.test"
        peer.say(EHLO)
        await peer.envelope("250 ok", "250 ok", "550 5.1.1 no", "250 ok", "354 go")
        await peer.hear_content()
        # RFC 2033 §4.2: for the accepted ones only, in order.
        peer.say("250 2.0.0 in", "452 4.2.2 mailbox full")
        await peer.closed()

    running = await host(play)
    connection = await connected(running.target("lmtp"))
    result = await result_of(connection, transfer("b@ours.test", "c@ours.test", "d@ours.test"))
    assert replies_of(result) == ["250 2.0.0 in", "550 5.1.1 no", "452 4.2.2 mailbox full"]
    assert connection.final_delivery


async def test_lmtp_replies_that_stop_halfway_leave_the_rest_ambiguous(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 next.test LMTP")
        await peer.hear()
        peer.say(EHLO)
        await peer.envelope()
        await peer.hear_content()
        peer.say("250 2.0.0 in")

    running = await host(play)
    result = await result_of(await connected(running.target("lmtp")), transfer("b@ours.test", "c@ours.test"))
    assert [(o.reply.is_success, o.possible_duplicate) for o in result.outcomes] == [(True, False), (False, True)]


async def test_smtputf8_needed_and_not_offered_fails_for_good_without_a_command(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet("250-next.test\r\n250 PIPELINING")
        await peer.take()

    running = await host(play)
    connection = await connected(running.target())
    result = await result_of(connection, transfer("用户@ours.test", smtputf8=True))
    # RFC 6531 §3.5.
    assert str(result.outcomes[0].reply).startswith("553 5.6.7")
    # Declared without need, it goes as plain mail.
    assert (await result_of(connection, transfer(smtputf8=True))).outcomes[0].reply.is_success
    assert "SMTPUTF8" not in running.peers[0].heard[1]


async def test_a_non_ascii_header_needs_smtputf8_too(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet("250-next.test\r\n250 PIPELINING")
        await peer.closed()

    running = await host(play)
    utf8 = "Subject: héllo\r\n\r\nHi.\r\n".encode()
    result = await result_of(await connected(running.target()), transfer(octets=utf8, smtputf8=True))
    assert str(result.outcomes[0].reply).startswith("553 5.6.7")


async def test_extensions_are_used_as_offered(host: HostFactory) -> None:
    running = await host(good)
    what = Transfer(
        trace_id=TRACE_ID,
        envelope=Envelope(
            reverse_path=sender("ä@sender.test"), body="8BITMIME", smtputf8=True, ret="HDRS", envid="QQ+2B1"
        ),
        recipients=(
            to("b@ours.test", notify=frozenset({"SUCCESS", "FAILURE"}), orcpt="rfc822;b+2Bx@old.test"),
            to("ü@ours.test"),
        ),
        content=Content(MAIL),
        rendition=AS_RECEIVED,
    )
    result = await result_of(await connected(running.target()), what)
    assert running.peers[0].heard[1:4] == [
        f"MAIL FROM:<ä@sender.test> SIZE={len(MAIL)} BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B1",
        "RCPT TO:<b@ours.test> NOTIFY=FAILURE,SUCCESS ORCPT=rfc822;b+2Bx@old.test",
        "RCPT TO:<ü@ours.test>",
    ]
    assert result.passes_dsn_on


async def test_nothing_is_said_of_extensions_that_are_not_offered(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet("250-next.test\r\n250 PIPELINING")
        await peer.take()

    running = await host(play)
    what = Transfer(
        trace_id=TRACE_ID,
        envelope=Envelope(reverse_path=sender("a@sender.test"), body="8BITMIME", ret="FULL", envid="1"),
        recipients=(to("b@ours.test", notify=frozenset({"NEVER"})),),
        content=Content("Subject: x\r\n\r\né\r\n".encode()),
        rendition=AS_RECEIVED,
    )
    result = await result_of(await connected(running.target()), what)
    assert running.peers[0].heard[1:3] == ["MAIL FROM:<a@sender.test>", "RCPT TO:<b@ours.test>"]
    assert not result.passes_dsn_on


async def test_a_message_over_the_announced_size_is_not_sent(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet("250-next.test\r\n250-SIZE 50\r\n250 PIPELINING")
        assert await peer.closed() == b"QUIT\r\n"

    running = await host(play)
    connection = await connected(running.target())
    result = await result_of(connection, transfer())
    # RFC 1870 §6.3.
    assert str(result.outcomes[0].reply).startswith("552 5.3.4")
    connection.quit()


async def test_helo_where_ehlo_is_not_known(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 old.test")
        assert await peer.hear() == "EHLO mx.ours.test"
        peer.say("500 5.5.1 what?")
        assert await peer.hear() == "HELO mx.ours.test"
        peer.say("250 old.test")
        await peer.closed()

    running = await host(play)
    connection = await connected(running.target())
    assert not connection.extensions.pipelining


@pytest.mark.parametrize(
    ("greeting", "phase"), [("554 5.7.1 no mail here", "greeting"), ("421 4.3.2 later", "greeting")]
)
async def test_a_refused_greeting_is_a_failure(host: HostFactory, greeting: str, phase: str) -> None:
    async def play(peer: Peer) -> None:
        peer.say(greeting)
        await peer.closed()

    running = await host(play)
    failure = await connect(running.target())
    assert isinstance(failure, Failure)
    assert (failure.phase, str(failure.reply)) == (phase, greeting)


SILENT_AT = {
    "greeting": ("greeting_seconds", "the greeting"),
    "mail": ("command_seconds", "the reply to MAIL"),
    "data": ("data_start_seconds", "the reply to DATA"),
    "end-of-data": ("data_end_seconds", "the reply to the end of data"),
}


@pytest.mark.parametrize("phase", SILENT_AT)
async def test_silence_ends_each_phase_in_its_own_time(host: HostFactory, phase: str) -> None:
    async def play(peer: Peer) -> None:
        if phase != "greeting":
            await peer.greet()
        if phase == "data":
            await peer.envelope("250 ok", "250 ok")
        if phase == "end-of-data":
            await peer.envelope()
            await peer.hear_content()
        await peer.closed()

    running = await host(play)
    setting, words = SILENT_AT[phase]
    if phase == "greeting":
        refused = await connect(running.target(), **{setting: 0.05})
        assert isinstance(refused, Failure)
        assert words in str(refused.reply)
        return
    # The time of commands is that of EHLO too, which is answered when the machine gets to it.
    connection = await connect(running.target())
    assert not isinstance(connection, Failure)
    connection._settings = replace(connection._settings, **{setting: 0.05})
    outcome = (await result_of(connection, transfer())).outcomes[0]
    assert outcome.phase == phase
    assert str(outcome.reply).startswith("451 4.4.2 timed out")
    assert words in str(outcome.reply)
    # RFC 5321 §4.5.3.2.6: only behind the final dot may the mail have been taken.
    assert outcome.possible_duplicate is (phase == "end-of-data")


async def test_each_command_of_a_group_has_its_own_time(host: HostFactory) -> None:
    """A next hop that looks every recipient up for seconds would never get a mail to a hundred of them."""

    async def play(peer: Peer) -> None:
        await peer.greet("250-next.test\r\n250 PIPELINING")
        lines = []
        while not lines or lines[-1] != "DATA":
            lines.append(await peer.hear())
        for _ in lines[:-1]:
            await asyncio.sleep(0.4)
            peer.say("250 ok")
        peer.say("354 go")
        await peer.hear_content()
        peer.say("250 2.0.0 taken")
        await peer.closed()

    running = await host(play)
    connection = await connect(running.target())
    assert not isinstance(connection, Failure)
    connection._settings = replace(connection._settings, command_seconds=1.5)
    addresses = [f"r{number}@next.test" for number in range(5)]
    result = await result_of(connection, transfer(*addresses))
    assert [outcome.reply.code for outcome in result.outcomes] == [250] * 5


async def test_a_next_hop_that_reads_nothing_is_given_up(host: HostFactory, tmp_path: Path) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet("250-next.test\r\n250 PIPELINING")
        await peer.envelope()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    running = await host(play)
    path = tmp_path / "large"
    path.write_bytes(b"x" * 78 + b"\r\n" + (b"y" * 78 + b"\r\n") * 200_000)
    what = Transfer(
        trace_id=TRACE_ID,
        envelope=Envelope(),
        recipients=(to("b@ours.test"),),
        content=Content(path=path, size=path.stat().st_size),
        rendition=AS_RECEIVED,
    )
    result = await result_of(await connected(running.target(), data_block_seconds=0.2), what)
    assert "the content to be read" in str(result.outcomes[0].reply)
    assert not result.outcomes[0].possible_duplicate


async def test_a_large_content_streams_from_its_file_with_edits(host: HostFactory, tmp_path: Path) -> None:
    got = []

    async def play(peer: Peer) -> None:
        await peer.greet("250-next.test\r\n250 PIPELINING")
        await peer.envelope()
        octets = b""
        while not octets.endswith(b"\r\n.\r\n"):
            octets += await peer.reader.read(65536)
        got.append(octets)
        peer.say("250 2.0.0 taken")

    running = await host(play)
    lines = b".line that begins with a dot\r\n" * 100_000
    path = tmp_path / "large"
    path.write_bytes(b"Subject: x\r\n\r\n" + lines)
    what = Transfer(
        trace_id=TRACE_ID,
        envelope=Envelope(),
        recipients=(to("b@ours.test"),),
        content=Content(path=path, size=path.stat().st_size),
        rendition=Rendition.of([Edit(0, 0, b"Received: here\r\n")]),
    )
    result = await result_of(await connected(running.target()), what)
    assert replies_of(result) == ["250 2.0.0 taken"]
    stuffed = b"..line that begins with a dot\r\n" * 100_000
    assert got == [b"Received: here\r\nSubject: x\r\n\r\n" + stuffed + b".\r\n"]


async def test_a_refusal_in_the_middle_of_the_content_is_believed(host: HostFactory, tmp_path: Path) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet("250-next.test\r\n250 PIPELINING")
        await peer.envelope()
        await peer.reader.read(1000)
        peer.say("552 5.3.4 too much for me")
        await peer.closed()

    running = await host(play)
    path = tmp_path / "large"
    path.write_bytes(b"y\r\n" * 5_000_000)
    what = Transfer(
        trace_id=TRACE_ID,
        envelope=Envelope(),
        recipients=(to("b@ours.test"),),
        content=Content(path=path, size=path.stat().st_size),
        rendition=AS_RECEIVED,
    )
    result = await result_of(await connected(running.target()), what)
    assert replies_of(result) == ["552 5.3.4 too much for me"]


async def test_a_content_that_cannot_be_read_is_our_fault_and_never_ends_in_a_dot(
    host: HostFactory, tmp_path: Path
) -> None:
    sent: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def play(peer: Peer) -> None:
        await peer.greet("250-next.test\r\n250 PIPELINING")
        await peer.envelope()
        sent.set_result(await peer.closed())

    running = await host(play)
    what = Transfer(
        trace_id=TRACE_ID,
        envelope=Envelope(),
        recipients=(to("b@ours.test"),),
        content=Content(path=tmp_path / "gone", size=10),
        rendition=AS_RECEIVED,
    )
    result = await result_of(await connected(running.target()), what)
    assert result.outcomes[0].own_fault
    assert result.outcomes[0].reply.is_transient
    assert b"." not in await sent


async def test_the_instants_are_the_contracts(host: HostFactory) -> None:
    clock = FakeClock()

    async def play(peer: Peer) -> None:
        await peer.greet()
        lines = [await peer.hear() for _ in range(3)]
        assert lines[-1] == "DATA"
        clock.advance(10)
        peer.say("250 ok", "250 ok", "354 go")
        await peer.hear_content()
        clock.advance(5)
        peer.say("250 ok")

    running = await host(play)
    begun = clock.stamp()
    result = await result_of(await connected(running.target(), clock), transfer())
    assert result.begun == begun
    # contract.md §2: the first octet of content leaves after the 354, and its reply to our final dot ends the transfer.
    assert result.started is not None
    assert begun.until(result.started) == 10
    assert begun.until(result.outcomes[0].at) == 15


async def test_an_idle_connection_says_quit_when_its_time_is_over(host: HostFactory) -> None:
    farewell: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.take()
        farewell.set_result(await peer.hear())

    running = await host(play)
    connection = await connected(running.target(), idle_seconds=0.02)
    await result_of(connection, transfer())
    closed: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
    connection.release(closed.set_result)
    assert await closed is connection
    assert not connection.is_usable
    assert await farewell == "QUIT"


async def test_an_idle_connection_that_the_next_hop_closes_is_noticed(host: HostFactory) -> None:
    go = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.take()
        await go.wait()
        peer.say("421 4.4.2 bye")

    running = await host(play)
    connection = await connected(running.target())
    await result_of(connection, transfer())
    closed: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
    connection.release(closed.set_result)
    go.set()
    assert await closed is connection


async def test_a_connection_is_not_used_more_often_than_allowed(host: HostFactory) -> None:
    running = await host(good)
    connection = await connected(running.target(), reuse=2)
    await result_of(connection, transfer())
    assert connection.is_usable
    await result_of(connection, transfer())
    assert not connection.is_usable


async def test_the_limits_of_the_next_hop_hold(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet("250-next.test\r\n250-PIPELINING\r\n250 LIMITS MAILMAX=1 RCPTMAX=3")
        await peer.take()

    running = await host(play)
    connection: SmtpConnection = await connected(running.target())
    # RFC 9422 §4.
    assert connection.most_recipients == 3
    await result_of(connection, transfer())
    assert not connection.is_usable


async def test_a_connection_that_went_before_the_transfer_began_is_stale_at_once(host: HostFactory) -> None:
    running = await host(good)
    connection = await connected(running.target())
    await result_of(connection, transfer())
    running.peers[0].cut()
    while connection.is_usable:  # noqa: ASYNC110 - its end is what is waited for
        await asyncio.sleep(0.001)
    result = await result_of(connection, transfer())
    assert result.stale
    assert result.outcomes[0].reply.is_transient
