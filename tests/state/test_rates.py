"""A rate holds over any stretch of time, for all workers together, and failures use it up faster."""

from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import FakeClock
from gateway.state.rates import Allowance, Rates
from gateway.state.table import SharedTable

TEN = Allowance(count=10, seconds=60.0)


@pytest.fixture
def rates(open_table, clock):
    return Rates(open_table(), clock)


def test_a_burst_of_the_whole_count_passes_and_then_one_an_interval(rates, clock):
    assert [rates.allow("c", TEN) for _ in range(12)] == [True] * 10 + [False] * 2
    clock.advance(6.1)
    assert [rates.allow("c", TEN) for _ in range(2)] == [True, False]
    clock.advance(61)
    assert [rates.allow("c", TEN) for _ in range(11)] == [True] * 10 + [False]


def test_clients_do_not_share_an_allowance(rates):
    assert all(rates.allow("a", TEN) for _ in range(10))
    assert rates.allow("b", TEN)


def test_zero_limits_nothing(rates):
    assert all(rates.allow("a", Allowance(count=0, seconds=60.0)) for _ in range(1000))


def test_a_failure_counts_more_and_is_booked_whatever_is_owed(rates, clock):
    rates.charge("c", TEN, 10)
    assert rates.is_exhausted("c", TEN)
    assert not rates.allow("c", TEN)
    clock.advance(6.1)
    assert not rates.is_exhausted("c", TEN)
    for _ in range(100):
        rates.charge("c", TEN, 10)
    # One whole period of silence is the most that anybody has to pay before the first event.
    clock.advance(60)
    assert rates.is_exhausted("c", TEN)
    clock.advance(6.1)
    assert rates.allow("c", TEN)


def test_knocking_while_refused_costs_nothing(rates, clock):
    for _ in range(10):
        rates.allow("c", TEN)
    for _ in range(50):
        assert not rates.allow("c", TEN)
    clock.advance(6.1)
    assert rates.allow("c", TEN)


def test_after_a_reboot_nobody_is_shut_out(open_table, clock):
    """The monotonic clock begins again near zero, the stored times are those of the boot before."""
    before = open_table()
    for _ in range(10):
        Rates(before, clock).allow("c", TEN)
    before.close()
    rebooted = FakeClock(utc=clock.stamp().utc)
    rebooted.advance(-900)
    assert Rates(open_table(at=rebooted), rebooted).allow("c", TEN)


class LeakyBucket:
    """The same rate said the other way round (ITU-T I.371, annex A): a level that drains."""

    def __init__(self, allowance):
        self.allowance, self.level, self.at = allowance, 0.0, None

    def allow(self, now):
        if self.at is not None:
            self.level = max(0.0, self.level - (now - self.at) * self.allowance.count / self.allowance.seconds)
        self.at = now
        if self.level + 1 > self.allowance.count + 1e-6:
            return False
        self.level += 1
        return True


@given(
    count=st.integers(1, 8),
    seconds=st.sampled_from([1.0, 4.0, 64.0]),
    pauses=st.lists(st.sampled_from([0.0, 0.0, 0.25, 1.0, 3.0, 100.0]), max_size=60),
)
def test_it_is_a_leaky_bucket(tmp_path_factory, count, seconds, pauses):
    clock, allowance = FakeClock(), Allowance(count=count, seconds=seconds)
    model = LeakyBucket(allowance)
    with closing(SharedTable(tmp_path_factory.mktemp("t") / "t", places=8, clock=clock)) as table:
        rates = Rates(table, clock)
        for pause in pauses:
            clock.advance(pause)
            expected = model.allow(clock.monotonic())
            # Where the bucket is exactly full, rounding may say either; the model then follows.
            full = abs(model.level + (not expected) - count) < 1e-6
            got = rates.allow("c", allowance)
            if got != expected:
                assert full
                model.level += 1 if got else -1
