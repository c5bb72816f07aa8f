"""What a backup costs the mail beside it: time, size, and how much later mail in flight is accepted and delivered.

    python tests/benchmarks/backup.py                    # 10 GiB of quarantine and 2 GiB of ledger: half an hour
    python tests/benchmarks/backup.py --scale 0.05       # a twentieth of it: three minutes

The stores are filled first (``backup_filling``): quarantined mail of 40 KB in the shards' rows and of 400 KB in files,
half of the octets each, and ledger rows as deliveries write them. Contents shrink to about half and none occurs twice;
nothing is sparse. What was filled is evicted from memory, so that a run reads from the disk. Then mail of 8 KB comes
at 50 messages a second, each over a connection of its own, for five stretches, before each quiet one of which the disk
has come to rest (``calm``):

    quiet · a full run, encrypted · quiet · an increment · quiet

Beside mail a run of this size takes half an hour. Mail comes for its first eight minutes (``--beside``); then there is
none, which lets the run go on at its rate, so that its time is that of a night in which the mail stops after so long.

Judged, for each run against the two quiet stretches around it: the p99 from connecting to the 250, and from the final
dot to the next hop, are both less than 20 % above those without a backup. How far the quiet stretches differ among
themselves is printed: where that is more than 20 %, the machine is too busy to judge.

When the disk has not room for data and backup, less is filled, and said so. Everything is removed at the end. Sends to
127.0.0.1 only. Exit: 0 target met, 1 missed, 69 something is missing here, 70 failed.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from backup_filling import fill
from calm import settle, slow_fsync_ms
from latency import RATE_PER_SECOND, StampingSink, Stamps, percentile, send_evenly
from load import LOOPBACK, BenchmarkError, free_port
from programs import HOW_TO_GET
from progress import Steps
from setting import fsync_ms
from systems import Site, Tidegate

from gateway.backup.frames import new_key
from gateway.backup.repository import Repository
from gateway.config.models import Backup

OK, TARGET_MISSED, UNAVAILABLE, FAILED = 0, 1, 69, 70
GIBI, MEBI = 1024**3, 1024**2
WORKERS = 2
QUARANTINE_OCTETS, LEDGER_OCTETS = 10 * GIBI, 2 * GIBI
# Options of `backup run`; None: no run.
PLAN = (("quiet 1", None), ("full", ("--full",)), ("quiet 2", None), ("increment", ()), ("quiet 3", None))
BATCH_SECONDS = 4.0
# The data were evicted, and with them what mail itself reads.
WARM_UP_BATCHES = 3
# 3,000 messages: 30 of them are beyond the p99.
QUIET_SECONDS = 60.0
# Of a run beside mail; 24,000 messages, and all of it ends within half an hour.
BESIDE_SECONDS = 480.0
# The figure: less than 20 % slower.
MOST_SLOWED = 1.2
# Data, the full backup of what shrinks to half, a store being copied, and some more.
ROOM = 2.5


class SavedTidegate(Tidegate):
    """With a backup folder that its commands know and the gateway does not: its schedule must not begin a run."""

    def __init__(self, site: Site, rate: int) -> None:
        self._rate = rate
        super().__init__(site)

    def configure(self) -> None:
        super().configure()
        (self.folder / "backup.key").write_text(new_key())
        Repository.make(self.folder / "backup")
        settings = f'folder = "{self.folder}/backup"\nkey = "{self.folder}/backup.key"\nrate = {self._rate}\n'
        text = (self.folder / "tidegate.toml").read_text()
        (self.folder / "saved.toml").write_text(f'{text}\n[backup]\n{settings}drill = "0s"\n')

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "gateway", "backup", *words, "--config", str(self.folder / "saved.toml")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is measured: octets of each kind, octets a second of a run, seconds of mail without and beside a run."""

    quarantine: float
    ledger: float
    rate: int
    quiet_seconds: float
    beside_seconds: float

    def within(self, folder: Path) -> Self:
        """Return the same with no more than the disk has room for."""
        share = shutil.disk_usage(folder).free / ROOM / (self.quarantine + self.ledger)
        if share >= 1:
            return self
        print(f"the disk has room for {share:.0%} of it only", file=sys.stderr)
        return replace(self, quarantine=self.quarantine * share, ledger=self.ledger * share)

    def __str__(self) -> str:
        pace = f"at most {self.rate / MEBI:g} MiB a second" if self.rate else "no bound"
        return f"{self.quarantine / GIBI:g} GiB of quarantine, {self.ledger / GIBI:g} GiB of ledger, {pace}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Milliseconds of every message of one stretch, and what the run beside it said of itself."""

    name: str
    accepted_ms: tuple[float, ...]
    delivered_ms: tuple[float, ...]
    seconds: float = 0.0
    octets: int = 0
    stored: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowed:
    """How many times as long the p99 took beside a run as in the quiet stretches around it."""

    run: str
    accepted: float
    delivered: float


def compare(phases: Sequence[Phase]) -> list[Slowed]:
    """Hold each run against its neighbours."""
    return [
        Slowed(
            run=during.name,
            accepted=percentile(during.accepted_ms, 99) / percentile(before.accepted_ms + after.accepted_ms, 99),
            delivered=percentile(during.delivered_ms, 99) / percentile(before.delivered_ms + after.delivered_ms, 99),
        )
        for before, during, after in zip(phases, phases[1:], phases[2:], strict=False)
        if during.seconds
    ]


def missed(found: Sequence[Slowed]) -> list[str]:
    """Return what is not as fast as wanted."""
    values = [(each.run, what, getattr(each, what)) for each in found for what in ("accepted", "delivered")]
    return [
        f"beside {run} the p99 until mail is {what} is {value:.2f} × that without, less than {MOST_SLOWED:g} is wanted"
        for run, what, value in values
        if value >= MOST_SLOWED
    ]


def spread(phases: Sequence[Phase]) -> float:
    """Return how many times as high the p99 of the worst quiet stretch is as that of the best."""
    quiet = [percentile(phase.accepted_ms, 99) for phase in phases if not phase.seconds]
    return max(quiet) / min(quiet)


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
            accepted_ms=tuple(1000 * (stamps.accepted[serial] - stamps.opened[serial]) for serial in serials),
            delivered_ms=tuple(1000 * (stamps.arrived[serial] - stamps.dot[serial]) for serial in serials),
            seconds=said.get("finished_at", 0.0) - said.get("started_at", 0.0),
            octets=int(said.get("octets", 0)),
            stored=int(said.get("added_octets", 0)),
        )

    async def quiet(self, name: str, seconds: float) -> Phase:
        """Send without a backup."""
        batches = max(1, round(seconds / BATCH_SECONDS))
        return self.phase(name, [serial for _ in range(batches) for serial in await self.batch()])

    async def beside(self, name: str, command: Sequence[str], seconds: float) -> Phase:
        """Send for so long beside a backup, and wait for its end; what was sent behind that is not counted."""
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
        until = time.perf_counter() + seconds
        while not told.done() and time.perf_counter() < until:
            serials += await self.batch()
        out, said = await told
        if program.returncode:
            raise BenchmarkError(f"{name}: {said.decode(errors='replace')}")
        return self.phase(name, [s for s in serials if self._stamps.dot[s] <= ended], json.loads(out))


async def measure(system: SavedTidegate, asked: Asked, calm_ms: float, steps: Steps) -> list[Phase]:
    """Measure all five stretches."""
    stamps = Stamps()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: StampingSink(stamps), LOOPBACK, system.site.live_port)
    phases: list[Phase] = []
    async with server:
        mail = Mail(system.port, stamps)
        for name, options in PLAN:
            if options is None:
                steps.begin("waiting for the disk")
                steps.done(await asyncio.to_thread(settle, system.folder, calm_ms))
                for _ in range(WARM_UP_BATCHES):
                    await mail.batch()
                steps.begin(name)
                phases.append(await mail.quiet(name, asked.quiet_seconds))
            else:
                steps.begin(name)
                command = system.command("run", *options, "--scheduled", "--json")
                phases.append(await mail.beside(name, command, asked.beside_seconds))
            steps.done(line(phases[-1]))
    return phases


def run(folder: Path, asked: Asked, steps: Steps) -> list[Phase]:
    """Fill, start, measure, stop."""
    steps.announce(1 + len(PLAN) + sum(options is None for _, options in PLAN))
    system = SavedTidegate(Site(folder=folder, live_port=free_port()), asked.rate)
    calm_ms = slow_fsync_ms(folder)
    steps.begin("filling")
    began = time.monotonic()
    fill(system.folder / "data", WORKERS, asked.quarantine, asked.ledger)
    octets = evict(system.folder / "data")
    steps.done(f"filled with {octets / GIBI:.2f} GiB in {time.monotonic() - began:.0f} s")
    try:
        system.start()
        return asyncio.run(measure(system, asked, calm_ms, steps))
    except* (OSError, BenchmarkError) as errors:
        raise BenchmarkError(f"{errors.exceptions[0]}\n{system.last_words()}") from errors
    finally:
        system.stop()


def evict(folder: Path) -> int:
    """Have all of a folder on the disk and out of memory; return its octets."""
    os.sync()
    octets = 0
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
            octets += path.stat().st_size
    return octets


def line(phase: Phase) -> str:
    """Return the figures of one stretch."""
    accepted, delivered = phase.accepted_ms, phase.delivered_ms
    text = (
        f"{phase.name:<9} {len(accepted):>6} messages · connect to 250 p50 {percentile(accepted, 50):.1f} p99 "
        f"{percentile(accepted, 99):.1f} ms · final dot to the next hop p50 {percentile(delivered, 50):.1f} p99 "
        f"{percentile(delivered, 99):.1f} ms"
    )
    if not phase.seconds:
        return text
    saved = f"{phase.octets / MEBI:,.0f} MiB in {phase.seconds:.0f} s, {phase.stored / MEBI:,.0f} MiB stored"
    return f"{text} · {saved}"


def main() -> int:
    """Check, fill, measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, metavar="SHARE", help="of 10 GiB and 2 GiB (default 1)")
    parser.add_argument("--quiet", type=float, default=QUIET_SECONDS, metavar="SECONDS", help="each quiet stretch")
    parser.add_argument("--beside", type=float, default=BESIDE_SECONDS, metavar="SECONDS", help="mail beside each run")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder on the disk to measure")
    parser.add_argument("--rate", type=int, metavar="MIB", help="MiB a second instead of what ships; 0: no bound")
    chosen = parser.parse_args()
    if lacking := SavedTidegate.obstacles():
        print("Cannot measure here:", *lacking, "", HOW_TO_GET, sep="\n", file=sys.stderr)
        return UNAVAILABLE
    asked = Asked(
        quarantine=chosen.scale * QUARANTINE_OCTETS,
        ledger=chosen.scale * LEDGER_OCTETS,
        rate=Backup().rate if chosen.rate is None else chosen.rate * MEBI,
        quiet_seconds=chosen.quiet,
        beside_seconds=chosen.beside,
    )
    try:
        with tempfile.TemporaryDirectory(prefix="backup-bench-", dir=chosen.data) as name, Steps() as steps:
            folder = Path(name)
            asked = asked.within(folder)
            print(f"{asked}; an fsync takes {fsync_ms(folder):.2f} ms")
            phases = run(folder, asked, steps)
    except BenchmarkError as error:
        print(f"failed: {error}", file=sys.stderr)
        return FAILED
    return judge(phases)


def judge(phases: Sequence[Phase]) -> int:
    """Print the figures and what they are worth; return the exit code."""
    print("", *map(line, phases), "", sep="\n")
    found = compare(phases)
    for each in found:
        print(f"{each.run}: p99 to the 250 {each.accepted:.2f} ×, to the next hop {each.delivered:.2f} × that without")
    noise = spread(phases)
    print(f"the worst quiet stretch has {noise:.2f} × the p99 of the best")
    if noise >= MOST_SLOWED:
        print("so much noise is the machine's own: repeat it where nothing else runs")
    late = missed(found)
    print(*(f"MISSED: {text}" for text in late), sep="\n")
    return TARGET_MISSED if late else OK


if __name__ == "__main__":
    sys.exit(main())
