"""The raw material of the delay clauses is written whole, found by month and customer, and pruned in small steps."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.ledger import MIGRATIONS, DelayRecord, Ledger, prune, rows
from gateway.mail.trace_id import new_trace_id
from gateway.storage import Database, Migration

START = 1_790_000_000.0

RECORD = DelayRecord(
    trace_id=new_trace_id(START, bytes),
    number=0,
    customer="example",
    recipient="user@example.com",
    domain="example.com",
    reverse_path="sender@example.org",
    role="mx",
    origin="smtp",
    octets=8192,
    action="accept",
    connected_at=START,
    enveloped_at=START + 0.1,
    received_at=START + 0.2,
    filtered_seconds=0.01,
    durable_seconds=0.002,
    antivirus_seconds=0.005,
    held_seconds=0.0,
    transfer_started_at=START + 1,
    accepted_at=START + 2,
    send_delay_seconds=0.8,
    receive_delay_seconds=1.8,
    finished_at=START + 2,
    status="delivered",
    next_hop="smtp://10.1.0.5:25",
    relay="10.1.0.5[10.1.0.5]:25",
    reply="250 2.0.0 ok",
    attempts="[]",
    attempt_count=1,
    greylisted_seconds=360.0,
)
NEVER = replace(
    RECORD,
    number=1,
    customer="other",
    status="expired",
    transfer_started_at=None,
    accepted_at=None,
    send_delay_seconds=None,
    receive_delay_seconds=None,
)


@pytest.fixture
def open_shard(tmp_path: Path):
    opened = []

    def open_one(name):
        opened.append(Database(tmp_path / "spool" / f"shard-{name}.sqlite", MIGRATIONS, synchronous="FULL"))
        return opened[-1]

    yield open_one
    for database in opened:
        database.close_now()


async def test_a_record_comes_back_as_it_was_from_every_shard(open_shard, tmp_path):
    await open_shard("0").commit(rows(RECORD))
    await open_shard("1").commit(rows(NEVER))
    ledger = Ledger(tmp_path)
    assert list(ledger.between(START, START + 1)) == [RECORD, NEVER]
    assert list(ledger.between(START, START + 1, "other")) == [NEVER]
    assert ledger.of_message(RECORD.trace_id) == [RECORD, NEVER]
    assert ledger.of_message(new_trace_id(START + 5, bytes)) == []


async def test_a_month_has_its_first_instant_and_not_its_last(open_shard, tmp_path):
    await open_shard("0").commit([*rows(RECORD), *rows(replace(RECORD, received_at=START + 100))])
    assert [r.received_at for r in Ledger(tmp_path).between(START + 0.2, START + 100)] == [START + 0.2]


async def test_a_shard_without_a_ledger_is_passed_over(open_shard, tmp_path):
    Database(
        tmp_path / "spool" / "shard-9.sqlite",
        (Migration(1, "x", lambda s: s.execute("CREATE TABLE x (y)")),),
        synchronous="FULL",
    ).close_now()
    await open_shard("0").commit(rows(RECORD))
    assert list(Ledger(tmp_path).between(0, START * 2)) == [RECORD]


async def test_pruning_takes_the_oldest_in_bounded_steps_and_leaves_the_rest(open_shard, tmp_path):
    database = open_shard("0")
    await database.commit([w for n in range(25) for w in rows(replace(RECORD, received_at=START + n))])
    assert await prune(database, START + 20, limit=10)
    assert [r.received_at for r in Ledger(tmp_path).between(0, START * 2)] == [START + n for n in range(10, 25)]
    assert await prune(database, START + 20, limit=10)
    assert not await prune(database, START + 20, limit=10)
    assert [r.received_at for r in Ledger(tmp_path).between(0, START * 2)] == [START + n for n in range(20, 25)]


async def test_pruning_and_months_use_the_index(open_shard):
    database = open_shard("0")
    for query in (
        "SELECT id FROM ledger WHERE received_at < 5 ORDER BY received_at LIMIT 9",
        "SELECT * FROM ledger WHERE received_at >= 1 AND received_at < 5 ORDER BY received_at",
    ):
        plan = str(await database.read(f"EXPLAIN QUERY PLAN {query}"))
        assert "ledger_received" in plan
        assert "TEMP B-TREE" not in plan


async def test_a_shard_of_before_greylisting_gets_its_column(tmp_path):
    """Rows of earlier months stay readable, and were put off by nothing."""
    old = Database(tmp_path / "old.sqlite", MIGRATIONS[:1], synchronous="FULL")
    await old.close()
    database = Database(tmp_path / "old.sqlite", MIGRATIONS, synchronous="FULL")
    await database.commit(rows(RECORD))
    found = await database.read("SELECT greylisted_seconds FROM ledger", ())
    await database.close()
    assert [tuple(row) for row in found] == [(360.0,)]


async def test_only_to_whom_a_message_was_delivered_has_it_been_delivered(open_shard, tmp_path):
    """Who lets a mail out of quarantine to an address a second time is told that it has it."""
    await open_shard("0").commit(rows(RECORD) + rows(replace(NEVER, recipient="late@example.com")))
    assert Ledger(tmp_path).delivered_to(RECORD.trace_id) == {"user@example.com"}
