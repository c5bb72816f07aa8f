"""Asks as a customer's correspondents would, at our own doors by SMTP.

A probe of a door is a session: connect, greeting, EHLO, STARTTLS and EHLO again where it is offered, then for each
domain MAIL FROM:<>, RCPT TO:<postmaster@ that domain> (RFC 5321 §4.5.1: that mailbox is always there), RSET; QUIT at
the end. A probe message goes on: DATA, a message, the final dot, and tells the trace id under which it was taken. What
is found is a reason, "" for well: the words of the reply that was not hoped for, or of the error.
"""

import asyncio
import re
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

# A minute is what is judged; a door that takes this long for a reply serves nobody.
REPLY_SECONDS = 10.0
# RFC 5321 §4.5.3.1.5: 512 octets a reply line; an EHLO reply has some twenty.
_LIMIT_OCTETS = 16 * 1024
_MAX_LINES = 100
_WELL = ("2", "3")
_PERMANENT = "5"
# What the reply to a final dot names in brackets (gateway.mail.trace_id).
_TRACE_ID = re.compile(r"\[([0-9A-Z]{26})\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A listener to try: where, whether TLS is from the first octet, and what a proxy would say first ("" nothing)."""

    host: str
    port: int
    implicit_tls: bool = False
    preface: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of a probe message at a door: taken as ``trace_id``, or not, and why.

    ``judged``: it was refused for what it says, after the final dot; that tells of the filters, not of the door.
    """

    trace_id: str = ""
    reason: str = ""
    judged: bool = False


class _Session:
    """One SMTP client session, as small as a probe needs it; OSError and TimeoutError when it breaks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def reply(self, seconds: float = REPLY_SECONDS) -> str:
        """Return the last line of a reply."""
        async with asyncio.timeout(seconds):
            for _ in range(_MAX_LINES):
                line = (await self._reader.readline()).decode("ascii", "replace").rstrip()
                if not line:
                    raise ConnectionError("the connection was closed")
                # RFC 5321 §4.2.1: a hyphen behind the code says that more lines follow.
                if line[3:4] != "-":
                    return line
        raise ConnectionError("the reply does not end")

    async def ask(self, command: str) -> str:
        self._writer.write(f"{command}\r\n".encode("ascii"))
        await self._writer.drain()
        return await self.reply()

    async def content(self, octets: bytes, seconds: float) -> str:
        """Send a content that needs no stuffing, and its end; return the reply."""
        self._writer.write(octets + b".\r\n")
        async with asyncio.timeout(seconds):
            await self._writer.drain()
        return await self.reply(seconds)

    async def ehlo(self, name: str) -> tuple[str, bool]:
        """Return the last line and whether STARTTLS was among them."""
        self._writer.write(f"EHLO {name}\r\n".encode("ascii"))
        offered = False
        async with asyncio.timeout(REPLY_SECONDS):
            for _ in range(_MAX_LINES):
                line = (await self._reader.readline()).decode("ascii", "replace").rstrip()
                offered = offered or line[4:].upper() == "STARTTLS"
                if line[3:4] != "-":
                    break
        return line, offered

    async def start_tls(self) -> None:
        async with asyncio.timeout(REPLY_SECONDS):
            await self._writer.start_tls(_anybody())

    async def end(self) -> None:
        with suppress(OSError, TimeoutError, ssl.SSLError):
            await self.ask("QUIT")
        self._writer.close()
        with suppress(OSError, TimeoutError, ssl.SSLError):
            async with asyncio.timeout(REPLY_SECONDS):
                await self._writer.wait_closed()


async def probe_door(door: Door, name: str, domains: Sequence[str]) -> dict[str, str]:
    """Return for each domain why mail to it is not taken at a door, "" where it is; ``name`` is said in EHLO."""
    found: dict[str, str] = {}
    try:
        session = await _open(door)
        try:
            reason = await _greeted(session, door, name)
            for domain in domains:
                found[domain] = reason or await _taken(session, domain)
        finally:
            await session.end()
    except (OSError, TimeoutError, ValueError, ssl.SSLError) as error:
        return {domain: found.get(domain, _why(error)) for domain in domains}
    return found


async def probe_message(door: Door, name: str, recipient: str, octets: bytes, seconds: float) -> Sent:
    """Send a whole message through a door; the door has ``seconds`` to answer the final dot."""
    try:
        session = await _open(door)
        try:
            if reason := await _greeted(session, door, name) or await _begun(session, recipient):
                return Sent(reason=reason)
            reply = await session.content(octets, seconds)
        finally:
            await session.end()
    except (OSError, TimeoutError, ValueError, ssl.SSLError) as error:
        return Sent(reason=_why(error))
    found = _TRACE_ID.search(reply)
    if reply.startswith(_WELL) and found is not None:
        return Sent(trace_id=found[1])
    return Sent(reason=reply or "no reply", judged=reply.startswith(_PERMANENT))


async def _begun(session: _Session, recipient: str) -> str:
    for command in ("MAIL FROM:<>", f"RCPT TO:<{recipient}>", "DATA"):
        if reason := _unless(await session.ask(command), _WELL):
            return reason
    return ""


async def _open(door: Door) -> _Session:
    async with asyncio.timeout(REPLY_SECONDS):
        reader, writer = await asyncio.open_connection(
            door.host,
            door.port,
            limit=_LIMIT_OCTETS,
            ssl=_anybody() if door.implicit_tls and not door.preface else None,
        )
    session = _Session(reader, writer)
    if door.preface:
        writer.write(f"{door.preface}\r\n".encode("ascii"))
        if door.implicit_tls:
            await session.start_tls()
    return session


async def _greeted(session: _Session, door: Door, name: str) -> str:
    if reason := _unless(await session.reply(), _WELL):
        return reason
    line, offered = await session.ehlo(name)
    if reason := _unless(line, _WELL):
        return reason
    if offered and not door.implicit_tls:
        if reason := _unless(await session.ask("STARTTLS"), _WELL):
            return reason
        await session.start_tls()
        line, _ = await session.ehlo(name)
    return _unless(line, _WELL)


async def _taken(session: _Session, domain: str) -> str:
    for command in ("MAIL FROM:<>", f"RCPT TO:<postmaster@{domain}>"):
        if reason := _unless(await session.ask(command), _WELL):
            await session.ask("RSET")
            return reason
    return _unless(await session.ask("RSET"), _WELL)


def _unless(line: str, well: Sequence[str]) -> str:
    return "" if line.startswith(tuple(well)) else line or "no reply"


def _why(error: Exception) -> str:
    return "timed out" if isinstance(error, TimeoutError) else str(error) or type(error).__name__


def _anybody() -> ssl.SSLContext:
    # Our own door under whatever name: whether it speaks TLS is asked, not who it is.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
