"""A zone that died must neither list everybody nor hide everybody, and somebody must hear of it (RFC 5782 §5)."""

from ipaddress import ip_address

import pytest

from gateway.blocklist.dns.health import RECHECK_SECONDS, Health, HealthWatch, Kind, State, WatchedZone, probe, watched
from gateway.blocklist.dns.own import OwnNames, OwnWatch
from gateway.blocklist.dns.zone import DnsList
from gateway.clock import FakeClock
from gateway.dns.resolver import Resolver
from gateway.dns.zone import ZoneResolver

GOOD = "2.0.0.127.a.test A 127.0.0.2"


@pytest.mark.parametrize(
    ("zone", "state"),
    [
        (GOOD, State.HEALTHY),
        ("", State.BLIND),
        ("*.a.test A 127.0.0.2", State.WILDCARD),
        (f"{GOOD}\n1.0.0.127.a.test A 127.0.0.2", State.WILDCARD),
        ("*.a.test A 203.0.113.80", State.REFUSED),
        ("*.a.test A 127.255.255.254", State.REFUSED),
        ("2.0.0.127.a.test A 127.0.0.1", State.REFUSED),
        ("2.0.0.127.a.test A !SERVFAIL", State.UNREACHABLE),
        (f"{GOOD}\n1.0.0.127.a.test A !TIMEOUT", State.UNREACHABLE),
    ],
)
async def test_what_the_test_entries_say_of_a_list_of_addresses(zone, state):
    found, reason = await probe(ZoneResolver(zone), WatchedZone(zone="a.test"))
    assert found is state
    assert bool(reason) is (state is not State.HEALTHY)


@pytest.mark.parametrize(
    ("zone", "state"),
    [
        ("test.n.test A 127.0.1.2", State.HEALTHY),
        ("", State.BLIND),
        ("test.n.test A 127.0.1.2\ninvalid.n.test A 127.0.1.2", State.WILDCARD),
        ("2.0.0.127.n.test A 127.0.1.2", State.BLIND),
    ],
)
async def test_what_the_test_entries_say_of_a_list_of_names(zone, state):
    assert (await probe(ZoneResolver(zone), WatchedZone(zone="n.test", kind=Kind.NAMES)))[0] is state


async def test_a_list_without_the_rfcs_entries_can_name_another_or_none():
    resolver = ZoneResolver("exact-only.test.n.test A 127.0.1.2\n9.2.0.192.a.test A 127.0.0.2")
    names = DnsList(zone="n.test", score=1.0, probe="exact-only.test")
    assert (await probe(resolver, watched(names, Kind.NAMES)))[0] is State.HEALTHY
    address = DnsList(zone="a.test", score=1.0, probe="192.0.2.9")
    assert (await probe(resolver, watched(address, Kind.ADDRESSES)))[0] is State.HEALTHY
    silent = DnsList(zone="empty.test", score=1.0, probe="none")
    assert (await probe(resolver, watched(silent, Kind.ADDRESSES)))[0] is State.HEALTHY


class Switchable(Resolver):
    """One zone text after another."""

    def __init__(self, text):
        self.zone = ZoneResolver(text)

    async def query(self, name, rdtype):
        return await self.zone.query(name, rdtype)


async def test_a_blind_zone_is_switched_off_told_once_and_switched_on_again():
    clock, resolver, told = FakeClock(), Switchable(GOOD), []
    zones = [WatchedZone(zone="a.test")]
    health = Health()
    watch = HealthWatch(
        health, zones=lambda: zones, resolver=resolver, utc=lambda: clock.stamp().utc, changed=told.append
    )
    await watch.round()
    assert (health.complaint("a.test"), told) == ("", [])
    # Six rounds of five minutes: a zone that is well is asked every half hour.
    resolver.zone = ZoneResolver("")
    for _ in range(5):
        clock.advance(RECHECK_SECONDS)
        await watch.round()
        assert health.complaint("a.test") == ""
    clock.advance(RECHECK_SECONDS)
    await watch.round()
    assert health.complaint("a.test").startswith("not asked, blind: ")
    assert [(found.zone, found.state) for found in told] == [("a.test", State.BLIND)]
    # One in trouble every five minutes.
    clock.advance(RECHECK_SECONDS)
    await watch.round()
    assert len(told) == 1
    resolver.zone = ZoneResolver(GOOD)
    clock.advance(RECHECK_SECONDS)
    await watch.round()
    assert health.complaint("a.test") == ""
    assert told[-1].state is State.HEALTHY
    assert told[-1].since == clock.stamp().utc


async def test_zones_that_no_policy_names_are_forgotten_and_unknown_ones_are_asked():
    zones = [WatchedZone(zone="a.test")]
    health = Health()
    watch = HealthWatch(health, zones=lambda: zones, resolver=ZoneResolver(""), utc=lambda: 0.0, changed=lambda _: None)
    await watch.round()
    assert health.complaint("a.test")
    assert health.complaint("new.test") == ""
    zones.clear()
    await watch.round()
    assert list(health.zones) == []
    assert health.complaint("a.test") == ""


async def test_a_listing_of_our_own_is_told_when_it_begins_and_when_it_ends():
    resolver, listed, cleared = Switchable(""), [], []
    names = OwnNames(
        addresses=[ip_address("192.0.2.1")], domains=["ours.test"], address_zones=["a.test"], domain_zones=["n.test"]
    )
    watch = OwnWatch(lambda: names, resolver, listed=listed.append, cleared=cleared.append)
    await watch.round()
    assert (listed, cleared) == ([], [])
    resolver.zone = ZoneResolver(
        "1.2.0.192.a.test A 127.0.0.2\n1.2.0.192.a.test TXT caught by a trap\nours.test.n.test A 127.0.1.2"
    )
    await watch.round()
    await watch.round()
    assert [(one.list, one.entry, one.reason) for one in listed] == [
        ("a.test", "192.0.2.1", "caught by a trap"),
        ("n.test", "ours.test", ""),
    ]
    # No answer is no end.
    resolver.zone = ZoneResolver("1.2.0.192.a.test A !SERVFAIL\nours.test.n.test A 127.255.255.254")
    await watch.round()
    assert cleared == []
    resolver.zone = ZoneResolver("")
    await watch.round()
    assert {one.list for one in cleared} == {"a.test", "n.test"}
