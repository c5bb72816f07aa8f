"""Custody: what was stored is there until every copy has ended, and nothing else."""

import asyncio
import errno
import os
from dataclasses import replace

import pytest

from gateway.mail.content import Content
from gateway.mail.rendition import Edit, Rendition
from gateway.spool.contents import MAX_ROW_OCTETS
from gateway.spool.message import Attempt, QueueQuery, RecipientState, RouteSummary, Settlement
from gateway.spool.states import IllegalTransitionError
from gateway.storage import DurableFiles, StorageFull, StorageRefused, StorageUnavailable

ALL = QueueQuery()
LARGE = bytes(MAX_ROW_OCTETS + 1)


def ended(message, number=0, state=RecipientState.DELIVERED):
    return Settlement(trace_id=message.trace_id, number=number, state=state)


def files(tmp_path):
    return [path for path in (tmp_path / "spool" / "content").rglob("*") if path.is_file()]


def octets(content):
    return b"".join(content.chunks())


async def states(custody):
    return {(copy.recipient.path.wire, str(copy.state)) for m in await custody.select(ALL) for copy in m.recipients}


async def test_a_stored_message_comes_back_as_it_was(custody, make_message):
    stored = await custody.store(make_message("User@Example.com", '"odd @"@example.com'))
    assert stored.stamps.durable is not None
    assert stored.shard == "0"
    loaded = await custody.load(stored.trace_id)
    assert replace(loaded, content=None) == replace(stored, content=None)
    assert octets(loaded.content) == octets(stored.content)


async def test_it_survives_closing_and_opening(open_custody, make_message):
    first = open_custody()
    message = await first.store(make_message())
    first.close_now()
    second = open_custody()
    assert await second.load(message.trace_id) is not None
    assert await second.routes() == [RouteSummary(route="smtp://next", queued=1, next_due=message.recipients[0].due)]


async def test_storing_twice_keeps_one_message(custody, make_message):
    message = make_message("a@example.com", "b@example.com")
    await asyncio.gather(custody.store(message), custody.store(message))
    await custody.store(message)
    assert (await custody.counts()).messages == 1
    assert len((await custody.load(message.trace_id)).recipients) == 2


async def test_a_cancelled_waiter_loses_nothing(custody, make_message):
    """The client hung up while we committed: the message is durable, and the delivery scan finds it."""
    message = make_message()
    task = asyncio.ensure_future(custody.store(message))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await custody.store(make_message("later@example.com"))
    assert message.trace_id in {m.trace_id for m in await custody.due("smtp://next", 2e9, 10)}


async def test_a_message_goes_with_its_last_copy_and_not_before(custody, make_message):
    message = await custody.store(make_message("a@example.com", "b@example.com"))
    await custody.settle([ended(message, 0)])
    assert [c.number for c in (await custody.load(message.trace_id)).recipients] == [1]
    await custody.settle([ended(message, 1, RecipientState.FAILED)])
    assert await custody.load(message.trace_id) is None
    assert (await custody.counts()).messages == 0


async def test_outcome_notice_and_record_are_one_transaction(custody, make_message, record):
    message = await custody.store(make_message())
    notice = make_message("sender@example.org")
    with pytest.raises(StorageRefused):
        await custody.settle([ended(message)], notices=[notice], records=[(record, (object(),))])
    assert await custody.load(message.trace_id) is not None
    assert await custody.load(notice.trace_id) is None
    (stored,) = await custody.settle([ended(message)], notices=[notice], records=[(record, ("done",))])
    assert stored.stamps.durable is not None
    assert await custody.load(message.trace_id) is None
    assert await custody.load(notice.trace_id) is not None
    assert await custody.databases[0].read("SELECT note FROM record") == [("done",)]


async def test_a_deferred_copy_keeps_its_attempts_and_its_new_time(custody, make_message):
    message = await custody.store(make_message())
    attempt = Attempt(
        at=1.5, next_hop="smtp://next", relay="r", phase="rcpt", reply="450 späte", status="deferred", seconds=0.25
    )
    await custody.settle(
        [
            Settlement(
                trace_id=message.trace_id,
                number=0,
                state=RecipientState.QUEUED,
                due=1.8e9,
                attempts=(attempt,),
                delay_noticed=True,
            )
        ]
    )
    (copy,) = (await custody.load(message.trace_id)).recipients
    assert (copy.due, copy.attempts, copy.delay_noticed) == (1.8e9, (attempt,), True)
    assert await custody.due("smtp://next", 1.8e9 - 1, 10) == []
    assert len(await custody.due("smtp://next", 1.8e9, 10)) == 1


async def test_due_gives_whole_messages_earliest_first_without_those_in_hand(custody, make_message, clock):
    late = await custody.store(make_message("c@example.com", due=clock.stamp().utc + 5))
    early = await custody.store(make_message("a@example.com", "b@example.com", due=clock.stamp().utc - 5))
    other = await custody.store(make_message(route="smtp://other"))
    horizon = clock.stamp().utc + 10
    found = await custody.due("smtp://next", horizon, 10)
    assert [m.trace_id for m in found] == [early.trace_id, late.trace_id]
    assert found[0].content is None
    assert octets(await custody.content(found[0])) == octets(early.content)
    # A limit never splits a message: its recipients share one transfer.
    assert [len(m.recipients) for m in await custody.due("smtp://next", horizon, 1)] == [2]
    in_hand = frozenset({(early.trace_id, 0), (late.trace_id, 0)})
    (rest,) = await custody.due("smtp://next", horizon, 10, in_hand)
    assert [(rest.trace_id, c.number) for c in rest.recipients] == [(early.trace_id, 1)]
    assert {r.route for r in await custody.routes()} == {"smtp://next", other.recipients[0].route}


async def test_discarded_copies_are_not_kept_and_others_are(custody, make_message):
    message = make_message("a@example.com", "b@example.com")
    mixed = replace(
        message,
        recipients=(replace(message.recipients[0], state=RecipientState.DISCARDED), message.recipients[1]),
    )
    await custody.store(mixed)
    assert await states(custody) == {("b@example.com", "queued")}
    nothing = make_message(state=RecipientState.DISCARDED)
    stored = await custody.store(nothing)
    assert stored.stamps.durable is not None
    assert await custody.load(nothing.trace_id) is None


async def test_quarantined_copies_wait_for_release(custody, make_message, clock):
    now = clock.stamp().utc
    message = await custody.store(make_message(state=RecipientState.QUARANTINED, held_since=now))
    assert await custody.routes() == []
    clock.advance(3600)
    assert await custody.release(QueueQuery(trace_ids=frozenset({message.trace_id})), clock.stamp().utc) == 1
    (copy,) = (await custody.load(message.trace_id)).recipients
    assert (copy.state, copy.held_seconds, copy.held_since) == (RecipientState.QUEUED, 3600.0, 0.0)


async def test_what_is_let_out_has_another_rendition_and_what_stays_has_its_own(custody, make_message, clock):
    now = clock.stamp().utc
    one = make_message(state=RecipientState.QUARANTINED, held_since=now).recipients[0]
    message = make_message(state=RecipientState.QUARANTINED, held_since=now)
    message = await custody.store(replace(message, recipients=(one, replace(one, number=1))))
    clock.advance(3600)
    other = Rendition.of([Edit(0, 0, b"X-New: 1\r\n")])
    await custody.let_out(message, frozenset({1}), other, clock.stamp().utc)
    stays, leaves = (loaded := await custody.load(message.trace_id)).recipients
    assert (stays.state, loaded.renditions[stays.rendition]) == (RecipientState.QUARANTINED, message.renditions[0])
    assert (leaves.state, loaded.renditions[leaves.rendition]) == (RecipientState.QUEUED, other)
    assert leaves.held_seconds == 3600.0


async def test_what_is_let_out_while_others_are_released_has_its_rendition_all_the_same(custody, make_message, clock):
    """Else mail would leave with the fields of the scan before, when both stand in one group commit."""
    now = clock.stamp().utc
    held = await custody.store(make_message(state=RecipientState.HELD, held_since=now))
    kept = await custody.store(make_message(state=RecipientState.QUARANTINED, held_since=now))
    other = Rendition.of([Edit(0, 0, b"X-New: 1\r\n")])
    shard = custody._shards[kept.shard]
    writes = []
    real = shard.database.commit

    def collect(given):
        writes.extend(given)
        return real(list(writes))

    shard.database.commit = collect
    await custody.release(QueueQuery(trace_ids=frozenset({held.trace_id})), now)
    await custody.let_out(kept, frozenset({0}), other, now)
    loaded = await custody.load(kept.trace_id)
    assert loaded.renditions[loaded.recipients[0].rendition] == other


async def test_a_copy_more_is_queued_beside_the_others_and_none_of_a_message_that_has_gone(custody, make_message):
    message = await custody.store(make_message(state=RecipientState.QUARANTINED))
    more = replace(message.recipients[0], number=1_700_000_000, state=RecipientState.QUEUED, route="smtp://other")
    other = Rendition.of([Edit(0, 0, b"X-New: 1\r\n")])
    await custody.add(message, more, other)
    added = (loaded := await custody.load(message.trace_id)).recipients[1]
    assert (added.number, added.route, loaded.renditions[added.rendition]) == (more.number, "smtp://other", other)
    [due] = await custody.due("smtp://other", 1e12, 10)
    assert due.trace_id == message.trace_id
    assert await custody.drop(ALL) == 2
    await custody.add(message, replace(more, number=2), other)
    assert (await custody.counts()).recipients == {}


async def test_an_attempt_that_ends_after_hold_does_not_release(custody, make_message):
    message = await custody.store(make_message())
    assert await custody.hold(ALL) == 1
    await custody.settle([Settlement(trace_id=message.trace_id, number=0, state=RecipientState.QUEUED, due=1.0)])
    assert await states(custody) == {("user@example.com", "held")}
    # But what was delivered is delivered.
    await custody.settle([ended(message)])
    assert (await custody.counts()).messages == 0


async def test_operations_change_what_they_select_only(custody, make_message, clock):
    old = await custody.store(make_message("a@one.example"))
    clock.advance(100)
    await custody.store(make_message("A.B@Two.Example"))
    await custody.store(make_message("c@one.example", route="smtp://other"))
    assert await custody.hold(QueueQuery(recipient="a.b@two.example")) == 1
    assert await custody.hold(QueueQuery(recipient="A.B@Two.Example")) == 0
    assert [m.trace_id for m in await custody.select(QueueQuery(older_than=50))] == [old.trace_id]
    assert await custody.reschedule(QueueQuery(domain="one.example"), 7.0) == 2
    assert await custody.reschedule(QueueQuery(domain="two.example"), 7.0) == 0
    assert {m.recipients[0].due for m in await custody.select(QueueQuery(domain="one.example"))} == {7.0}
    assert await custody.drop(QueueQuery(route="smtp://other")) == 1
    assert await states(custody) == {("a@one.example", "queued"), ("A.B@Two.Example", "held")}
    assert await custody.release(ALL, 0.0) == 1
    assert len(await custody.select(QueueQuery(limit=1))) == 1
    counts = await custody.counts()
    assert counts.recipients == {RecipientState.QUEUED: 2}
    assert counts.oldest_queued_at == old.stamps.received.utc


async def test_dropping_writes_the_callers_record(custody, make_message, record):
    await custody.store(make_message("a@example.com", "b@example.com"))
    dropped = await custody.drop(ALL, lambda m, copy: [(record, (f"{copy.number} of {m.origin}",))])
    assert dropped == 2
    notes = await custody.databases[0].read("SELECT note FROM record ORDER BY note")
    assert notes == [("0 of smtp",), ("1 of smtp",)]


async def test_dropping_goes_on_beyond_one_commit(custody, make_message):
    await custody.store(make_message(*(f"user{n}@example.com" for n in range(450))))
    assert await custody.drop(QueueQuery(domain="example.com")) == 450
    assert (await custody.counts()).messages == 0


async def test_a_large_notice_that_cannot_be_stored_leaves_no_file(custody, make_message, tmp_path):
    message = await custody.store(make_message())
    with pytest.raises(StorageRefused):
        await custody.settle([ended(message)], notices=[replace(make_message(content=LARGE), octets=2**70)])
    assert files(tmp_path) == []
    assert await custody.load(message.trace_id) is not None


async def test_states_that_nothing_leads_to_are_bugs(custody, make_message):
    message = await custody.store(make_message())
    with pytest.raises(IllegalTransitionError):
        await custody.settle([ended(message, state=RecipientState.QUARANTINED)])
    with pytest.raises(IllegalTransitionError):
        await custody.store(make_message(state=RecipientState.DELIVERED))


async def test_a_large_content_is_a_file_until_its_message_ends(custody, make_message, tmp_path):
    message = await custody.store(make_message(content=LARGE))
    (path,) = files(tmp_path)
    assert path.name == message.trace_id
    assert octets((await custody.load(message.trace_id)).content) == LARGE
    await custody.settle([ended(message)])
    assert files(tmp_path) == []


async def test_a_file_that_cannot_be_looked_for_does_not_undo_what_is_written(
    custody, make_message, record, monkeypatch
):
    """Taken for a failure, the outcome would be written again and again, with one ledger row more each time."""
    message = await custody.store(make_message(content=LARGE))
    database = custody.databases[0]

    async def failing(*given):
        raise StorageUnavailable("disk I/O error")

    with monkeypatch.context() as broken:
        broken.setattr(database, "read", failing)
        await custody.settle([ended(message)], records=[(record, ("done",))])
    assert await custody.load(message.trace_id) is None
    assert await database.read("SELECT note FROM record") == [("done",)]


async def test_a_spilled_content_is_taken_over_where_it_lies(custody, make_message, tmp_path):
    message = make_message()
    spill = custody.spill_path(message.trace_id)
    spill.write_bytes(LARGE)
    spilled = replace(message, content=Content(path=spill, size=len(LARGE)), octets=len(LARGE))
    stored = await custody.store(spilled)
    assert not spill.exists()
    assert stored.content.path in files(tmp_path)
    assert octets(stored.content) == LARGE
    # The waiter was cancelled and asks again: the same answer, the same file.
    again = await custody.store(spilled)
    assert octets(again.content) == LARGE
    assert len(files(tmp_path)) == 1


async def test_a_large_content_that_cannot_be_synced_is_refused_and_leaves_nothing(
    open_custody, make_message, tmp_path
):
    def fail(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    custody = open_custody(files=DurableFiles(fail))
    message = make_message(content=LARGE)
    with pytest.raises(StorageFull):
        await custody.store(message)
    assert files(tmp_path) == []
    assert await custody.load(message.trace_id) is None


async def test_a_large_content_whose_row_fails_leaves_no_file(custody, make_message, tmp_path):
    message = make_message(content=LARGE)
    with pytest.raises(StorageRefused):
        await custody.store(replace(message, octets=2**70))
    assert files(tmp_path) == []


async def test_a_file_left_by_a_crash_is_cleaned_and_a_referenced_one_is_not(open_custody, make_message, tmp_path):
    first = open_custody()
    kept = await first.store(make_message(content=LARGE))
    spill = first.spill_path("01STALE")
    spill.write_bytes(b"half a mail")
    stale = tmp_path / "spool" / "content" / "0" / "ZZ" / "01UNREFERENCEDZZ"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"row never committed")
    first.close_now()
    open_custody()
    assert [path.name for path in files(tmp_path)] == [kept.trace_id]
    assert not spill.exists()


async def test_a_store_of_the_queue_operations_takes_no_mail(custody, settings, make_message):
    custody.close_now()
    stopped = type(custody).open_stopped(settings)
    with pytest.raises(StorageUnavailable):
        await stopped.store(make_message())
    stopped.close_now()


async def test_hostile_text_is_stored_escaped(custody, make_message):
    message = replace(make_message(), helo="\udcff\ud800", message_id="<é\udc80>")
    await custody.store(message)
    loaded = await custody.load(message.trace_id)
    assert loaded.helo == "\\udcff\\ud800"
    assert loaded.message_id == "<é\\udc80>"
