"""A return code read wrongly rejects somebody's mail: patterns, masks and refusals (RFC 5782 §2.1, §2.3)."""

import contextlib
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.blocklist.dns.codes import parse_code
from gateway.blocklist.dns.query import name_or_none, of_address, of_name, of_text, reversed_label
from gateway.blocklist.dns.reading import Outcome, read
from gateway.blocklist.dns.zone import CompiledList, DnsList
from gateway.blocklist.listing import Identity, ListKind
from gateway.dns.answer import found, no_such_name, no_such_record, temperror

SUBJECT = of_address(IPv4Address("192.0.2.1"))


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("127.0.0.2", ["127.0.0.2"], ["127.0.0.3", "127.0.1.2"]),
        ("127.0.0.[2-8]", ["127.0.0.2", "127.0.0.8"], ["127.0.0.1", "127.0.0.9"]),
        ("127.0.0.[2..11]", ["127.0.0.2", "127.0.0.11"], ["127.0.0.12"]),
        ("127.0.0.10-11", ["127.0.0.10", "127.0.0.11"], ["127.0.0.9", "127.0.0.12"]),
        ("127.0.0.[2;4;9-11]", ["127.0.0.2", "127.0.0.4", "127.0.0.10"], ["127.0.0.3", "127.0.0.8"]),
        ("127.0.[5,6].[1..3]", ["127.0.5.1", "127.0.6.3"], ["127.0.4.1", "127.0.5.4"]),
        ("127.0.*.3", ["127.0.2.3", "127.0.200.3"], ["127.0.2.2", "127.1.2.3"]),
        ("127.0.1.0/24", ["127.0.1.2", "127.0.1.99"], ["127.0.0.2"]),
        ("127.0.0.0/30", ["127.0.0.2", "127.0.0.3"], ["127.0.0.4"]),
        ("&8", ["127.0.0.8", "127.0.0.12", "127.0.0.72"], ["127.0.0.4", "127.0.0.16"]),
        ("&0.0.1.0", ["127.0.1.0", "127.0.3.2"], ["127.0.2.255"]),
        ("&96", ["127.0.0.32", "127.0.0.64"], ["127.0.0.16"]),
    ],
)
def test_a_pattern_matches_what_it_says(pattern, matching, others):
    parsed = parse_code(pattern)
    assert [text for text in matching if not parsed.matches(IPv4Address(text))] == []
    assert [text for text in others if parsed.matches(IPv4Address(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        *("", "2", "127.0.0", "127.0.0.0.2", "127.0.0.[8-2]", "127.0.0.256", "127.0.0.[2", "127.0.0.x", "127.0.0.2/40"),
        *("&", "&x", "&0", "&127.0.0.2", "127.0.0.[]", "127.0.0.-3", "127.0.0.\uff12"),
    ],
)
def test_what_is_no_pattern_is_refused_with_what_is_wanted(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_code(text)


@given(st.text(alphabet="127.0[]-;,*&/x", max_size=20))
def test_a_pattern_parses_or_is_a_value_error(text):
    with contextlib.suppress(ValueError):
        parse_code(text).matches(IPv4Address("127.0.0.2"))


def answered(*records, **keys):
    asked = CompiledList(DnsList(zone="list.test", **{"score": 2.0} | keys))
    return read(found("1.2.0.192.list.test", "A", records, 60), SUBJECT, asked)


@pytest.mark.parametrize(
    "code",
    [
        # Spamhaus: typing error in the zone's name, public resolver, too many queries.
        *("127.255.255.252", "127.255.255.254", "127.255.255.255"),
        # URIBL and SURBL refuse; resolvers that block a name say so too.
        "127.0.0.1",
        # DNSWL over quota; DBL and ZRD asked for an address.
        *("127.0.0.255", "127.0.1.255", "127.0.2.255"),
        # A parked domain, a resolver that rewrites NXDOMAIN, a blackhole.
        *("203.0.113.80", "0.0.0.0", "10.0.0.1", "255.255.255.255"),
    ],
)
def test_what_a_refusing_zone_says_is_an_error_and_never_a_listing(code):
    assert answered(code).outcome is Outcome.ERROR
    assert answered(code).listing is None
    assert code in answered(code).reason
    # Not even where an administrator wrote it down as one, nor beside a real listing.
    assert answered(code, codes={code: 9.0}).outcome is Outcome.ERROR
    assert answered("127.0.0.2", code).outcome is Outcome.ERROR


def test_the_lowest_bit_of_a_mask_is_a_refusal_but_not_of_a_code():
    assert answered("127.0.0.9", codes={"&8": 5.0}).outcome is Outcome.ERROR
    assert answered("127.0.0.9", codes={"127.0.0.9": 5.0}).listing.weight == 5.0


def test_further_errors_can_be_named():
    # DNSWL's answer to those it has tired of: "127.0.10.3", the highest trust, for everybody.
    assert answered("127.0.10.3", codes={"127.0.*.3": -5.0}).listing.weight == -5.0
    assert answered("127.0.10.3", codes={"127.0.*.3": -5.0}, errors=("127.0.10.3",)).outcome is Outcome.ERROR


def test_a_listing_says_where_with_which_code_and_what_it_is_worth():
    codes = {"127.0.0.[2-8]": 6.0, "127.0.0.10-11": 3.0}
    reading = answered("127.0.0.4", codes=codes)
    assert reading.outcome is Outcome.LISTED
    listing = reading.listing
    assert (listing.list, listing.value, listing.weight, listing.entry) == ("list.test", "127.0.0.4", 6.0, "192.0.2.1")
    assert listing.kind is ListKind.BLOCK
    # The strongest of several counts, whatever their order.
    for records in (("127.0.0.10", "127.0.0.4"), ("127.0.0.4", "127.0.0.10")):
        assert answered(*records, codes=codes).listing.weight == 6.0


def test_a_code_that_nobody_weighed_is_worth_the_lists_score_or_nothing():
    assert answered("127.0.0.99", codes={"127.0.0.2": 6.0}, score=1.5).listing.weight == 1.5
    assert answered("127.0.0.99", codes={"127.0.0.2": 6.0}, score=None).listing.weight == 0.0


def test_an_allow_lists_weight_is_negative():
    listing = answered("127.0.5.2", codes={"127.0.*.[1-3]": -3.0}).listing
    assert (listing.kind, listing.weight) == (ListKind.ALLOW, -3.0)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (no_such_name("x", "A", 60), Outcome.NOT_LISTED),
        (no_such_record("x", "A", 60), Outcome.NOT_LISTED),
        (temperror("x", "A", "SERVFAIL"), Outcome.TEMPERROR),
    ],
)
def test_no_answer_is_neither_listed_nor_unlisted(answer, outcome):
    assert read(answer, SUBJECT, CompiledList(DnsList(zone="list.test", score=1.0))).outcome is outcome


def test_addresses_are_asked_for_backwards():
    """RFC 5782 §2.1 and §2.4, with the RFC's own examples."""
    assert of_address(ip_address("192.0.2.99")).at("bad.example.com") == "99.2.0.192.bad.example.com"
    six = of_address(ip_address("2001:db8:1:2:3:4:567:89ab")).at("ugly.example.com")
    assert six == "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.ugly.example.com"
    # RFC 4291 §2.5.5.2: one client, whichever way the socket writes it.
    assert of_address(ip_address("::ffff:192.0.2.99")).label == "99.2.0.192"
    assert of_name("example.net", Identity.HELO).at("names.example.com") == "example.net.names.example.com"


@given(st.ip_addresses())
def test_a_reversed_address_reads_back(address):
    label = reversed_label(address)
    pieces = label.split(".")[::-1]
    if address.version == 4:
        assert ".".join(pieces) == str(address)
    else:
        assert int("".join(pieces), 16) == int(address)
        assert len(pieces) == 32


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("192.0.2.1", "1.2.0.192"),
        ("[192.0.2.1]", "1.2.0.192"),
        ("Spam.Example.", "spam.example"),
        ("a@spam.example", "spam.example"),
    ],
)
def test_an_operator_may_write_an_address_or_a_name(text, label):
    assert of_text(text).label == label


@pytest.mark.parametrize("text", ["localhost", "", "[192.0.2.1]", "192.0.2.1", "a b", "-.x", "x" * 300 + ".test"])
def test_what_is_no_name_is_asked_nowhere(text):
    assert name_or_none(text) is None


@pytest.mark.parametrize(
    "keys",
    [
        {"zone": ""},
        {"zone": "List.Test", "score": 1.0},
        {"zone": "list test", "score": 1.0},
        {"zone": "list.test"},
        {"zone": "list.test", "codes": {"127.0.0.300": 1.0}},
        {"zone": "list.test", "score": float("nan")},
        {"zone": "list.test", "score": 1.0, "errors": ("x",)},
    ],
)
def test_a_list_that_cannot_work_is_refused_when_it_is_read(keys):
    with pytest.raises(ValueError, match=r".+"):
        DnsList(**keys)
