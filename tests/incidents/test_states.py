"""The table of states: every step that it has can be taken, no other can, and none forgets a block."""

from itertools import pairwise, product

import pytest

from gateway.incidents import IllegalTransition, Resolution, State
from gateway.incidents.book import NoSuchIncidentError
from gateway.incidents.schema import MIGRATIONS, database_path
from gateway.incidents.states import TRANSITIONS, Block, check, resumption
from gateway.storage import SharedDatabase
from tests.incidents.conftest import Desk, sighting

NONE = Block.NONE


@pytest.mark.parametrize(("before", "after"), list(product(State, State)))
@pytest.mark.parametrize("held", [True, False])
def test_only_the_tables_steps_are_legal_and_the_others_are_told_where_to_go(before, after, held):
    step = TRANSITIONS.get((before, after))
    open_ = [to for (start, to), each in TRANSITIONS.items() if start is before and not (held and each.block is NONE)]
    if after in open_:
        assert check(before, after, held=held) is step
    else:
        with pytest.raises(IllegalTransition) as refused:
            check(before, after, held=held)
        assert f"from {before} it may go to {', '.join(open_) or 'nothing'}" in str(refused.value)
        assert set(open_) <= set(refused.value.onward)


def test_the_usual_way_is_legal():
    usual = (State.OPEN, State.CONFIRMED, State.REPORTED, State.BLOCKED, State.QUIET, State.LIFTED, State.CLOSED)
    assert list(State) == list(usual)
    for before, after in pairwise(usual):
        check(before, after, held=before is State.BLOCKED and after is State.QUIET)


@pytest.mark.parametrize("before", [state for state in State if state is not State.LIFTED])
@pytest.mark.parametrize("after", [State.LIFTED, State.CLOSED])
def test_no_case_is_lifted_or_closed_while_its_block_stands(before, after):
    with pytest.raises(IllegalTransition):
        check(before, after, held=True)


def test_every_state_is_left_and_reached():
    assert {before for before, _ in TRANSITIONS} == set(State) == {after for _, after in TRANSITIONS}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("held", [True, False])
def test_sending_again_goes_where_the_table_allows(state, held):
    after = resumption(state, held=held)
    if state in {State.QUIET, State.LIFTED}:
        check(state, after, held=held)
    else:
        assert after is None


def test_the_steps_leave_times_a_reason_and_a_resolution(desk: Desk):
    desk.fold([sighting(1)])
    for state in (State.CONFIRMED, State.REPORTED, State.BLOCKED, State.QUIET, State.LIFTED):
        desk.clock.advance(60)
        desk.move(1, state)
    desk.clock.advance(60)
    desk.move(1, State.CLOSED, resolution=Resolution.STOPPED)
    found = desk.reader().incident(1)
    times = (found.confirmed_at, found.reported_at, found.blocked_at, found.lifted_at, found.closed_at)
    assert [round(time - found.opened_at) for time in times] == [60, 120, 180, 300, 360]
    assert (found.resolution, found.blocking) == ("stopped", False)
    told = [(row.facts["from"], row.facts["to"], row.facts["reason"]) for row in desk.reader().timeline(1)[1:]]
    assert told[0] == ("open", "confirmed", "because")
    assert told[-1] == ("lifted", "closed", "because")


def test_a_record_of_the_version_before_tells_blocks_and_suspensions_apart(tmp_path):
    """An upgrade that forgot what stands would let a case be closed over a sender who is suspended."""
    before = [each for each in MIGRATIONS if (each.name, each.number) != ("suspensions", 2)]
    path = database_path(tmp_path)
    incident = (
        "INSERT INTO incident (source_kind, source_key, state, state_since, opened_at, first_seen, last_seen, blocking)"
        " VALUES ('account', ?, 'blocked', 0, 0, 0, 0, 1)"
    )
    block = "INSERT INTO block (incident, entry, reason, how, by, began_at, until) VALUES (1, '', '', '', '', 0, 9)"
    suspension = (
        "INSERT INTO suspension (incident, kind, sender, reason, how, by, began_at) VALUES (2, '', '', '', '', '', 0)"
    )
    with SharedDatabase(path, before).transaction() as old:
        for key in ("blocked@x.test", "suspended@x.test"):
            old.execute(incident, (key,))
        old.execute(block)
        old.execute(suspension)
    with SharedDatabase(path, MIGRATIONS).transaction() as new:
        held = new.execute("SELECT blocking, suspending FROM spam_sources ORDER BY incident")
    assert held == [(1, 0), (0, 1)]


def test_a_report_moves_a_confirmed_case_and_leaves_a_blocked_one(desk: Desk):
    desk.fold([sighting(1), sighting(2, "192.0.2.8")])
    desk.move(1, State.CONFIRMED)
    desk.move(2, State.CONFIRMED, State.BLOCKED)
    with desk.book.change("desk", "report") as change:
        assert change.reported(1, {"to": "association"}).state is State.REPORTED
        assert change.reported(2, {"to": "association"}).state is State.BLOCKED
    assert desk.reader().incident(2).reported_at is not None
    assert desk.wrong() == ""


def test_an_illegal_step_leaves_nothing_of_its_change(desk: Desk):
    desk.fold([sighting(1)])
    before = desk.reader().head()
    with pytest.raises(IllegalTransition):
        _note_and_lift(desk)
    with pytest.raises(IllegalTransition):
        desk.move(1, State.CLOSED)
    with pytest.raises(NoSuchIncidentError), desk.book.change("li", "x") as change:
        change.move(99, State.CONFIRMED, "no")
    assert desk.reader().head() == before
    assert desk.reader().notes(1) == []


def _note_and_lift(desk: Desk) -> None:
    with desk.book.change("li", "x") as change:
        change.note(1, "a note")
        change.move(1, State.LIFTED, "no")


def test_clocks_run_until_they_are_stopped(desk: Desk):
    desk.fold([sighting(1)])
    with desk.book.change("desk", "x") as change:
        late = change.start_clock("complaint-outcome", "T-1", desk.clock.stamp().utc + 50, incident=1)
        soon = change.start_clock("complaint-response", "T-1", desk.clock.stamp().utc + 20, ticket=1)
    assert [clock.id for clock in desk.reader().clocks()] == [soon, late]
    with desk.book.change("desk", "x") as change:
        change.stop_clock(soon)
        change.stop_clock(soon)
    assert [clock.id for clock in desk.reader().clocks()] == [late]
    assert desk.reader().clocks(1, running=False)[0].kind == "complaint-outcome"
    assert desk.wrong() == ""
