"""``ZoneResolver`` and the address helpers: tests and ``explain`` stand on them, so they answer as DNS does."""

import pytest

from gateway.dns.address import addresses, reverse_name
from gateway.dns.answer import MxRecord, Outcome, mx_records
from gateway.dns.zone import ZoneError, ZoneResolver

ZONE = """
# addresses
A.example. A 192.0.2.1
a.example  A 192.0.2.2
a.example  AAAA 2001:DB8::1
; policy
b.ent.example TXT "v=spf1 " "-all"
plain.example TXT v=spf1 mx -all
bang.example  TXT "!not a failure"
*.list.zone.example A 127.0.0.2
alias.example CNAME a.example
loop.example CNAME loop.example
out.example CNAME nowhere.example
mx.example MX 20 Second.Example.
mx.example MX 10 first.example
null.example MX 0 .
broken.example * !SERVFAIL
half.example A 192.0.2.7
half.example AAAA !timeout
例子.中国 A 192.0.2.88
"""


@pytest.fixture
def zone():
    return ZoneResolver(ZONE)


@pytest.mark.parametrize(
    ("name", "rdtype", "records"),
    [
        ("a.example", "A", ("192.0.2.1", "192.0.2.2")),
        ("A.EXAMPLE.", "AAAA", ("2001:db8::1",)),
        ("b.ent.example", "TXT", ("v=spf1 -all",)),
        ("plain.example", "TXT", ("v=spf1 mx -all",)),
        ("bang.example", "TXT", ("!not a failure",)),
        ("2.0.0.127.list.zone.example", "A", ("127.0.0.2",)),
        ("alias.example", "A", ("192.0.2.1", "192.0.2.2")),
        ("alias.example", "CNAME", ("a.example",)),
        ("mx.example", "MX", ("20 second.example", "10 first.example")),
        ("xn--fsqu00a.xn--fiqs8s", "A", ("192.0.2.88",)),
        ("例子.中国", "A", ("192.0.2.88",)),
    ],
)
async def test_records_are_found(zone, name, rdtype, records):
    assert (await zone.query(name, rdtype)).records == records
    assert zone.asked == [(name, rdtype)]


@pytest.mark.parametrize(
    ("name", "rdtype", "nxdomain"),
    [
        ("a.example", "MX", False),
        ("ent.example", "A", False),
        ("x.example", "A", True),
        ("x.a.example", "A", True),
        ("out.example", "A", True),
        ("alias.example", "MX", False),
        ("x.list.zone.example", "TXT", False),
        ("a..example", "A", True),
        ("half.example", "MX", False),
    ],
)
async def test_no_such_name_and_no_such_record_differ(zone, name, rdtype, nxdomain):
    answer = await zone.query(name, rdtype)
    assert answer.outcome is Outcome.ABSENT
    assert answer.nxdomain == nxdomain


@pytest.mark.parametrize(
    ("name", "rdtype", "reason"),
    [
        ("broken.example", "A", "SERVFAIL"),
        ("broken.example", "TXT", "SERVFAIL"),
        ("half.example", "AAAA", "timeout"),
        ("loop.example", "A", "alias chain too long"),
    ],
)
async def test_failures_are_temperror(zone, name, rdtype, reason):
    answer = await zone.query(name, rdtype)
    assert (answer.outcome, answer.reason) == (Outcome.TEMPERROR, reason)


async def test_mx_records_sort_by_preference(zone):
    expected = (MxRecord(10, "first.example"), MxRecord(20, "second.example"))
    assert mx_records(await zone.query("mx.example", "MX")) == expected
    (null,) = mx_records(await zone.query("null.example", "MX"))
    assert null.is_null
    assert mx_records(await zone.query("broken.example", "MX")) == ()


@pytest.mark.parametrize(
    "line",
    ["a.example", "a.example A", "a.example A x", "a.example MX mx", "a.example AAAA 1.2.3.4", "a..例 A 192.0.2.1"],
)
def test_a_bad_line_is_named(line):
    with pytest.raises(ZoneError, match="line 2: "):
        ZoneResolver(f"ok.example A 192.0.2.1\n{line}")


async def test_addresses_alternate_ipv6_first(zone):
    answer = await addresses(zone, "a.example")
    assert answer.addresses == ("2001:db8::1", "192.0.2.1", "192.0.2.2")
    assert answer.reason == ""


async def test_one_family_failing_does_not_hide_the_other_but_is_told(zone):
    answer = await addresses(zone, "half.example")
    assert (answer.outcome, answer.addresses, answer.reason) == (Outcome.FOUND, ("192.0.2.7",), "AAAA: timeout")


@pytest.mark.parametrize(
    ("host", "outcome", "nxdomain"),
    [
        ("x.example", Outcome.ABSENT, True),
        ("mx.example", Outcome.ABSENT, False),
        ("broken.example", Outcome.TEMPERROR, False),
    ],
)
async def test_no_address_says_why(zone, host, outcome, nxdomain):
    answer = await addresses(zone, host)
    assert (answer.outcome, answer.nxdomain, answer.addresses) == (outcome, nxdomain, ())
    assert answer.reason


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
async def test_an_ip_address_needs_no_dns(zone, host):
    assert (await addresses(zone, host)).addresses == (host,)
    assert zone.asked == []


def test_reverse_names_follow_rfc_1035_and_3596():
    assert reverse_name("192.0.2.1") == "1.2.0.192.in-addr.arpa"
    assert reverse_name("::ffff:192.0.2.1") == "1.2.0.192.in-addr.arpa"
    # RFC 3596 §2.5
    expected = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa"
    assert reverse_name("4321:0:1:2:3:4:567:89ab") == expected
    with pytest.raises(ValueError, match="address"):
        reverse_name("mail.example")
