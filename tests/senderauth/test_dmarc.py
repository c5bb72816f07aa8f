"""DMARC beside its table (tests/conformance): the walk's bounds, what is asked of DNS, addresses of reports."""

import asyncio

import pytest

from gateway.dns.zone import ZoneResolver
from gateway.senderauth.dmarc.author import Author
from gateway.senderauth.dmarc.evaluate import check_dmarc
from gateway.senderauth.dmarc.record import DmarcPolicy, is_dmarc, parse_dmarc
from gateway.senderauth.dmarc.walk import organisational_domain, targets, walk
from gateway.senderauth.lookups import SharedLookups
from tests.conformance.test_dmarc import ZONE, dkim, spf


async def test_no_author_is_permerror_with_the_reason():
    author = Author(word="several-fields", fault="2 From fields")
    zone = ZoneResolver(ZONE)
    result = await check_dmarc(zone, author, None, ())
    assert (result.result, result.reason, result.author.word) == ("permerror", "2 From fields", "several-fields")
    assert zone.asked == []


def test_the_walk_asks_eight_times_at_most():
    # RFC 9989 §4.10's own example.
    assert list(targets("a.b.c.d.e.f.g.h.i.j.mail.example.com")) == [
        "a.b.c.d.e.f.g.h.i.j.mail.example.com",
        "g.h.i.j.mail.example.com",
        "h.i.j.mail.example.com",
        "i.j.mail.example.com",
        "j.mail.example.com",
        "mail.example.com",
        "example.com",
        "com",
    ]
    assert list(targets("a.b.c.d.e.f.g.h"))[:2] == ["a.b.c.d.e.f.g.h", "b.c.d.e.f.g.h"]
    assert len(list(targets("a.b.c.d.e.f.g.h"))) == 8
    assert list(targets("com")) == ["com"]


@pytest.mark.parametrize(
    ("records", "domain"),
    [
        # RFC 9989 §4.10.2's three examples, from a.mail.example.com.
        ({"mail.example.com": "u", "example.com": "u"}, "example.com"),
        ({"mail.example.com": "n"}, "mail.example.com"),
        ({"com": "y"}, "example.com"),
        ({}, "a.mail.example.com"),
        ({"a.mail.example.com": "y"}, "a.mail.example.com"),
        ({"example.com": "y"}, "mail.example.com"),
    ],
)
async def test_organisational_domains(records, domain):
    zone = ZoneResolver("\n".join(f'_dmarc.{name} TXT "v=DMARC1; p=none; psd={psd}"' for name, psd in records.items()))
    assert organisational_domain("a.mail.example.com", await walk(zone, "a.mail.example.com")) == domain


async def test_no_question_is_asked_twice_and_none_that_is_not_needed():
    zone = ZoneResolver(ZONE)
    await check_dmarc(SharedLookups(zone), Author(domain="example.com"), spf("example.com"), [dkim("example.com")])
    assert zone.asked == [("_dmarc.example.com", "TXT")]
    zone.asked.clear()
    signatures = [dkim("mail.example.com"), dkim("news.example.com")]
    await check_dmarc(SharedLookups(zone), Author(domain="foo.example.com"), None, signatures)
    assert len(zone.asked) == len(set(zone.asked))


async def test_a_strict_policy_and_foreign_top_level_domains_need_no_walk():
    zone = ZoneResolver(ZONE)
    await check_dmarc(zone, Author(domain="strict.example"), spf("x.strict.example"), [dkim("a.b.c.test")])
    assert zone.asked == [("_dmarc.strict.example", "TXT")]


def test_report_addresses():
    record = parse_dmarc(
        "v=DMARC1; p=none; rua=mailto:a@x.example!10m, https://x.example/r , mailto:b%2Bc@y.example,mailto:bad; "
        "ruf=mailto:f@x.example; fo=1:d"
    )
    assert record.rua == ("a@x.example", "b+c@y.example")
    assert (record.ruf, record.fo) == (("f@x.example",), "1:d")


def test_what_is_no_dmarc_record():
    assert not is_dmarc("v=DMARC11; p=none")
    assert not is_dmarc("")
    assert is_dmarc("v=DMARC1")
    assert parse_dmarc("v=DMARC1; p=none").p is DmarcPolicy.NONE


async def test_one_evaluation_answers_those_that_ask_together():
    zone = SharedLookups(ZoneResolver(ZONE))
    asked = [check_dmarc(zone, Author(domain="example.com"), None, []) for _ in range(5)]
    assert {result.result for result in await asyncio.gather(*asked)} == {"fail"}
