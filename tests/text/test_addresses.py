"""Whom a mail says it is from: a form that we read otherwise than mail readers do lets an impersonation pass."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.text.addresses import MAX_AUTHORS, Author, mailboxes


def author(display_name: str, address: str) -> Author:
    return Author(
        display_name=display_name, address=address, domain=address.rpartition("@")[2] if "@" in address else ""
    )


CASES = {
    # RFC 5322 §3.4, appendix A.
    "Joe Q. Public <john.q.public@example.com>": [("Joe Q. Public", "john.q.public@example.com")],
    "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>": [
        ("Mary Smith", "mary@x.test"),
        ("", "jdoe@example.org"),
        ("Who?", "one@y.test"),
    ],
    '<boss@nil.test>, "Giant; \\"Big\\" Box" <sysservices@example.net>': [
        ("", "boss@nil.test"),
        ('Giant; "Big" Box', "sysservices@example.net"),
    ],
    "A Group:Ed Jones <joe@where.test>,joe@where.test,John <jdoe@one.test>;": [
        ("Ed Jones", "joe@where.test"),
        ("", "joe@where.test"),
        ("John", "jdoe@one.test"),
    ],
    "Undisclosed recipients:;": [],
    "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>": [("Pete", "pete@silly.test")],
    "jdoe@example.org (John (the) Doe)": [("John (the) Doe", "jdoe@example.org")],
    "<@node1.test,@node2.test:jdoe@node.test>": [("", "jdoe@node.test")],
    '"Joe & J. Harvey" <ddd @ Org.TEST>': [("Joe & J. Harvey", "ddd@org.test")],
    '"john doe"@example.com': [("", "john doe@example.com")],
    "jdoe@[192.0.2.1]": [("", "jdoe@[192.0.2.1]")],
    # What impersonators write.
    '"security@bank.example" <evil@attacker.test>': [("security@bank.example", "evil@attacker.test")],
    "security@bank.example <evil@attacker.test>": [("security@bank.example", "evil@attacker.test")],
    "Bank <security@bank.example> <evil@attacker.test>": [
        ("Bank", "security@bank.example"),
        ("", "evil@attacker.test"),
    ],
    "security@bank.example, evil@attacker.test": [("", "security@bank.example"), ("", "evil@attacker.test")],
    "evil@attacker.test (Bank Security)": [("Bank Security", "evil@attacker.test")],
    "Bank\0Security <evil@attacker.test>": [("Bank\0Security", "evil@attacker.test")],
    "a@b@attacker.test": [("", "a@b@attacker.test")],
    # What careless programs write.
    "Example, Inc. <info@example.com>": [("Example, Inc.", "info@example.com")],
    "Foo: bar <a@example.com>": [("Foo: bar", "a@example.com")],
    'Foo" <a@example.com>': [('Foo"', "a@example.com")],
    "Foo (bar <a@example.com>": [("Foo (bar", "a@example.com")],
    "Foo <a@example.com": [("Foo", "a@example.com")],
    "a@example.com,": [("", "a@example.com")],
    "Nobody": [("Nobody", "")],
    "<>": [("", "")],
    "": [],
    "x <not-an-address>": [("x", "not-an-address")],
    # International.
    "张三 <zhang@例子.中国>": [("张三", "zhang@xn--fsqu00a.xn--fiqs8s")],
    "用户@example.com": [("", "用户@example.com")],
    "=?utf-8?B?5byg5LiJ?= <z@example.cn>": [("张三", "z@example.cn")],
    "=?gb2312?Q?=D5=C5=2C=C8=FD?= <z@example.cn>": [("张,三", "z@example.cn")],
    "=?utf-8?Q?Example,_Inc.?= <a@example.com>": [("Example, Inc.", "a@example.com")],
    '"=?utf-8?Q?a=2Cb?=" <a@example.com>': [("a,b", "a@example.com")],
    "=?utf-8?Q?a?= =?utf-8?Q?b?= <a@example.com>": [("ab", "a@example.com")],
}


@pytest.mark.parametrize("value", CASES)
def test_authors(value: str):
    assert list(mailboxes(value.encode())) == [author(name, address) for name, address in CASES[value]]


def test_an_address_hidden_whole_in_an_encoded_word():
    octets = b"=?utf-8?B?" + b64encode("张三 <z@example.cn>".encode()) + b"?="
    assert mailboxes(octets) == (author("张三", "z@example.cn"),)


def test_a_comma_in_an_encoded_word_separates_nothing():
    octets = b"=?utf-8?B?" + b64encode(b"a@bank.example, b") + b"?= <evil@attacker.test>"
    assert mailboxes(octets) == (author("a@bank.example, b", "evil@attacker.test"),)


def test_raw_octets_in_a_legacy_charset():
    assert mailboxes("中国银行客服 <a@example.com>".encode("gbk")) == (author("中国银行客服", "a@example.com"),)


@given(st.binary(max_size=200))
def test_any_octets_give_authors(octets: bytes):
    for found in mailboxes(octets):
        assert isinstance((found.display_name + found.address).encode("utf-8"), bytes)
        assert found.domain == "" or found.address.endswith("@" + found.domain)


@given(
    st.lists(
        st.sampled_from([b'"', b"\\", b"(", b")", b"<", b">", b",", b":", b";", b"@", b"a", b" ", b"=?utf-8?q?", b"?="])
    )
)
def test_any_punctuation_gives_authors(pieces: list[bytes]):
    assert len(mailboxes(b"".join(pieces))) <= MAX_AUTHORS


@pytest.mark.parametrize(
    "piece", [b'"\\', b"(", b"<", b'<"\\"', b"a@b,", b"=?a?q?", b",", b":", b"a:", b"(a)", b"a<b>", b"((\\)"], ids=repr
)
def test_hostile_values_take_linear_time(piece: bytes):
    """A quadratic reader would not end before the test's time limit."""
    assert len(mailboxes(piece * 500_000 + b";")) <= MAX_AUTHORS
