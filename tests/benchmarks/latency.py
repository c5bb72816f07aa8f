"""Added latency: how much longer a message takes through a relay than without it, at a calm 50 messages a second.

The clock runs from the moment the final dot is handed to the kernel until the last octet of that message is read at the
next hop. Client and sink are one asyncio program, so both stamps come from one clock, and its own delay is in every
measurement, the direct one included; *added* is a percentile through the relay minus the same percentile direct. The
load is open: messages start every 20 ms whether or not earlier ones have arrived, each over a connection of its own.
"""

import asyncio
import re
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from load import LOOPBACK, BenchmarkError, free_port
from places import DIRECT, RECIPIENT
from progress import Steps
from systems import Site, System, running

RATE_PER_SECOND = 50
SECONDS = 20.0
OCTETS = 8 * 1024
WARM_UP_SECONDS = 2.0
# At 50 a second the slowest message of a healthy relay needs milliseconds.
STALL_SECONDS = 30.0
SERIAL = re.compile(rb"^X-Serial: (\d+)\r$", re.MULTILINE)
REPLIES = {b"DATA": b"354 go on\r\n", b"QUIT": b"221 2.0.0 bye\r\n"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds of every message through one system, in order of sending: to the sink, and to the 250."""

    system: str
    arrival_ms: tuple[float, ...]
    accepted_ms: tuple[float, ...]


@dataclass(slots=True)
class Stamps:
    """``perf_counter`` by serial number."""

    opened: dict[int, float] = field(default_factory=dict)
    dot: dict[int, float] = field(default_factory=dict)
    accepted: dict[int, float] = field(default_factory=dict)
    arrived: dict[int, float] = field(default_factory=dict)


class StampingSink(asyncio.Protocol):
    """The least SMTP server that a relay will talk to; stamps the end of each content."""

    def __init__(self, stamps: Stamps) -> None:
        self._stamps = stamps
        self._buffer = bytearray()
        self._in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(transport)
        self._transport = transport
        transport.write(b"220 sink.bench.test ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._buffer += data
        while self._take(now):
            pass

    def _take(self, now: float) -> bool:
        end = self._buffer.find(b"\r\n.\r\n" if self._in_data else b"\r\n")
        if end < 0:
            return False
        if self._in_data:
            self._content(end, now)
        else:
            self._command(end)
        return True

    def _content(self, end: int, now: float) -> None:
        if serial := SERIAL.search(self._buffer, 0, end + 2):
            self._stamps.arrived[int(serial[1])] = now
        del self._buffer[: end + 5]
        self._in_data = False
        self._transport.write(b"250 2.0.0 taken\r\n")

    def _command(self, end: int) -> None:
        verb = bytes(self._buffer[:4]).upper()
        del self._buffer[: end + 2]
        self._in_data = verb == b"DATA"
        ehlo = b"250-sink.bench.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
        self._transport.write(ehlo if verb == b"EHLO" else REPLIES.get(verb, b"250 2.0.0 good\r\n"))
        if verb == b"QUIT":
            self._transport.close()


def content(serial: int) -> bytes:
    """A well-formed message of about 8 KB that can be recognised again."""
    header = (
        f"From: <sender@client.bench.test>\r\nTo: <{RECIPIENT}>\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
        f"Message-ID: <{serial}.{time.time_ns()}@client.bench.test>\r\nSubject: latency\r\nX-Serial: {serial}\r\n\r\n"
    )
    line = b"X" * 78 + b"\r\n"
    return header.encode() + line * (OCTETS // len(line)) + b".\r\n"


async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: bytes, wanted: bytes) -> None:
    """Send a command (or nothing) and read its whole reply; another code than ``wanted`` is a BenchmarkError."""
    writer.write(command)
    while True:
        try:
            line = await reader.readline()
        except OSError as error:
            raise BenchmarkError(f"instead of a reply to {command[:40]!r}: {error}") from error
        if not line.startswith(wanted):
            raise BenchmarkError(f"reply to {command[:40]!r}: {line!r}")
        if line[3:4] != b"-":
            return


async def send_one(port: int, serial: int, stamps: Stamps) -> None:
    """One message over one connection, as RFC 5321 has it."""
    stamps.opened[serial] = time.perf_counter()
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    await say(reader, writer, b"", b"220")
    await say(reader, writer, b"EHLO client.bench.test\r\n", b"250")
    await say(reader, writer, b"MAIL FROM:<sender@client.bench.test>\r\n", b"250")
    await say(reader, writer, f"RCPT TO:<{RECIPIENT}>\r\n".encode(), b"250")
    await say(reader, writer, b"DATA\r\n", b"354")
    octets = content(serial)
    stamps.dot[serial] = time.perf_counter()
    await say(reader, writer, octets, b"250")
    stamps.accepted[serial] = time.perf_counter()
    await say(reader, writer, b"QUIT\r\n", b"221")
    writer.close()
    # The server may be the first to close; the message is through either way.
    with suppress(OSError):
        await writer.wait_closed()


async def send_evenly(port: int, serials: Iterable[int], stamps: Stamps) -> None:
    """Start one message every 1/50 s, wait for their 250s, then for their arrival."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    sent: set[int] = set()
    async with asyncio.TaskGroup() as group:
        for turn, serial in enumerate(serials):
            await asyncio.sleep(max(0.0, start + turn / RATE_PER_SECOND - loop.time()))
            sent.add(serial)
            group.create_task(send_one(port, serial, stamps))
    deadline = loop.time() + STALL_SECONDS
    while not stamps.arrived.keys() >= sent:
        if loop.time() > deadline:
            raise BenchmarkError(f"{len(sent - stamps.arrived.keys())} messages did not arrive")
        await asyncio.sleep(0.05)


async def measure(port: int, sink_port: int, name: str) -> Latency:
    """Warm up, then measure one way through."""
    stamps = Stamps()
    server = await asyncio.get_running_loop().create_server(lambda: StampingSink(stamps), LOOPBACK, sink_port)
    async with server:
        warm_up = round(WARM_UP_SECONDS * RATE_PER_SECOND)
        await send_evenly(port, range(warm_up), stamps)
        serials = range(warm_up, warm_up + round(SECONDS * RATE_PER_SECOND))
        await send_evenly(port, serials, stamps)
        return Latency(
            system=name,
            arrival_ms=tuple(1000 * (stamps.arrived[serial] - stamps.dot[serial]) for serial in serials),
            accepted_ms=tuple(1000 * (stamps.accepted[serial] - stamps.dot[serial]) for serial in serials),
        )


def compare(kinds: Sequence[type[System]], data: Path, steps: Steps) -> list[Latency]:
    """Measure direct, then every system."""
    steps.announce(len(kinds) + 1)
    sink_port = free_port()
    found = [_step(DIRECT, sink_port, sink_port, steps)]
    for kind in kinds:
        with running(kind(Site(folder=data, live_port=sink_port))) as system:
            try:
                found.append(_step(system.name, system.port, sink_port, steps))
            except BenchmarkError as error:
                raise BenchmarkError(f"{error}\n{system.last_words()}") from error
    return found


def _step(name: str, port: int, sink_port: int, steps: Steps) -> Latency:
    steps.begin(f"latency, {name}")
    try:
        latency = asyncio.run(measure(port, sink_port, name))
    except* (OSError, BenchmarkError) as errors:
        raise BenchmarkError(f"{name}: {errors.exceptions[0]}") from errors
    p50, p99 = percentile(latency.arrival_ms, 50), percentile(latency.arrival_ms, 99)
    steps.done(f"latency  {name:<9} p50 {p50:.2f} ms  p99 {p99:.2f} ms to the sink")
    return latency


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest-rank percentile: a value that really occurred."""
    return sorted(values)[max(0, ceil(percent / 100 * len(values)) - 1)]
