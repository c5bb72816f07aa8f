"""``DnspythonResolver`` against a real Unbound: a failure read as "absent" would let forged or listed mail through."""

import asyncio
import socket
import time

import pytest

from gateway.clock import FakeClock, SystemClock
from gateway.dns.address import addresses
from gateway.dns.answer import MxRecord, Outcome, mx_records
from gateway.dns.cache import CachingResolver
from gateway.dns.resolver import DnspythonResolver, parse_server

pytestmark = pytest.mark.real


@pytest.fixture
def resolver(unbound):
    return DnspythonResolver([unbound], 2.0, SystemClock())


@pytest.mark.parametrize(
    ("name", "rdtype", "records", "ttl_seconds"),
    [
        ("a.gate.example", "A", ("192.0.2.1", "192.0.2.2"), 120),
        ("A.Gate.Example.", "AAAA", ("2001:db8::1",), 60),
        # the smallest TTL of the chain
        ("alias.gate.example", "A", ("192.0.2.1", "192.0.2.2"), 30),
        ("alias.gate.example", "CNAME", ("a.gate.example",), 30),
        ("txt.gate.example", "TXT", ("v=spf1 include:\xc3\xa9 -all",), 60),
        ("_dmarc.gate.example", "TXT", ("v=DMARC1; p=reject",), 60),
        ("例子.gate.example", "A", ("192.0.2.88",), 60),
        ("1.gate.example", "PTR", ("mail.gate.example",), 60),
        ("gate.example", "NS", ("ns.gate.example",), 3600),
        ("tlsa.gate.example", "TLSA", ("3 1 1 " + "0123456789abcdef" * 4,), 60),
        ("zero.gate.example", "A", ("192.0.2.9",), 0),
    ],
)
async def test_records_are_texts_with_their_ttl(resolver, name, rdtype, records, ttl_seconds):
    answer = await resolver.query(name, rdtype)
    assert answer.outcome is Outcome.FOUND
    assert tuple(sorted(answer.records)) == records
    assert answer.ttl_seconds == ttl_seconds
    assert (answer.name, answer.rdtype, answer.reason) == (name, rdtype, "")


async def test_mx_records_come_in_order_of_preference(resolver):
    answer = await resolver.query("mx.gate.example", "MX")
    assert mx_records(answer) == (MxRecord(10, "first.mail.example"), MxRecord(20, "second.mail.example"))


async def test_a_null_mx_is_told(resolver):
    (record,) = mx_records(await resolver.query("null.gate.example", "MX"))
    assert record.is_null


@pytest.mark.parametrize(
    ("name", "rdtype", "nxdomain"),
    [
        ("a.gate.example", "MX", False),
        ("nothing.gate.example", "A", True),
        # an empty non-terminal exists (RFC 8020)
        ("ent.gate.example", "A", False),
        # an alias to nowhere; Unbound as an authority answers NOERROR, where RFC 6604 §3 would have NXDOMAIN
        ("dangling.gate.example", "A", False),
    ],
)
async def test_absence_is_the_zones_own_word_with_its_negative_ttl(resolver, name, rdtype, nxdomain):
    answer = await resolver.query(name, rdtype)
    assert answer.outcome is Outcome.ABSENT
    assert answer.nxdomain == nxdomain
    assert answer.records == ()
    # RFC 2308 §5: the SOA's minimum; an alias before it may be shorter
    assert answer.ttl_seconds == (30 if name.startswith("dangling") else 42)


@pytest.mark.parametrize("name", ["x" * 64 + ".example", "a..example", ".".join(["a" * 63] * 5), "a.例" * 100])
async def test_what_is_no_name_does_not_exist(resolver, name):
    answer = await resolver.query(name, "A")
    assert answer.is_absent
    assert answer.nxdomain
    assert "not a domain name" in answer.reason


async def test_a_truncated_answer_is_asked_for_again_over_tcp(resolver):
    """The answer is larger than the 1,232 octets that EDNS offers."""
    answer = await resolver.query("long.gate.example", "TXT")
    assert len(answer.records[0]) == 2020


@pytest.mark.parametrize(("name", "reason"), [("a.broken.example", "SERVFAIL"), ("a.refused.example", "REFUSED")])
async def test_a_server_that_fails_or_refuses_is_a_temperror(resolver, name, reason):
    answer = await resolver.query(name, "A")
    assert answer.outcome is Outcome.TEMPERROR
    assert reason in answer.reason


async def test_silence_is_a_temperror_within_the_lifetime(unbound):
    resolver = DnspythonResolver([unbound], 0.3, SystemClock())
    start = time.monotonic()
    answer = await resolver.query("a.silent.example", "A")
    assert answer.outcome is Outcome.TEMPERROR
    assert answer.reason == "timeout"
    assert time.monotonic() - start < 2


async def test_a_server_that_is_not_there_is_a_temperror():
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        resolver = DnspythonResolver([f"127.0.0.1:{silent.getsockname()[1]}"], 0.2, SystemClock())
        assert (await resolver.query("a.gate.example", "A")).is_temperror
    assert (await resolver.query("a.gate.example", "A")).is_temperror


async def test_the_second_server_answers_for_a_dead_first_and_is_kept_for_a_while(unbound):
    clock = FakeClock()
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.setblocking(False)
        resolver = DnspythonResolver([f"127.0.0.1:{silent.getsockname()[1]}", unbound], 0.6, clock)

        async def reached_the_first() -> bool:
            assert (await resolver.query("a.gate.example", "A")).is_found
            try:
                return bool(silent.recv(4096))
            except BlockingIOError:
                return False

        assert await reached_the_first()
        assert not await reached_the_first()
        clock.advance(31)
        assert await reached_the_first()


async def test_addresses_join_both_families(resolver):
    both = await addresses(resolver, "a.gate.example")
    assert sorted(both.addresses[1:]) == ["192.0.2.1", "192.0.2.2"]
    assert both.addresses[0] == "2001:db8::1"
    assert (await addresses(resolver, "v4only.gate.example")).addresses == ("192.0.2.4",)
    missing = await addresses(resolver, "nothing.gate.example")
    assert (missing.outcome, missing.nxdomain) == (Outcome.ABSENT, True)
    assert (await addresses(resolver, "a.broken.example")).outcome is Outcome.TEMPERROR


async def test_fifty_equal_questions_ask_the_server_once(resolver):
    cache = CachingResolver(resolver, SystemClock(), 100)
    answers = await asyncio.gather(*(cache.query("a.gate.example", "A") for _ in range(50)))
    assert {answer.outcome for answer in answers} == {Outcome.FOUND}
    assert (cache.misses, cache.coalesced, cache.hits) == (1, 49, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:53", ("127.0.0.1", 53)),
        ("127.0.0.1", ("127.0.0.1", 53)),
        ("[::1]:5353", ("::1", 5353)),
        ("[::1]", ("::1", 53)),
        ("::1", ("::1", 53)),
    ],
)
def test_a_server_is_an_address_and_a_port(text, expected):
    assert parse_server(text) == expected


@pytest.mark.parametrize(
    "text", ["", "dns.example:53", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", ":53"]
)
def test_anything_else_is_no_server(text):
    with pytest.raises(ValueError, match=r"port|address"):
        parse_server(text)
