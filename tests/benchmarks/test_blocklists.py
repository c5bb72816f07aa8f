"""The ruler of local lists, once in little: every candidate answers alike, and a missed target is told."""

import json
import subprocess
import sys
from pathlib import Path

import blocklists


def test_a_small_run_measures_every_candidate_that_is_here(tmp_path: Path):
    out = tmp_path / "out.json"
    script = Path(blocklists.__file__)
    done = subprocess.run(
        [sys.executable, script, "--entries", "3000", "--json", out], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    assert set(found) == {"single addresses", "addresses and networks"}
    assert set(found["single addresses"]) == set(blocklists.CANDIDATES)
    ours = found["single addresses"]["tidegate"]
    assert ours["lookup_us"] > 0
    assert 30_000 < ours["memory_octets"] < 200_000


def test_different_answers_are_noticed_as_far_as_each_was_asked():
    same = {"a": {"answers": [True, False, True]}, "b": {"answers": [True, False]}, "c": {"missing": "c"}}
    assert blocklists.agree(same)
    assert not blocklists.agree(same | {"b": {"answers": [True, True]}})


def test_each_target_is_judged():
    figures = {"build_seconds": 5.1, "start_ms": 1.0, "memory_octets": 31_000_000, "lookup_us": 1.9}
    judged = {name: is_met for name, (_, is_met) in blocklists.judged(figures).items()}
    assert judged == {"compile_seconds": False, "start_ms": True, "shared_mb": False, "lookup_us": True}
