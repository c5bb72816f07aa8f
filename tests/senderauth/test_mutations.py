"""20,000 mutations of real signatures, chains and records: always a word of RFC 8601, never an exception.

Seeded, so that a failure repeats; the seed and the round are in the message.
"""

import random
from ipaddress import ip_address

import pytest

from gateway.dns.zone import ZoneResolver
from gateway.mail.content import Content
from gateway.mail.header import HeaderSection
from gateway.senderauth.arc.seal import sealed
from gateway.senderauth.arc.validate import validate_arc
from gateway.senderauth.dkim.canonical import SignedMessage
from gateway.senderauth.dkim.signing import sign_dkim
from gateway.senderauth.dkim.verify import verify_dkim
from gateway.senderauth.dmarc.author import author_domain
from gateway.senderauth.dmarc.evaluate import check_dmarc
from gateway.senderauth.spf.evaluate import check_mail_from
from gateway.senderauth.spf.result import SpfQuestion
from gateway.senderauth.word import Word
from gateway.smtp.address import Mailbox, ReversePath
from tests.senderauth.conftest import MAIL
from tests.senderauth.material import TextZone

SEED = 20261122
NOW = 1_700_000_000
INSERTED = [
    b"",
    b"\x00",
    b"\xff",
    b";",
    b"=",
    b"==",
    b":",
    b"\r\n ",
    b"\r\n",
    b"@",
    b"%{",
    b"\x80\x81",
    b"0" * 90,
    b"i=",
    b" ",
]


def seeded(offset: int) -> random.Random:
    return random.Random(SEED + offset)  # noqa: S311 - mutations, no secrets


def mutated(random_: random.Random, octets: bytes) -> bytes:
    """Return ``octets`` with one to four places cut, doubled, replaced or filled."""
    for _ in range(random_.randint(1, 4)):
        start = random_.randrange(len(octets) + 1)
        end = min(len(octets), start + random_.choice([0, 1, 1, 2, 8, 40]))
        piece = octets[start:end]
        filling = random_.choice([random_.choice(INSERTED), bytes([random_.randrange(256)]), piece * 2, piece[::-1]])
        octets = octets[:start] + filling + octets[end:]
    return octets


@pytest.fixture
async def signed_mail(make_key):
    """Return a mail with two signatures and an ARC chain, and the keys' records."""
    keys = [make_key("rsa"), make_key("ed25519", selector="s2")]
    octets = MAIL
    for key in keys:
        octets = await sign_dkim(SignedMessage.of(Content(octets)), key, NOW) + octets
    for place in ((1, "none"), (2, "pass")):
        message = SignedMessage.of(Content(octets))
        octets = b"".join(await sealed(message, keys[0], place, ("mx.example; none", ("from", "to")), NOW)) + octets
    return octets, {f"{key.selector}._domainkey.{key.domain}": key.record for key in keys}


async def test_the_mail_is_good_before(signed_mail):
    octets, records = signed_mail
    message = SignedMessage.of(Content(octets))
    assert [r.result.value for r in await verify_dkim(TextZone(records), message, NOW)] == ["pass", "pass"]
    assert (await validate_arc(TextZone(records), message)).result == "pass"


async def test_mutated_signatures(signed_mail):
    octets, records = signed_mail
    random_ = seeded(0)
    zone = TextZone(records)
    header_end = octets.index(b"\r\n\r\n")
    passed = 0
    for round_ in range(8_000):
        broken = mutated(random_, octets[:header_end]) + octets[header_end:]
        message = SignedMessage.of(Content(broken))
        results = await verify_dkim(zone, message, NOW)
        chain = await validate_arc(zone, message)
        assert all(isinstance(result.result, Word) for result in results), round_
        assert isinstance(chain.result, Word), round_
        author_domain(message.header)
        passed += all(result.result == "pass" for result in results)
    # What changes nothing that is signed still holds; most changes do not.
    assert 0 < passed < 4_000


async def test_mutated_keys(signed_mail):
    octets, records = signed_mail
    random_ = seeded(1)
    for round_ in range(3_000):
        changed = {
            name: mutated(random_, record.encode("latin-1")).decode("latin-1") for name, record in records.items()
        }
        results = await verify_dkim(TextZone(changed), SignedMessage.of(Content(octets)), NOW)
        assert {result.result.value for result in results} <= {"pass", "fail", "permerror", "policy", "neutral"}, round_


RECORDS = {
    "example.test": "v=spf1 a:%{d} mx/24//64 include:inc.test exists:%{ir}.%{v}.%{l1r-}.x.test ip4:192.0.2.0/24 -all",
    "inc.test": "v=spf1 ip6:2001:db8::/32 redirect=more.test exp=why.%{d}",
    "more.test": "v=spf1 ptr ?all",
    "why.inc.test": "%{i} is not one of %{d}'s",
    "_dmarc.example.test": "v=DMARC1; p=reject; sp=quarantine; rua=mailto:a@example.test!10m; adkim=s; psd=n; t=y",
}


async def test_mutated_records():
    random_ = seeded(2)
    question = SpfQuestion(client=ip_address("198.51.100.7"), helo="h.test", receiver="mx.test")
    path = ReversePath(Mailbox("strong-bad", "example.test", "strong-bad@example.test"))
    words = set()
    for round_ in range(9_000):
        zone = TextZone({name: mutated(random_, r.encode("latin-1")).decode("latin-1") for name, r in RECORDS.items()})
        spf = await check_mail_from(zone, question, path)
        author = author_domain(HeaderSection(b"From: a@sub.example.test\r\n\r\n"))
        dmarc = await check_dmarc(zone, author, spf, ())
        assert isinstance(spf.result, Word), round_
        assert isinstance(dmarc.result, Word), round_
        words |= {spf.result.value, dmarc.result.value}
    assert {"permerror", "fail", "none"} <= words


async def test_names_that_no_server_carries():
    # What macros make of a hostile local part goes into questions; the resolver must take it.
    zone = ZoneResolver('example.test TXT "v=spf1 exists:%{l}.x.test -all"')
    for local in ("a" * 64, ".", "..", "\x00", "ü", "a b", "*", "\\", '"', "%{l}", "xn--\u00fc"):
        path = ReversePath(Mailbox(local, "example.test", "x"))
        question = SpfQuestion(client=ip_address("192.0.2.1"), helo="h.test")
        assert (await check_mail_from(zone, question, path)).result == "fail"
