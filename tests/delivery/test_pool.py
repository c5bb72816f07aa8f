"""Connections of a lane: each one ends, by our QUIT and in time, whatever became of its last transfer."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.journal.events import InternalError
from gateway.mail.trace_id import new_trace_id
from gateway.spool.message import SpoolMessage
from tests.delivery.conftest import HostFactory, Office, Peer, good, message

# Long enough that a connection is used again, short enough to wait for.
BRIEF = 'idle = "100ms"'


def many(count: int, route: str) -> list[SpoolMessage]:
    ids = [new_trace_id(1_790_000_000 + n / 1000, lambda size: b"\0" * size) for n in range(count)]
    return [message(trace_id=trace_id, route=route) for trace_id in ids]


async def post_all(place: Office, messages: Sequence[SpoolMessage]) -> None:
    for one in messages:
        await place.post(one)
    await place.written()


@pytest.mark.parametrize("count", [3, 4, 40])
async def test_every_connection_says_quit_soon_after_its_last_transfer(
    office: Any, host: HostFactory, count: int
) -> None:
    """A connection used as often as ``queue.reuse`` allows was left open for ten minutes."""
    left: list[str] = []
    gone = asyncio.Semaphore(0)

    async def play(peer: Peer) -> None:
        try:
            await peer.greet()
            while True:
                await peer.take()
        except ConnectionError:
            pass
        finally:
            left.append(peer.heard[-1])
            gone.release()

    running = await host(play)
    place: Office = await office([running.url], main=f"[queue]\nreuse = 3\n{BRIEF}")
    await post_all(place, many(count, running.url))
    async with asyncio.timeout(5):
        for _ in running.peers:
            await gone.acquire()
    assert left == ["QUIT"] * len(running.peers)


async def test_a_bug_in_opening_a_connection_is_told_and_leaves_nothing_in_hand_unsent(
    office: Any, host: HostFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mail waited in memory for the next one to the same next hop, or for a restart; it could not even expire."""
    running = await host(good)
    place: Office = await office([running.url])
    real, broken = place.runner.connector.open, [True]

    async def open_(*given: Any) -> Any:
        if broken.pop() if broken else False:
            raise ZeroDivisionError
        return await real(*given)

    monkeypatch.setattr(place.runner.connector, "open", open_)
    await post_all(place, many(1, running.url))
    assert place.statuses() == [("b@ours.test", "deferred")]
    assert [event.where for event in place.events.events if isinstance(event, InternalError)] == ["connect"]
    await place.pass_time(1000)
    await place.until(lambda: place.statuses()[1:] == [("b@ours.test", "sent")])
    await place.written()
