"""Keeping while the gateway serves: a child does the work when a file changed. If these fail, an edited list is not
noticed, or a broken one takes the gateway with it.
"""

import asyncio
import json
import subprocess
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from gateway.blocklist.local import watch
from gateway.blocklist.local.watch import ListWatch
from gateway.clock import FakeClock
from gateway.journal.events import StorageFailed
from gateway.journal.guard_events import ListApplied, ListOverdue, ListWithheld
from gateway.journal.sinks import Recorded


async def begun(*arguments: str) -> tuple[int, bytes, bytes]:
    """Run a child, as the supervisor's nursery does."""
    code = "import sys; from gateway.blocklist.local import child; sys.exit(child.begin(sys.argv[1:]))"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, *arguments, stdout=PIPE, stderr=PIPE)
    try:
        out, err = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return child.returncode, out, err


@pytest.fixture
def watching(place):
    events = Recorded()
    return place, ListWatch(lambda: place.folder, place.data, clock=FakeClock(), events=events, child=begun), events


async def test_a_change_is_noticed_and_told_and_rest_costs_no_child(watching):
    place, found, events = watching
    place.declare('[[list]]\nname = "local"\nfile = "local.txt"\n')
    place.write("local.txt", "192.0.2.7\n999.9.9.9\n")
    assert await found.look()
    (event,) = events.events
    assert isinstance(event, ListApplied)
    assert (event.list, event.entries, event.bad_lines) == ("local", 1, 1)
    assert event.problems[0].startswith(f"{place.folder}/local.txt:2: ")
    assert not await found.look()
    place.write("local.txt", "192.0.2.8\n")
    assert await found.look()
    place.lists.refresh()
    assert place.entries("192.0.2.8") == [("local", "192.0.2.8")]


async def test_deadlines_are_looked_after_although_no_file_changes(watching):
    place, found, _ = watching
    place.declare("")
    clock = found._clock
    assert await found.look()
    assert not await found.look()
    clock.advance(watch.ROUND_SECONDS)
    assert await found.look()


async def test_an_edition_that_becomes_overdue_is_told_when_it_does(watching, monkeypatch):
    """The contract's alarm must not wait for the next quarter of an hour."""
    place, found, _ = watching
    place.declare('[[list]]\nname = "association"\nsource = "association"\non_bad_line = "refuse"\n')
    await asyncio.to_thread(place.bring, "association", "no entry at all\n")
    rounds = []

    async def told() -> None:
        rounds.append(await asyncio.to_thread(place.keeper.update))

    monkeypatch.setattr(found, "round", told)
    found._clock = place.clock
    assert await found.look()
    assert not await found.look()
    (edition,) = place.keeper.store.editions("association")
    place.clock.advance(edition.deadline - place.now - 1)
    found._last = place.clock.stamp().monotonic
    assert not await found.look()
    place.clock.advance(2)
    assert await found.look()
    assert [type(event) for event in rounds[-1]] == [ListOverdue]
    assert not await found.look()


async def test_mistakes_are_told_with_their_place(watching):
    place, found, events = watching
    place.declare('[[list]]\nname = "local"\nkind = "grey"\n')
    await found.look()
    (event,) = events.events
    assert isinstance(event, ListWithheld)
    assert "lists.toml:3" in event.problems[0]


async def test_a_data_folder_that_cannot_be_written_is_told(watching, tmp_path: Path):
    place, _, events = watching
    (tmp_path / "file").write_text("")
    found = ListWatch(lambda: place.folder, tmp_path / "file", clock=FakeClock(), events=events, child=begun)
    place.declare('[[list]]\nname = "local"\n')
    await found.round()
    (event,) = events.events
    assert isinstance(event, StorageFailed)


async def test_a_child_that_hangs_is_ended_and_told(watching, monkeypatch):
    place, found, events = watching
    place.declare('[[list]]\nname = "local"\n')
    monkeypatch.setattr(watch, "CHILD_SECONDS", 0.2)
    # The child waits for whoever keeps lists already.
    with place.keeper._locked():
        await found.round()
    (event,) = events.events
    assert "not finished" in event.error


async def test_a_child_that_cannot_be_started_is_told(watching, monkeypatch):
    _, found, events = watching

    async def refused(*_: str) -> None:
        raise OSError("no process")

    monkeypatch.setattr(found, "_child", refused)
    await found.round()
    assert isinstance(events.events[0], StorageFailed)


def test_lines_that_are_no_events_are_passed_over():
    lines = [b"warning: something", json.dumps(["no_such_event", 1.0, "[]"]).encode(), b"[1]", b"\xff"]
    assert list(watch._events(b"\n".join(lines))) == []


async def test_only_a_first_start_waits_for_lists(watching, monkeypatch):
    place, found, _ = watching
    place.declare('[[list]]\nname = "local"\nfile = "local.txt"\n')
    place.write("local.txt", "192.0.2.7\n")
    await found.begin()
    place.lists.refresh()
    assert place.entries("192.0.2.7") == [("local", "192.0.2.7")]
    monkeypatch.setattr(found, "round", lambda _: pytest.fail("waited"))
    await found.begin()


def test_a_child_that_takes_too_much_memory_fails_by_itself():
    code = (
        "from gateway.blocklist.local import child\n"
        "child.bound_memory()\n"
        "try: bytearray(child.MAX_OCTETS)\n"
        "except MemoryError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
