"""Next hops of every kind: scripted ones for odd behaviour, smtp-sink for real; messages and a runner to send them."""

import asyncio
import contextlib
import os
import random
import shutil
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway import ledger
from gateway.clock import Clock, FakeClock, Stamp
from gateway.config.loader import load
from gateway.config.snapshot import Snapshot
from gateway.delivery.client import ClientSettings, SmtpConnection
from gateway.delivery.runner import DeliveryRunner
from gateway.delivery.transfer import Failure, Target, Transfer, TransferResult
from gateway.dns.zone import ZoneResolver
from gateway.journal.sinks import Recorded
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.rendition import AS_RECEIVED
from gateway.smtp.address import NULL_REVERSE_PATH, ReversePath
from gateway.smtp.path import parse_forward_path, parse_reverse_path
from gateway.spool.custody import Custody
from gateway.spool.message import MessageStamps, Origin, QueueQuery, SpoolMessage, SpoolRecipient
from gateway.spool.opening import SilentWitness
from gateway.spool.shard import ShardSettings
from tests.system.parts import reserved_port

MAIL = (
    b"From: a@sender.test\r\nTo: b@ours.test\r\nMessage-ID: <1@sender.test>\r\nSubject: hello\r\n\r\nHello.\r\n.dot\r\n"
)
TRACE_ID = "01J8Z3Q4R5S6T7V8W9X0Y1Z2A3"
EHLO = "250-next.test\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8"


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every asynchronous test on both loops: their transports differ in type and order of callbacks."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415 - not there on every platform

        loops["uvloop"] = uvloop.new_event_loop
    return loops


# Scripted next hops ---------------------------------------------------------------------------------------------------


class Peer:
    """The next hop's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number
        self.heard: list[str] = []

    def say(self, *replies: str) -> None:
        self.writer.write("".join(f"{reply}\r\n" for reply in replies).encode())

    async def hear(self) -> str:
        """Return the next command; ConnectionError when there is none."""
        line = await self.reader.readline()
        if not line:
            raise ConnectionError
        self.heard.append(line.decode().rstrip("\r\n"))
        return self.heard[-1]

    async def hear_content(self) -> bytes:
        """Return the octets of DATA as sent, the end of data included."""
        octets = b""
        while not octets.endswith(b"\r\n.\r\n") and octets != b".\r\n":
            line = await self.reader.readline()
            if not line:
                raise ConnectionError(octets)
            octets += line
        return octets

    async def greet(self, ehlo: str = EHLO) -> None:
        self.say("220 next.test ESMTP")
        await self.hear()
        self.say(ehlo)

    async def envelope(self, *replies: str) -> list[str]:
        """Hear a whole pipelined group, then answer it command by command."""
        lines = []
        while not lines or lines[-1] != "DATA":
            lines.append(await self.hear())
        self.say(*(replies or [*["250 ok"] * (len(lines) - 1), "354 go"]))
        return lines

    async def take(self) -> bytes:
        """Take one message like a good server."""
        await self.envelope()
        octets = await self.hear_content()
        self.say("250 2.0.0 taken")
        return octets

    def cut(self) -> None:
        self.writer.transport.abort()

    async def closed(self) -> bytes:
        """Wait for the client to close; return what it sent before."""
        with contextlib.suppress(ConnectionError):
            return await self.reader.read()
        return b""


Play = Callable[[Peer], Awaitable[None]]


@dataclass
class Host:
    """A running scripted next hop."""

    port: int
    peers: list[Peer] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}?tls=none"

    def target(self, scheme: str = "smtp", tls: str = "none", host: str = "127.0.0.1") -> Target:
        return Target(scheme=scheme, host=host, port=self.port, tls=tls)


HostFactory = Callable[..., Awaitable[Host]]


@pytest.fixture
async def host() -> AsyncIterator[HostFactory]:
    """Start a server whose connections run ``play``; what a play asserts fails the test."""
    async with contextlib.AsyncExitStack() as stack:
        hosts: list[Host] = []

        async def start(play: Play, **listen: object) -> Host:
            running = Host(0)
            hosts.append(running)
            tasks: set[asyncio.Task[None]] = set()

            async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                peer = Peer(reader, writer, len(running.peers))
                running.peers.append(peer)
                try:
                    await play(peer)
                except ConnectionError:
                    pass
                except Exception as error:  # noqa: BLE001 - shown by the fixture
                    running.errors.append(error)
                finally:
                    writer.close()

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = asyncio.get_running_loop().create_task(run(reader, writer))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

            where = {} if "sock" in listen else {"host": "127.0.0.1", "port": 0}
            server = await asyncio.start_server(connected, **where, **listen)  # type: ignore[arg-type]
            running.port = server.sockets[0].getsockname()[1]

            async def stop() -> None:
                server.close()
                for task in list(tasks):
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

            stack.push_async_callback(stop)
            return running

        yield start
    for running in hosts:
        for error in running.errors:
            raise error


async def good(peer: Peer) -> None:
    """Play a server that takes everything."""
    await peer.greet()
    while True:
        await peer.take()


# Real next hops -------------------------------------------------------------------------------------------------------


@dataclass
class Sink:
    """A running smtp-sink; ``dumps`` holds one file a message."""

    port: int
    dumps: Path

    def url(self, scheme: str = "smtp") -> str:
        return f"{scheme}://127.0.0.1:{self.port}?tls=none"

    def messages(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.dumps.glob("m.*"))]


@pytest.fixture
def dumps() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sink-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def sink(dumps: Path) -> AsyncIterator[Callable[..., Awaitable[Sink]]]:
    """Start Postfix's smtp-sink with the given options."""
    program = shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("smtp-sink (package postfix) is not installed")
    running: list[asyncio.subprocess.Process] = []
    doors: list[socket.socket] = []

    async def start(*options: str) -> Sink:
        # Kept: whoever else were given it would seem to be the sink.
        doors.append(reserved_port())
        port = doors[-1].getsockname()[1]
        user = ("-u", "nobody") if os.geteuid() == 0 else ()
        process = await asyncio.create_subprocess_exec(
            program, *user, "-d", f"{dumps}/m.", *options, f"127.0.0.1:{port}", "100", stdout=asyncio.subprocess.DEVNULL
        )
        running.append(process)
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                assert process.returncode is None, "smtp-sink did not start"
                await asyncio.sleep(0.01)
                continue
            writer.close()
            return Sink(port, dumps)

    yield start
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    for door in doors:
        door.close()


def dice(seed: int) -> random.Random:
    """Return randomness that repeats."""
    return random.Random(seed)  # noqa: S311 - jitter and shuffling, not secrets


# Messages -------------------------------------------------------------------------------------------------------------


def sender(address: str) -> ReversePath:
    return parse_reverse_path(f"<{address}>".encode(), smtputf8=True)[0] if address else NULL_REVERSE_PATH


def to(address: str, **given: object) -> Recipient:
    return Recipient(path=parse_forward_path(f"<{address}>".encode(), smtputf8=True)[0], **given)  # type: ignore[arg-type]


def transfer(*addresses: str, octets: bytes = MAIL, **envelope: object) -> Transfer:
    path = sender(str(envelope.pop("reverse_path", "a@sender.test")))
    return Transfer(
        trace_id=TRACE_ID,
        envelope=Envelope(reverse_path=path, **envelope),  # type: ignore[arg-type]
        recipients=tuple(to(address) for address in addresses or ("b@ours.test",)),
        content=Content(octets),
        rendition=AS_RECEIVED,
    )


def message(
    *recipients: Recipient | str,
    trace_id: str = TRACE_ID,
    octets: bytes = MAIL,
    received: Stamp | None = None,
    route: str = "",
    reverse_path: str = "a@sender.test",
    **given: object,
) -> SpoolMessage:
    """Return a message as intake would store it, queued and due at once."""
    at = received or FakeClock().stamp()
    envelope = given.pop("envelope", None) or Envelope(reverse_path=sender(reverse_path))
    fields = {name: given.pop(name) for name in ("action", "attempts", "delay_noticed") if name in given}
    copies = tuple(
        SpoolRecipient(
            number=number,
            recipient=to(recipient) if isinstance(recipient, str) else recipient,
            route=route,
            customer="ours",
            **fields,  # type: ignore[arg-type]
        )
        for number, recipient in enumerate(recipients or ("b@ours.test",))
    )
    return SpoolMessage(
        trace_id=trace_id,
        origin=Origin.SMTP,
        envelope=envelope,
        recipients=copies,
        stamps=MessageStamps(connected=at, enveloped=at, received=at, filtered=at, durable=at),
        content=Content(octets),
        octets=len(octets),
        helo="mail.sender.test",
        message_id="<1@sender.test>",
        **given,  # type: ignore[arg-type]
    )


# Connections ----------------------------------------------------------------------------------------------------------


async def connect(target: Target, clock: Clock | None = None, **settings: object) -> SmtpConnection | Failure:
    """Return a connection after EHLO."""
    loop = asyncio.get_running_loop()
    client = ClientSettings(hostname="mx.ours.test", **settings)  # type: ignore[arg-type]
    _, connection = await loop.create_connection(
        lambda: SmtpConnection(target, client, clock or FakeClock()), target.host, target.port
    )
    return await connection.greet() or connection


async def connected(target: Target, clock: Clock | None = None, **settings: object) -> SmtpConnection:
    connection = await connect(target, clock, **settings)
    assert isinstance(connection, SmtpConnection)
    return connection


async def result_of(connection: SmtpConnection, what: Transfer) -> TransferResult:
    future: asyncio.Future[TransferResult] = asyncio.get_running_loop().create_future()
    connection.begin(what, future.set_result)
    return await future


def replies_of(result: TransferResult) -> list[str]:
    return [str(outcome.reply) for outcome in result.outcomes]


# The runner -----------------------------------------------------------------------------------------------------------


@dataclass
class Office:
    """A runner over a real spool."""

    runner: DeliveryRunner
    custody: Custody
    events: Recorded
    clock: FakeClock
    snapshot: Snapshot

    async def post(self, what: SpoolMessage) -> SpoolMessage:
        """Store a message and hand it to the runner as intake does."""
        stored = await self.custody.store(what)
        self.runner.accept(stored)
        return stored

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - conditions of many kinds, none of which has an event
                await asyncio.sleep(0.002)

    async def written(self) -> None:
        """Wait until every outcome is in the spool."""
        await self.until(lambda: self.runner.in_hand == 0)

    def statuses(self) -> list[tuple[str, str]]:
        return [(e.recipient, e.status) for e in self.events.events if type(e).__name__ == "DeliveryAttempted"]

    async def queued(self) -> list[SpoolMessage]:
        return await self.custody.select(QueueQuery())

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.runner.wake()


def write_config(folder: Path, next_hop: list[str], main: str = "", policy: str = "") -> Snapshot:
    (folder / "policies").mkdir(exist_ok=True)
    (folder / "tidegate.toml").write_text(
        f'hostname = "mx.ours.test"\ndata = "{folder}/data"\npolicies = "policies"\n{main}\n'
        '[[listen]]\naddress = "127.0.0.1:0"\n'
    )
    hops = ", ".join(f'"{hop}"' for hop in next_hop)
    (folder / "policies" / "ours.toml").write_text(
        f'domains = ["ours.test"]\ncustomer = "ours"\nnext_hop = [{hops}]\n{policy}\n'
    )
    return load(folder / "tidegate.toml", {})


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Office]]]:
    opened: list[Office] = []

    async def open_office(next_hop: list[str], *, zone: str = "", main: str = "", policy: str = "") -> Office:
        snapshot = write_config(tmp_path, next_hop, main, policy)
        clock, events = FakeClock(), Recorded()
        settings = ShardSettings(data=tmp_path / "data", clock=clock, companions=ledger.MIGRATIONS)
        custody = Custody.open(settings, worker=0, workers=1, witness=SilentWitness())
        runner = DeliveryRunner(
            custody=custody,
            snapshot=lambda: office.snapshot,
            resolver=ZoneResolver(zone),
            clock=clock,
            events=events,
            random=dice(7),
        )
        office = Office(runner, custody, events, clock, snapshot)
        opened.append(office)
        await runner.start()
        return office

    yield open_office
    for office in opened:
        await office.runner.drain(5)
        office.custody.close_now()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Callable[[str], ssl.SSLContext]]:
    """A certificate authority, and server contexts for names."""
    trustme = pytest.importorskip("trustme")
    ca = trustme.CA()
    pem = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(pem))

    def server_context(name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name).configure_cert(context)
        return context

    return pem, server_context
