"""What is done at the desk is told, whoever did it: a command, a desk, the keeper.

What breaks if these fail: monitoring and the journal know nothing of what people do, or count the keeper's work twice.
"""

import pytest

from gateway.abuse import blocking
from gateway.abuse.keeper import BY
from gateway.abuse.standing import standing
from gateway.abuse.suspending import restore, suspend
from gateway.abuse.telling import RecordTeller
from gateway.incidents import Source, SourceKind, State
from gateway.incidents.guarantees import Letters

ANNA = Source(SourceKind.ACCOUNT, "anna@box.test")
SOURCE = "198.51.100.7"


@pytest.fixture
def teller(world):
    made = RecordTeller(world.data, BY, world.clock)
    yield made
    made.close()


def told(teller) -> list[tuple[str, ...]]:
    """What is new: acts by what, to what and by whom; moves by state."""
    return [
        (event.what, event.subject, event.by) if event.kind == "desk_acted" else ("moved", event.state, event.reason)
        for event in teller.new()
    ]


def suspend_anna(world):
    with world.book.change("anna", "account suspend") as change:
        suspend(change, ANNA, how="hand", reason="pills")


def test_what_a_person_does_is_told_once_with_who_and_to_what(world, teller):
    world.spam(1)
    assert told(teller) == [], "the keeper tells of its own moves"
    with world.book.change("anna", "incident block") as change:
        until = change.at + 3600
        incident = change.incident(1)
        assert not blocking.block(change, incident, world.protection(), how="hand", reason="waves", until=until)
    with world.book.change("bert", "incident lift") as change:
        blocking.lift(change, change.incident(1), "they called")
    assert told(teller) == [
        ("block-began", f"{SOURCE}/32", "anna"),
        ("moved", "blocked", "waves"),
        ("block-ended", f"{SOURCE}/32", "bert"),
        ("moved", "lifted", "they called"),
    ]
    assert told(teller) == []


def test_what_is_put_on_a_record_begun_anew_is_told(world, teller):
    """As an operator does with one that is damaged, while the gateway runs."""
    suspend_anna(world)
    assert ("suspended", "anna@box.test", "anna") in told(teller)
    for path in (world.data / "incidents").glob("incidents.sqlite*"):
        path.unlink()
    assert told(teller) == []
    suspend_anna(world)
    assert ("suspended", "anna@box.test", "anna") in told(teller)
    assert told(teller) == []


def test_a_suspension_and_its_end_are_told_with_the_reason(world, teller):
    with world.book.change("anna", "account suspend") as change:
        suspend(change, ANNA, how="hand", reason="pills")
    with world.book.change("bert", "account restore") as change:
        restore(change, ANNA, Letters(world.data / "incidents"), override="it was repaired")
    found = [event for event in teller.new() if event.kind == "desk_acted"]
    assert [(each.what, each.incident, each.subject, each.reason, each.by) for each in found] == [
        ("suspended", 1, "anna@box.test", "pills", "anna"),
        ("restored", 1, "anna@box.test", "it was repaired", "bert"),
    ]


def test_the_keepers_own_block_is_told_and_its_moves_are_not_told_twice(world, teller):
    world.spam(3)
    assert [each for each in told(teller) if each[0] != "moved"] == [("block-began", f"{SOURCE}/32", "keeper")]
    world.keeper.round()
    assert told(teller) == []


def test_a_batch_about_many_incidents_is_one_report_and_moves_those_that_were_confirmed(world, teller):
    world.spam(1)
    world.spam(1, "198.51.100.8")
    world.confirm(1)
    teller.new()
    with world.book.change("tidegate", "reports") as change:
        for number in (1, 2):
            change.reported(number, {"report": 7, "to": "association@isc.test"})
        change.reported(1, {"report": 8, "to": "abuse@net.test"})
    assert told(teller) == [
        ("moved", "reported", "told those whom it concerns"),
        ("reported", "report 7", "tidegate"),
        ("reported", "report 8", "tidegate"),
    ]


def test_what_was_before_the_gateway_began_is_not_told_again(world, teller):
    world.spam(1)
    world.confirm()
    assert [each[:2] for each in told(teller)] == [("moved", "confirmed")]
    later = RecordTeller(world.data, BY, world.clock)
    assert told(later) == []
    later.close()


def test_what_is_open_is_counted_and_closed_cases_are_not(world):
    assert standing(world.data, world.now).incidents["open"] == 0, "a gateway without a record has nothing open"
    world.spam(3)
    world.spam(1, "198.51.100.8")
    with world.book.change("anna", "x") as change:
        suspend(change, ANNA, how="hand", reason="pills")
        change.start_clock("complaint-outcome", "T-1", world.now + 50, ticket=1)
    found = standing(world.data, world.now)
    assert {state: count for state, count in found.incidents.items() if count} == {"open": 1, "blocked": 2}
    assert set(found.incidents) == {state.value for state in State} - {"closed"}
    assert (found.blocks, found.suspensions, found.tickets, found.overdue) == (1, 1, 0, 0)
    assert standing(world.data, world.now + 51).overdue == 1
