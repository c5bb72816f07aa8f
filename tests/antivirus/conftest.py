"""A real clamd with two signatures, and a scanner that says what a test wants."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.antivirus.address import ScannerAddress
from gateway.antivirus.framing import Piece
from gateway.antivirus.selftest import eicar
from gateway.journal.events import Event

ROOT = Path(__file__).parents[2]
MATERIAL = ROOT.parent / "shared/material/antivirus"
PATIENCE_SECONDS = 20.0
EICAR = bytes(eicar().octets)


def piece(octets: bytes) -> Piece:
    return Piece(octets=octets, digest=sha256(octets).hexdigest())


@dataclass
class Events:
    """Keeps what is emitted."""

    seen: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        self.seen.append(event)

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.seen if event.kind == kind]


async def eventually(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until ``condition`` is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        await asyncio.sleep(0.01)


class Clamd:
    """One clamd in a folder of its own; the same socket and port at every start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.unix = ScannerAddress(path=str(folder / "clamd.sock"))
        self.tcp = ScannerAddress(host="127.0.0.1", port=self.port)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["/bin/sh", str(MATERIAL / "start_clamd.sh"), str(self.folder), str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.wait()

    def restart_with(self, *settings: str) -> None:
        """Start it again with more in its configuration."""
        self.kill()
        path = self.folder / "clamd.conf"
        path.write_text("\n".join((path.read_text(), *settings, "")))
        clamd = shutil.which("clamd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "clamd"
        self.process = subprocess.Popen([clamd, "-c", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait()

    def wait(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "clamd.log").read_text()
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(5)
                sock.connect(self.unix.path)
                sock.sendall(b"zPING\0")
                if sock.recv(16) == b"PONG\0":
                    return
            assert time.monotonic() < deadline, "clamd does not answer"
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        if self.process is not None:
            self.process.wait()
            self.process = None


def need_clamd() -> None:
    if not (MATERIAL / "start_clamd.sh").exists():
        pytest.skip(f"no test material at {MATERIAL.relative_to(ROOT.parent)}")
    if shutil.which("clamd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        pytest.skip("clamd (package clamav-daemon) is not installed")


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder with a short name: a socket's path has 108 octets at most."""
    with tempfile.TemporaryDirectory(prefix="av-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def shared_clamd(folder: Path) -> Iterator[Clamd]:
    """A clamd that no test harms."""
    need_clamd()
    (folder / "shared").mkdir()
    clamd = Clamd(folder / "shared")
    clamd.start()
    yield clamd
    clamd.kill()


@pytest.fixture
def clamds(folder: Path) -> Iterator[Callable[[], Clamd]]:
    """Make clamds that tests may kill and stop."""
    need_clamd()
    made: list[Clamd] = []

    def make() -> Clamd:
        clamd = Clamd(Path(tempfile.mkdtemp(dir=folder)))
        clamd.start()
        made.append(clamd)
        return clamd

    yield make
    for clamd in made:
        clamd.kill()


@pytest.fixture(scope="session")
def mails(folder: Path) -> Path:
    """The 34 mails of the material, and their manifest."""
    if not (MATERIAL / "build_eicar.py").exists():
        pytest.skip(f"no test material at {MATERIAL.relative_to(ROOT.parent)}")
    target = folder / "mails"
    subprocess.run(
        [sys.executable, str(MATERIAL / "build_eicar.py"), str(target)], check=True, stdout=subprocess.DEVNULL
    )
    return target


@dataclass
class FakeScanner:
    """Reads sessions and answers what ``answer`` makes of the streams that came; for what no clamd says."""

    folder: Path
    # How many streams a session brings; then it is answered.
    expects: int = 1
    # The streams → everything to say in the session; None to close.
    answer: Callable[[Sequence[bytes]], bytes | None] = lambda streams: session_answer([b"stream: OK"] * len(streams))
    version: bytes = b"ClamAV 1.4.6/27100/Mon Jun  1 08:00:00 2026"
    sessions: int = 0
    # Set once a session has brought its streams.
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hold: asyncio.Event | None = None
    server: asyncio.Server | None = None

    @property
    def address(self) -> ScannerAddress:
        return ScannerAddress(path=str(self.folder / "fake.sock"))

    async def start(self) -> None:
        self.server = await asyncio.start_unix_server(self._serve, self.address.path, limit=2**26)

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        streams: list[bytes] = []
        # pyclamd's commands are lines: nPING, nVERSION.
        if (first := await reader.readexactly(1)) == b"n":
            writer.write(b"PONG\n" if await reader.readline() == b"PING\n" else self.version + b"\n")
            return
        while True:
            command = first + (await reader.readuntil(b"\0"))[:-1]
            first = b""
            if command == b"zINSTREAM":
                streams.append(await read_stream(reader))
            # The question after the streams is asked when those are answered; a lie needs not wait for it.
            if len(streams) == self.expects:
                break
        self.sessions += 1
        self.asked.set()
        if self.hold is not None:
            await self.hold.wait()
        said = self.answer(streams)
        if said is not None:
            first, _, last = said.rpartition(b"%d: " % (len(streams) + 2))
            writer.write(first or said)
            await writer.drain()
            if first and await reader.readuntil(b"\0"):
                writer.write(b"%d: " % (len(streams) + 2) + last)
            await writer.drain()
            # Stays open: the other side closes when it has heard enough.
            await reader.read()


async def read_stream(reader: asyncio.StreamReader) -> bytes:
    octets = b""
    while length := struct.unpack(">I", await reader.readexactly(4))[0]:
        octets += await reader.readexactly(length)
    return octets


def session_answer(verdicts: Sequence[bytes], before: bytes = b"ClamAV 1", after: bytes = b"ClamAV 1") -> bytes:
    texts = [before, *verdicts, after]
    return b"".join(b"%d: %s\0" % (number, text) for number, text in enumerate(texts, 1))


@pytest.fixture
async def fake(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FakeScanner]:
    with tempfile.TemporaryDirectory(prefix="fs-") as name:
        scanner = FakeScanner(Path(name))
        await scanner.start()
        yield scanner
        await scanner.stop()
