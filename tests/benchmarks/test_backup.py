"""The backup's ruler: a run that the mail feels misses the target, noise without a run does not."""

from backup import Phase, judge


def phase(name: str, p99: float, *, seconds: float = 0.0) -> Phase:
    return Phase(name=name, accepted_ms=(1.0,) * 98 + (p99,) * 2, arrived_ms=(1.0,), seconds=seconds)


def test_mail_that_waits_for_the_disk_misses_the_target():
    slowed, missed = judge([phase("before", 10), phase("full", 13, seconds=5), phase("after", 10)])
    assert slowed == 1.3
    assert missed


def test_a_run_within_the_noise_of_the_quiet_stretches_meets_it():
    quiet = [phase("before", 8), phase("after", 10)]
    slowed, missed = judge([*quiet, phase("full", 11, seconds=5), phase("increment", 9, seconds=1)])
    assert slowed == 1.1
    assert missed == []
