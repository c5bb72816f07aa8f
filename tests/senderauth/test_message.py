"""All methods over one message: each evaluated once, whoever asks, and what was evaluated is told."""

import asyncio
import gc
import weakref
from dataclasses import replace
from ipaddress import ip_address

import pytest

from gateway.clock import FakeClock
from gateway.dns.answer import Answer
from gateway.dns.resolver import Resolver
from gateway.dns.zone import ZoneResolver
from gateway.mail.connection import Connection, Role
from gateway.mail.content import EMPTY_CONTENT, Content
from gateway.mail.envelope import Envelope
from gateway.mail.transaction import Transaction
from gateway.senderauth.dkim.canonical import SignedMessage
from gateway.senderauth.dkim.signing import sign_dkim
from gateway.senderauth.earlier import earlier
from gateway.senderauth.message import MessageAuth
from gateway.smtp.address import Mailbox, ReversePath
from tests.senderauth.conftest import MAIL

CLOCK = FakeClock(1_700_000_000.0)
ZONE = """
author.example TXT v=spf1 ip4:192.0.2.1 -all
_dmarc.author.example TXT v=DMARC1; p=reject
1.2.0.192.in-addr.arpa PTR mail.author.example
mail.author.example A 192.0.2.1
"""


def transaction(octets: bytes) -> Transaction:
    return Transaction(
        trace_id="01J8Z3Q4R5S6T7V8W9X0Y1Z2A3",
        connection=Connection(
            session_id="S",
            client_address=ip_address("192.0.2.1"),
            client_port=1,
            local_address="192.0.2.2",
            local_port=25,
            role=Role.MX,
            connected=CLOCK.stamp(),
            hostname="mx.ours.example",
            helo="mail.author.example",
        ),
        envelope=Envelope(reverse_path=ReversePath(Mailbox("alice", "author.example", "alice@author.example"))),
        content=Content(octets),
        received=CLOCK.stamp(),
    )


@pytest.fixture
async def mail(make_key):
    key = make_key()
    message = SignedMessage.of(Content(MAIL))
    zone = ZoneResolver(f"{ZONE}s1._domainkey.author.example TXT {key.record}")
    return transaction(await sign_dkim(message, key, 1_700_000_000) + MAIL), zone


async def test_five_methods_that_are_asked_together_ask_dns_once(mail):
    tx, zone = mail
    auth = MessageAuth.of(tx, zone)
    await asyncio.gather(auth.dmarc(), auth.spf(), auth.dkim(), auth.dmarc(), auth.arc(), auth.iprev(), auth.dkim())
    assert len(zone.asked) == len(set(zone.asked))
    assert [(r.method, r.result.value) for r in auth.results()] == [
        ("iprev", "pass"),
        ("spf", "pass"),
        ("dkim", "pass"),
        ("arc", "none"),
        ("dmarc", "pass"),
    ]


async def test_the_same_content_has_the_same_results(mail):
    tx, zone = mail
    assert MessageAuth.of(tx, zone) is MessageAuth.of(tx, zone)
    assert await MessageAuth.of(tx, zone).spf() is await MessageAuth.of(tx, zone).spf()


async def test_results_are_gone_with_their_content():
    """Without waiting for the collector: contents are large."""
    tx = transaction(MAIL)
    auth = MessageAuth.of(tx, ZoneResolver(ZONE))
    await auth.dmarc()
    gone = weakref.ref(auth)
    gc.disable()
    try:
        del auth, tx
        assert gone() is None
    finally:
        gc.enable()


class _Hanging(Resolver):
    """DNS that answers when told."""

    def __init__(self, inner) -> None:
        self._inner = inner
        self.answer = asyncio.Event()
        self.asked = asyncio.Event()

    async def query(self, name: str, rdtype: str) -> Answer:
        self.asked.set()
        await self.answer.wait()
        return await self._inner.query(name, rdtype)


async def test_one_that_runs_out_of_time_leaves_the_others_their_answer(mail):
    tx, zone = mail
    dns = _Hanging(zone)
    auth = MessageAuth.of(tx, dns)
    first = asyncio.ensure_future(auth.spf())
    second = asyncio.ensure_future(auth.dmarc())
    await dns.asked.wait()
    first.cancel()
    dns.answer.set()
    assert (await second).result == "pass"


async def test_mail_without_an_author_asks_for_no_policy(mail):
    _, zone = mail
    result = await MessageAuth.of(transaction(b"To: a@b.example\r\n\r\n"), zone).dmarc()
    assert (result.result, result.author.word) == ("permerror", "missing")
    assert zone.asked == []


async def test_what_was_found_at_rcpt_is_not_asked_again(mail):
    tx, zone = mail
    at_rcpt = replace(tx, content=EMPTY_CONTENT, received=None)
    spf = await MessageAuth(at_rcpt, zone).spf()
    earlier(zone).keep(at_rcpt, spf)
    zone.asked.clear()
    auth = MessageAuth.of(tx, zone)
    assert await auth.spf() is spf
    assert zone.asked == []
    assert [r.method for r in auth.results()] == ["spf"]


async def test_another_envelope_or_client_is_asked_anew(mail):
    tx, zone = mail
    earlier(zone).keep(tx, await MessageAuth(tx, zone).spf())
    other = replace(tx, envelope=Envelope())
    assert earlier(zone).of(other) == {}
    elsewhere = replace(tx, connection=replace(tx.connection, client_address=ip_address("192.0.2.9")))
    assert earlier(zone).of(elsewhere) == {}
    assert earlier(ZoneResolver()).of(tx) == {}


async def test_what_is_remembered_is_bounded(mail):
    tx, zone = mail
    spf = await MessageAuth(tx, zone).spf()
    memory = earlier(zone)
    for number in range(5000):
        memory.keep(replace(tx, connection=replace(tx.connection, session_id=str(number))), spf)
    assert memory.of(replace(tx, connection=replace(tx.connection, session_id="0"))) == {}
    assert memory.of(replace(tx, connection=replace(tx.connection, session_id="4999"))) == {"spf": spf}


async def test_what_dns_did_not_tell_at_rcpt_is_asked_again(mail):
    tx, zone = mail
    failing = await MessageAuth(tx, ZoneResolver("author.example * !SERVFAIL")).spf()
    assert failing.result == "temperror"
    earlier(zone).keep(tx, failing)
    auth = MessageAuth(tx, zone)
    assert [r.result.value for r in auth.results()] == ["temperror"]
    assert (await auth.dmarc()).result == "pass"
    assert (await auth.spf()).result == "pass"
