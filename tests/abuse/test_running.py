"""The keeper's thread beside the supervisor's loop: what it did is told, whenever it is asked to end.

What breaks if these fail: the log and the metrics do not hear of an incident; the last verdicts before a stop wait for
the next start; a failure is told never, or for ever.
"""

import asyncio
import threading
from contextlib import suppress

from gateway.abuse.keeper import Keeper, Round
from gateway.app.incidents import IncidentDesk
from gateway.clock import SystemClock
from gateway.journal.sinks import Recorded
from gateway.storage import StorageFull


def desk_of(world) -> tuple[IncidentDesk, Recorded]:
    events = Recorded()
    return IncidentDesk(lambda: world.snapshot, clock=SystemClock(), events=events), events


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a thread does it
            await asyncio.sleep(0.01)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def kinds(events: Recorded) -> list[str]:
    return [event.kind for event in events.events]


def test_what_the_keeper_did_is_told_and_its_end_takes_up_what_came_last(world):
    world.clock = SystemClock()
    world.journal([world.mail()])
    desk, events = desk_of(world)

    async def run() -> None:
        task = asyncio.create_task(desk.run())
        await until(lambda: "incident_changed" in kinds(events))
        await asyncio.to_thread(world.journal, [world.mail("203.0.113.9")])
        await ended(task)

    asyncio.run(run())
    assert [each.sightings for each in world.incidents()] == [1, 1]
    assert kinds(events).count("incident_changed") == 2
    assert desk.folded == 2


def test_a_failure_while_the_gateway_stops_holds_nothing_up(world, monkeypatch):
    monkeypatch.setattr("gateway.app.incidents.AFTER_A_FAILURE_SECONDS", 3600.0)
    looking, fail = threading.Event(), threading.Event()

    def stuck(_: Keeper) -> Round:
        looking.set()
        fail.wait()
        raise StorageFull("no space left on device")

    monkeypatch.setattr(Keeper, "round", stuck)
    desk, events = desk_of(world)

    async def run() -> None:
        task = asyncio.create_task(desk.run())
        await until(looking.is_set)
        task.cancel()
        fail.set()
        await ended(task)

    asyncio.run(run())
    assert kinds(events) == ["storage_failed"]


def test_a_failure_is_told_once_and_the_next_one_again(world, monkeypatch):
    monkeypatch.setattr("gateway.app.incidents.AFTER_A_FAILURE_SECONDS", 0.01)
    monkeypatch.setattr("gateway.app.incidents.LOOK_SECONDS", 0.01)
    whole, left = Keeper.round, ["full", "full", "well", "full", "well"]

    def troubled(keeper: Keeper) -> Round:
        if left and left.pop(0) == "full":
            raise StorageFull("no space left on device")
        return whole(keeper)

    monkeypatch.setattr(Keeper, "round", troubled)
    desk, events = desk_of(world)

    async def run() -> None:
        task = asyncio.create_task(desk.run())
        await until(lambda: not left)
        await ended(task)

    asyncio.run(run())
    assert kinds(events) == ["storage_failed", "storage_failed"], "three failures, two of them one"
