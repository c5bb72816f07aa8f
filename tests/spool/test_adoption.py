"""What a worker that no longer exists left behind is delivered by another; a damaged shard does not stop the others."""

import pytest

from gateway.spool.custody import Custody
from gateway.spool.message import QueueQuery, RecipientState, Settlement
from gateway.spool.shard import shard_path


async def fill(open_custody, make_message, workers):
    """Run once with that many workers, one message each; return the messages by worker."""
    custodies = [open_custody(n, workers) for n in range(workers)]
    messages = [await custody.store(make_message(f"user{n}@example.com")) for n, custody in enumerate(custodies)]
    for custody in custodies:
        custody.close_now()
    return messages


async def test_shards_beyond_the_workers_are_shared_out(open_custody, make_message, witness):
    await fill(open_custody, make_message, 5)
    first, second = open_custody(0, 2), open_custody(1, 2)
    assert first.shards == ("0", "2", "4")
    assert second.shards == ("1", "3")
    assert sorted(witness.adopted) == [("2", 1), ("3", 1), ("4", 1)]
    assert [(r.route, r.queued) for r in await first.routes()] == [("smtp://next", 3)]


async def test_adopted_mail_is_settled_where_it_lies(open_custody, make_message):
    messages = await fill(open_custody, make_message, 3)
    custody = open_custody(0, 1)
    due = await custody.due("smtp://next", 2e9, 10)
    assert {m.shard for m in due} == {"0", "1", "2"}
    for message in due:
        assert (await custody.content(message)).size == messages[0].octets
        notice = make_message("sender@example.org")
        await custody.settle(
            [Settlement(trace_id=message.trace_id, number=0, state=RecipientState.FAILED)], notices=[notice]
        )
        assert (await custody.load(notice.trace_id)).shard == message.shard
        await custody.settle([Settlement(trace_id=notice.trace_id, number=0, state=RecipientState.DELIVERED)])
    assert (await custody.counts()).messages == 0


async def test_a_shard_in_use_is_left_alone_and_said(open_custody, make_message, witness):
    other = open_custody(1, 2)
    await other.store(make_message())
    custody = open_custody(0, 1)
    assert custody.shards == ("0",)
    ((store, operation, error),) = witness.failed
    assert (store, operation) == ("shard-1", "adopt")
    assert "in use by process" in error


@pytest.mark.parametrize("worker", [0, 1])
async def test_a_damaged_shard_is_moved_aside_and_the_others_serve(
    open_custody, make_message, settings, witness, worker
):
    await fill(open_custody, make_message, 2)
    path = shard_path(settings.data, str(worker))
    path.write_bytes(b"rubbish" * 5000)
    content = settings.data / "spool" / "content" / str(worker) / "ab" / "01CONTENT"
    content.parent.mkdir(parents=True)
    content.write_bytes(b"may be wanted for recovery")
    custody = open_custody(0, 1)
    await custody.store(make_message())
    aside = next(p for p in path.parent.glob("*.corrupt-*") if p.is_file() and p.suffix != ".lock")
    assert aside.read_bytes() == b"rubbish" * 5000
    assert [p.read_bytes() for p in (settings.data / "spool" / "content").glob("*.corrupt-*/ab/*")] == [
        b"may be wanted for recovery"
    ]
    ((store, _, error),) = [failure for failure in witness.failed if failure[1] == "open"]
    assert store == f"shard-{worker}"
    assert str(aside) in error
    assert ".recover" in error


async def test_the_command_line_works_on_all_free_shards(open_custody, make_message, settings):
    await fill(open_custody, make_message, 2)
    running = open_custody(1, 2)
    stopped = Custody.open_stopped(settings)
    assert stopped.shards == ("0",)
    assert await stopped.drop(QueueQuery()) == 1
    stopped.close_now()
    assert (await running.counts()).messages == 1


async def test_the_command_line_leaves_a_damaged_shard_where_it_is(open_custody, make_message, settings, witness):
    await fill(open_custody, make_message, 2)
    path = shard_path(settings.data, "1")
    path.write_bytes(b"rubbish" * 5000)
    stopped = Custody.open_stopped(settings, witness)
    assert stopped.shards == ("0",)
    assert [(store, operation) for store, operation, _ in witness.failed] == [("shard-1", "open")]
    assert path.read_bytes() == b"rubbish" * 5000
    stopped.close_now()
