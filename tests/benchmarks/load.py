"""The load: Postfix's own ``smtp-source`` and ``smtp-sink``, and how we know that the last message has arrived.

``smtp-sink -c`` rewrites one line of counters, ``sess=… quit=… mesg=…`` ended by a carriage return, at each event.
:class:`Sink` drains that pipe in a thread and remembers when a wanted number of messages was reached. It looks every
5 ms, so a run of seconds is timed to about a thousandth and the reader costs next to nothing.
"""

import os
import re
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import IO, Self

from measure import read_stat
from programs import find

LOOPBACK = "127.0.0.1"
SESSIONS = 20
# Below Linux's ephemeral ports (from 32768), so that no client's own port can take the place of a server that restarts.
PORTS = range(20_000, 30_000)
POLL_SECONDS = 0.005
# A system that delivers nothing for so long has lost mail or put it off; the run has failed.
STALL_SECONDS = 45.0
COUNTER = re.compile(rb"mesg=(\d+)\r")


class BenchmarkError(Exception):
    """The measurement could not be made; the text says what happened and is all a user needs."""


def free_port() -> int:
    """Find a port of the loopback interface that nothing listens on."""
    for port in SystemRandom().sample(PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise BenchmarkError(f"no free port between {PORTS.start} and {PORTS.stop} on {LOOPBACK}")


class ClosedPort:
    """A port that refuses every connection: bound, so that nobody else takes it, and never listening."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind((LOOPBACK, 0))
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


class Sink:
    """A running ``smtp-sink``; ``count`` messages have arrived since its start."""

    def __init__(self) -> None:
        self.port = free_port()
        self.count = 0
        self._wanted = 0
        self._reached_at = 0.0
        self._changed = threading.Condition()
        # 1,000 connections (its default is 256) so that the sink is never the narrow place.
        arguments = ["-c", "-m", "1000", f"{LOOPBACK}:{self.port}", "1000"]
        as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
        command = [find("smtp-sink"), *as_nobody, *arguments]
        # Its warnings (an idle client that it hangs up on) come between the counters and are skipped with them.
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._reader = threading.Thread(target=self._read, name="sink-counter", daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        await_banner(self.port, "smtp-sink", alive=lambda: self._process.poll() is None)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        if self._process.stdout:
            self._process.stdout.close()

    @property
    def pid(self) -> int:
        """The process, for its CPU."""
        return self._process.pid

    def _read(self) -> None:
        pipe: IO[bytes] | None = self._process.stdout
        if pipe is None:
            return
        rest = b""
        while octets := os.read(pipe.fileno(), 65536):
            counts = COUNTER.findall(rest + octets)
            rest = octets[-40:]
            if counts:
                self._arrived(int(counts[-1]), time.perf_counter())
            time.sleep(POLL_SECONDS)

    def _arrived(self, count: int, now: float) -> None:
        with self._changed:
            if count >= self._wanted > self.count:
                self._reached_at = now
            self.count = count
            self._changed.notify_all()

    def expect(self, messages: int) -> int:
        """Name the next goal, ``messages`` more than now; call it before the load starts."""
        with self._changed:
            self._wanted = self.count + messages
            return self._wanted

    def await_goal(self) -> float:
        """Wait for the goal; returns the ``perf_counter`` of its arrival. A stall is a BenchmarkError."""
        with self._changed:
            while self.count < self._wanted:
                before = self.count
                if not self._changed.wait(STALL_SECONDS) or self._process.poll() is not None:
                    missing = self._wanted - before
                    raise BenchmarkError(f"{missing} messages have not arrived and for {STALL_SECONDS:.0f} s none did")
            return self._reached_at


def always() -> bool:
    """Nothing is known of the server's process but its port."""
    return True


def await_banner(port: int, name: str, patience_seconds: float = 60.0, alive: Callable[[], bool] = always) -> None:
    """Return when ``port`` greets with 220; give up when ``alive`` says that nobody will."""
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline and alive():
        try:
            with socket.create_connection((LOOPBACK, port), timeout=5) as client:
                if client.recv(512).startswith(b"220"):
                    client.sendall(b"QUIT\r\n")
                    client.recv(512)
                    return
        except OSError:
            pass
        time.sleep(0.01)
    reason = f"within {patience_seconds:.0f} s" if alive() else "and has ended"
    raise BenchmarkError(f"{name} gave no 220 banner on port {port} {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What ``smtp-source`` is to send: ``octets`` of body a message, a connection a message, 20 at a time.

    ``mail`` is a file, line ends LF, that is sent as it stands instead.
    """

    port: int
    messages: int
    octets: int
    recipient: str
    mail: Path | None = None
    sessions: int = SESSIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """``smtp-source`` has ended well: every message got its 250. ``at`` is the start on ``perf_counter``'s scale."""

    at: float
    accepted_seconds: float
    source_cpu_seconds: float


class Source:
    """A running ``smtp-source``."""

    def __init__(self, load: Load) -> None:
        self._load = load
        # One child runs at a time, so the growth of the reaped children's CPU is this child's.
        self._cpu_before = children_cpu_seconds()
        self._started_at = time.perf_counter()
        content = ("-F", str(load.mail)) if load.mail else ("-l", str(load.octets))
        self._process = subprocess.Popen(
            [
                find("smtp-source"),
                *("-s", str(load.sessions), "-m", str(load.messages), *content),
                *("-M", "client.bench.test", "-f", "sender@client.bench.test", "-t", load.recipient),
                f"{LOOPBACK}:{load.port}",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self) -> Sent:
        """Wait until all is accepted; a refusal is a BenchmarkError with the server's words."""
        said = self._await_end()
        ended_at = time.perf_counter()
        if self._process.returncode:
            raise BenchmarkError(f"smtp-source to port {self._load.port} gave up: {said.strip()[-600:]}")
        return Sent(
            at=self._started_at,
            accepted_seconds=ended_at - self._started_at,
            source_cpu_seconds=children_cpu_seconds() - self._cpu_before,
        )

    def _await_end(self) -> str:
        """Wait as long as smtp-source works; one that uses no CPU waits for a server that will not answer."""
        ticks, moved_at = -1, time.monotonic()
        while True:
            try:
                return self._process.communicate(timeout=1)[0]
            except subprocess.TimeoutExpired:
                now = read_stat(self._process.pid)
            if now and now.ticks != ticks:
                ticks, moved_at = now.ticks, time.monotonic()
            if time.monotonic() - moved_at > STALL_SECONDS:
                raise BenchmarkError(
                    f"smtp-source got no reply for {STALL_SECONDS:.0f} s; not all messages were accepted"
                )

    def kill(self) -> None:
        """End it early; harmless when it has ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def send(load: Load) -> Sent:
    """Run ``smtp-source`` to its end."""
    source = Source(load)
    try:
        return source.finish()
    finally:
        source.kill()


def children_cpu_seconds() -> float:
    """CPU of all children of this program that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
