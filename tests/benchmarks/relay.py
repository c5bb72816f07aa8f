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
from dataclasses import replace
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


def measure(chosen: argparse.Namespace, kinds: list[type[System]], data: Path, steps: Steps) -> report.Results:
    """Run the chosen modes, each in a folder of its own."""
    scale = chosen.scale
    scenarios = [replace(each, messages=max(20, round(each.messages * scale))) for each in throughput.SCENARIOS]

    def room(name: str) -> Path:
        folder = data / name
        folder.mkdir(mode=0o755)
        return folder

    results = report.Results(setting=setting.look(data, kinds))
    if chosen.throughput:
        runs = throughput.compare(kinds, room("throughput"), scenarios, chosen.rounds, steps)
        judged = throughput.ratios(runs, scenarios, "tidegate", chosen.peer)
        results = replace(results, runs=tuple(runs), ratios=tuple(judged))
    if chosen.latency:
        results = replace(results, latencies=tuple(latency.compare(kinds, room("latency"), steps)))
    if chosen.memory:
        results = replace(results, footprints=tuple(footprint.compare(kinds, room("memory"), steps)))
    if chosen.backlog:
        new = max(20, round(backlog.NEW_MESSAGES * scale))
        found = backlog.compare(kinds, room("backlog"), chosen.backlog, new, steps)
        results = replace(results, backlogs=tuple(found))
    return results


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
            results = measure(chosen, kinds, Path(folder), steps)
    except BenchmarkError as error:
        print(f"failed: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    report.show(results, report.console())
    if chosen.json:
        report.write_json(results, chosen.json)
    if chosen.plot:
        plot.draw(results, chosen.plot)
    return TARGET_MISSED if results.missed else OK


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
