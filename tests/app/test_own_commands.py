"""What breaks if these fail: one bug ends the backups of a gateway's life, or a command goes on that nobody awaits."""

import asyncio
from pathlib import Path

import pytest

from gateway.app import own_commands
from gateway.app.own_commands import OwnCommands
from gateway.clock import FakeClock
from gateway.journal.events import InternalError
from gateway.journal.sinks import Recorded


@pytest.fixture
def events() -> Recorded:
    return Recorded()


def commands(events: Recorded) -> OwnCommands:
    return OwnCommands(
        "a schedule", Path("/nonexistent/tidegate.toml"), clock=FakeClock(1_800_000_000.0), events=events
    )


async def test_a_bug_in_one_look_is_told_and_the_next_look_comes(events: Recorded) -> None:
    looks = 0
    enough = asyncio.Event()

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            enough.set()
        raise KeyError("nothing")

    keeping = asyncio.create_task(commands(events).keep(look, lambda: 0.0))
    await enough.wait()
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    first = events.events[0]
    assert isinstance(first, InternalError)
    assert (first.where, first.error, first.at) == ("a schedule", "KeyError: 'nothing'", 1_800_000_000.0)
    assert first.traceback.startswith("Traceback")


async def test_a_command_gets_the_configuration_and_what_it_says_last_is_told(events: Recorded) -> None:
    said = await commands(events).run("config", "check")
    assert "/nonexistent/tidegate.toml" in said
    assert said.endswith("(exit status 78)")


async def test_a_command_that_runs_when_looking_ends_is_asked_to_end(
    events: Recorded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "python"
    begun = tmp_path / "begun"
    program.write_text(
        f"#!/bin/sh\ntrap 'echo ended >{begun}; exit 0' TERM\necho begun >{begun}\nwhile :; do sleep 0.05; done\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(own_commands.sys, "executable", str(program))
    found = commands(events)

    async def look() -> None:
        await found.run("backup", "run")

    async def says(word: str) -> None:
        async with asyncio.timeout(30):
            while not begun.exists() or begun.read_text().strip() != word:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)

    keeping = asyncio.create_task(found.keep(look, lambda: 0.0))
    await says("begun")
    async with asyncio.timeout(30):
        # It may run before whoever started it goes on.
        while (process := found._process) is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await says("ended")
    assert await process.wait() == 0
