"""A queue full of mail for a dead next hop: how soon a start accepts mail again, and whether new mail suffers.

The backlog comes through the front door: messages for ``dead.test``, whose next hop refuses connections, each accepted
with its 250. Then the system is stopped and started again, and mail for the living next hop is timed before and after.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from load import BenchmarkError, ClosedPort, Load, await_banner, send
from measure import PeakMemory, settled_cpu_seconds, tree_pss_octets
from places import Place, deliver, placed
from progress import Steps
from systems import DEAD_DOMAIN, System

DEAD_RECIPIENT = f"recipient@{DEAD_DOMAIN}"
# Small enough that 100,000 of them fit any disk (400 MB), large enough to be mail.
BACKLOG_OCTETS = 4 * 1024
NEW_OCTETS, NEW_MESSAGES, NEW_RUNS = 8 * 1024, 4000, 3
FILL_STEP = 5000
# "Not slowed": a tenth is what runs of one and the same system differ by.
KEPT_TARGET = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class StartUp:
    """Seconds from the start command until the banner, until a first message's 250, until its arrival."""

    banner_seconds: float
    accepted_seconds: float
    delivered_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """One system with and without ``messages`` queued. Rates are messages a second to full delivery, each run's own."""

    system: str
    messages: int
    fill_seconds: float
    empty_start: StartUp
    full_start: StartUp
    empty_rates: tuple[float, ...]
    full_rates: tuple[float, ...]
    full_rest_octets: int
    full_peak_octets: int

    @property
    def kept(self) -> float:
        """Throughput with the backlog as a part of that without."""
        return median(self.full_rates) / median(self.empty_rates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many messages lie queued, and how many new ones a run sends."""

    queued: int
    new: int


def restart(place: Place) -> StartUp:
    """Stop the system, start it, and send it a first message at once."""
    system = _system(place)
    system.stop()
    began = time.perf_counter()
    system.launch()
    await_banner(place.port, place.name, alive=system.alive)
    banner = time.perf_counter()
    first = deliver(place, 1, NEW_OCTETS)
    return StartUp(
        banner_seconds=banner - began,
        accepted_seconds=banner - began + first.accepted_seconds,
        delivered_seconds=banner - began + first.seconds,
    )


def _system(place: Place) -> System:
    if place.system is None:
        raise TypeError("a place without a system has no queue")
    return place.system


def new_mail(place: Place, messages: int) -> tuple[float, ...]:
    """Rates of mail for the living next hop."""
    deliver(place, min(200, messages), NEW_OCTETS)
    rates = []
    for _ in range(NEW_RUNS):
        settled_cpu_seconds(_system(place).root())
        rates.append(messages / deliver(place, messages, NEW_OCTETS).seconds)
    return tuple(rates)


def fill(place: Place, messages: int, steps: Steps) -> float:
    """Queue the backlog; returns the seconds it took until the last 250."""
    started = time.perf_counter()
    for queued in range(0, messages, FILL_STEP):
        steps.begin(f"backlog, {place.name}, {queued} queued")
        part = min(FILL_STEP, messages - queued)
        send(Load(port=place.port, messages=part, octets=BACKLOG_OCTETS, recipient=DEAD_RECIPIENT))
        steps.done(f"backlog  {place.name:<9} {queued + part} queued after {time.perf_counter() - started:.0f} s")
    return time.perf_counter() - started


def measure(place: Place, size: Size, steps: Steps) -> Backlog:
    """The whole story of one system."""
    steps.begin(f"backlog, {place.name}, empty queue")
    empty_start = restart(place)
    empty_rates = new_mail(place, size.new)
    fill_seconds = fill(place, size.queued, steps)
    steps.begin(f"backlog, {place.name}, with {size.queued} queued")
    full_start = restart(place)
    root = _system(place).root()
    settled_cpu_seconds(root)
    rest = tree_pss_octets(root)
    with PeakMemory(root) as peak:
        full_rates = new_mail(place, size.new)
    settled_cpu_seconds(root)
    kept = _system(place).queued()
    if kept != size.queued:
        raise BenchmarkError(
            f"{place.name}: {kept} messages are queued, {size.queued} were accepted for the dead next hop"
        )
    return Backlog(
        system=place.name,
        messages=size.queued,
        fill_seconds=fill_seconds,
        empty_start=empty_start,
        full_start=full_start,
        empty_rates=empty_rates,
        full_rates=full_rates,
        full_rest_octets=rest,
        full_peak_octets=peak.octets,
    )


def compare(kinds: Sequence[type[System]], data: Path, size: Size, steps: Steps) -> list[Backlog]:
    """Measure the systems one after the other."""
    steps.announce(len(kinds) * (1 + -(-size.queued // FILL_STEP)))
    found: list[Backlog] = []
    for kind in kinds:
        with ClosedPort() as dead, placed(kind, data, dead_port=dead.port) as place:
            backlog = measure(place, size, steps)
        steps.done(f"backlog  {kind.name:<9} new mail keeps {backlog.kept:.2f} of its rate")
        found.append(backlog)
    return found
