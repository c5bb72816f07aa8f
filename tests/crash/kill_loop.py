"""Kill the gateway with signal 9 again and again under load, and count what became of every message.

    python tests/crash/kill_loop.py --kills 100

A load of several connections sends uniquely numbered messages and notes which were acknowledged (250 to the final
dot). Postfix's smtp-sink takes what the gateway delivers and writes every message to a file. After each random
interval the whole gateway, one worker, its writer process, both, or what forks the workers are killed; what must be is
started again on the same data folder. At the end the gateway runs until its queue is empty, then:

    lost       = acknowledged - delivered            must be 0 (invariant 1)
    duplicates = delivered more than once            only where a kill fell between the sink's 250 and its record
    unasked    = delivered without having been sent  must be 0

A message that was sent but not acknowledged may be delivered (the kill fell between commit and reply); the client
would send it again.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CONNECTIONS = 8
# The share of kills that take the supervisor and everything below it; the others take one worker, its writer, both, or
# the nursery.
WHOLE_GATEWAY = 0.4
# A next hop that was unreachable for a moment is tried again after seconds; everything queued is delivered within
# these.
EMPTY_SECONDS = 90.0
NUMBER = re.compile(rb"^X-Number: (\d+)\r?$", re.MULTILINE)


@dataclass
class Tally:
    """What happened: message numbers."""

    sent: set[int] = field(default_factory=set)
    acknowledged: set[int] = field(default_factory=set)
    delivered: Counter[int] = field(default_factory=Counter)
    kills: int = 0

    @property
    def lost(self) -> set[int]:
        """Acknowledged and never delivered."""
        return self.acknowledged - set(self.delivered)

    @property
    def duplicates(self) -> int:
        """Deliveries beyond the first."""
        return sum(count - 1 for count in self.delivered.values())

    @property
    def unasked(self) -> set[int]:
        """Delivered but never sent."""
        return set(self.delivered) - self.sent

    def __str__(self) -> str:
        return (
            f"kills {self.kills}  sent {len(self.sent)}  acknowledged {len(self.acknowledged)}  "
            f"delivered {len(self.delivered)}  lost {len(self.lost)}  duplicates {self.duplicates}  "
            f"unasked {len(self.unasked)}"
        )


def reserved_port(stack: contextlib.ExitStack) -> int:
    """Return a port that nobody else is given until the stack ends, also while what listens on it is dead."""
    door = stack.enter_context(socket.socket())
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.bind(("127.0.0.1", 0))
    return int(door.getsockname()[1])


@dataclass
class Gateway:
    """A gateway on its own folder that can be started and killed."""

    folder: Path
    port: int
    sink_port: int
    process: subprocess.Popen[bytes] | None = None

    def write_configuration(self) -> None:
        """Write a relay for one domain, two workers, quick retries."""
        (self.folder / "policies").mkdir(parents=True)
        (self.folder / "tidegate.toml").write_text(
            f'hostname = "mx.crash.test"\ndata = "data"\npolicies = "policies"\nblocklists = "policies"\nworkers = 2\n'
            f'[[listen]]\naddress = "127.0.0.1:{self.port}"\nrole = "mx"\n'
            f'[queue]\nretry = ["1s*"]\n',
            encoding="utf-8",
        )
        (self.folder / "policies/crash.toml").write_text(
            f'domains = ["crash.test"]\nrecipients = "any"\n'
            f'next_hop = ["smtp://127.0.0.1:{self.sink_port}?tls=none"]\n',
            encoding="utf-8",
        )

    async def start(self) -> None:
        """Start it and wait until it greets."""
        await self._is_free()
        log = (self.folder / "gateway.log").open("ab")
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(self.folder / "tidegate.toml")]
        self.process = await asyncio.to_thread(
            subprocess.Popen, command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
        log.close()
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    greeting = await asyncio.wait_for(reader.readline(), 5)
                finally:
                    writer.close()
                if greeting.startswith(b"220"):
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "gateway.log").read_text(errors="replace")[-4000:])
            await asyncio.sleep(0.05)

    async def _is_free(self) -> None:
        """Return when no worker has the port: one forked as everything was killed ends when it finds itself alone."""
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", self.port))
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                else:
                    return
            await asyncio.sleep(0.05)

    def kill(self, chance: random.Random) -> bool:
        """Kill everything, or one worker with its writer process, or either alone; return whether everything."""
        assert self.process is not None
        supervisor = self.process.pid
        nurseries, workers = children(supervisor), self.workers()
        dice = chance.random()
        if dice < WHOLE_GATEWAY or not workers:
            below = [child for process in (*nurseries, *workers) for child in children(process)]
            slay([supervisor, *nurseries, *workers, *below])
            self.process.wait()
            return True
        worker = chance.choice(workers)
        writers = children(worker)
        slay(chance.choice([[worker, *writers], [worker], writers, nurseries]))
        return False

    def workers(self) -> list[int]:
        """Return the workers by what they are called: those of a nursery that was killed are nobody's children."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                title = (entry / "cmdline").read_text(errors="replace")
                if title.startswith("tidegate: worker ") and str(self.folder) in title:
                    found.append(int(entry.name))
        return found

    def queued(self) -> int | None:
        """Return how many messages wait, as the operator would ask; None when the gateway does not say."""
        command = [sys.executable, "-m", "gateway", "status", "--json", "--config", str(self.folder / "tidegate.toml")]
        answer = subprocess.run(command, capture_output=True, check=False, text=True)
        return int(json.loads(answer.stdout)["queue"]["messages"]) if answer.stdout else None

    def stop(self) -> int:
        """Ask it to end and return its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)


def slay(pids: list[int]) -> None:
    """Kill processes with signal 9."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found


class Sink:
    """Postfix's smtp-sink, every message into one file of ``folder``; started again should it end by itself."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir(parents=True)
        folder.chmod(0o777)
        self.folder = folder
        self._errors = folder.with_name("sink.log")
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        self._command = ["/usr/sbin/smtp-sink", *user, "-d", f"{folder}/%M.", f"127.0.0.1:{port}", "1000"]
        self._start()

    def _start(self) -> None:
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(self._command, stdout=errors, stderr=errors, stdin=subprocess.DEVNULL)

    def look_after(self) -> None:
        """Start it again if it ended."""
        if self._process.poll() is not None:
            words = self._errors.read_text(errors="replace")[-300:]
            print(f"smtp-sink ended with {self._process.returncode}: {words}", file=sys.stderr)
            self._start()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


async def load(port: int, tally: Tally, numbers: Iterator[int], stop: asyncio.Event) -> None:
    """Send messages over one connection after another until told to stop; a broken connection is simply the next one's
    turn."""
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await session(reader, writer, tally, numbers, stop)
        writer.close()


async def session(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    tally: Tally,
    numbers: Iterator[int],
    stop: asyncio.Event,
) -> None:
    """Send up to ten messages over one connection, noting each acknowledgement as it arrives."""

    async def ask(line: bytes) -> bytes:
        writer.write(line)
        while True:
            reply = await reader.readuntil(b"\n")
            if reply[3:4] != b"-":
                return reply

    await reader.readuntil(b"\n")
    await ask(b"EHLO load.test\r\n")
    for _ in range(10):
        if stop.is_set():
            return
        number = next(numbers)
        await ask(b"MAIL FROM:<load@load.test>\r\n")
        await ask(b"RCPT TO:<inbox@crash.test>\r\n")
        if not (await ask(b"DATA\r\n")).startswith(b"354"):
            return
        tally.sent.add(number)
        # Every tenth is large enough to live in a file of its own.
        body = b"x" * 70 + b"\r\n"
        content = b"From: <load@load.test>\r\nX-Number: %d\r\n\r\n" % number + body * (6000 if number % 10 == 0 else 20)
        if (await ask(content + b".\r\n")).startswith(b"250"):
            tally.acknowledged.add(number)


def collect(folder: Path, tally: Tally) -> None:
    """Count what the sink has on file."""
    tally.delivered.clear()
    for path in folder.iterdir():
        with path.open("rb") as file:
            found = NUMBER.search(file.read(4096))
        if found:
            tally.delivered[int(found[1])] += 1


async def run(kills: int, seed: int, folder: Path) -> Tally:
    """Return the tally of ``kills`` kills."""
    with contextlib.ExitStack() as ports:
        gateway = Gateway(folder / "gateway", reserved_port(ports), reserved_port(ports))
        return await _tally_of(gateway, kills, seed, folder)


async def _tally_of(gateway: Gateway, kills: int, seed: int, folder: Path) -> Tally:
    chance = random.Random(seed)  # noqa: S311 - when to kill, not a secret
    tally, stop, numbers = Tally(), asyncio.Event(), iter(range(1, 10**9))
    gateway.write_configuration()
    sink = Sink(folder / "sink", gateway.sink_port)
    try:
        await gateway.start()
        clients = [asyncio.create_task(load(gateway.port, tally, numbers, stop)) for _ in range(CONNECTIONS)]
        for _ in range(kills):
            await asyncio.sleep(chance.uniform(0.05, 0.6))
            sink.look_after()
            whole = gateway.kill(chance)
            tally.kills += 1
            if whole:
                await gateway.start()
            if sys.stderr.isatty():
                print(f"\r{tally.kills}/{kills} kills, {len(tally.acknowledged)} acknowledged", end="", file=sys.stderr)
        stop.set()
        await asyncio.gather(*clients)
        await emptied(gateway, sink)
        status = gateway.stop()
        collect(sink.folder, tally)
        if status != 0:
            raise RuntimeError(f"the gateway ended with status {status}")
    finally:
        sink.stop()
    return tally


async def emptied(gateway: Gateway, sink: Sink) -> None:
    """Wait until nothing is queued; RuntimeError with the log's end when that takes too long."""
    deadline = time.monotonic() + EMPTY_SECONDS
    while await asyncio.to_thread(gateway.queued) != 0:
        sink.look_after()
        if time.monotonic() > deadline:
            raise RuntimeError((gateway.folder / "gateway.log").read_text(errors="replace")[-4000:])
        await asyncio.sleep(0.2)


def main() -> int:
    """Run from the command line; exit 1 when a message was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidegate-crash-") as folder:
        Path(folder).chmod(0o755)
        tally = asyncio.run(run(options.kills, options.seed, Path(folder)))
    print(tally)
    return 1 if tally.lost or tally.unasked else 0


if __name__ == "__main__":
    sys.exit(main())
