"""A backup beside mail: how long a full run and an increment take, how large they are, and what the mail feels.

    python tests/benchmarks/backup.py                          10 GiB of quarantine and a 2 GiB ledger
    python tests/benchmarks/backup.py --quarantine 1 --ledger 0.2 --rate 0

The stores are filled by the gateway's own rooms: quarantined mail of 40 KB in the shards' rows and of 400 KB in files,
half of the octets each, and ledger rows as deliveries write them. Then mail comes at 50 messages a second, each over a
connection of its own: without a backup, during a full run, during an increment, and without one again. Judged: the p99
from the final dot to the 250 during a run is less than 20 % above that without one (the larger of the two). Printed
beside: the same until the mail is at its next hop, time, octets read and stored.

When the disk has not room for data, copy and backup, less is filled, and said so. Sends to 127.0.0.1 only. Exit: 0
target met, 1 missed, 69 something is missing here, 70 failed.
"""

import argparse
import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latency import RATE_PER_SECOND, StampingSink, Stamps, percentile, send_evenly
from load import LOOPBACK, BenchmarkError, free_port
from programs import HOW_TO_GET
from systems import Site, Tidegate, running

from gateway.clock import SystemClock
from gateway.ledger import MIGRATIONS, DelayRecord, rows
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.trace_id import new_trace_id
from gateway.smtp.address import NULL_REVERSE_PATH, ForwardPath, Mailbox
from gateway.spool.custody import Custody
from gateway.spool.message import MessageStamps, Origin, RecipientState, SpoolMessage, SpoolRecipient
from gateway.spool.opening import SilentWitness
from gateway.spool.shard import ShardSettings

OK, TARGET_MISSED, UNAVAILABLE, FAILED = 0, 1, 69, 70
GIBI, MEBI = 1024**3, 1024**2
WORKERS = 2
SMALL, LARGE = 40_000, 400_000
# About what a row of the ledger takes with its index.
LEDGER_ROW_OCTETS = 450
AT_ONCE = 64
BATCH_SECONDS = 4.0
# The figure: less than 20 % slower.
MOST_SLOWED = 1.2
# Data, the copy of the larger shard (half of it), the full backup of what hardly compresses, and some more.
ROOM = 3.0


class SavedTidegate(Tidegate):
    """With a backup folder; its schedule has nothing to do, since a run is made before it starts."""

    rate = "100M"

    def configure(self) -> None:
        super().configure()
        with (self.folder / "tidegate.toml").open("a") as file:
            file.write(f'\n[backup]\nfolder = "{self.folder}/backup"\nrate = "{self.rate}"\ndrill = "0s"\n')

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "gateway", "backup", *words, "--config", str(self.folder / "tidegate.toml")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Milliseconds of every message of one stretch, and what the run beside it said of itself."""

    name: str
    accepted_ms: tuple[float, ...]
    arrived_ms: tuple[float, ...]
    seconds: float = 0.0
    octets: int = 0
    stored: int = 0

    @property
    def p99(self) -> float:
        """Final dot to 250."""
        return percentile(self.accepted_ms, 99)


def judge(phases: Sequence[Phase]) -> tuple[float, list[str]]:
    """Return how much slower the slowest run was than without one, and what was missed."""
    without = max(phase.p99 for phase in phases if not phase.seconds)
    slowed = max(phase.p99 for phase in phases if phase.seconds) / without
    if slowed < MOST_SLOWED:
        return slowed, []
    return slowed, [f"p99 during a backup is {slowed:.2f} × that without, less than {MOST_SLOWED:g} is wanted"]


# Filling --------------------------------------------------------------------------------------------------------------


async def fill(data: Path, quarantine: float, ledger: float) -> None:
    """Fill the stores of both workers."""
    clock = SystemClock()
    for worker in range(WORKERS):
        custody = Custody.open(
            ShardSettings(data=data, clock=clock, companions=MIGRATIONS),
            worker=worker,
            workers=WORKERS,
            witness=SilentWitness(),
        )
        try:
            await _fill_quarantine(custody, clock, quarantine / WORKERS)
            await _fill_ledger(custody, clock, ledger / WORKERS)
        finally:
            custody.close_now()


async def _fill_quarantine(custody: Custody, clock: SystemClock, octets: float) -> None:
    chance = random.Random(1)  # noqa: S311 - filling
    done, turn = 0, 0
    while done < octets:
        # Half of the octets each: ten small ones to one large.
        sizes = [LARGE if (turn := turn + 1) % 11 == 0 else SMALL for _ in range(AT_ONCE)]
        await asyncio.gather(*(custody.store(_message(clock, chance, size)) for size in sizes))
        done += sum(sizes)


def _message(clock: SystemClock, chance: random.Random, octets: int) -> SpoolMessage:
    now = clock.stamp()
    # Text with the entropy of mail: it shrinks to about half.
    content = Content(b"Subject: quarantined\r\n\r\n" + chance.randbytes(octets // 2).hex().encode() + b"\r\n")
    return SpoolMessage(
        trace_id=new_trace_id(now.utc, chance.randbytes),
        origin=Origin.SMTP,
        envelope=Envelope(reverse_path=NULL_REVERSE_PATH),
        recipients=(
            SpoolRecipient(
                number=0,
                recipient=Recipient(path=ForwardPath(Mailbox("ben", "held.bench.test", "ben@held.bench.test"))),
                route="none",
                customer="bench",
                state=RecipientState.QUARANTINED,
            ),
        ),
        stamps=MessageStamps(connected=now, enveloped=now, received=now, filtered=now),
        content=content,
        octets=content.size,
    )


async def _fill_ledger(custody: Custody, clock: SystemClock, octets: float) -> None:
    chance = random.Random(2)  # noqa: S311 - filling
    (database,) = custody.databases
    for _ in range(0, int(octets / LEDGER_ROW_OCTETS), 2000):
        await database.commit([write for _ in range(2000) for write in rows(_delay(clock, chance))])


def _delay(clock: SystemClock, chance: random.Random) -> DelayRecord:
    at = clock.stamp().utc - chance.random() * 86_400
    number = chance.randrange(10**9)
    return DelayRecord(
        trace_id=new_trace_id(at, chance.randbytes),
        number=0,
        customer="bench",
        recipient=f"user{number}@live.bench.test",
        domain="live.bench.test",
        reverse_path=f"sender{number}@client.bench.test",
        role="mx",
        origin="smtp",
        octets=8192,
        action="accept",
        connected_at=at,
        enveloped_at=at,
        received_at=at,
        filtered_seconds=chance.random(),
        durable_seconds=chance.random(),
        antivirus_seconds=0.0,
        held_seconds=0.0,
        transfer_started_at=at,
        accepted_at=at,
        send_delay_seconds=chance.random(),
        receive_delay_seconds=chance.random(),
        finished_at=at,
        status="delivered",
        next_hop="smtp://127.0.0.1:2526",
        relay="127.0.0.1[127.0.0.1]:2526",
        reply="250 2.0.0 taken",
        attempts=json.dumps([[at, "smtp://127.0.0.1:2526", "", "end-of-data", "250 2.0.0 taken", "sent", 0.01, False]]),
        attempt_count=1,
    )


# Measuring ------------------------------------------------------------------------------------------------------------


class Mail:
    """An even stream of messages through one gateway."""

    def __init__(self, port: int, stamps: Stamps) -> None:
        self._port, self._stamps, self._next = port, stamps, 0

    async def batch(self) -> range:
        """Send for some seconds."""
        serials = range(self._next, self._next + round(BATCH_SECONDS * RATE_PER_SECOND))
        self._next = serials.stop
        await send_evenly(self._port, serials, self._stamps)
        return serials

    def phase(self, name: str, serials: Sequence[int], said: dict[str, float] | None = None) -> Phase:
        """Return what a stretch was like."""
        stamps, said = self._stamps, said or {}
        return Phase(
            name=name,
            accepted_ms=tuple(1000 * (stamps.accepted[serial] - stamps.dot[serial]) for serial in serials),
            arrived_ms=tuple(1000 * (stamps.arrived[serial] - stamps.dot[serial]) for serial in serials),
            seconds=said.get("finished_at", 0.0) - said.get("started_at", 0.0),
            octets=int(said.get("octets", 0)),
            stored=int(said.get("added_octets", 0)),
        )

    async def quiet(self, name: str, batches: int) -> Phase:
        """Send without a backup."""
        return self.phase(name, [serial for _ in range(batches) for serial in await self.batch()])

    async def beside(self, name: str, command: Sequence[str]) -> Phase:
        """Send for as long as a backup takes; what was sent behind its end is not counted."""
        program = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        told = asyncio.create_task(program.communicate())
        ended = 0.0
        serials: list[int] = []

        def end(_: object) -> None:
            nonlocal ended
            ended = time.perf_counter()

        told.add_done_callback(end)
        while not told.done():
            serials += await self.batch()
        out, said = told.result()
        if program.returncode:
            raise BenchmarkError(f"{name}: {said.decode(errors='replace')}")
        return self.phase(name, [s for s in serials if self._stamps.dot[s] <= ended], json.loads(out))


async def measure(system: SavedTidegate, sink_port: int, batches: int) -> list[Phase]:
    """Measure all four stretches."""
    stamps = Stamps()
    server = await asyncio.get_running_loop().create_server(lambda: StampingSink(stamps), LOOPBACK, sink_port)
    async with server:
        mail = Mail(system.port, stamps)
        await mail.batch()
        return [
            await mail.quiet("before", batches),
            await mail.beside("full", system.command("run", "--full", "--scheduled", "--json")),
            await mail.beside("increment", system.command("run", "--scheduled", "--json")),
            await mail.quiet("after", batches),
        ]


def run(folder: Path, chosen: argparse.Namespace) -> list[Phase]:
    """Fill, start, measure, stop."""
    sink_port = free_port()
    system = SavedTidegate(Site(folder=folder, live_port=sink_port))
    system.rate = f"{chosen.rate}M"
    with running(system):
        pass
    for words in (("init",), ("run", "--full")):
        # So that the schedule has nothing to do while we measure.
        subprocess.run(system.command(*words), check=True, stdout=subprocess.DEVNULL)
    print("filling …", file=sys.stderr)
    asyncio.run(fill(system.folder / "data", chosen.quarantine * GIBI, chosen.ledger * GIBI))
    subprocess.run(["sync"], check=False)
    print("measuring …", file=sys.stderr)
    system.launch()
    try:
        _await_banner(system.port)
        return asyncio.run(measure(system, sink_port, chosen.batches))
    except* (OSError, BenchmarkError) as errors:
        raise BenchmarkError(f"{errors.exceptions[0]}\n{system.last_words()}") from errors
    finally:
        system.stop()


def _await_banner(port: int) -> None:
    import socket  # noqa: PLC0415 - only here

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((LOOPBACK, port), 5) as connection:
                if connection.recv(100).startswith(b"220"):
                    return
        except OSError:
            time.sleep(0.1)
    raise BenchmarkError("the gateway does not answer")


def show(phases: Sequence[Phase]) -> None:
    """Print the figures."""
    for phase in phases:
        print(
            f"{phase.name:<10} {len(phase.accepted_ms):>6} messages, final dot to 250 p50 "
            f"{percentile(phase.accepted_ms, 50):.1f} p99 {phase.p99:.1f} ms, to the next hop p99 "
            f"{percentile(phase.arrived_ms, 99):.1f} ms"
        )
        if phase.seconds:
            print(
                f"           took {phase.seconds:.0f} s for {phase.octets / MEBI:,.0f} MiB, stored "
                f"{phase.stored / MEBI:,.0f} MiB"
            )


def main() -> int:
    """Check, fill, measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quarantine", type=float, default=10.0, metavar="GIB", help="quarantined mail")
    parser.add_argument("--ledger", type=float, default=2.0, metavar="GIB", help="ledger rows")
    parser.add_argument("--rate", type=int, default=32, metavar="MIB", help="[backup] rate, MiB a second; 0: no bound")
    parser.add_argument("--batches", type=int, default=10, metavar="N", help="of four seconds, for each quiet stretch")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder on the disk to measure")
    chosen = parser.parse_args()
    if lacking := SavedTidegate.obstacles():
        print("Cannot measure here:", *lacking, "", HOW_TO_GET, sep="\n", file=sys.stderr)
        return UNAVAILABLE
    try:
        with tempfile.TemporaryDirectory(prefix="backup-bench-", dir=chosen.data) as folder:
            share = shutil.disk_usage(folder).free / ROOM / GIBI / (chosen.quarantine + chosen.ledger)
            if share < 1:
                chosen.quarantine, chosen.ledger = chosen.quarantine * share, chosen.ledger * share
                print(f"the disk has room for {share:.0%} of it only", file=sys.stderr)
            print(f"{chosen.quarantine:g} GiB of quarantine, {chosen.ledger:g} GiB of ledger, rate {chosen.rate} MiB/s")
            phases = run(Path(folder), chosen)
    except (BenchmarkError, subprocess.SubprocessError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return FAILED
    show(phases)
    slowed, missed = judge(phases)
    print("", f"{slowed:.2f} × without a backup", *(f"MISSED: {m}" for m in missed), sep="\n")
    return TARGET_MISSED if missed else OK


if __name__ == "__main__":
    sys.exit(main())
