"""A past fades, is bounded, and is remembered by all workers; whom our users write to is known."""

from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import FakeClock
from gateway.state.greylist import Triplet, Waits
from gateway.state.memories import Memories
from gateway.state.penpals import LIFETIME_SECONDS, Penpals
from gateway.state.reputation import HALF_LIFE_SECONDS, MOST_WEIGHT, Reputation, Standing
from gateway.state.table import SharedTable


def test_a_stranger_has_no_standing(open_table, clock):
    assert Reputation(open_table(), clock).standing("n") == Standing(good=0.0, bad=0.0)
    assert Standing().bad_share == 0.0


def test_a_standing_halves_each_week(open_table, clock):
    reputation = Reputation(open_table(), clock)
    reputation.note("n", good=6, bad=2)
    clock.advance(HALF_LIFE_SECONDS)
    standing = reputation.standing("n")
    assert (standing.good, standing.bad, standing.bad_share) == pytest.approx((3.0, 1.0, 0.25))


def test_a_long_good_past_is_used_up_in_a_day_not_a_year(open_table, clock):
    reputation = Reputation(open_table(), clock)
    reputation.note("n", good=1e9)
    reputation.note("n", bad=MOST_WEIGHT)
    assert reputation.standing("n").bad_share == pytest.approx(0.5)


def test_a_wall_clock_stepped_back_does_not_make_the_past_grow(open_table, clock):
    reputation = Reputation(open_table(), clock)
    reputation.note("n", good=4)
    clock.advance(-HALF_LIFE_SECONDS)
    assert reputation.standing("n").good == 4.0


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from("ab"), st.booleans(), st.floats(0, 10), st.floats(0, 3 * HALF_LIFE_SECONDS, width=32)
        ),
        max_size=30,
    )
)
def test_it_is_the_sum_of_all_that_was_noted_each_faded_by_its_age(tmp_path_factory, steps):
    clock, noted = FakeClock(), []
    with closing(SharedTable(tmp_path_factory.mktemp("t") / "t", places=8, clock=clock)) as table:
        reputation = Reputation(table, clock)
        for name, good, weight, pause in steps:
            reputation.note(name, **{"good" if good else "bad": weight})
            noted.append((name, good, weight, clock.stamp().utc))
            clock.advance(pause)
        now = clock.stamp().utc
        for name in "ab":
            standing = reputation.standing(name)
            for good in (True, False):
                faded = sum(
                    w * 0.5 ** ((now - at) / HALF_LIFE_SECONDS) for n, g, w, at in noted if (n, g) == (name, good)
                )
                assert (standing.good if good else standing.bad) == pytest.approx(faded, abs=0.05)


def test_whom_we_wrote_to_is_known_for_a_quarter_and_only_to_who_wrote(open_table, clock):
    penpals = Penpals(open_table(), clock)
    penpals.note("anna@ours.test", "bob@their.test")
    clock.advance(LIFETIME_SECONDS - 1)
    assert penpals.letters("anna@ours.test", "bob@their.test") == 1
    assert penpals.letters("carl@ours.test", "bob@their.test") == 0
    penpals.note("anna@ours.test", "bob@their.test")
    clock.advance(LIFETIME_SECONDS - 1)
    assert penpals.letters("anna@ours.test", "bob@their.test") == 2
    clock.advance(1)
    assert penpals.letters("anna@ours.test", "bob@their.test") == 0


def test_the_memories_of_the_door_survive_a_restart(tmp_path):
    clock = FakeClock()
    before = Memories(tmp_path, clock=clock)
    before.penpals.note("a@ours.test", "b@their.test")
    before.reputation.note("network 192.0.2.0/24", bad=3)
    before.close()
    after = Memories(tmp_path, clock=clock)
    try:
        assert after.penpals.letters("a@ours.test", "b@their.test") == 1
        assert after.reputation.standing("network 192.0.2.0/24").bad == 3.0
        assert set(map(type, after.services.values())) == set(after.services)
    finally:
        after.close()


def test_the_memories_take_no_more_than_they_say(tmp_path):
    """10 MiB on disk, whatever comes, and 8 more where somebody greylists."""
    memories = Memories(tmp_path, clock=FakeClock())

    def mebi():
        return sum(path.stat().st_size for path in tmp_path.iterdir()) // 1024**2

    assert mebi() == 10
    triplet = Triplet(network="192.0.2.0/24", reverse_path="", recipient="a@ours.test")
    memories.greylist.ask(triplet, Waits(delay_seconds=1, window_seconds=9, lifetime_seconds=9, client_after=0))
    assert mebi() == 18
    memories.close()
