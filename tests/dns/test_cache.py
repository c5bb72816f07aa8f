"""The cache: a lost answer hangs mail, a stale one misjudges it, an uncounted one floods the resolver."""

import asyncio

import pytest

from gateway.clock import FakeClock
from gateway.dns.answer import found, no_such_name, temperror
from gateway.dns.cache import MAX_NEGATIVE_SECONDS, MAX_POSITIVE_SECONDS, CachingResolver
from gateway.dns.resolver import Resolver
from gateway.dns.zone import ZoneResolver


class Gate(Resolver):
    """Answers with ``answer`` once it is opened, and counts."""

    def __init__(self, answer):
        self.answer = answer
        self.opened = asyncio.Event()
        self.entered = asyncio.Event()
        self.count = 0

    async def query(self, name, rdtype):  # noqa: ARG002 - one answer for all
        self.count += 1
        self.entered.set()
        await self.opened.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


ANSWER = found("a.example", "A", ("192.0.2.1",), 60)


async def test_equal_questions_under_way_are_one_in_any_spelling():
    gate = Gate(ANSWER)
    cache = CachingResolver(gate, FakeClock(), 10)
    tasks = [asyncio.create_task(cache.query(name, "A")) for name in ("a.example", "A.EXAMPLE", "a.example.")]
    await gate.entered.wait()
    gate.opened.set()
    assert await asyncio.gather(*tasks) == [ANSWER] * 3
    assert (gate.count, cache.misses, cache.coalesced) == (1, 1, 2)
    assert await cache.query("a.example", "A") == ANSWER
    assert (gate.count, cache.hits) == (1, 1)


async def test_one_cancelled_waiter_does_not_cost_the_others_their_answer():
    gate = Gate(ANSWER)
    cache = CachingResolver(gate, FakeClock(), 10)
    first = asyncio.create_task(cache.query("a.example", "A"))
    await gate.entered.wait()
    second = asyncio.create_task(cache.query("a.example", "A"))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.opened.set()
    assert await second == ANSWER
    assert gate.count == 1


async def test_the_answer_is_kept_even_when_all_who_asked_went_away():
    gate = Gate(ANSWER)
    cache = CachingResolver(gate, FakeClock(), 10)
    only = asyncio.create_task(cache.query("a.example", "A"))
    await gate.entered.wait()
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    joined = asyncio.create_task(cache.query("a.example", "A"))
    gate.opened.set()
    assert await joined == ANSWER
    assert gate.count == 1


async def test_a_bug_below_reaches_everyone_and_is_forgotten():
    gate = Gate(RuntimeError("bug"))
    cache = CachingResolver(gate, FakeClock(), 10)
    tasks = [asyncio.create_task(cache.query("a.example", "A")) for _ in range(2)]
    await gate.entered.wait()
    gate.opened.set()
    assert [type(result) for result in await asyncio.gather(*tasks, return_exceptions=True)] == [RuntimeError] * 2
    gate.answer = ANSWER
    assert await cache.query("a.example", "A") == ANSWER


async def test_closing_ends_what_is_under_way():
    gate = Gate(ANSWER)
    cache = CachingResolver(gate, FakeClock(), 10)
    waiting = asyncio.create_task(cache.query("a.example", "A"))
    await gate.entered.wait()
    await cache.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (found("a.example", "A", ("192.0.2.1",), 60), 60),
        (found("a.example", "A", ("192.0.2.1",), 1_000_000), MAX_POSITIVE_SECONDS),
        (no_such_name("a.example", "A", 30), 30),
        (no_such_name("a.example", "A", 1_000_000), MAX_NEGATIVE_SECONDS),
        (temperror("a.example", "A", "SERVFAIL"), 1),
    ],
)
async def test_an_answer_lives_for_its_ttl_within_the_cap_and_not_a_second_more(answer, seconds):
    clock = FakeClock()
    gate = Gate(answer)
    gate.opened.set()
    cache = CachingResolver(gate, clock, 10)
    await cache.query("a.example", "A")
    clock.advance(seconds - 0.01)
    await cache.query("a.example", "A")
    assert gate.count == 1
    clock.advance(0.02)
    await cache.query("a.example", "A")
    assert gate.count == 2


async def test_a_zero_ttl_is_not_kept():
    gate = Gate(found("a.example", "A", ("192.0.2.1",), 0))
    gate.opened.set()
    cache = CachingResolver(gate, FakeClock(), 10)
    await cache.query("a.example", "A")
    await cache.query("a.example", "A")
    assert (gate.count, len(cache)) == (2, 0)


async def test_the_least_recently_used_goes_first_and_memory_stays_bounded():
    zone = ZoneResolver("*.example A 192.0.2.1")
    cache = CachingResolver(zone, FakeClock(), 3)
    for name in ("a", "b", "c", "a", "d"):
        await cache.query(f"{name}.example", "A")
    assert len(cache) == 3
    await cache.query("a.example", "A")
    await cache.query("b.example", "A")
    assert [name for name, _ in zone.asked] == ["a.example", "b.example", "c.example", "d.example", "b.example"]


async def test_types_are_kept_apart():
    zone = ZoneResolver("a.example A 192.0.2.1\na.example AAAA 2001:db8::1")
    cache = CachingResolver(zone, FakeClock(), 10)
    assert (await cache.query("a.example", "A")).records == ("192.0.2.1",)
    assert (await cache.query("a.example", "AAAA")).records == ("2001:db8::1",)


async def test_a_cache_of_no_entries_still_answers():
    cache = CachingResolver(ZoneResolver("a.example A 192.0.2.1"), FakeClock(), 0)
    assert (await cache.query("a.example", "A")).is_found
    assert len(cache) == 0


async def test_what_is_remembered_is_known_in_any_spelling_until_its_time_is_up():
    clock = FakeClock()
    gate = Gate(ANSWER)
    gate.opened.set()
    cache = CachingResolver(gate, clock, 10)
    assert cache.known("a.example", "A") is None
    await cache.query("a.example", "A")
    assert cache.known("A.Example.", "a") == ANSWER
    clock.advance(60)
    assert cache.known("a.example", "A") is None
    assert gate.count == 1
