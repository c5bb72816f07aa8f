"""Summaries count every copy once, whatever happens to the files and whenever an exclusion is recorded."""

import asyncio
import json
from dataclasses import replace

import pytest

from gateway.config.service_level import ServiceTerms
from gateway.ledger import MIGRATIONS, DelayRecord, prune, rows
from gateway.ledger.finished import received_between
from gateway.servicelevel.book import Writer
from gateway.servicelevel.conditions import Bearing
from gateway.servicelevel.exclusion import Clause, ExclusionClass
from gateway.servicelevel.month import Month, parse_instant
from gateway.servicelevel.reading import judge, read_book
from gateway.servicelevel.records import Records
from gateway.servicelevel.result import Outcome
from gateway.servicelevel.rollup import Roller, roll
from gateway.servicelevel.store import StoreReader, open_store
from gateway.servicelevel.summary import MAX_CAUSES, DaySummary, ExcludedWaiting
from gateway.storage import Database, StorageError
from tests.ledger.test_ledger import RECORD

MONTH = Month(2026, 11, "Asia/Shanghai")
NOW = MONTH.span[1] + 86_400.0


def at(text: str) -> float:
    return parse_instant(text, MONTH.zone)


def record(number: int, received: str, delay: float, **changes) -> DelayRecord:
    start = at(received)
    plain = replace(
        RECORD,
        trace_id=f"{number:026}",
        received_at=start,
        transfer_started_at=start + delay,
        accepted_at=start + delay,
        send_delay_seconds=delay,
        receive_delay_seconds=delay,
        finished_at=start + delay,
    )
    return replace(plain, **changes)


@pytest.fixture
def data(tmp_path):
    Writer(Records(tmp_path), MONTH.span[0] - 1, "x").set_terms("example", ServiceTerms(), {"example.com": "operator"})
    return tmp_path


@pytest.fixture
async def shard(data):
    database = Database(data / "spool" / "shard-0.sqlite", MIGRATIONS, synchronous="NORMAL")
    yield database
    await database.close()


@pytest.fixture
async def store(data):
    database = open_store(data)
    yield database
    await database.close()


async def counted(data, store) -> int:
    return await roll(data, Bearing(read_book(data), NOW), store)


def received(data):
    return judge(data, "example", MONTH, NOW).delays["receive"]


async def test_a_report_has_what_is_not_summed_yet(data, shard, store):
    await shard.commit(rows(record(1, "2026-11-05T10:00", 2.0)))
    await counted(data, store)
    await shard.commit(rows(record(2, "2026-11-05T11:00", 4.0)))
    assert received(data).after.count == 2
    assert received(data).after.average_seconds == 3.0
    assert await counted(data, store) == 1
    assert received(data).after.average_seconds == 3.0


async def test_a_step_that_is_repeated_counts_nothing_twice(data, shard, store):
    await shard.commit([w for n in range(50) for w in rows(record(n, "2026-11-05T10:00", 2.0))])
    assert await counted(data, store) == 50
    assert await counted(data, store) == 0
    assert received(data).after.count == 50


async def test_an_exclusion_recorded_later_changes_the_day_it_touches_and_its_withdrawal_changes_it_back(
    data, shard, store
):
    await shard.commit(rows(record(1, "2026-11-05T23:00", 7200.0)))
    await counted(data, store)
    before = judge(data, "example", MONTH, NOW)
    writer = Writer(Records(data), NOW, "anna")
    span = (at("2026-11-06T00:00"), at("2026-11-06T00:30"))
    number = writer.exclude(Clause.DELAY, ExclusionClass.FORCE_MAJEURE, span, reason="flood").number
    # Whether or not the gateway has made the day anew.
    assert received(data).after.max_seconds == 5400.0
    await counted(data, store)
    assert received(data).after.max_seconds == 5400.0
    assert received(data).before.max_seconds == 7200.0
    writer.withdraw(number, "was another month")
    await counted(data, store)
    assert received(data).after.max_seconds == 7200.0
    assert before.delays["receive"].encode() == received(data).encode()


async def test_summaries_outlive_the_mail_they_count_and_say_what_they_could_not_apply(data, shard, store):
    await shard.commit([w for n in range(9) for w in rows(record(n, "2026-11-05T10:00", 60.0))])
    await counted(data, store)
    assert not await prune(shard, NOW, limit=100)
    assert received(data).after.count == 9
    assert judge(data, "example", MONTH, NOW).stale_days == ()
    span = (at("2026-11-05T10:00"), at("2026-11-05T11:00"))
    Writer(Records(data), NOW, "anna").exclude(Clause.DELAY, ExclusionClass.CARRIER, span, reason="late")
    await counted(data, store)
    evaluation = judge(data, "example", MONTH, NOW)
    assert evaluation.stale_days == ("2026-11-05",)
    assert evaluation.delays["receive"].after.count == 9


async def test_a_shard_made_anew_after_damage_is_counted_on(data, store):
    path = data / "spool" / "shard-0.sqlite"
    old = Database(path, MIGRATIONS, synchronous="NORMAL")
    await old.commit([w for n in range(5) for w in rows(record(n, "2026-11-05T10:00", 2.0))])
    await old.close()
    await counted(data, store)
    for left in path.parent.glob("shard-0.sqlite*"):
        left.unlink()
    new = Database(path, MIGRATIONS, synchronous="NORMAL")
    await new.commit([w for n in range(3) for w in rows(record(100 + n, "2026-11-06T10:00", 2.0))])
    await new.close()
    await counted(data, store)
    assert received(data).after.count == 8


async def test_a_shard_put_back_from_a_backup_is_not_counted_again(data, store):
    path = data / "spool" / "shard-0.sqlite"
    old = Database(path, MIGRATIONS, synchronous="NORMAL")
    writes = [w for n in range(10) for w in rows(record(n, "2026-11-05T10:00", 2.0 + n))]
    await old.commit(writes)
    await old.close()
    await counted(data, store)
    for left in path.parent.glob("shard-0.sqlite*"):
        left.unlink()
    back = Database(path, MIGRATIONS, synchronous="NORMAL")
    await back.commit(writes[:6])
    await back.close()
    assert await counted(data, store) == 0
    assert received(data).after.count == 10


async def test_a_months_digest_stays_when_days_are_made_anew_and_when_their_mail_is_pruned(data, shard, store):
    for day, delay in ((5, 60.0), (6, 7200.0), (7, 3.0)):
        await shard.commit([w for n in range(5) for w in rows(record(10 * day + n, f"2026-11-0{day}T10:00", delay))])
        await counted(data, store)
    writer = Writer(Records(data), NOW, "anna")
    span = (at("2026-11-06T10:30"), at("2026-11-06T11:00"))
    writer.exclude(Clause.DELAY, ExclusionClass.CARRIER, span, reason="cut")
    # Read from the raw rows, then from the day that was made anew, then from that day alone.
    told = [judge(data, "example", MONTH, NOW)]
    await counted(data, store)
    told.append(judge(data, "example", MONTH, NOW))
    await prune(shard, NOW, limit=100)
    assert not await shard.read("SELECT 1 FROM ledger")
    await counted(data, store)
    told.append(judge(data, "example", MONTH, NOW))
    assert [each.delays["receive"].after.max_seconds for each in told] == [5400.0] * 3
    assert len({each.digest for each in told}) == 1


async def test_terms_bear_on_the_days_for_which_they_held(data, shard, store):
    put_off = [[at("2026-11-05T10:00") + 1, "h", "r", "rcpt", "451 no", "deferred", 0.1, False]]
    put_off.append([at("2026-11-05T12:00"), "h", "r", "end-of-data", "250 ok", "sent", 0.1, False])
    copy = record(1, "2026-11-05T10:00", 7200.0, attempts=json.dumps(put_off), attempt_count=2)
    await shard.commit(rows(copy))
    await counted(data, store)
    later = Writer(Records(data), at("2026-11-20T00:00"), "x")
    later.set_terms("example", ServiceTerms(), {"example.com": "customer"})
    await counted(data, store)
    # When the mail came, the next hop was the operator's.
    assert received(data).after.max_seconds == 7200.0


async def test_a_customer_who_moves_has_its_days_where_it_is_now(data, shard, store):
    # In Auckland, five hours ahead, one of the two came on the 6th, which had no mail in Shanghai.
    await shard.commit([*rows(record(1, "2026-11-05T23:00", 2.0)), *rows(record(2, "2026-11-05T03:00", 4.0))])
    await counted(data, store)
    Writer(Records(data), NOW, "x").set_terms(
        "example", ServiceTerms(zone="Pacific/Auckland"), {"example.com": "operator"}
    )
    await counted(data, store)
    with StoreReader(data) as reader:
        stored = reader.days("example", ["2026-11-01", "2026-11-30"])
    assert {(each.key.day, each.summary.copies) for each in stored if each.summary.copies} == {
        ("2026-11-05", 1),
        ("2026-11-06", 1),
    }


async def test_a_customer_without_mail_has_no_figures(data, shard, store):
    await counted(data, store)
    evaluation = judge(data, "example", MONTH, NOW)
    delay = [line for line in evaluation.results if line.clause in "12"]
    assert {line.outcome for line in delay} == {Outcome.NO_DATA}
    assert {line.value for line in delay} == {None}
    with StoreReader(data) as reader:
        assert reader.all_days() == []


async def test_a_copy_that_stands_in_the_ledger_twice_is_counted_once(data, shard, store):
    """A writer killed between commit and answer is handed the same outcomes again."""
    twice = [w for n in range(3) for w in rows(record(n, "2026-11-05T10:00", 2.0 + n))]
    await shard.commit(twice)
    await counted(data, store)
    await shard.commit([*twice, *rows(record(7, "2026-11-05T10:00", 9.0))])
    assert received(data).after.count == 4
    await counted(data, store)
    assert received(data).after.count == 4
    span = (at("2026-11-06T00:00"), at("2026-11-06T00:30"))
    Writer(Records(data), NOW, "anna").exclude(Clause.DELAY, ExclusionClass.CARRIER, span, reason="day made anew")
    await counted(data, store)
    assert received(data).after.count == 4
    assert judge(data, "example", MONTH, NOW).stale_days == ()


async def test_what_ended_since_the_last_time_is_one_step_over_all_shards(data, shard, store):
    """Else a gateway that is never idle would count a handful at a time, five times a second, and sync each."""
    other = Database(data / "spool" / "shard-1.sqlite", MIGRATIONS, synchronous="NORMAL")
    await shard.commit(rows(record(1, "2026-11-05T10:00", 2.0)))
    await other.commit(rows(record(2, "2026-11-05T11:00", 4.0)))
    await other.close()
    roller = Roller(data, Bearing(read_book(data), NOW))
    writes, done = roller.step()
    await store.commit(writes)
    assert (done.rows, done.more) == (2, False)
    # The next round knows what it counted without reading it again, repeated rows and new ones alike.
    await shard.commit([*rows(record(1, "2026-11-05T10:00", 2.0)), *rows(record(3, "2026-11-05T12:00", 9.0))])
    writes, done = roller.step()
    await store.commit(writes)
    assert (done.rows, done.more) == (2, False)
    assert received(data).after.count == 3
    assert received(data).after.max_seconds == 9.0


async def test_a_busy_gateway_still_makes_changed_days_anew(data, shard, store):
    await shard.commit(rows(record(1, "2026-11-05T23:00", 7200.0)))
    await counted(data, store)
    span = (at("2026-11-06T00:00"), at("2026-11-06T00:30"))
    Writer(Records(data), NOW, "anna").exclude(Clause.DELAY, ExclusionClass.FORCE_MAJEURE, span, reason="flood")
    roller = Roller(data, Bearing(read_book(data), NOW))
    for number in (2, 3):
        await shard.commit(rows(record(number, "2026-11-20T10:00", 2.0)))
        writes, done = roller.step()
        await store.commit(writes)
    assert not done.more
    with StoreReader(data) as reader:
        [day] = reader.days("example", ["2026-11-05"])
    assert day.summary.after.max_seconds == 5400.0


async def test_a_shard_that_cannot_be_read_keeps_no_other_from_being_counted(data, store):
    (data / "spool").mkdir()
    (data / "spool/shard-0.sqlite").write_bytes(b"no database" * 1000)
    good = Database(data / "spool" / "shard-1.sqlite", MIGRATIONS, synchronous="NORMAL")
    await good.commit(rows(record(1, "2026-11-05T10:00", 2.0)))
    await good.close()
    roller = Roller(data, Bearing(read_book(data), NOW))
    writes, done = roller.step()
    await store.commit(writes)
    assert done.rows == 1
    assert [name for name, _ in done.unreadable] == ["shard-0.sqlite"]
    assert not roller.step()[1].more
    with pytest.raises(StorageError):
        judge(data, "example", MONTH, NOW)


async def test_a_day_that_could_not_be_made_anew_is_named_although_mail_was_added_to_it(data, shard, store):
    await shard.commit([w for n in range(9) for w in rows(record(n, "2026-11-05T10:00", 60.0))])
    await counted(data, store)
    await prune(shard, NOW, limit=100)
    span = (at("2026-11-05T10:00"), at("2026-11-05T11:00"))
    Writer(Records(data), NOW, "anna").exclude(Clause.DELAY, ExclusionClass.CARRIER, span, reason="late")
    await shard.commit(rows(record(20, "2026-11-05T10:00", 90_000.0)))
    await counted(data, store)
    evaluation = judge(data, "example", MONTH, NOW)
    assert evaluation.delays["receive"].after.count == 10
    assert evaluation.stale_days == ("2026-11-05",)


async def test_a_step_committed_while_a_report_reads_is_not_counted_twice(data, shard, store, monkeypatch):
    await shard.commit([w for n in range(5) for w in rows(record(n, "2026-11-05T10:00", 2.0))])
    writes, _ = Roller(data, Bearing(read_book(data), NOW)).step()
    original = StoreReader.days

    loop = asyncio.get_running_loop()

    async def commit() -> None:
        await store.commit(writes[:])
        writes.clear()

    def disturbed(self, customer, days):
        if writes:
            asyncio.run_coroutine_threadsafe(commit(), loop).result(10)
        return original(self, customer, days)

    monkeypatch.setattr(StoreReader, "days", disturbed)
    assert (await asyncio.to_thread(received, data)).after.count == 5
    assert writes == []


async def test_a_month_has_the_limits_of_its_end_on_all_of_its_days(data, shard, store):
    await shard.commit([*rows(record(1, "2026-11-05T10:00", 120.0)), *rows(record(2, "2026-11-25T10:00", 120.0))])
    await counted(data, store)
    assert received(data).after.exceeded == 0
    Writer(Records(data), at("2026-11-20T00:00"), "x").set_terms(
        "example", ServiceTerms(maximum_delay=60.0), {"example.com": "operator"}
    )
    await counted(data, store)
    assert received(data).after.exceeded == 2


def test_which_causes_were_told_apart_on_a_crowded_day_does_not_change_the_digest():
    waits = [ExcludedWaiting(1, n, float(n), float(n + 1)) for n in range(MAX_CAUSES + 50)]
    days = []
    for order in (1, -1):
        day = DaySummary()
        for n in range(len(waits))[::order]:
            more = DaySummary(excluded={("a", f"host{n}", "rcpt", "451"): replace(waits[n])})
            day.merge(more)
        days.append(day)
    assert days[0].encode() != days[1].encode()
    assert days[0].stated() == days[1].stated()
    assert DaySummary.decode(days[0].encode()).encode() == days[0].encode()


async def test_a_day_is_read_once_for_all_whose_day_it_is(data, shard, store, monkeypatch):
    """After an outage the last days of all customers are made anew: each once would be customers times the mail."""
    for number in range(5):
        owned = {f"c{number}.test": "operator"}
        Writer(Records(data), MONTH.span[0] - 1, "x").set_terms(f"c{number}", ServiceTerms(), owned)
        await shard.commit(
            rows(record(number, "2026-11-05T10:00", 50.0, customer=f"c{number}", domain=f"c{number}.test"))
        )
    await counted(data, store)
    span = at("2026-11-05T10:00") + 10.0, at("2026-11-05T10:00") + 40.0
    Writer(Records(data), NOW, "ops").exclude(Clause.DELAY, ExclusionClass.CARRIER, span, reason="line cut")
    read = []

    def reading(shard, start, end):
        read.append((start, end))
        return received_between(shard, start, end)

    monkeypatch.setattr("gateway.servicelevel.rollup.received_between", reading)
    await counted(data, store)
    assert len(read) == len(set(read)) == 1
    for number in range(5):
        delays = judge(data, f"c{number}", MONTH, NOW).delays["receive"]
        assert (delays.before.average_seconds, delays.after.average_seconds) == (50.0, 20.0)
