"""What has stopped is called quiet, and closed later.

What breaks if these fail: cases stand open for ever, and so does the evidence of people's mail with them.
"""

import pytest

from gateway.incidents import SourceKind, State
from gateway.incidents.values import Resolution, Source

# Of the tests: what takes a day outside.
DAY = 3600.0


@pytest.fixture
def watching(world):
    """Have the keeper look for so long and a little, each few minutes."""
    world.set(quiet=DAY, close=2 * DAY, block=5 * DAY)

    def look(seconds: float) -> None:
        for _ in range(int(seconds // 290) + 3):
            world.clock.advance(290)
            world.rounds()

    return look


def state(world, number: int = 1) -> tuple[State, str]:
    found = world.incident(number)
    return found.state, found.resolution


def test_a_confirmed_source_that_stopped_is_quiet_then_closed_and_opens_another_case_later(world, watching):
    world.spam(3, to="me@other.test")
    world.confirm()
    watching(DAY)
    assert state(world) == (State.QUIET, "")
    watching(2 * DAY)
    assert state(world) == (State.CLOSED, Resolution.STOPPED)
    world.spam(1, to="me@other.test")
    assert (world.incident(2).previous, state(world)[0]) == (1, State.CLOSED)


def test_what_was_never_confirmed_is_closed_as_that(world, watching):
    world.spam(1)
    watching(DAY)
    assert state(world) == (State.OPEN, "")
    watching(DAY)
    assert state(world) == (State.CLOSED, Resolution.UNCONFIRMED)


def test_a_source_is_not_called_quiet_for_a_time_in_which_nobody_looked(world):
    world.set(quiet=DAY, close=30 * DAY)
    world.spam(1)
    world.confirm()
    world.clock.advance(3 * DAY)
    world.rounds()
    assert state(world)[0] is State.CONFIRMED


def test_a_block_is_lifted_and_its_case_closed_in_time(world, watching):
    world.spam(3)
    assert state(world)[0] is State.BLOCKED
    watching(DAY)
    assert state(world)[0] is State.LIFTED
    watching(2 * DAY)
    assert state(world) == (State.CLOSED, Resolution.STOPPED)


def test_a_suspended_sender_and_an_open_complaint_are_not_closed_by_time(world, watching):
    with world.book.change("anna", "account suspend") as change:
        suspended = change.open(Source(SourceKind.ACCOUNT, "anna@box.test"), "pills").id
        change.move(suspended, State.BLOCKED, "suspended")
    world.spam(1)
    with world.book.change("tidegate", "complaint desk") as change:
        names = ("format", "feedback_type", "trace_id", "address", "reporter", "language", "subject", "about_trace_id")
        names += ("about_message_id", "source_kind", "source_key", "matched_by", "sha256", "unanswerable", "facts")
        texts = ", ".join(names)
        change.execute(
            f"INSERT INTO ticket (opened_at, octets, response_due, outcome_due, incident, {texts})"  # noqa: S608 - constants
            f" VALUES (0, 0, 0, 0, 2, {', '.join('?' * len(names))})",
            [""] * len(names),
        )
    watching(3 * DAY)
    assert [state(world, number)[0] for number in (1, 2)] == [State.BLOCKED, State.OPEN]
