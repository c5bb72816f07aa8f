"""Words, likeness, networks: the small parts that operators are made of."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.automaton import PIECE_OCTETS, Automaton
from gateway.rules.likeness import Domains, Names
from gateway.rules.networks import NetworkSet
from gateway.rules.values import AddressText, DomainText, address_key, domain_key
from gateway.rules.words import find_word


@pytest.mark.parametrize(
    ("text", "word", "at"),
    [
        ("cheap invoices", "invoice", -1),
        ("an invoice.", "invoice", 3),
        ("invoice", "invoice", 0),
        ("preinvoice invoice", "invoice", 11),
        ("naïve", "na", -1),
        ("счета-фактуры", "счета", 0),
        ("счетами", "счета", -1),
        ("加vpn微信", "vpn", 1),
        ("代开发票吗", "发票", 2),
        ("무료입니다", "무료", 0),
        ("snake_case", "snake", -1),
        ("e\u0301t", "e", -1),
        ("c++ and c", "c++", 0),
        ("x+y", "+", 1),
    ],
)
def test_a_word_is_bounded_as_its_script_bounds_words(text, word, at):
    assert find_word(text, word) == at


@pytest.mark.parametrize(
    ("shown", "wanted", "alike"),
    [
        ("Anna Example", "anna example", True),
        ("Example Anna", "Anna Example", True),
        ("Anna Exarnple", "Anna Example", True),
        ("Аnnа Ехаmрlе", "Anna Example", True),
        ("Anna Exanple", "Anna Example", True),
        ("Anna Beispiel", "Anna Example", False),
        ("张伟", "张伟", True),
        ("张 伟", "张伟", False),
        ("张玮", "张伟", False),
        ("Ann", "Anna", False),
        ("Example, Anna", "Anna Example", True),
        ("x" * 5000, "Anna Example", False),
    ],
)
def test_names_are_alike_as_eyes_take_them(shown, wanted, alike):
    assert Names([wanted]).resemble(shown) is alike


@pytest.mark.parametrize(
    ("shown", "wanted", "alike"),
    [
        ("example.com", "example.com", False),
        ("mail.example.com", "example.com", False),
        ("examp1e.com", "example.com", True),
        ("exarnple.com", "example.com", True),
        ("mail.examp1e.com", "example.com", True),
        ("exаmple.com", "example.com", True),
        ("xn--exmple-4nf.com", "example.com", True),
        ("example.com.evil.net", "example.com", True),
        ("exampel.com", "example.com", True),
        ("sample.org", "example.com", False),
        ("other.net", "example.com", False),
    ],
)
def test_domains_are_alike_but_never_themselves(shown, wanted, alike):
    assert Domains([wanted]).resemble(shown) is alike


def test_addresses_and_domains_are_found_by_what_people_write():
    assert address_key("张三@XN--fsqu00a.xn--fiqs8s") in AddressText("张三@例子.中国").keys
    assert address_key("@Example.COM") in AddressText("Anna@example.com").keys
    assert domain_key(".Example.com") in DomainText("a.b.example.com").keys
    assert domain_key(".example.com") not in DomainText("example.com").keys
    assert domain_key("例子.中国") in DomainText("例子.中国").keys


NETWORKS = st.lists(
    st.ip_addresses(v=4).flatmap(lambda a: st.integers(0, 32).map(lambda n: ip_network((a, n), strict=False))),
    max_size=8,
)


@given(NETWORKS, st.ip_addresses(v=4))
def test_merged_networks_hold_what_each_holds(networks, address):
    assert (address in NetworkSet(networks)) is any(address in network for network in networks)


def test_the_versions_of_ip_are_kept_apart():
    both = NetworkSet([ip_network("0.0.0.0/0"), ip_network("2001:db8::/32")])
    assert ip_address("2001:db8::1") in both
    assert ip_address("2001:db9::1") not in both


@given(
    st.lists(st.sampled_from(["ab", "abc", "bc", "票", "发票", "代开发票", "a"]), min_size=1, unique=True),
    st.text("abc代开发票", max_size=40),
)
def test_the_automaton_finds_what_occurs(needles, text):
    automaton = Automaton({needle.encode(): [number] for number, needle in enumerate(needles)})
    assert automaton.numbers(text.encode()) == {number for number, needle in enumerate(needles) if needle in text}


def test_the_automaton_finds_what_lies_across_its_pieces():
    automaton = Automaton({b"needle": [1, 2], b"x": [3]})
    for start in range(PIECE_OCTETS - 7, PIECE_OCTETS + 2):
        assert automaton.numbers(b"-" * start + b"needle" + b"-" * PIECE_OCTETS) == {1, 2}
