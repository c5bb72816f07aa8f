"""A benchmark that counts wrongly is worse than none: its rulers are tested here, and all of it once in little."""

import json
import subprocess
import sys
from pathlib import Path

import measure
import programs
import pytest
import report
from backlog import Backlog, StartUp
from latency import percentile
from load import BenchmarkError, ClosedPort, Load, Sink, await_banner, send
from places import Place, deliver
from setting import Setting
from throughput import Ratio, Run, Scenario, ratios, summarise

SIZE = Scenario(label="8 KB", octets=8192, messages=100, target=1.5)
START = StartUp(banner_seconds=0.1, accepted_seconds=0.2, delivered_seconds=0.3)
HERE = Setting(
    measured_at="2026-11-22T12:00:00+00:00",
    processor="test",
    cores=2,
    memory_octets=1,
    kernel="test",
    file_system="ext4",
    fsync_ms=0.3,
    python="3.11",
    systems=("Postfix",),
)
BURN = "import time\nwhile time.process_time() < 0.4: pass"
# The burner is a grandchild that has ended and was waited for before the parent says so.
PARENT = f"""import subprocess, sys
subprocess.run([sys.executable, "-c", {BURN!r}])
print("done", flush=True)
sys.stdin.read()"""

needs_load = pytest.mark.skipif(
    bool(programs.missing(("smtp-source", "smtp-sink"))), reason="needs smtp-source, smtp-sink"
)


def run(system: str, number: int, seconds: float) -> Run:
    return Run(
        system=system,
        scenario=SIZE.label,
        round=number,
        messages=100,
        seconds=seconds,
        accepted_seconds=seconds / 2,
        cpu_seconds=0.2,
        other_load=0.0,
    )


def test_cpu_of_children_that_have_ended_is_counted():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"done\n"
        assert [member.pid for member in measure.tree(parent.pid)] == [parent.pid]
        assert measure.cpu_seconds(parent.pid) >= 0.4
        parent.communicate()


def test_a_tree_holds_children_of_children():
    program = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        parent.stdout.readline()
        members = measure.tree(parent.pid)
        assert len(members) == 2
        assert members[1].parent == parent.pid
        assert measure.tree_pss_octets(parent.pid) > measure.pss_octets(parent.pid) > 1024**2
        parent.communicate(b"\n")


def test_a_process_that_is_gone_costs_nothing():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert measure.tree(process.pid) == []
    assert measure.pss_octets(process.pid) == 0


def test_percentiles_are_nearest_rank():
    assert percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.0
    assert percentile([float(number) for number in range(1, 101)], 99) == 99.0
    assert percentile([7.0], 99) == 7.0


def test_ratios_compare_neighbours_in_time_and_not_medians():
    runs = [run("tidegate", 1, 1.0), run("postfix", 1, 2.0), run("tidegate", 2, 10.0), run("postfix", 2, 16.0)]
    (ratio,) = ratios(runs, [SIZE], "tidegate", "postfix")
    assert ratio == Ratio(scenario="8 KB", ratio=pytest.approx(1.8), low=pytest.approx(1.6), high=2.0, target=1.5)
    assert ratio.met


def test_one_system_alone_is_not_judged():
    assert ratios([run("postfix", 1, 2.0)], [SIZE], "tidegate", "postfix") == []


def test_a_summary_keeps_the_extremes():
    (summary,) = summarise([run("postfix", 1, 1.0), run("postfix", 2, 2.0), run("postfix", 3, 4.0)])
    assert (summary.rate_low, summary.rate, summary.rate_high) == (25.0, 50.0, 100.0)
    assert summary.cpu_ms == pytest.approx(2.0)


def test_missed_targets_are_named():
    slow = Ratio(scenario="8 KB", ratio=1.4, low=1.0, high=1.6, target=1.5)
    slowed = Backlog(
        system="tidegate",
        messages=10,
        fill_seconds=1.0,
        empty_start=START,
        full_start=START,
        empty_rates=(100.0,),
        full_rates=(50.0,),
        full_rest_octets=1,
        full_peak_octets=1,
    )
    results = report.Results(setting=HERE, ratios=(slow,), backlogs=(slowed,))
    assert results.missed == ["8 KB: 1.40 < 1.5", "backlog: new mail keeps 0.50 < 0.9"]


def test_what_is_missing_is_named():
    assert programs.missing(("no-such-program-here", "sh")) == ["no-such-program-here: not found"]


@needs_load
@pytest.mark.real
def test_the_sink_knows_when_the_last_message_has_come():
    with Sink() as sink:
        place = Place(name="direct", port=sink.port, sink=sink)
        deliver(place, 40, 2048)
        delivered = deliver(place, 60, 2048)
        assert sink.count == 100
        assert 0 < delivered.seconds < 30


@needs_load
@pytest.mark.real
def test_a_server_that_refuses_is_an_error_with_its_words():
    with ClosedPort() as closed, pytest.raises(BenchmarkError, match=r"gave up.*refused"):
        send(Load(port=closed.port, messages=1, octets=100, recipient="a@bench.test"))


def test_a_server_that_has_ended_is_not_waited_for():
    with ClosedPort() as closed, pytest.raises(BenchmarkError, match="and has ended"):
        await_banner(closed.port, "nobody", alive=lambda: False)


@needs_load
@pytest.mark.real
@pytest.mark.skipif(bool(programs.postfix_obstacles()), reason="needs Postfix and root")
def test_the_whole_of_it_with_postfix_alone(tmp_path: Path):
    program = Path(__file__).with_name("relay.py")
    figures = tmp_path / "figures.json"
    # 20 messages a run prove the path.
    options = ["--only", "postfix", "--rounds", "1", "--scale", "0.005", "--json", str(figures)]
    done = subprocess.run([sys.executable, str(program), *options], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())["throughput"]
    runs = found["runs"]
    assert [(each["system"], each["scenario"]) for each in runs] == [
        ("direct", "8 KB"),
        ("postfix", "8 KB"),
        ("direct", "90 KB"),
        ("postfix", "90 KB"),
    ]
    assert [each["processes"] > 4 for each in found["peaks"]] == [True, True]
