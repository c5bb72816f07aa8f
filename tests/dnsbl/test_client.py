"""Zones are asked at once, within a budget; whatever they do, no mail waits longer and none is taken for listed."""

import asyncio
from ipaddress import ip_address

import pytest

from gateway.blocklist.dns.client import AllUsable, ask, printable_reason
from gateway.blocklist.dns.query import of_address
from gateway.blocklist.dns.reading import Outcome
from gateway.blocklist.dns.zone import CompiledList, DnsList
from gateway.clock import FakeClock, SystemClock
from gateway.dns.cache import CachingResolver
from gateway.dns.resolver import DnspythonResolver, Resolver
from gateway.dns.zone import ZoneResolver
from tests.system.parts import free_port

CLIENT = of_address(ip_address("192.0.2.1"))


def lists(*zones, score=2.0):
    return [CompiledList(DnsList(zone=zone, score=score)) for zone in zones]


class SlowZone(Resolver):
    """Answers for one zone when told, for the others at once."""

    def __init__(self, zone, inner):
        self.zone, self.inner, self.go, self.waiting = zone, inner, asyncio.Event(), 0

    async def query(self, name, rdtype):
        if name.endswith(self.zone):
            self.waiting += 1
            await self.go.wait()
        return await self.inner.query(name, rdtype)


async def test_every_list_is_asked_about_every_subject():
    zone = ZoneResolver("1.2.0.192.a.test A 127.0.0.2\n1.2.0.192.a.test TXT see https://a.test/192.0.2.1")
    other = of_address(ip_address("192.0.2.9"))
    readings = await ask(zone, [CLIENT, other], lists("a.test", "b.test"), budget_seconds=1, usable=AllUsable())
    outcomes = [(r.subject.shown, r.zone, r.outcome) for r in readings]
    assert outcomes == [
        ("192.0.2.1", "a.test", Outcome.LISTED),
        ("192.0.2.1", "b.test", Outcome.NOT_LISTED),
        ("192.0.2.9", "a.test", Outcome.NOT_LISTED),
        ("192.0.2.9", "b.test", Outcome.NOT_LISTED),
    ]
    assert readings[0].listing.reason == "see https://a.test/192.0.2.1"


async def test_equal_questions_are_asked_once():
    zone = ZoneResolver()
    await ask(zone, [CLIENT, CLIENT], lists("a.test", "a.test"), budget_seconds=1, usable=AllUsable())
    assert zone.asked == [("1.2.0.192.a.test", "A")]


async def test_a_slow_zone_is_its_own_temperror_and_the_others_count():
    zone = ZoneResolver("1.2.0.192.a.test A 127.0.0.2")
    slow = SlowZone("slow.test", zone)
    readings = await ask(slow, [CLIENT], lists("a.test", "slow.test"), budget_seconds=0.05, usable=AllUsable())
    assert [r.outcome for r in readings] == [Outcome.LISTED, Outcome.TEMPERROR]
    assert "no answer within 0.05 s" in readings[1].reason
    # The only zone is no other case.
    (only,) = await ask(slow, [CLIENT], lists("slow.test"), budget_seconds=0.05, usable=AllUsable())
    assert only.outcome is Outcome.TEMPERROR


async def test_a_late_answer_is_there_for_the_next_mail_and_was_asked_for_once():
    slow = SlowZone("slow.test", ZoneResolver("1.2.0.192.slow.test A 127.0.0.2"))
    caching = CachingResolver(slow, FakeClock(), 100)
    for _ in range(3):
        await ask(caching, [CLIENT], lists("slow.test"), budget_seconds=0.02, usable=AllUsable())
    assert slow.waiting == 1
    slow.go.set()
    (reading,) = await ask(caching, [CLIENT], lists("slow.test"), budget_seconds=5, usable=AllUsable())
    assert reading.outcome is Outcome.LISTED
    assert slow.waiting == 2
    assert caching.misses == 2, "one question for A, one for TXT"
    await caching.close()


async def test_a_zone_that_fails_or_refuses_is_no_listing():
    zone = ZoneResolver(
        "1.2.0.192.servfail.test A !SERVFAIL\n"
        "1.2.0.192.refused.test A 127.255.255.254\n"
        "*.parked.test A 203.0.113.80\n"
        "1.2.0.192.a.test A 127.0.0.2"
    )
    zones = lists("servfail.test", "refused.test", "parked.test", "a.test")
    readings = await ask(zone, [CLIENT], zones, budget_seconds=1, usable=AllUsable())
    assert [r.outcome for r in readings] == [Outcome.TEMPERROR, Outcome.ERROR, Outcome.ERROR, Outcome.LISTED]


async def test_an_unreachable_server_is_a_temperror():
    resolver = DnspythonResolver([f"127.0.0.1:{free_port()}"], 0.5, SystemClock())
    (reading,) = await ask(resolver, [CLIENT], lists("a.test"), budget_seconds=3, usable=AllUsable())
    assert reading.outcome is Outcome.TEMPERROR


async def test_a_zone_switched_off_is_not_asked_and_says_so():
    class Off:
        def complaint(self, zone):
            return "not asked, blind: no test entry" if zone == "off.test" else ""

    zone = ZoneResolver("*.off.test A 127.0.0.2")
    readings = await ask(zone, [CLIENT], lists("off.test", "a.test"), budget_seconds=1, usable=Off())
    assert [r.outcome for r in readings] == [Outcome.ERROR, Outcome.NOT_LISTED]
    assert readings[0].reason == "off.test: not asked, blind: no test entry"
    assert [name for name, _ in zone.asked] == ["1.2.0.192.a.test"]


async def test_an_allow_listing_needs_no_words():
    zone = ZoneResolver("1.2.0.192.a.test A 127.0.5.2")
    await ask(zone, [CLIENT], lists("a.test", score=-3.0), budget_seconds=1, usable=AllUsable())
    assert zone.asked == [("1.2.0.192.a.test", "A")]


async def test_words_that_do_not_come_leave_the_listing():
    zone = ZoneResolver("1.2.0.192.a.test A 127.0.0.2\n1.2.0.192.a.test TXT !SERVFAIL")
    (reading,) = await ask(zone, [CLIENT], lists("a.test"), budget_seconds=1, usable=AllUsable())
    assert (reading.outcome, reading.listing.reason) == (Outcome.LISTED, "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Listed, see\r\n250 ok", "Listed, see 250 ok"),
        ("caf\xc3\xa9 \x00\x7f", "caf?? ??"),
        ("x" * 300, "x" * 199 + "~"),
    ],
)
def test_a_zones_words_cannot_shape_our_reply(text, shown):
    assert printable_reason(text) == shown


async def test_what_is_remembered_needs_no_time():
    """A budget that is used up loses no answer that is at hand."""
    zone = SlowZone("b.test", ZoneResolver("1.2.0.192.a.test A 127.0.0.2"))
    resolver = CachingResolver(zone, FakeClock(), 10)
    await ask(resolver, [CLIENT], lists("a.test"), budget_seconds=1, usable=AllUsable())
    readings = await ask(resolver, [CLIENT], lists("a.test", "b.test", "c.test"), budget_seconds=0, usable=AllUsable())
    assert [r.outcome for r in readings] == [Outcome.LISTED, Outcome.TEMPERROR, Outcome.TEMPERROR]
