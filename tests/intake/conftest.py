"""A door to knock at: one listener on loopback with data-shaped rooms behind it, on both event loops."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop

from gateway.clock import Clock, FakeClock, SystemClock
from gateway.config.models import GatewayConfig, Limits, Listen, Smtp
from gateway.intake.fakes import FakeCustody, FakeGate, FakeSnapshot
from gateway.intake.guard import DoorGuard, LocalCounters
from gateway.intake.server import IntakeServer
from gateway.journal.events import Event
from gateway.journal.sinks import Recorded
from gateway.spool.message import SpoolMessage

HOSTNAME = "mx.example.net"


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item):
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@dataclass
class Client:
    """One connection, as a client that can misbehave."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    _replies: list[str] = field(default_factory=list)

    def send(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def reply(self) -> str:
        """The next reply, its lines joined by LF; "" when the connection is closed."""
        lines = []
        while True:
            line = await self.reader.readline()
            if not line:
                return ""
            assert line.endswith(b"\r\n"), line
            assert line.isascii(), line
            lines.append(line[:-2].decode("ascii"))
            if line[3:4] != b"-":
                return "\n".join(lines)

    async def say(self, line: str | bytes) -> str:
        """Send one command and return its reply."""
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return await self.reply()

    async def greet(self, hello: str = "EHLO client.example") -> None:
        assert (await self.reply()).startswith("220 ")
        assert (await self.say(hello)).startswith("250")

    async def begin(self, recipient: str = "user@example.com") -> None:
        """Open a transaction up to 354."""
        assert (await self.say("MAIL FROM:<sender@example.org>")).startswith("250 2.1.0")
        assert (await self.say(f"RCPT TO:<{recipient}>")).startswith("250 2.1.5")
        assert (await self.say("DATA")).startswith("354")

    async def mail(self, content: bytes = b"Subject: test\r\n\r\nbody\r\n") -> str:
        await self.begin()
        self.send(content + b".\r\n")
        return await self.reply()

    async def close(self) -> None:
        self.writer.close()
        # The other side may have reset the connection; it is gone either way.
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


@dataclass
class Door:
    """A listening server and everything behind it."""

    server: IntakeServer
    address: tuple[str, int]
    config: GatewayConfig
    gate: FakeGate
    custody: FakeCustody
    events: Recorded
    handed_over: list[SpoolMessage]
    clock: Clock
    guard: DoorGuard
    counters: LocalCounters
    clients: list[Client] = field(default_factory=list)

    async def connect(self, **options) -> Client:
        client = Client(*await asyncio.open_connection(*self.address, **options))
        self.clients.append(client)
        return client

    def of(self, kind: type[Event]) -> list:
        return [event for event in self.events.events if type(event) is kind]

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until ``holds()``; it is an error when that takes half a minute."""
        async with asyncio.timeout(30):
            while not holds():  # noqa: ASYNC110 - what is waited for has no event: it is the state of a whole server
                await asyncio.sleep(0.001)

    async def idle(self) -> None:
        """Wait until no session is left."""
        await self.until(lambda: self.server.sessions == 0)

    def waiting(self) -> bool:
        """Whether there are sessions and each waits for its client."""
        sessions = self.server._listener.sessions
        return bool(sessions) and all(session._input.waiting for session in sessions)

    def pass_time(self, seconds: float) -> None:
        """Let time pass for every session; needs a FakeClock."""
        assert isinstance(self.clock, FakeClock)
        self.clock.advance(seconds)
        self.server.sweep()


OpenDoor = Callable[..., Awaitable[Door]]


@pytest.fixture
async def open_door(tmp_path: Path) -> AsyncIterator[OpenDoor]:
    """Open a door; keywords: smtp, limits, listen, config (dicts of settings) and clock."""
    doors: list[Door] = []

    async def open_(*, smtp=None, limits=None, listen=None, config=None, clock=None, random_octets=os.urandom) -> Door:
        clock = clock or SystemClock()
        node = GatewayConfig(
            hostname=HOSTNAME,
            data=tmp_path,
            policies=tmp_path,
            blocklists=tmp_path,
            smtp=Smtp(**(smtp or {})),
            limits=Limits(**{"free_disk_floor": 0, **(limits or {})}),
            **(config or {}),
        )
        gate = FakeGate(snapshot=FakeSnapshot(node))
        custody = FakeCustody(folder=tmp_path, clock=clock)
        events, handed_over = Recorded(), []
        counters = LocalCounters(clock)
        guard = DoorGuard(node.limits, counters, clock)
        server = IntakeServer(
            Listen(address="127.0.0.1:0", **(listen or {})),
            gate=lambda: door.gate,
            custody=custody,
            clock=clock,
            events=events,
            on_stored=handed_over.append,
            guard=guard,
            random_octets=random_octets,
        )
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        await server.start(sock)
        address = sock.getsockname()
        door = Door(server, address, node, gate, custody, events, handed_over, clock, guard, counters)
        doors.append(door)
        return door

    yield open_
    for door in doors:
        for client in door.clients:
            await client.close()
        await door.server.drain(1)


@pytest.fixture
async def door(open_door: OpenDoor) -> Door:
    """A door with the built-in settings."""
    return await open_door()


@pytest.fixture
def fake_clock() -> FakeClock:
    return FakeClock()
