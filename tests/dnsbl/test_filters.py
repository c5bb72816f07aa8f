"""The filters over DNS lists wait for all their zones at once. If these fail, each zone adds its time-out to a mail."""

import asyncio
from ipaddress import ip_address

import pytest

from gateway.blocklist.dns.zone import DnsList
from gateway.clock import FakeClock
from gateway.dns.zone import ZoneResolver
from gateway.filters.dnsbl import Dnsbl, DnsblOptions
from gateway.filters.rhsbl import NameList, Rhsbl, RhsblOptions
from gateway.filters.uribl import Uribl, UriblOptions
from gateway.mail.connection import Connection, Role
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope
from gateway.mail.transaction import Transaction
from gateway.policy.filter import Context
from gateway.smtp.path import parse_reverse_path

ZONES = ("a.list.test", "b.list.test", "c.list.test")


class SilentZones(ZoneResolver):
    """Answers nothing below list.test until all of ``ZONES`` have been asked."""

    def __init__(self) -> None:
        super().__init__()
        self.reached: set[str] = set()
        self.all_reached = asyncio.Event()

    async def query(self, name, rdtype):
        if name.endswith(".list.test"):
            self.reached |= {zone for zone in ZONES if name.endswith(f".{zone}")}
            if len(self.reached) == len(ZONES):
                self.all_reached.set()
            await self.all_reached.wait()
        return await super().query(name, rdtype)


def mail() -> Transaction:
    clock = FakeClock()
    return Transaction(
        trace_id="T",
        connection=Connection(
            session_id="S",
            client_address=ip_address("198.51.100.7"),
            client_port=40000,
            local_address="192.0.2.1",
            local_port=25,
            role=Role.MX,
            connected=clock.stamp(),
            hostname="mx.ours.test",
            helo="mail.sender.test",
        ),
        envelope=Envelope(reverse_path=parse_reverse_path(b"<anna@sender.test>", smtputf8=False)[0]),
        content=Content(b"From: anna@sender.test\r\n\r\nhttps://sender.test/\r\n"),
        received=clock.stamp(),
    )


@pytest.mark.parametrize(
    "asked",
    [
        Dnsbl(DnsblOptions(lists=tuple(DnsList(zone=zone, score=1.0) for zone in ZONES))),
        Rhsbl(RhsblOptions(lists=tuple(NameList(zone=zone, score=1.0) for zone in ZONES))),
        Uribl(UriblOptions(lists=tuple(DnsList(zone=zone, score=1.0) for zone in ZONES))),
    ],
    ids=["dnsbl", "rhsbl", "uribl"],
)
async def test_a_zone_is_asked_while_the_others_are_waited_for(asked):
    resolver = SilentZones()
    context = Context(clock=FakeClock(), resolver=resolver, hostname="mx.ours.test")
    assert await asked.examine(mail(), context) is None
    assert resolver.reached == set(ZONES)
