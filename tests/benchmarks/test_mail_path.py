"""The ruler of a part's share of the mail path: it calls nothing shown that chance could have made."""

import pytest

from tests.benchmarks import ranks
from tests.benchmarks.mail_path import Found, Spent, judged, verdict_of
from tests.benchmarks.ranks import interval


def spent(part: float, plain: float, seconds: float = 10.0) -> Spent:
    return Spent(seconds=seconds, part=part, plain=plain, part_supervisor=part / 10, plain_supervisor=plain / 10)


def test_the_median_lies_between_the_ranks_that_the_binomial_distribution_leaves():
    # Tabulated (Conover, Practical Nonparametric Statistics, A3): so many values are left out on each side at 95 %.
    for count, outside in ((6, 1), (10, 2), (15, 4), (24, 7)):
        assert interval(list(range(count))) == (outside - 1, count - outside)
    assert interval([1.0, 2.0, 3.0, 4.0, 5.0]) is None


def test_of_many_values_as_many_means_are_left_out_as_an_exact_count_says(monkeypatch):
    exactly = ranks._left_out(ranks.MOST_EXACT)
    monkeypatch.setattr(ranks, "MOST_EXACT", ranks.MOST_EXACT - 1)
    assert ranks._left_out(100) == pytest.approx(exactly, abs=2)


@pytest.mark.parametrize(
    ("within", "expected"),
    [
        ((-1.0, 1.9), "kept"),
        ((-1.0, 2.1), "not shown"),
        ((1.0, 2.0), "not shown"),
        ((2.0, 3.0), "NOT kept"),
        (None, "not shown"),
    ],
)
def test_a_promise_is_kept_only_when_the_whole_interval_is_below_it(within, expected):
    assert verdict_of(within, 2.0) == expected


def test_idling_is_taken_off_the_bursts_and_charged_at_the_stated_rate(capsys):
    # 10 ms a second more while idle; in the bursts of 2 × 500 messages, 2 s of work and 10 s of idling.
    idle = spent(1.2, 0.6, 60.0)
    found = Found(idle=idle, fours=[spent(2.2, 2.1)] * 8, messages=500)
    assert found.shares(1e9) == pytest.approx([0.0] * 8, abs=1e-4)
    # 2 ms a message, and 0.1 ms of idling each at a hundred a second without the part, twice that with it.
    assert found.shares(100.0) == pytest.approx([100 * 0.1 / 2.1] * 8)
    assert judged([found], of="the part", most_share=4.0, rate=100.0) == 1
    assert judged([found], of="the part", most_share=5.0, rate=100.0) == 0
    said = capsys.readouterr().out
    assert "idle, with the part: 20.00 ms" in said
    assert "of 4 % promised: NOT kept" in said
    assert "of 5 % promised: kept" in said


def test_what_only_the_supervisor_does_is_judged_without_the_workers_noise(capsys):
    idle = Spent(seconds=60.0, part=1.2, plain=0.6, part_supervisor=0.9, plain_supervisor=0.6)
    # 5 ms a second more while idle in the supervisor; beyond it 50 ms for 1,000 messages; the workers differ by 2 s.
    noisy = [
        Spent(seconds=10.0, part=noise, plain=2.1, part_supervisor=0.3, plain_supervisor=0.2) for noise in (1.0, 3.0)
    ]
    found = Found(idle=idle, fours=noisy * 4, messages=500)
    # A message without the part: 2 ms, and 0.1 of idling at a hundred a second; all idle by 10 ms a second more.
    assert found.supervisor_shares(100.0) == pytest.approx([100 * (0.05 + 0.1) / 2.1] * 8)
    assert judged([found], of="the part", most_share=8.0, rate=100.0, where=Found.supervisor_shares) == 0
    assert judged([found], of="the part", most_share=7.0, rate=100.0, where=Found.supervisor_shares) == 1
    assert judged([found], of="the part", most_share=8.0, rate=100.0) == 1
    assert "of all processes: median of 8" in capsys.readouterr().out
