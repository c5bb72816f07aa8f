"""Outcomes are written, whatever is wrong with one of them or with the store."""

import asyncio
from typing import Any

import pytest

from gateway.delivery import settler as settler_module
from gateway.journal.events import InternalError, NoticeQueued, StorageFailed
from gateway.storage import StorageRefused
from tests.delivery.conftest import HostFactory, Office, Peer, good, message
from tests.delivery.test_pool import many


async def knows_nobody(peer: Peer) -> None:
    await peer.greet()
    await peer.envelope("250 ok", "550 5.1.1 unknown", "503 5.5.1 no")
    await peer.closed()


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


async def test_a_notice_about_mail_that_cannot_be_read_returns_none_of_it(
    office: Any, host: HostFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the outcome is never written: the copy stays in the queue for good, and its sender hears nothing."""
    made = settler_module.notice_message

    def reading(wanted: Any, content: Any, *more: Any) -> Any:
        if content is not settler_module.EMPTY_CONTENT:
            raise OSError("input/output error")
        return made(wanted, content, *more)

    monkeypatch.setattr(settler_module, "notice_message", reading)

    running = await host(knows_nobody)
    place: Office = await office([running.url])
    await place.post(message(route=running.url))
    await place.until(lambda: place.statuses()[:1] == [("b@ours.test", "bounced")])
    await place.until(lambda: any(isinstance(event, NoticeQueued) for event in place.events.events))


async def test_a_bug_in_writing_is_told_and_holds_up_no_drain(
    office: Any, host: HostFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(settler_module, "notice_message", broken)
    running = await host(knows_nobody)
    place: Office = await office([running.url])
    await place.post(message(route=running.url))
    await place.until(lambda: any(isinstance(event, InternalError) for event in place.events.events))
    await place.runner.drain(60)
    # It was never recorded as failed: the next start tries again, and its sender hears of it.
    assert len(await place.queued()) == 1


async def test_what_was_delivered_just_before_a_drain_gave_up_is_recorded(
    office: Any, host: HostFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One next hop that does not answer ends a drain by its time; the others' last mails would be delivered again."""
    monkeypatch.setattr(settler_module, "GATHER_SECONDS", 60.0)
    monkeypatch.setattr(settler_module, "LAST_SECONDS", 30.0)

    async def play(peer: Peer) -> None:
        await peer.greet()
        await peer.take()
        await peer.closed()

    running = await host(play)
    place: Office = await office([running.url], main="[queue]\nper_next_hop = { start = 1, most = 1 }")
    first, second = many(2, running.url)
    await place.post(first)
    await place.post(second)
    await place.until(lambda: place.statuses() == [("b@ours.test", "sent")])
    await place.runner.drain(0.01)
    assert [left.trace_id for left in await place.queued()] == [second.trace_id]


async def test_a_bug_behind_a_record_is_counted_once(
    office: Any, host: HostFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count of open records below none would hold up every drain to its end."""
    running = await host(good)
    place: Office = await office([running.url])

    def broken(*given: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(place.runner._settler, "written", broken)
    await place.post(message(route=running.url))
    await place.until(lambda: any(isinstance(event, InternalError) for event in place.events.events))
    assert await place.queued() == []
    await asyncio.wait_for(place.runner.drain(60), 20)
