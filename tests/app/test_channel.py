"""The line between supervisor and worker outlives whatever is said over it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.app import channel as channel_module
from gateway.app.channel import Channel, ChannelClosedError


@asynccontextmanager
async def line(handler: Any) -> AsyncIterator[tuple[Channel, Channel]]:
    """Give the asking and the answering end, both served."""

    async def silent(name: str, given: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError(name)

    ours, theirs = socket.socketpair()
    asking, answering = await Channel.open(ours, silent), await Channel.open(theirs, handler)
    serving = [asyncio.create_task(end.run()) for end in (asking, answering)]
    try:
        yield asking, answering
    finally:
        asking.close()
        answering.close()
        await asyncio.gather(*serving)


async def echo(name: str, given: dict[str, Any]) -> dict[str, Any]:
    return {"said": name, **given}


async def test_answers_find_their_questions() -> None:
    async with line(echo) as (asking, _):
        answers = await asyncio.gather(*(asking.call("x", n=n) for n in range(50)))
    assert [answer["n"] for answer in answers] == list(range(50))


@pytest.mark.parametrize("size", [900, 1100, 5000])
async def test_what_is_too_long_is_refused_and_the_line_stays(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A queue listing beyond the bound ended the channel, and with it every later question to that worker."""
    monkeypatch.setattr(channel_module, "MAX_FRAME_OCTETS", 1000)

    async def long(name: str, given: dict[str, Any]) -> dict[str, Any]:
        return {"text": "x" * given.get("size", 0), "asked": len(given.get("padding", ""))}

    async with line(long) as (asking, _):
        answer = await asking.call("list", size=size)
        assert ("refused" in answer) == (size > 1000)
        answer = await asking.call("list", padding="x" * size)
        assert ("refused" in answer) == (size > 1000)
        assert await asking.call("list", size=1) == {"text": "x", "asked": 0}


async def test_whoever_waits_hears_that_the_other_side_is_gone() -> None:
    forever = asyncio.Event()

    async def never(name: str, given: dict[str, Any]) -> dict[str, Any]:
        await forever.wait()
        return {}

    async with line(never) as (asking, answering):
        asked = asyncio.create_task(asking.call("x"))
        await asyncio.sleep(0)
        answering.close()
        with pytest.raises(ChannelClosedError):
            await asked
        with pytest.raises(ChannelClosedError):
            await asking.call("x")
        forever.set()
