"""The DNS lists of the snapshot that serves: an alarm when one goes blind, and when we are on one."""

import asyncio

import pytest

from gateway.app.lists import DnsLists
from gateway.clock import FakeClock
from gateway.config.loader import load
from gateway.dns.zone import ZoneResolver
from gateway.filters import catalogue
from gateway.journal.guard_events import DnsListChanged, OwnListingChanged

POLICY = """
domains = ["ours.test"]
next_hop = ["smtp://10.1.0.5:25"]
[filters.dnsbl]
lists = [{ zone = "blind.test", score = 5.0 }, { zone = "good.test", score = 5.0 }]
[filters.rhsbl]
enabled = false
lists = [{ zone = "unused.test", score = 5.0 }]
[mailbox."anna@ours.test".filters.uribl]
lists = [{ zone = "uri.test", score = 5.0 }]
"""
NODE = """
hostname = "mx.ours.test"
data = "var"
[own_listings]
addresses = ["192.0.2.25"]
zones = ["good.test"]
domain_zones = ["uri.test"]
[[listen]]
address = "127.0.0.1:0"
"""
ZONE = """
2.0.0.127.good.test A 127.0.0.2
test.uri.test A 127.0.1.2
25.2.0.192.good.test A 127.0.0.4
25.2.0.192.good.test TXT caught by a trap
ours.test.uri.test A 127.0.1.2
"""


class Sink(list):
    def __init__(self, until):
        super().__init__()
        self.until, self.enough = until, asyncio.Event()

    def emit(self, event):
        self.append(event)
        if len(self) >= self.until:
            self.enough.set()


@pytest.fixture
def snapshot(tmp_path):
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "ours.toml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "tidegate.toml").write_text(NODE, encoding="utf-8")
    return load(tmp_path / "tidegate.toml", catalogue())


def dns_lists(snapshot, worker, resolver, sink):
    return DnsLists(lambda: snapshot, worker=worker, resolver=resolver, clock=FakeClock(), events=sink)


async def test_the_first_worker_tells_of_blind_lists_and_own_listings(snapshot):
    sink = Sink(3)
    lists = dns_lists(snapshot, 0, ZoneResolver(ZONE), sink)
    running = asyncio.create_task(lists.run())
    await sink.enough.wait()
    running.cancel()
    changed = [(e.zone, e.state) for e in sink if isinstance(e, DnsListChanged)]
    assert changed == [("blind.test", "blind")]
    own = [(e.identity, e.zone, e.state, e.code, e.reason) for e in sink if isinstance(e, OwnListingChanged)]
    assert own == [
        ("192.0.2.25", "good.test", "listed", "127.0.0.4", "caught by a trap"),
        ("ours.test", "uri.test", "listed", "127.0.1.2", ""),
    ]
    assert lists.health.complaint("blind.test").startswith("not asked, blind")
    assert {zone.zone for zone in lists.health.zones} == {"blind.test", "good.test", "uri.test"}


async def test_other_workers_know_and_say_nothing(snapshot):
    """A second alarm for each worker would be one alarm too many."""
    resolver = ZoneResolver(ZONE)
    sink = Sink(1)
    lists = dns_lists(snapshot, 1, resolver, sink)
    await lists._watch.round()
    assert lists.health.complaint("blind.test")
    assert sink == []
    assert not any(name.startswith("25.2.0.192") for name, _ in resolver.asked)
