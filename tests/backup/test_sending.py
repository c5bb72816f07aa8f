"""What breaks if these fail: a program that hangs keeps every later backup from being made, or nobody hears of it."""

import os
import sys
from pathlib import Path

import pytest

from gateway.backup.pace import Pace
from gateway.backup.running import send
from tests.system.parts import command_line, until

# It starts another, which keeps its output open, tells which, and hangs with it.
HANGS = """
import subprocess, sys
from pathlib import Path
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("uploading 3 of 4", flush=True)
Path(sys.argv[1]).write_text(str(other.pid))
other.wait()
"""


def python(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", program, *arguments]


def test_what_succeeds_is_no_trouble():
    assert send([], 60, Pace(0)) == []
    assert send(python("print('done')"), 60, Pace(0)) == []


@pytest.mark.parametrize(("rate", "policy"), [(1024**2, os.SCHED_IDLE), (0, os.SCHED_OTHER)])
def test_it_gives_way_to_the_mail_as_a_run_does(rate: int, policy: int):
    assert send(python(f"import os, sys; sys.exit(os.sched_getscheduler(0) != {policy})"), 60, Pace(rate)) == []


def test_what_fails_is_told_with_its_last_words():
    (trouble,) = send(python("import sys; print('x' * 5000); sys.exit('no route to away')"), 60, Pace(0))
    assert "ended with 1" in trouble
    assert trouble.endswith("no route to away")
    assert len(trouble) < 500
    (trouble,) = send(["/there/is/none"], 60, Pace(0))
    assert trouble == "not sent: /there/is/none: No such file or directory"


def test_what_hangs_is_ended_with_all_that_it_started(tmp_path: Path):
    told = tmp_path / "pid"
    command = python(HANGS, str(told))
    seconds = 0.5
    while True:
        # However slow the machine is: until there was time to begin.
        (trouble,) = send(command, seconds, Pace(0))
        if told.exists() and told.read_text():
            break
        seconds *= 2
    assert "was ended after" in trouble
    assert trouble.endswith("uploading 3 of 4")
    until(lambda: not command_line(int(told.read_text())), what="the end of what it had started")
