"""Against a real rbldnsd behind a real Unbound, with the zones of the material: answers as lists really give them."""

import socket
from ipaddress import ip_address

import pytest

from gateway.blocklist.dns import client
from gateway.blocklist.dns.client import AllUsable, ask
from gateway.blocklist.dns.health import Kind, State, probe, watched
from gateway.blocklist.dns.query import of_text
from gateway.blocklist.dns.reading import Outcome
from gateway.blocklist.dns.zone import CompiledList, DnsList
from gateway.clock import SystemClock
from gateway.dns.resolver import DnspythonResolver

pytestmark = pytest.mark.real

DNSBL = DnsList(zone="dnsbl.test", codes={"127.0.0.[2..8]": 6.0, "127.0.0.10-11": 3.0})
URIBL = DnsList(zone="uribl.test", codes={"127.0.1.2": 5.0, "127.0.1.4": 8.0}, probe="exact-only.test")


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Reasons are waited for longer than mail would: here the machine has other things to do."""
    monkeypatch.setattr(client, "TEXT_SECONDS", 20.0)


async def readings(resolver, dns_list, *texts):
    compiled = [CompiledList(dns_list)]
    return await ask(resolver, [of_text(text) for text in texts], compiled, budget_seconds=10, usable=AllUsable())


@pytest.mark.parametrize(
    ("address", "code", "weight", "reason"),
    [
        ("127.0.0.2", "127.0.0.2", 6.0, "Listed by dnsbl.test, see https://dnsbl.test/q?127.0.0.2"),
        ("192.0.2.200", "127.0.0.2", 6.0, "Listed by dnsbl.test, see https://dnsbl.test/q?192.0.2.200"),
        ("198.51.100.7", "127.0.0.4", 6.0, "XBL style exploit"),
        ("203.0.113.15", "127.0.0.10", 3.0, "PBL style dynamic range"),
        ("2001:db8:bad::25", "127.0.0.2", 6.0, "Listed v6 2001:db8:bad::25"),
    ],
)
async def test_listed_addresses(resolver, address, code, weight, reason):
    (reading,) = await readings(resolver, DNSBL, address)
    assert reading.outcome is Outcome.LISTED
    assert (reading.listing.value, reading.listing.weight) == (code, weight)
    # rbldnsd writes an IPv6 address out in full.
    assert reading.listing.reason.startswith(reason.split(" 2001:")[0])


@pytest.mark.parametrize("address", ["192.0.2.99", "192.0.3.1", "203.0.113.20", "127.0.0.1", "2001:db8:bad:1::1"])
async def test_unlisted_addresses_and_exclusions(resolver, address):
    (reading,) = await readings(resolver, DNSBL, address)
    assert reading.outcome is Outcome.NOT_LISTED


async def test_names(resolver):
    found = await readings(
        resolver,
        URIBL,
        "spam-domain.test",
        "www.spam-domain.test",
        "exact-only.test",
        "www.exact-only.test",
        "phish.test",
    )
    listed = [(r.subject.shown, r.listing.value if r.listing else None) for r in found]
    assert listed == [
        ("spam-domain.test", "127.0.1.2"),
        ("www.spam-domain.test", "127.0.1.2"),
        ("exact-only.test", "127.0.1.2"),
        ("www.exact-only.test", None),
        ("phish.test", "127.0.1.4"),
    ]


async def test_a_second_question_comes_from_the_cache(resolver):
    await readings(resolver, DNSBL, "198.51.100.7")
    misses = resolver.misses
    await readings(resolver, DNSBL, "198.51.100.7")
    assert resolver.misses == misses


@pytest.mark.parametrize(
    ("zone", "said"), [("refused.test", "REFUSED"), ("unserved.test", "SERVFAIL"), ("servfail.test", "")]
)
async def test_a_zone_that_refuses_or_fails_is_a_temperror(resolver, zone, said):
    (reading,) = await readings(resolver, DnsList(zone=zone, score=5.0), str(ip_address("192.0.2.1")))
    assert reading.outcome is Outcome.TEMPERROR
    assert said in reading.reason


async def test_a_slow_zone_is_a_temperror_and_holds_no_listing_of_another_up(resolver):
    """Every zone is asked at once; the one that is late is given up, the others' answers count."""
    lists = [CompiledList(each) for each in (DnsList(zone="slow.test", score=9.0), DNSBL)]
    late, listed = await ask(resolver, [of_text("127.0.0.2")], lists, budget_seconds=1.5, usable=AllUsable())
    assert late.outcome is Outcome.TEMPERROR
    assert (listed.outcome, listed.listing.weight) == (Outcome.LISTED, 6.0)
    assert listed.listing.reason.startswith("Listed by dnsbl.test")


async def test_without_a_resolver_nothing_is_listed_and_nothing_is_clean():
    """Nobody listens there: the kernel says so, or nobody answers."""
    with socket.socket(type=socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        nobody = gone.getsockname()[1]
    unreachable = DnspythonResolver([f"127.0.0.1:{nobody}"], 0.5, SystemClock())
    (reading,) = await readings(unreachable, DNSBL, "127.0.0.2")
    assert reading.outcome is Outcome.TEMPERROR
    state, _ = await probe(unreachable, watched(DNSBL, Kind.ADDRESSES))
    assert state is State.UNREACHABLE


async def test_the_probe_believes_good_zones_and_nobody_else(unbound):
    resolver = DnspythonResolver([unbound], 2.0, SystemClock())
    assert await probe(resolver, watched(DNSBL, Kind.ADDRESSES)) == (State.HEALTHY, "")
    assert await probe(resolver, watched(URIBL, Kind.NAMES)) == (State.HEALTHY, "")
    assert (await probe(resolver, watched(DnsList(zone="uribl.test", score=1.0), Kind.NAMES)))[0] is State.BLIND
    for zone in ("refused.test", "servfail.test", "unserved.test", "slow.test"):
        found, _ = await probe(resolver, watched(DnsList(zone=zone, score=1.0), Kind.ADDRESSES))
        assert found is State.UNREACHABLE
