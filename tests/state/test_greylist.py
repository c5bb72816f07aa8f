"""New triplets wait once; nobody waits for ever; whoever proved to come back is not asked again."""

from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import FakeClock
from gateway.state.greylist import Greylist, Passing, Triplet, Waits
from gateway.state.table import SharedTable

DAY = 86_400.0
WAITS = Waits(delay_seconds=300.0, window_seconds=2 * DAY, lifetime_seconds=35 * DAY, client_after=3)


def triplet(number=0, network="192.0.2.0/24"):
    return Triplet(network=network, reverse_path="a@sender.test", recipient=f"r{number}@ours.test")


@pytest.fixture
def greylist(open_table, clock):
    return Greylist(open_table(), clock)


def test_a_new_triplet_waits_its_delay_and_passes(greylist, clock):
    first = greylist.ask(triplet(), WAITS)
    assert (first.passing, first.defers, first.left_seconds) == (Passing.NEW, True, 300.0)
    clock.advance(120)
    early = greylist.ask(triplet(), WAITS)
    assert (early.passing, early.defers, early.left_seconds) == (Passing.EARLY, True, 180.0)
    clock.advance(180)
    passed = greylist.ask(triplet(), WAITS)
    assert (passed.passing, passed.defers, passed.waited_seconds) == (Passing.PASSED, False, 300.0)
    known = greylist.ask(triplet(), WAITS)
    assert (known.passing, known.waited_seconds) == (Passing.KNOWN, 0.0)


def test_who_comes_back_too_late_begins_again(greylist, clock):
    greylist.ask(triplet(), WAITS)
    clock.advance(2 * DAY)
    assert greylist.ask(triplet(), WAITS).passing is Passing.NEW


def test_a_triplet_that_passed_is_forgotten_after_its_lifetime_without_mail(greylist, clock):
    greylist.ask(triplet(), WAITS)
    clock.advance(300)
    greylist.ask(triplet(), WAITS)
    for _ in range(3):
        clock.advance(34 * DAY)
        assert greylist.ask(triplet(), WAITS).passing is Passing.KNOWN
    clock.advance(35 * DAY)
    assert greylist.ask(triplet(), WAITS).passing is Passing.NEW


def test_a_network_of_which_some_have_passed_is_known(greylist, clock):
    for number in range(3):
        greylist.ask(triplet(number), WAITS)
    clock.advance(300)
    for number in range(3):
        greylist.ask(triplet(number), WAITS)
    assert greylist.ask(triplet(99), WAITS).passing is Passing.KNOWN
    assert greylist.ask(triplet(99, network="198.51.100.0/24"), WAITS).passing is Passing.NEW


def test_another_recipient_or_network_is_another_triplet(greylist, clock):
    greylist.ask(triplet(), WAITS)
    clock.advance(300)
    assert greylist.ask(triplet(1), WAITS).passing is Passing.NEW
    assert greylist.ask(triplet(network="198.51.100.0/24"), WAITS).passing is Passing.NEW


def test_a_clock_stepped_back_holds_nobody_for_longer(greylist, clock):
    greylist.ask(triplet(), WAITS)
    clock.advance(-3600)
    assert greylist.ask(triplet(), WAITS).passing is Passing.PASSED


class Model:
    """The module's docstring as two dictionaries."""

    def __init__(self):
        self.waiting, self.known = {}, {}

    def ask(self, number, now):
        if number in self.known and now < self.known[number] + WAITS.lifetime_seconds:
            self.known[number] = now
            return Passing.KNOWN
        first = self.waiting.get(number)
        if first is None or now >= first + WAITS.window_seconds or number in self.known:
            self.known.pop(number, None)
            self.waiting[number] = now
            return Passing.NEW
        if now - first < WAITS.delay_seconds:
            return Passing.EARLY
        self.known[number] = now
        del self.waiting[number]
        return Passing.PASSED


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([0.0, 100.0, 300.0, DAY, 2 * DAY, 35 * DAY])), max_size=40
    )
)
def test_it_says_what_the_module_says(tmp_path_factory, steps):
    clock, model = FakeClock(), Model()
    waits = Waits(
        delay_seconds=WAITS.delay_seconds,
        window_seconds=WAITS.window_seconds,
        lifetime_seconds=WAITS.lifetime_seconds,
        client_after=0,
    )
    with closing(SharedTable(tmp_path_factory.mktemp("t") / "t", places=64, clock=clock)) as table:
        greylist = Greylist(table, clock)
        for number, pause in steps:
            clock.advance(pause)
            assert greylist.ask(triplet(number), waits).passing is model.ask(number, clock.stamp().utc)
