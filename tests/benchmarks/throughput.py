"""Messages a second to full delivery, and what each message costs the server.

The clock runs from the start of ``smtp-source`` until ``smtp-sink`` has the last message: a relay that accepts quickly
and delivers later gains nothing. Runs are interleaved, system after system in each round, so that what else happens on
the machine meets all of them; a ratio is the median of the rounds' own ratios, each between two runs that were
neighbours in time.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from load import BenchmarkError
from measure import MachineShare, PeakMemory, cpu_seconds, machine, settled_cpu_seconds
from places import Place, deliver, direct, placed
from progress import Steps
from systems import System

# Enough to start every process and fill every cache before the first clock runs.
WARM_UP_MESSAGES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One size of message; ``messages`` make a run of seconds, ``target`` is the least ratio Tidegate / Postfix.

    ``mail`` is a file that is sent instead of ``octets`` of filling.
    """

    label: str
    octets: int
    messages: int
    target: float
    mail: Path | None = None


SCENARIOS = (
    Scenario(label="8 KB", octets=8 * 1024, messages=4000, target=1.5),
    Scenario(label="90 KB", octets=90 * 1024, messages=2000, target=1.2),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measured run.

    ``cpu_seconds`` is the server's, 0 for direct. ``other_load`` is the share of all cores, 0 to 1, that neither
    server, load, sink nor this program used.
    """

    system: str
    scenario: str
    round: int
    messages: int
    seconds: float
    accepted_seconds: float
    cpu_seconds: float
    other_load: float

    @property
    def rate(self) -> float:
        """Messages a second to full delivery."""
        return self.messages / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of CPU a message."""
        return 1000 * self.cpu_seconds / self.messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The most memory (PSS) and processes that one system took under the load of one size."""

    system: str
    scenario: str
    octets: int
    processes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """All that this mode measures."""

    runs: tuple[Run, ...] = ()
    peaks: tuple[Peak, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All rounds of one system and size: median, lowest and highest rate, medians of the rest."""

    system: str
    scenario: str
    rate: float
    rate_low: float
    rate_high: float
    accepted_rate: float
    cpu_ms: float
    other_load: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Tidegate / Postfix at one size: median, lowest and highest of the rounds' ratios."""

    scenario: str
    ratio: float
    low: float
    high: float
    target: float

    @property
    def met(self) -> bool:
        """Whether the median reaches the target."""
        return self.ratio >= self.target


def measure(place: Place, scenario: Scenario, number: int) -> Run:
    """One run. The server is at rest before and after, so that everything the messages cost it falls between."""
    server_before = settled_cpu_seconds(*place.roots) if place.roots else 0.0
    goal = place.sink.count + scenario.messages
    with machine() as share:
        known_before = _known_cpu_seconds(place)
        delivered = deliver(place, scenario.messages, scenario.octets, scenario.mail)
        known = _known_cpu_seconds(place) - known_before + delivered.source_cpu_seconds
    server_cpu = settled_cpu_seconds(*place.roots) - server_before if place.roots else 0.0
    if place.sink.count != goal:
        raise BenchmarkError(f"{place.name}: the sink holds {place.sink.count - goal} messages more than were sent")
    return Run(
        system=place.name,
        scenario=scenario.label,
        round=number,
        messages=scenario.messages,
        seconds=delivered.seconds,
        accepted_seconds=delivered.accepted_seconds,
        cpu_seconds=server_cpu,
        other_load=_other_load(share, known),
    )


def peak_memory(place: Place, scenario: Scenario) -> list[Peak]:
    """Take the memory in a run of its own: reading it from many processes would slow the run that is timed."""
    if place.root is None:
        return []
    with PeakMemory(place.root) as peak:
        deliver(place, scenario.messages, scenario.octets)
    return [Peak(system=place.name, scenario=scenario.label, octets=peak.octets, processes=peak.processes)]


def _known_cpu_seconds(place: Place) -> float:
    server = cpu_seconds(*place.roots)
    return server + cpu_seconds(place.sink.pid) + time.process_time()


def _other_load(share: MachineShare, known_seconds: float) -> float:
    return max(0.0, share.share(share.busy_seconds - known_seconds))


def compare(
    kinds: Sequence[type[System]], data: Path, scenarios: Sequence[Scenario], rounds: int, steps: Steps
) -> Throughput:
    """Run everything: A B A B …, each system with a sink of its own that lives as long as it does."""
    steps.announce(len(scenarios) * rounds * (len(kinds) + 1))
    runs: list[Run] = []
    peaks: list[Peak] = []
    with ExitStack() as stack:
        steps.begin("starting the systems")
        places = [stack.enter_context(direct())]
        places += [stack.enter_context(placed(kind, data)) for kind in kinds]
        for scenario in scenarios:
            for place in places:
                deliver(place, min(WARM_UP_MESSAGES, scenario.messages), scenario.octets)
            for number in range(1, rounds + 1):
                runs += [_step(place, scenario, number, steps) for place in places]
            for place in places:
                steps.begin(f"{scenario.label}, memory, {place.name}")
                peaks += peak_memory(place, scenario)
    return Throughput(runs=tuple(runs), peaks=tuple(peaks))


def _step(place: Place, scenario: Scenario, number: int, steps: Steps) -> Run:
    steps.begin(f"{scenario.label}, round {number}, {place.name}")
    run = measure(place, scenario, number)
    cost = f"{run.cpu_ms:6.2f} ms CPU each" if run.cpu_seconds else ""
    steps.done(
        f"{run.scenario:>5}  round {number}  {run.system:<9}{run.rate:7.0f} messages/s {cost:<20}"
        f"  other load {run.other_load:4.0%}"
    )
    return run


def summarise(runs: Iterable[Run]) -> list[Summary]:
    """Fold the rounds of each system and size, in the order they were run."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.scenario, run.system), []).append(run)
    return [_summary(group) for group in groups.values()]


def _summary(group: list[Run]) -> Summary:
    rates = [run.rate for run in group]
    return Summary(
        system=group[0].system,
        scenario=group[0].scenario,
        rate=median(rates),
        rate_low=min(rates),
        rate_high=max(rates),
        accepted_rate=median(run.messages / run.accepted_seconds for run in group),
        cpu_ms=median(run.cpu_ms for run in group),
        other_load=median(run.other_load for run in group),
    )


def ratios(runs: Sequence[Run], scenarios: Iterable[Scenario], ours: str, peer: str) -> list[Ratio]:
    """Compare ``ours`` with ``peer`` round by round; sizes that one of them did not run are left out."""
    found: list[Ratio] = []
    for scenario in scenarios:
        rates = {(run.system, run.round): run.rate for run in runs if run.scenario == scenario.label}
        pairs = [
            rate / rates[peer, turn] for (name, turn), rate in rates.items() if name == ours and (peer, turn) in rates
        ]
        if pairs:
            found.append(
                Ratio(
                    scenario=scenario.label,
                    ratio=median(pairs),
                    low=min(pairs),
                    high=max(pairs),
                    target=scenario.target,
                )
            )
    return found
