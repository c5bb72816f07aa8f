"""The rulers of the rules' benchmark, and all of it once in little."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import rule_workload
import rules

from gateway.mail.content import Content

PROGRAM = Path(rules.__file__)


def judged(**changed):
    figures = {"rules": 1000, "octets": 8192, "median_ms": 1.0, "p99_ms": 2.0, "stdlib_ms": 9.0, "fired": 1.0}
    return rules.Judging(**{**figures, **changed})


def loaded(lag_ms):
    return rules.Loading(
        rules=10_000, read_seconds=1.0, compile_seconds=0.1, memory_mib=20.0, lag_ms=lag_ms, busy_lag_ms=1.0
    )


def test_half_of_the_rules_are_chinese_and_all_are_sound():
    text = rule_workload.rules(60)
    read = rules.read(text)
    assert len(read) == 60
    chinese = [part for part in text.split("[[rule]]")[1:] if not part.isascii()]
    assert len(chinese) in range(25, 36)


def test_mails_have_the_size_asked_for_and_both_kinds_of_text():
    for octets in rules.SIZES:
        for mail in rule_workload.mails(octets, 4):
            assert 0.6 * octets < len(mail) < 1.6 * octets
            assert [part.media_type for part in Content(mail).mime.leaves] == ["text/plain", "text/html"]


def test_the_same_seed_gives_the_same_work():
    assert rule_workload.rules(20) == rule_workload.rules(20)
    assert rule_workload.mails(4096, 2) == rule_workload.mails(4096, 2)


def test_only_a_missed_target_is_missed():
    assert (
        rules.Results(
            judging=(judged(), judged(octets=204_800, median_ms=50.0)), loading=(loaded(20.0),), textless=()
        ).missed
        == []
    )
    missed = rules.Results(
        judging=(judged(median_ms=2.1), judged(rules=10_000, median_ms=7.9)), loading=(loaded(51.0),), textless=()
    ).missed
    assert [text.partition(":")[0] for text in missed] == ["1000 rules, 8 KB", "10000 rules"]


@pytest.mark.timeout(180)
def test_all_of_it_in_little(tmp_path):
    out = tmp_path / "out.json"
    command = [sys.executable, str(PROGRAM), "--rules", "40", "--messages", "2", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False, cwd=PROGRAM.parents[2])
    assert done.returncode in {0, 1}, done.stderr
    results = json.loads(out.read_text())
    assert [each["octets"] for each in results["judging"]] == list(rules.SIZES)
    assert results["loading"][0]["rules"] == 40
