"""What breaks if these fail: a struggling next hop is hammered, or a healthy one gets one connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.timetable import Timetable
from gateway.delivery.window import BACK_OFF_SECONDS, HOST_REST_SECONDS, HostHealth, Window


def test_it_grows_by_one_for_each_windows_worth_of_success_up_to_the_most() -> None:
    window = Window(5, 7)
    for _ in range(6):
        window.succeeded()
    assert window.size == 6
    for _ in range(100):
        window.succeeded()
    assert window.size == 7


def test_a_windows_worth_of_failures_is_death_and_one_success_between_is_life() -> None:
    window = Window(5, 20)
    for _ in range(2):
        window.failed(0.0)
    window.succeeded()
    for _ in range(2):
        window.failed(0.0)
    assert not window.is_dead(0.0)
    for _ in range(3):
        window.failed(0.0)
    assert window.is_dead(0.0)
    assert window.size == 1


def test_the_dead_are_tried_less_and_less_but_every_five_minutes() -> None:
    window, now, rests = Window(1, 20), 0.0, []
    for _ in range(6):
        window.failed(now)
        rests.append(window.dead_until - now)
        now = window.dead_until
        assert not window.is_dead(now)
    assert rests == [*BACK_OFF_SECONDS, 300.0, 300.0]
    window.succeeded()
    while not window.is_dead(now):
        window.failed(now)
    assert window.dead_until - now == BACK_OFF_SECONDS[0]


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 30), st.integers(1, 30))
def test_the_size_stays_between_one_and_the_most(results: list[bool], start: int, most: int) -> None:
    window = Window(start, most)
    for result in results:
        if result:
            window.succeeded()
        else:
            window.failed(0.0)
        assert 1 <= window.size <= most


def test_one_connection_finds_out_for_all_whether_a_host_is_back() -> None:
    health = HostHealth()
    health.failed("a", 0.0)
    assert health.is_resting("a", HOST_REST_SECONDS - 1)
    later = HOST_REST_SECONDS + 1
    assert not health.is_resting("a", later)
    health.claim("a", later)
    assert health.is_resting("a", later)
    health.succeeded("a")
    assert not health.is_resting("a", later)


def test_the_timetable_keeps_each_routes_earliest() -> None:
    table = Timetable()
    assert table.note("a", 10.0)
    assert not table.note("a", 12.0)
    assert table.note("a", 5.0)
    assert not table.note("b", 7.0)
    assert table.next_due() == 5.0
    assert table.pop_due(6.0) == ["a"]
    # The older entry of "a" is not due any more.
    assert table.next_due() == 7.0
    assert table.pop_due(100.0) == ["b"]
    assert table.next_due() is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50).map(float)), max_size=30))
def test_every_route_noted_is_popped_once(notes: list[tuple[str, float]]) -> None:
    table = Timetable()
    for route, due in notes:
        table.note(route, due)
    assert sorted(table.pop_due(100.0)) == sorted({route for route, _ in notes})


@pytest.mark.parametrize("limit", [0, 3, 50])
def test_a_refused_extra_connection_keeps_what_there_is(limit: int) -> None:
    window = Window(10, 20)
    window.limit(limit)
    assert window.size == min(10, max(1, limit))
