"""Every trap of aiosmtpd 1.4.6 that was reproduced before building on it, by name.

Each would be open again if our layer left it to aiosmtpd.
"""

import asyncio
import collections
import socket
import ssl

import aiosmtpd.smtp
import trustme

from gateway.intake.framing import DotFramer
from gateway.journal.events import InternalError, SessionClosed
from gateway.smtp import replies


async def test_trap_no_connect_hook(door) -> None:
    """The gate is asked before the banner, and may refuse."""
    door.gate.admission = replies.CONNECTION_REFUSED
    client = await door.connect()
    assert (await client.reply()).startswith("554 ")


async def test_trap_getfqdn_blocks_the_loop(open_door, monkeypatch) -> None:
    def blocks(*args) -> str:
        raise AssertionError("a host name was looked up")

    monkeypatch.setattr(socket, "getfqdn", blocks)
    door = await open_door()
    client = await door.connect()
    await client.greet()


async def test_trap_handler_task_is_cancelled_when_the_client_leaves(door) -> None:
    door.custody.opened = asyncio.Event()
    client = await door.connect()
    await client.greet()
    await client.begin()
    client.send(b".\r\n")
    await door.custody.entered.wait()
    (session,) = door.server._listener.sessions
    client.writer.transport.abort()
    await door.until(lambda: session._input.at_end)
    assert not session.task.done()
    door.custody.opened.set()
    await session.task
    assert len(door.custody.stored) == 1


async def test_trap_timeout_neither_refreshed_nor_stopped(open_door, fake_clock) -> None:
    door = await open_door(clock=fake_clock)
    client = await door.connect()
    await client.greet()
    await client.begin()
    await door.until(door.waiting)
    (session,) = door.server._listener.sessions
    door.pass_time(100)
    client.send(b"x" * 100_000)
    await door.until(lambda: session._deadline == fake_clock.monotonic() + 180)
    door.custody.opened = asyncio.Event()
    client.send(b"\r\n.\r\n")
    await door.custody.entered.wait()
    door.pass_time(100_000)
    door.custody.opened.set()
    assert (await client.reply()).startswith("250 ")


async def test_trap_exception_text_reaches_the_client(door) -> None:
    client = await door.connect()
    await client.greet()
    await client.say("MAIL FROM:<sender@example.org>")
    door.gate.fault = RuntimeError("secret\r\n250 injected")
    assert await client.say("RCPT TO:<user@example.com>") == str(replies.INTERNAL_ERROR)
    assert (await client.say("NOOP")).startswith("250 ")
    assert "secret" in door.of(InternalError)[0].error


async def test_trap_data_is_read_a_line_at_a_time(door, monkeypatch) -> None:
    """A line at a time, 10 MB of short lines cost 160,000 turns; in bulk it is one for each piece that arrives."""
    turns = 0
    feed = DotFramer.feed

    def counted(self, chunk: bytes) -> bytes:
        nonlocal turns
        turns += 1
        return feed(self, chunk)

    monkeypatch.setattr(DotFramer, "feed", counted)
    client = await door.connect()
    await client.greet()
    content = b"a short line of some sixty octets, as in most of the mail\r\n" * 100_000
    assert (await client.mail(content)).startswith("250 ")
    assert turns < 2000
    assert b"".join(door.custody.stored[0].content.chunks()) == content


async def test_trap_lines_over_1001_octets_are_refused(door) -> None:
    client = await door.connect()
    await client.greet()
    assert (await client.mail(b"x" * 100_000 + b"\r\n")).startswith("250 ")


async def test_trap_bare_newlines_stay_in_content_and_commands(door) -> None:
    client = await door.connect()
    await client.greet()
    assert (await client.mail(b"a\n.\nb\r\n")).startswith("550 5.5.2")
    assert (await client.mail(b"a\r.\rb\r\n")).startswith("550 5.5.2")
    assert (await client.say(b"NOOP\rNOOP")).startswith("500 5.5.2")
    client.send(b"NOOP\n")
    assert (await client.reply()).startswith("500 5.5.2")


async def test_trap_starttls_takes_buffered_clear_text_and_then_offers_auth(open_door, tmp_path) -> None:
    certificate = trustme.CA().issue_cert("mx.example.net")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    (tmp_path / "chain.pem").write_bytes(certificate.cert_chain_pems[0].bytes())
    door = await open_door(listen={"tls": {"certificate": tmp_path / "chain.pem", "key": tmp_path / "key.pem"}})
    injected = await door.connect()
    await injected.greet()
    injected.send(b"STARTTLS\r\nNOOP\r\n")
    assert (await injected.reply()).startswith("554 ")
    client = await door.connect()
    await client.greet()
    await client.say("STARTTLS")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    await client.writer.start_tls(context)
    assert "AUTH" not in await client.say("EHLO client.example")
    assert (await client.say("AUTH PLAIN AGEAYg==")).startswith("502 ")


async def test_trap_command_size_limits_are_shared_by_all_connections(door) -> None:
    before = collections.Counter(aiosmtpd.smtp.SMTP.command_size_limits)
    for _ in range(3):
        client = await door.connect()
        await client.greet()
        await client.say("EHLO again.example")
    assert collections.Counter(aiosmtpd.smtp.SMTP.command_size_limits) == before
    fresh = await door.connect()
    await fresh.greet("HELO client.example")
    assert (await fresh.say("NOOP " + "x" * 1500)).startswith("250 ")


async def test_trap_parameters_are_upper_cased(door) -> None:
    client = await door.connect()
    await client.greet()
    await client.say("MAIL FROM:<sender@example.org> ENVID=MixedCase+2B")
    await client.say("RCPT TO:<user@example.com> ORCPT=rfc822;Mixed@Example.com")
    await client.say("DATA")
    client.send(b".\r\n")
    await client.reply()
    (message,) = door.custody.stored
    assert message.envelope.envid == "MixedCase+2B"
    assert message.recipients[0].recipient.orcpt == "rfc822;Mixed@Example.com"


async def test_trap_address_parser_accepts_nul_and_raises_on_hostile_paths(door) -> None:
    client = await door.connect()
    await client.greet()
    for path in (b"<a\0b@c.example>", b"<", b"<>>", b'<">', b"<@>", b"<[>", b"<(@b>", b"<a@b", b"<a@[", b"<\\"):
        assert (await client.say(b"MAIL FROM:" + path)).startswith("50"), path
    assert not door.of(InternalError)


async def test_trap_null_reverse_path_is_a_string(door) -> None:
    client = await door.connect()
    await client.greet()
    await client.say("MAIL FROM:<>")
    await client.say("RCPT TO:<user@example.com>")
    assert door.gate.asked[0][1].reverse_path.is_null
    assert door.gate.asked[0][1].reverse_path.wire == ""


async def test_trap_extensions_are_not_announced(door) -> None:
    client = await door.connect()
    await client.reply()
    offered = {line[4:].split(" ")[0] for line in (await client.say("EHLO client.example")).split("\n")}
    assert {"PIPELINING", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN"} <= offered


async def test_trap_bdat_is_unknown_and_its_chunk_is_read_as_commands(door) -> None:
    client = await door.connect()
    await client.greet()
    client.send(b"BDAT 6\r\nQUIT\r\n")
    assert (await client.reply()).startswith("503 ")
    assert (await client.say("NOOP")).startswith("250 ")


async def test_trap_proxy_unknown_has_no_source_and_peer_is_the_proxy(open_door) -> None:
    door = await open_door(listen={"proxy_protocol_from": ("127.0.0.0/8",)})
    unknown, named = await door.connect(), await door.connect()
    unknown.send(b"PROXY UNKNOWN\r\n")
    await unknown.greet()
    assert str(door.gate.connections[0].client_address) == "127.0.0.1"
    named.send(b"PROXY TCP4 192.0.2.7 192.0.2.8 1 25\r\n")
    await named.greet()
    await named.say("QUIT")
    await named.close()
    await door.until(lambda: door.of(SessionClosed))
    assert door.of(SessionClosed)[0].client == "192.0.2.7"


async def test_trap_non_ascii_replies_raise(door) -> None:
    door.gate.refused = {"user@example.com": replies.USER_UNKNOWN.saying("用户 unknown\r\n250 injected")}
    client = await door.connect()
    await client.greet()
    await client.say("MAIL FROM:<sender@example.org>")
    answer = await client.say("RCPT TO:<user@example.com>")
    # The helper has checked that every line is ASCII; the LF made a second line of the same reply, not a reply of its
    # own.
    assert all(line.startswith("550") for line in answer.split("\n"))
    assert (await client.say("NOOP")).startswith("250 ")
