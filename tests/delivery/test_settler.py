"""Outcomes are written, whatever is wrong with one of them or with the store."""

from typing import Any

import pytest

from gateway.delivery import settler as settler_module
from gateway.journal.events import InternalError, StorageFailed
from gateway.storage import StorageRefused
from tests.delivery.conftest import HostFactory, Office, Peer, good, message
from tests.delivery.test_pool import many


async def test_a_record_that_the_store_refuses_keeps_no_other_from_being_written(
    office: Any, host: HostFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All outcomes of some milliseconds share a commit: unwritten ones would all be delivered again after a restart."""
    monkeypatch.setattr(settler_module, "GATHER_SECONDS", 0.2)
    running = await host(good)
    place: Office = await office([running.url])
    messages = many(12, running.url)
    poisoned = messages[5].trace_id
    real = place.custody.settle

    async def settle(settlements: Any, **more: Any) -> Any:
        if any(settlement.trace_id == poisoned for settlement in settlements):
            raise StorageRefused("constraint failed")
        return await real(settlements, **more)

    monkeypatch.setattr(place.custody, "settle", settle)
    for one in messages:
        await place.post(one)
    await place.until(lambda: place.runner.in_hand == 1)
    assert [left.trace_id for left in await place.queued()] == [poisoned]
    assert any(isinstance(event, StorageFailed) for event in place.events.events)
    monkeypatch.setattr(place.custody, "settle", real)
    await place.written()
    assert await place.queued() == []


async def test_a_bug_in_writing_is_told_and_holds_up_no_drain(
    office: Any, host: HostFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.envelope("250 ok", "550 5.1.1 unknown", "503 5.5.1 no")
        await peer.closed()

    def broken(*given: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(settler_module, "notice_message", broken)
    running = await host(play)
    place: Office = await office([running.url])
    await place.post(message(route=running.url))
    await place.until(lambda: any(isinstance(event, InternalError) for event in place.events.events))
    await place.runner.drain(60)
    # It was never recorded as failed: the next start tries again, and its sender hears of it.
    assert len(await place.queued()) == 1
