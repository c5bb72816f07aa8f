"""Tidegate against Postfix on this machine: throughput, CPU, memory, latency, backlog. README.md explains each figure.

    python tests/benchmarks/relay.py --peer postfix                  throughput, about four minutes
    python tests/benchmarks/relay.py --latency --memory              those two only
    python tests/benchmarks/relay.py --backlog 100000                ten minutes and more

Installs nothing, touches no installed mail system, sends to 127.0.0.1 only. Exit: 0 targets met (or none judged), 1 a
target missed, 69 something is missing here, 70 a system failed, 130 interrupted.
"""

import argparse
import importlib.util
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

if importlib.util.find_spec("rich") is None:
    sys.exit("rich: Python package not found; pip install '.[test]' in the project brings all this program needs")

# isort: split
import backlog
import footprint
import latency
import plot
import report
import setting
import throughput
from load import BenchmarkError
from programs import HOW_TO_GET, missing, package_obstacles
from progress import Steps
from report import Results
from systems import SYSTEMS, System

OK, TARGET_MISSED, UNAVAILABLE, FAILED, INTERRUPTED = 0, 1, 69, 70, 130


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=["postfix"], default="postfix", help="what Tidegate is compared with")
    parser.add_argument("--only", choices=list(SYSTEMS), help="run one system only; nothing is judged")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="interleaved runs of each system and size")
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="X", help="multiply the messages of a run (0.1: quick look)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder on the disk to measure (default: the temporary folder)"
    )
    modes = parser.add_argument_group("what to measure (throughput when none is named)")
    modes.add_argument("--throughput", action="store_true", help="messages/s, CPU and peak memory at 8 KB and 90 KB")
    modes.add_argument("--latency", action="store_true", help="added latency at 50 messages/s")
    modes.add_argument("--memory", action="store_true", help="resident memory: 500 idle clients, a 50 MB message")
    modes.add_argument(
        "--backlog", type=int, default=0, metavar="N", help="start-up and new mail with N queued messages"
    )
    output = parser.add_argument_group("output besides the tables")
    output.add_argument("--json", type=Path, metavar="FILE", help="every run and figure")
    output.add_argument("--plot", type=Path, metavar="FILE.png", help="a picture of throughput and latency")
    chosen = parser.parse_args(words)
    chosen.throughput |= not (chosen.latency or chosen.memory or chosen.backlog)
    return chosen


def obstacles(chosen: argparse.Namespace, kinds: list[type[System]]) -> list[str]:
    """Everything that is missing, all at once."""
    found = missing(("smtp-source", "smtp-sink"))
    for kind in kinds:
        found += kind.obstacles()
    if chosen.plot:
        found += package_obstacles("matplotlib", "--plot")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What every mode needs to know."""

    chosen: argparse.Namespace
    kinds: list[type[System]]
    data: Path
    steps: Steps

    def room(self, mode: str) -> Path:
        """A folder for one mode, so that no mode finds another's queue."""
        folder = self.data / mode
        folder.mkdir(mode=0o755)
        return folder

    def scaled(self, messages: int) -> int:
        """Messages of a run under ``--scale``; 20 keep every session busy once."""
        scale: float = self.chosen.scale
        return max(20, round(messages * scale))


def run_throughput(plan: Plan, results: Results) -> Results:
    """Add the runs and their ratios."""
    scenarios = [replace(each, messages=plan.scaled(each.messages)) for each in throughput.SCENARIOS]
    found = throughput.compare(plan.kinds, plan.room("throughput"), scenarios, plan.chosen.rounds, plan.steps)
    judged = throughput.ratios(found.runs, scenarios, "tidegate", plan.chosen.peer)
    return replace(results, throughput=found, ratios=tuple(judged))


def run_latency(plan: Plan, results: Results) -> Results:
    """Add the latencies."""
    return replace(results, latencies=tuple(latency.compare(plan.kinds, plan.room("latency"), plan.steps)))


def run_memory(plan: Plan, results: Results) -> Results:
    """Add the footprints."""
    return replace(results, footprints=tuple(footprint.compare(plan.kinds, plan.room("memory"), plan.steps)))


def run_backlog(plan: Plan, results: Results) -> Results:
    """Add the backlogs."""
    size = backlog.Size(queued=plan.chosen.backlog, new=plan.scaled(backlog.NEW_MESSAGES))
    return replace(results, backlogs=tuple(backlog.compare(plan.kinds, plan.room("backlog"), size, plan.steps)))


MODES: dict[str, Callable[[Plan, Results], Results]] = {
    "throughput": run_throughput,
    "latency": run_latency,
    "memory": run_memory,
    "backlog": run_backlog,
}


def measure(plan: Plan) -> tuple[Results, BenchmarkError | None]:
    """Run the chosen modes; when one fails, what the earlier ones found is kept."""
    results = Results(setting=setting.look(plan.data, plan.kinds))
    for name, mode in MODES.items():
        try:
            results = mode(plan, results) if getattr(plan.chosen, name) else results
        except BenchmarkError as error:
            return results, error
    return results, None


def main() -> int:
    """Check, measure, print, judge."""
    chosen = arguments()
    kinds = [SYSTEMS[chosen.only]] if chosen.only else [SYSTEMS["tidegate"], SYSTEMS[chosen.peer]]
    if lacking := obstacles(chosen, kinds):
        print("Cannot measure here:", *lacking, "", HOW_TO_GET, sep="\n", file=sys.stderr)
        return UNAVAILABLE
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="relay-bench-", dir=chosen.data) as folder, Steps() as steps:
            # Postfix's own user has to pass through.
            Path(folder).chmod(0o755)
            results, error = measure(Plan(chosen=chosen, kinds=kinds, data=Path(folder), steps=steps))
    except KeyboardInterrupt:
        return INTERRUPTED
    publish(chosen, results)
    if error:
        print(f"failed: {error}", file=sys.stderr)
        return FAILED
    return TARGET_MISSED if results.missed else OK


def publish(chosen: argparse.Namespace, results: Results) -> None:
    """Tables always, files where asked for."""
    report.show(results, report.console())
    if chosen.json:
        report.write_json(results, chosen.json)
    if chosen.plot:
        plot.draw(results, chosen.plot)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
