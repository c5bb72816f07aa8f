"""What breaks if these fail: mail waits for the processor or the disk while a backup is made."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.backup import pace
from gateway.backup.pace import Pace
from gateway.cli.main import app

MEBI = 1024**2
GIVING_WAY = (
    "import os; from gateway.backup.pace import give_way; give_way(); print(os.sched_getscheduler(0), os.nice(0))"
)
REFUSED = (
    """
import os
def refuse(*_):
    raise PermissionError
os.sched_setscheduler = refuse
"""
    + GIVING_WAY
)


def after(program: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    return [int(word) for word in done.stdout.split()]


def test_a_run_goes_behind_everything_else():
    assert after(GIVING_WAY)[0] == os.SCHED_IDLE


def test_where_that_is_refused_it_is_nice_at_least():
    assert after(REFUSED) == [os.SCHED_OTHER, 19]


@pytest.mark.parametrize(
    ("option", "wanted"), [("--full", ["gave way"]), ("--scheduled", ["gave way"]), ("--fast", [])]
)
def test_a_run_by_hand_gives_way_too_unless_it_is_told_not_to(
    option: str, wanted: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []
    monkeypatch.setattr(pace, "give_way", lambda: asked.append("gave way"))
    (tmp_path / "policies").mkdir()
    configuration = tmp_path / "tidegate.toml"
    listen = '[[listen]]\naddress = "127.0.0.1:0"\n'
    configuration.write_text(
        f'hostname = "mx.test"\ndata = "{tmp_path}/data"\npolicies = "{tmp_path}/policies"\n{listen}'
    )
    done = CliRunner().invoke(app, ["backup", "run", "--config", str(configuration), option])
    assert "no backup folder is configured" in done.output
    assert asked == wanted


class Watch:
    """A clock that sleeps by going forward."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_pace_holds_over_small_and_large_pieces():
    watch = Watch()
    run = Pace(32 * MEBI, monotonic=watch.monotonic, sleep=watch.sleep)
    for octets in [MEBI // 8] * 64 + [8 * MEBI] * 3:
        run.spend(octets)
    assert watch.now == pytest.approx(1.0)


def test_what_was_not_used_up_is_not_made_up_for_in_a_burst():
    watch = Watch()
    run = Pace(MEBI, monotonic=watch.monotonic, sleep=watch.sleep)
    watch.now = 100.0
    run.spend(MEBI)
    assert watch.now == pytest.approx(101.0)
