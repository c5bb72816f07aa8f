"""What a part of the gateway costs the mail path: processor time a message, with the part and without, in one run.

For the benchmarks of those parts: each says how a burst is relayed, when the part is through with it, and what was
promised. Two gateways as told here are for a part that works by the clock (``servicelevel.py``); what works by the
message is switched on and off within one gateway (``incidents_path.py``), which takes the reading of processor time.

Both gateways are up for the whole run. They relay short bursts in turn, with, without, without, with (the next four the
other way round): whatever else the machine does in these seconds falls on both, and what changes slowly falls out.
Measured is the processor time of all processes of each gateway, those that have ended included, from the beginning of
the four bursts until the part has done its work on all of them. What each gateway takes while nothing is sent is
measured apart, in the same seconds for both, taken off, and charged at a stated rate of mail: a share of an idle hour
is no share of throughput, and a part must not look cheap because the load was heavy.

All of it is done anew for some starts of both gateways: how a process lies in memory makes it faster or slower by some
per cent for all of its life, which no number of bursts through it would show.

A part that works beside the mail path, where the workers' code is the same with the part and without, to the line, is
judged by the supervisor's processor time in the bursts, with what all processes take more while idle: then the workers'
noise, ten times as large, is not in it.

Of the shares of all fours the median is told with its interval at CONFIDENCE, from the ranks alone: no distribution is
assumed. The promise is kept when the whole interval is below it, not kept when all of it is above; otherwise it is
*not shown*, and more fours are needed.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.ledger.finished import shards
from gateway.storage import open_readonly
from tests.benchmarks.ranks import CONFIDENCE, interval
from tests.system.parts import Gateway, processes_of

# At so many messages a second idling is told beside: many gateways never see more.
CALM_RATE = 100.0
# Both gateways relay so often in one four.
_BURSTS_EACH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Two gateways that differ in one part.

    ``relay`` sends ``messages`` through one of them and returns when they are delivered; ``settle`` when the
    part has done its work on everything that was relayed.
    """

    part: Gateway
    plain: Gateway
    messages: int
    relay: Callable[[Gateway], None]
    settle: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Processor seconds of two gateways in the same ``seconds``: all processes, and the supervisors."""

    seconds: float
    part: float
    plain: float
    part_supervisor: float
    plain_supervisor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was measured: while idle, and for each four bursts, ``messages`` of them each."""

    idle: Spent
    fours: Sequence[Spent]
    messages: int

    def shares(self, rate: float) -> list[float]:
        """Return what the part costs in each four, in per cent of a message without it, at ``rate`` messages/s."""
        return [100 * (part - plain) / plain for part, plain in (self._each(four, rate) for four in self.fours)]

    def supervisor_shares(self, rate: float) -> list[float]:
        """Return as ``shares`` does what a part costs in the supervisor, and idle."""
        idle, sent = self.idle, _BURSTS_EACH * self.messages
        resting = (idle.part_supervisor - idle.plain_supervisor) / idle.seconds
        own = (idle.part - idle.plain) / idle.seconds / rate
        without = _mean(self._each(four, rate)[1] for four in self.fours)
        return [
            100 * ((four.part_supervisor - four.plain_supervisor - resting * four.seconds) / sent + own) / without
            for four in self.fours
        ]

    def _each(self, four: Spent, rate: float) -> tuple[float, float]:
        """Return the seconds of a message with the part and without."""
        sent, idle = _BURSTS_EACH * self.messages, self.idle
        part, plain = idle.part / idle.seconds, idle.plain / idle.seconds
        return (
            (four.part - part * four.seconds) / sent + part / rate,
            (four.plain - plain * four.seconds) / sent + plain / rate,
        )

    def each_milliseconds(self, rate: float) -> tuple[float, float, float]:
        """Return the milliseconds of a message: with the part, without, and the supervisor's part."""
        each = [self._each(four, rate) for four in self.fours]
        sent = _BURSTS_EACH * self.messages * len(self.fours)
        seconds = sum(four.seconds for four in self.fours)
        idle = (self.idle.part_supervisor - self.idle.plain_supervisor) / self.idle.seconds
        working = sum(four.part_supervisor - four.plain_supervisor for four in self.fours)
        supervisor = (working - idle * seconds) / sent + idle / rate
        with_it, without = (1e3 * _mean(column) for column in zip(*each, strict=True))
        return with_it, without, 1e3 * supervisor


Where = Callable[[Found, float], list[float]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare how much is measured, and at which rate idling is charged; ``fours`` and ``idle`` are of each start."""
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--fours", type=int, default=6)
    parser.add_argument("--idle", type=float, metavar="SECONDS", default=60.0)
    # About what two cores relay: the promise is a share of throughput.
    parser.add_argument("--rate", type=float, metavar="MESSAGES/S", default=400.0)


def folder_in(parent: str, name: str) -> Path:
    """Return a new folder for one of the gateways."""
    folder = Path(parent) / name
    folder.mkdir()
    return folder


def compare(trial: Trial, *, fours: int, idle_seconds: float) -> Found:
    """Measure both gateways while idle, and then so many times four bursts."""
    trial.settle()
    idle = _spent(trial, lambda: time.sleep(idle_seconds))
    found = [_spent(trial, lambda turn=turn: _four(trial, turn)) for turn in range(fours)]
    return Found(idle=idle, fours=found, messages=trial.messages)


def _four(trial: Trial, turn: int) -> None:
    first, second = (trial.part, trial.plain) if turn % 2 == 0 else (trial.plain, trial.part)
    for gateway in (first, second, second, first):
        trial.relay(gateway)
    trial.settle()


def _spent(trial: Trial, work: Callable[[], None]) -> Spent:
    begun, before = time.monotonic(), (processor(trial.part), processor(trial.plain))
    work()
    (part, part_supervisor), (plain, plain_supervisor) = (
        (after[0] - was[0], after[1] - was[1])
        for after, was in zip((processor(trial.part), processor(trial.plain)), before, strict=True)
    )
    return Spent(
        seconds=time.monotonic() - begun,
        part=part,
        plain=plain,
        part_supervisor=part_supervisor,
        plain_supervisor=plain_supervisor,
    )


def processor(gateway: Gateway) -> tuple[float, float]:
    """Return the processor seconds of a gateway so far, and of its supervisor alone, each with its ended children."""
    assert gateway.process is not None
    spent = {pid: seconds_of(pid) for pid in processes_of(gateway.folder)}
    return sum(spent.values()), spent[gateway.process.pid]


def seconds_of(pid: int) -> float:
    """Return what a process has used, to the nanosecond, and its ended children, to the clock tick."""
    try:
        # clock_getcpuclockid(3), which Python does not offer: the scheduler's account of all threads, ended ones too.
        own = time.clock_gettime(~pid << 3 | 2)
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        # It has ended since it was listed: its parent has its time.
        return 0.0
    # proc(5): cutime and cstime, of children that were waited for.
    return own + sum(map(int, text.rpartition(")")[2].split()[13:15])) / os.sysconf("SC_CLK_TCK")


def judged(starts: Sequence[Found], *, of: str, most_share: float, rate: float, where: Where = Found.shares) -> int:
    """Print what each start gave against the promise, in per cent; return 0 only when it is shown to be kept.

    ``where`` says which processes' time is judged.
    """

    def shares(where: Where, rate: float) -> list[float]:
        return [share for found in starts for share in where(found, rate)]

    for found in starts:
        _tell(found, of, rate)
    if where is not Found.shares:
        tell_median("of all processes", shares(Found.shares, rate))
    for calm in {CALM_RATE, rate} - {rate}:
        tell_median(f"judged, but with idling at {calm:g} messages/s", shares(where, calm))
    by = "" if where is Found.shares else " (judged by the parts, not by the whole)"
    verdict = verdict_of(tell_median("judged", shares(where, rate)), most_share)
    print(f"of {most_share:g} % promised{by}: {verdict}")
    return 0 if verdict == "kept" else 1


def tell_median(of: str, shares: Sequence[float]) -> tuple[float, float] | None:
    """Print the median of all fours with its interval; return the interval."""
    within = interval(shares)
    bounds = f"{within[0]:+.2f} to {within[1]:+.2f} % at {CONFIDENCE:.0%}" if within else "too few to tell how certain"
    print(f"{of}: median of {len(shares)} {statistics.median(shares):+.2f} %, {bounds}")
    return within


def _tell(found: Found, of: str, rate: float) -> None:
    idle = found.idle
    for name, spent in (("with", idle.part), ("without", idle.plain)):
        print(f"idle, {name} {of}: {1e3 * spent / idle.seconds:.2f} ms of one core a second, all processes")
    for four, share in zip(found.fours, found.shares(rate), strict=True):
        print(f"four bursts of {found.messages:,} in {four.seconds:.1f} s: {share:+.2f} %")
    part, plain, supervisor = found.each_milliseconds(rate)
    print(
        f"a message, with idling at {rate:g} messages/s: {part:.4f} ms with {of}, {plain:.4f} without; "
        f"the supervisor's part of that {supervisor:+.4f} ms, {100 * supervisor / plain:+.2f} %"
    )


def verdict_of(within: tuple[float, float] | None, most_share: float) -> str:
    """Return what an interval says of a limit."""
    if within is None or within[0] < most_share <= within[1]:
        return "not shown"
    return "kept" if within[1] < most_share else "NOT kept"


def delivered(data: Path) -> int:
    """Return how many rows the ledger has had."""
    found = 0
    for shard in shards(data):
        with open_readonly(shard) as database:
            found += int(database.read("SELECT coalesce(max(id), 0) FROM ledger")[0][0])
    return found


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)
