"""What a backup costs the mail beside it: time, size, and how much later mail in flight is accepted and delivered.

    python tests/benchmarks/backup.py                    # 10 GiB of quarantine and 2 GiB of ledger, twice: an hour
    python tests/benchmarks/backup.py --scale 0.05 --beside 120 --quiet 20 --rounds 1      # a twentieth of it, 6 pairs

The stores are filled first (``backup_filling``): quarantined mail of 40 KB in the shards' rows and of 400 KB in files,
half of the octets each, and ledger rows as deliveries write them. Contents shrink to about half and none occurs twice;
nothing is sparse. What was filled is evicted from memory, so that a run reads from the disk; and the gateway is waited
for until it has summed up the ledger it finds, as one that wrote it has long done. Then mail of 8 KB comes at 50
messages a second, each over a connection of its own, for five stretches, before each quiet one of which the disk has
come to rest (``calm``):

    quiet · a full run, encrypted · quiet · an increment · quiet

All of this is a round; each (``--rounds``) begins with nothing, and the pairs of windows of all are judged together.

Beside mail a run of this size takes half an hour and more. Mail comes for its first ten minutes (``--beside``), in
which it is stopped and let go on in turn, 10 seconds each (``--windows``); then there is no mail, which lets the run go
on at its rate. The time of a run is told without that in which it was stopped.

Judged is, for each run, the p99 from connecting to the 250, and from the final dot to the next hop, while it works
against the same while it is stopped, in windows next to each other: less than 20 % more (``backup_windows`` says how
that is shown). The machine by itself makes the quiet stretches, minutes apart, differ by more than that. The first
window has the start of the run in it; the end of a run is beside no mail.

What a stopped run still holds is in both, and so not in what is judged: a moment of a store, whose log grows meanwhile,
open files, and memory. What a full run (5.4 GiB of it) has written may still be on its way to the disk while it is
stopped: the kernel's part of that is sent on at once, the device's lasts. Therefore both runs, working and stopped,
are held against the quiet stretches around them too, and how far these differ among themselves is printed. That is not
judged: it can tell of twice as much, not of a fifth.

When the disk has not room for data and backup, less is filled, and said so. Everything is removed at the end. Sends to
127.0.0.1 only. Exit: 0 the promise was kept by both runs in both figures, 1 it was not, or that is not shown,
69 something is missing here, 70 failed.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import backup_windows
from backup_filling import fill
from backup_pausing import Pausable
from backup_windows import FIGURES, Pair, Slowed, Times, Window, paired, split, times, together
from calm import rest, settle, slow_fsync_ms
from latency import StampingSink, Stamps, percentile, send_evenly
from load import LOOPBACK, BenchmarkError, free_port
from measure import cpu_seconds
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
# The data were evicted, and with them what mail itself reads.
WARM_UP_SECONDS = 12.0
# 1,500 messages: 15 of them are beyond the p99.
QUIET_SECONDS = 30.0
# Of a run beside mail: 31 pairs a round. In much more, half of which the run is stopped, the log of the store that it
# holds would come to its bound, which hurries a run.
BESIDE_SECONDS = 620.0
# 31 pairs told of 1.07 × to 14 % only, 62 tell of it to 10 %.
ROUNDS = 2
# 450 messages and those of the first second: 4 of them are beyond the p99. Why no longer: ``backup_windows``.
WINDOW_SECONDS = 10.0
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
    """What is measured: octets of each kind, octets a second of a run; seconds of mail without and beside a run."""

    quarantine: float
    ledger: float
    rate: int
    quiet_seconds: float
    beside_seconds: float
    window_seconds: float = WINDOW_SECONDS

    @property
    def pairs(self) -> int:
        """How often a run beside mail is let go on and stopped."""
        return int(self.beside_seconds / self.window_seconds / 2)

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
    """One stretch: every message of it, beside a run those of the windows in which it worked (``pairs`` has both).

    What a run said of itself, with ``seconds`` less those in which it was stopped; the MiB it read a second in the
    windows in which it worked, and in the others.
    """

    name: str
    times: Times
    pairs: tuple[Pair, ...] = ()
    seconds: float = 0.0
    octets: int = 0
    stored: int = 0
    pace_mib: tuple[float, float] = (0.0, 0.0)


def against_quiet(phases: Sequence[Phase]) -> list[str]:
    """Hold each run against the quiet stretches around it, and those against each other; nothing of it is judged."""
    found = []
    for before, during, after in zip(phases, phases[1:], phases[2:], strict=False):
        quiet, paused = together((before.times, after.times)), together([pair.paused for pair in during.pairs])
        found += [
            f"{during.name}, {words}: {during.times.p99(what) / quiet.p99(what):.2f} × the p99 of the quiet stretches "
            f"around, paused {paused.p99(what) / quiet.p99(what):.2f} ×"
            for what, words in FIGURES
            if during.pairs
        ]
    return [*found, f"the worst quiet stretch has {spread(phases):.2f} × the p99 of the best"]


def spread(phases: Sequence[Phase]) -> float:
    """Return how many times as high the p99 of the worst quiet stretch is as that of the best."""
    quiet = [phase.times.p99("accepted") for phase in phases if not phase.pairs]
    return max(quiet) / min(quiet)


# Measuring ------------------------------------------------------------------------------------------------------------


class Mail:
    """An even stream of messages through one gateway."""

    def __init__(self, port: int, stamps: Stamps) -> None:
        self._port, self._stamps, self._next = port, stamps, 0

    async def flow(self, until: asyncio.Event) -> range:
        """Send until then; return the serial numbers when all of it is delivered."""
        first = self._next
        await send_evenly(self._port, self._numbers(until), self._stamps)
        return range(first, self._next)

    def _numbers(self, until: asyncio.Event) -> Iterator[int]:
        while not until.is_set():
            self._next += 1
            yield self._next - 1

    async def quiet(self, seconds: float) -> Times:
        """Send without a backup."""
        until = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, until.set)
        return times(await self.flow(until), self._stamps)

    async def beside(self, name: str, command: Sequence[str], asked: Asked) -> Phase:
        """Send beside a backup that is stopped and let go on, and wait for its end without mail."""
        until = asyncio.Event()
        async with await Pausable.start(command) as program, asyncio.TaskGroup() as group:
            sending = group.create_task(self.flow(until))
            windows = await _in_turn(program, asked)
            until.set()
            serials = await sending
            said = json.loads(await program.said())
        found = split(windows, serials, self._stamps)
        pairs = paired(windows, found)
        if not pairs:
            raise BenchmarkError(f"{name}: ended before there were two windows of it")
        stopped = sum(window.end - window.begin for window in windows if window.state == "paused")
        return Phase(
            name=name,
            times=together([pair.beside for pair in pairs]),
            pairs=tuple(pairs),
            seconds=said["finished_at"] - said["started_at"] - stopped,
            octets=int(said["octets"]),
            stored=int(said["added_octets"]),
            pace_mib=(_pace_mib(windows, "beside"), _pace_mib(windows, "paused")),
        )


async def _in_turn(program: Pausable, asked: Asked) -> list[Window]:
    """Let a run go on and stop it in turn; return the windows that it did not end in."""
    windows: list[Window] = []
    for state in backup_windows.states(asked.pairs):
        began = time.perf_counter()
        if state == "paused":
            await program.pause()
        else:
            program.go_on()
        read = program.read_octets()
        await asyncio.wait([program.ending], timeout=began + asked.window_seconds - time.perf_counter())
        if program.ended:
            break
        ended = time.perf_counter()
        windows.append(Window(state=state, begin=began, end=ended, read_octets=program.read_octets() - read))
    program.go_on()
    return windows


def _pace_mib(windows: Sequence[Window], state: backup_windows.State) -> float:
    of_it = [window for window in windows if window.state == state]
    return (
        sum(window.read_octets for window in of_it) / MEBI / (sum(window.end - window.begin for window in of_it) or 1)
    )


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
                await mail.quiet(WARM_UP_SECONDS)
                steps.begin(name)
                phases.append(Phase(name=name, times=await mail.quiet(asked.quiet_seconds)))
            else:
                steps.begin(name)
                command = system.command("run", *options, "--scheduled", "--json")
                phases.append(await mail.beside(name, command, asked))
            steps.done(line(phases[-1]))
    return phases


def run(folder: Path, asked: Asked, steps: Steps) -> list[Phase]:
    """Fill, start, measure, stop."""
    steps.announce(2 + len(PLAN) + sum(options is None for _, options in PLAN))
    system = SavedTidegate(Site(folder=folder, live_port=free_port()), asked.rate)
    calm_ms = slow_fsync_ms(folder)
    steps.begin("filling")
    began = time.monotonic()
    fill(system.folder / "data", WORKERS, asked.quarantine, asked.ledger)
    octets = evict(system.folder / "data")
    steps.done(f"filled with {octets / GIBI:.2f} GiB in {time.monotonic() - began:.0f} s")
    try:
        system.start()
        steps.begin("summing up the ledger")
        steps.done(rest(lambda: cpu_seconds(*system.roots())))
        return asyncio.run(measure(system, asked, calm_ms, steps))
    except* (OSError, BenchmarkError) as errors:
        raise BenchmarkError(f"{_first(errors)}\n{system.last_words()}") from errors
    finally:
        system.stop()


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


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
    text = f"{phase.name:<9} {_figures(phase.times)}"
    if not phase.pairs:
        return text
    paused = _figures(together([pair.paused for pair in phase.pairs]))
    return (
        f"{text}\n  paused  {paused}\n          {phase.octets / MEBI:,.0f} MiB in {phase.seconds:.0f} s, "
        f"{phase.stored / MEBI:,.0f} MiB stored; it read {phase.pace_mib[0]:.1f} MiB a second, {phase.pace_mib[1]:.1f} "
        "paused"
    )


def _figures(found: Times) -> str:
    accepted, delivered = found.accepted_ms, found.delivered_ms
    return (
        f"{len(accepted):>6} messages · connect to 250 p50 {percentile(accepted, 50):.1f} p99 "
        f"{percentile(accepted, 99):.1f} ms · final dot to the next hop p50 {percentile(delivered, 50):.1f} p99 "
        f"{percentile(delivered, 99):.1f} ms"
    )


def main() -> int:
    """Check, fill, measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, metavar="SHARE", help="of 10 GiB and 2 GiB (default 1)")
    parser.add_argument("--quiet", type=float, default=QUIET_SECONDS, metavar="SECONDS", help="each quiet stretch")
    parser.add_argument("--beside", type=float, default=BESIDE_SECONDS, metavar="SECONDS", help="mail beside each run")
    parser.add_argument(
        "--windows", type=float, default=WINDOW_SECONDS, metavar="SECONDS", help="a run goes on, or not"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder on the disk to measure")
    parser.add_argument("--rate", type=int, metavar="MIB", help="MiB a second instead of what ships; 0: no bound")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of all of it")
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
        window_seconds=chosen.windows,
    )
    try:
        rounds = [one_round(chosen.data, asked) for _ in range(chosen.rounds)]
    except BenchmarkError as error:
        print(f"failed: {error}", file=sys.stderr)
        return FAILED
    return judge(rounds)


def one_round(data: Path | None, asked: Asked) -> list[Phase]:
    """Measure all once, in a folder of its own; BenchmarkError."""
    with tempfile.TemporaryDirectory(prefix="backup-bench-", dir=data) as name, Steps() as steps:
        folder = Path(name)
        asked = asked.within(folder)
        print(f"{asked}; an fsync takes {fsync_ms(folder):.2f} ms", flush=True)
        return run(folder, asked, steps)


def judge(rounds: Sequence[Sequence[Phase]]) -> int:
    """Print the figures, of each round, and what all pairs of all rounds show; return the exit code."""
    for phases in rounds:
        print("", *map(line, phases), *against_quiet(phases), sep="\n")
    found = []
    for name, options in PLAN:
        if options is not None:
            pairs = [pair for phases in rounds for phase in phases if phase.name == name for pair in phase.pairs]
            found += backup_windows.judged(name, pairs)
    print("\njudged:", *found, sep="\n")
    return OK if kept(found) else TARGET_MISSED


def kept(found: Sequence[Slowed]) -> bool:
    """Tell whether the promise is shown to be kept, by every run in every figure."""
    return bool(found) and all(slowed.verdict == "kept" for slowed in found)


if __name__ == "__main__":
    sys.exit(main())
