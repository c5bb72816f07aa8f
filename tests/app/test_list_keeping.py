"""Each edition of the association's list is a clock of the contract. If these fail, the month's report says nothing of
editions, or something that is not so.
"""

import asyncio
from pathlib import Path

import pytest

from gateway.app.list_keeping import ListKeeping, put_on_record
from gateway.blocklist.local.keeping import Arrival, Asking, ListKeeper
from gateway.clock import FakeClock
from gateway.journal.events import StorageFailed
from gateway.journal.sinks import Recorded
from gateway.servicelevel.book import Book
from gateway.servicelevel.deadline import Deadline, DeadlineState
from gateway.servicelevel.records import Records

FRIDAY = 1_795_140_000.0  # 2026-11-20, 10:00 in Beijing
HOUR, DAY = 3600.0, 86_400.0
LISTS = """\
[[list]]
name = "association"
source = "association"
on_bad_line = "refuse"
[[list]]
name = "other"
apply_within = 2
"""


class Desk:
    """A folder of lists, a keeper, and what is on record."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder / "blocklists", folder / "data"
        self.folder.mkdir()
        (self.folder / "lists.toml").write_text(LISTS, encoding="utf-8")
        self.clock = FakeClock(utc=FRIDAY)
        self.keeper = ListKeeper(self.folder, self.data, clock=self.clock)
        self.keeper.update(Asking.NONE)

    @property
    def now(self) -> float:
        return self.clock.stamp().utc

    def bring(self, text: str, name: str = "association", *, published: float | None = None) -> None:
        at = self.now if published is None else published
        arrival = Arrival(octets=text.encode(), how="import", origin="a.txt", who="anna", published=at)
        self.keeper.take_edition(name, arrival)
        put_on_record(self.folder, self.data, self.now)

    @property
    def deadlines(self) -> list[Deadline]:
        return list(Book.of(Records(self.data).read()).deadlines.values())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_an_edition_in_force_at_once_opens_and_meets_its_clock(desk: Desk) -> None:
    desk.bring("192.0.2.7\n", published=FRIDAY - HOUR)
    (found,) = desk.deadlines
    assert (found.kind, found.clause, found.subject) == ("association-list", "4", "edition 1 of association")
    assert (found.start, found.due, found.official) == (FRIDAY - HOUR, FRIDAY - HOUR + 3 * DAY, True)
    assert (found.met_at, found.met_by, found.by) == (FRIDAY, "anna", "anna")
    assert found.state(desk.now) is DeadlineState.MET


def test_an_edition_that_is_held_up_runs_until_one_is_in_force(desk: Desk) -> None:
    desk.bring("no entry at all\n")
    (found,) = desk.deadlines
    assert found.state(desk.now) is DeadlineState.OPEN
    desk.clock.advance(4 * DAY)
    assert found.state(desk.now) is DeadlineState.OVERDUE
    desk.bring("192.0.2.7\n")
    first, second = desk.deadlines
    assert (first.met_at, first.state(desk.now)) == (desk.now, DeadlineState.MISSED)
    assert second.state(desk.now) is DeadlineState.MET


def test_nothing_is_put_on_record_twice(desk: Desk) -> None:
    desk.bring("192.0.2.7\n")
    written = len(Records(desk.data).read())
    for _ in range(3):
        put_on_record(desk.folder, desk.data, desk.now)
    assert len(Records(desk.data).read()) == written == 2


def test_a_rollback_has_no_clock_and_lists_of_others_are_not_the_contracts(desk: Desk) -> None:
    desk.bring("192.0.2.7\n")
    desk.keeper.roll_back("association", 1, "anna")
    desk.bring("192.0.2.8\n", "other")
    assert len(desk.deadlines) == 1


async def test_what_commands_did_while_nobody_served_is_put_on_record_at_the_start(desk: Desk) -> None:
    keeping, events = _keeping(desk)
    await keeping.look()
    assert desk.deadlines == []
    await _imported(desk)
    await keeping.look()
    assert [found.met_by for found in desk.deadlines] == ["anna"]
    assert events.events == []


async def _imported(desk: Desk) -> None:
    arrival = Arrival(octets=b"192.0.2.7\n", how="import", origin="a.txt", who="anna", published=desk.now)
    await asyncio.to_thread(desk.keeper.take_edition, "association", arrival)


async def test_a_record_that_cannot_be_believed_is_told_and_the_lists_go_on(desk: Desk, monkeypatch) -> None:
    await _imported(desk)
    await asyncio.to_thread(put_on_record, desk.folder, desk.data, desk.now)
    path = Records(desk.data).path
    path.write_bytes(path.read_bytes().replace(b"anna", b"bert", 1))
    await asyncio.to_thread(desk.keeper.update)
    keeping, events = _keeping(desk)
    told = asyncio.Event()
    monkeypatch.setattr(keeping._watch, "run", asyncio.Event().wait)
    monkeypatch.setattr(events, "emit", lambda event: (events.events.append(event), told.set()))
    running = asyncio.create_task(keeping.run())
    async with asyncio.timeout(30):
        await told.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    (event,) = events.events
    assert isinstance(event, StorageFailed)
    assert event.operation == "deadlines"


def test_monitoring_is_told_how_lists_stand_and_how_many_are_overdue(desk: Desk) -> None:
    keeping, _ = _keeping(desk)
    assert keeping.standing() == ({"ok": 2}, 0)
    desk.bring("no entry at all\n")
    assert keeping.standing() == ({"ok": 1, "refused": 1}, 0)
    desk.clock.advance(4 * DAY)
    assert keeping.standing() == ({"ok": 1, "refused": 1}, 1)
    desk.bring("192.0.2.7\n")
    assert keeping.standing() == ({"ok": 2}, 0)


def _keeping(desk: Desk) -> tuple[ListKeeping, Recorded]:
    events = Recorded()
    return ListKeeping(lambda: desk.folder, desk.data, clock=desk.clock, events=events, children=None), events
