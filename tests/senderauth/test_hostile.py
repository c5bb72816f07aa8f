"""Records and fields made to keep us busy: refused, or done in the time that their size is worth."""

import time

import pytest

from gateway.mail.content import Content
from gateway.senderauth.arc.trust import found_dmarc_passing
from gateway.senderauth.arc.validate import validate_arc
from gateway.senderauth.dkim.canonical import SignedMessage
from gateway.senderauth.dkim.key import KeyFault, parse_key
from gateway.senderauth.dkim.verify import verify_dkim
from gateway.senderauth.dmarc.record import is_dmarc, parse_dmarc
from gateway.senderauth.spf.record import RecordFault, parse_record
from tests.senderauth.material import TextZone

# Milliseconds here; a quadratic step takes minutes.
SECONDS = 3.0
LONG = 64 * 1024


@pytest.fixture(autouse=True)
def quick():
    began = time.process_time()
    yield
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("filling", [" ", "\t", ";", "=", "a", "; ", "a=", " ;", "p=none;", "\\", '"'])
def test_long_records_are_read_in_linear_time(filling):
    text = filling * (LONG // len(filling))
    dmarc = f"v=DMARC1; p= {text}\x01"
    assert is_dmarc(dmarc)
    assert parse_dmarc(dmarc) is None
    assert isinstance(parse_key(text + "\x01"), KeyFault)
    assert parse_record(f"v=spf1 {text}") == RecordFault("the record is too long")


def test_spf_records_as_long_as_they_may_be():
    assert isinstance(parse_record("v=spf1" + " a:%{d}.x" * 900), object)
    assert isinstance(parse_record("v=spf1 exists:" + "%{" * 4000), RecordFault)
    assert isinstance(parse_record("v=spf1 a:" + "%{i1r.-+,/_=" * 600), RecordFault)


async def test_signatures_that_name_everything_are_refused():
    names = ":".join(f"x{number}" for number in range(8_000))
    field = f"DKIM-Signature: v=1; a=rsa-sha256; b=AAAA; bh=AAAA; d=x.test; s=s; h=from:{names}\r\n".encode()
    results = await verify_dkim(TextZone({}), SignedMessage.of(Content(field * 10 + b"From: a@b.test\r\n\r\n")), 0)
    assert {result.reason for result in results} == {"h= names too many fields"}


@pytest.mark.parametrize("name", ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"])
async def test_thousands_of_arc_fields_are_a_chain_that_fails(name):
    fields = b"".join(f"{name}: i={number % 50 + 1}; a=b\r\n".encode() for number in range(20_000))
    result = await validate_arc(TextZone({}), SignedMessage.of(Content(fields + b"From: a@b.test\r\n\r\n")))
    assert (result.result, result.reason) == ("fail", "more than 50 instances")


def test_nested_comments_in_a_seals_results():
    assert not found_dmarc_passing("x; " + "(" * 40_000 + ")" * 40_000 + "dmarc=pass")
    assert not found_dmarc_passing("x; " + "(" * 3_000 + "; dmarc=pass" + ")" * 3_000)
    assert found_dmarc_passing('x; spf=fail reason="no; dmarc=fail" (odd (dmarc=fail)); dmarc=pass header.from=a')
    assert not found_dmarc_passing("x; dmarc=passed")
    assert not found_dmarc_passing("dmarc=pass")
