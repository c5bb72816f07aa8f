"""The author's domain: tricks that show one author and have another checked end in no author, never in the wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail.header import HeaderSection
from gateway.mail.text import addresses
from gateway.senderauth.dmarc.author import author_domain


def author(*values: str):
    return author_domain(HeaderSection("".join(f"From:{value}\r\n" for value in values).encode() + b"\r\n"))


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        (" a@x.example", "x.example"),
        (" <a@x.example>", "x.example"),
        (" Alice <a@x.example>", "x.example"),
        ("Alice<a@X.Example>", "x.example"),
        (' "Alice, the first" <a@x.example>', "x.example"),
        (' "ceo@bank.example" <a@x.example>', "x.example"),
        (" =?utf-8?q?ceo=40bank.example?= <a@x.example>", "x.example"),
        (" Alice (ceo@bank.example) <a@x.example>", "x.example"),
        (" (a (nested \\) comment)) Alice <a@x.example> (more)", "x.example"),
        (' "quoted local"@x.example', "x.example"),
        (' <"a@bank.example"@x.example>', "x.example"),
        (" a . b @ x.example", "x.example"),
        (" a@x.example, b@x.example", "x.example"),
        (" A <a@x.example>,\r\n\tB <b@X.EXAMPLE>", "x.example"),
        (" Group: a@x.example, B <b@x.example>;", "x.example"),
        (" <@relay.example:a@x.example>", "x.example"),
        (" 张三 <a@例子.中国>", "xn--fsqu00a.xn--fiqs8s"),
        (" a@x.example,", "x.example"),
        (" =?utf-8?b?55WM?=\r\n <a@x.example>", "x.example"),
    ],
)
def test_one_author(value, domain):
    found = author(value)
    assert (found.domain, found.fault) == (domain, "")


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ((), "missing"),
        (("",), "missing"),
        ((" undisclosed:;",), "missing"),
        # 1: a second field. 2: a second mailbox. 3: two pairs of angle brackets. 4: an address before the brackets.
        ((" a@bank.example", " b@evil.example"), "several-fields"),
        ((" a@x.example", " a@x.example"), "several-fields"),
        ((" a@bank.example, b@evil.example",), "several-domains"),
        ((" Group: a@bank.example; , b@evil.example",), "several-domains"),
        ((" <a@bank.example> <b@evil.example>",), "malformed"),
        ((" <a@bank.example<b@evil.example>>",), "malformed"),
        ((" a@bank.example <b@evil.example>",), "malformed"),
        ((" [@bank.example,]<b@evil.example>",), "malformed"),
        ((" [<a@bank.example>] Team: b@evil.example;",), "malformed"),
        ((" <=?utf-8?q?a=40bank.example?=> Team: <b@evil.example>;",), "malformed"),
        ((" [.g:<a@bank.example>].b@evil.example",), "malformed"),
        # 5: what does not end as it began.
        ((' "a@bank.example <b@evil.example>',), "malformed"),
        ((" (a@bank.example <b@evil.example>",), "malformed"),
        ((" <a@bank.example",), "malformed"),
        ((" <b@evil.example> a@bank.example",), "malformed"),
        ((" a@bank.example@evil.example",), "malformed"),
        ((" a b@evil.example",), "malformed"),
        ((" Alice",), "malformed"),
        ((" @evil.example",), "malformed"),
        ((" a@",), "malformed"),
        ((" <>",), "malformed"),
        ((" a@[192.0.2.1]",), "malformed"),
        ((" a@192.0.2.1",), "malformed"),
        ((" a@localhost\x00.example",), "malformed"),
        ((" a@-.example",), "malformed"),
        ((" " + "a@x.example," * 2000,), "malformed"),
    ],
)
def test_no_single_author(values, word):
    found = author(*values)
    assert (found.domain, found.word) == ("", word)
    assert found.fault


def test_a_header_section_without_from():
    assert author_domain(HeaderSection(b"To: a@b.example\r\n\r\n")).word == "missing"


@given(st.binary(max_size=200))
def test_octets_never_raise(octets):
    found = author_domain(HeaderSection(b"From: " + octets + b"\r\n\r\n"))
    assert bool(found.domain) != bool(found.word)


@given(
    st.lists(
        st.sampled_from(['"', "(", ")", "<", ">", ",", ";", ":", "@", "\\", "a", "x.example", " ", "[", "]", "\r\n "]),
        max_size=30,
    )
)
def test_specials_never_raise(parts):
    found = author_domain(HeaderSection(b"From: " + "".join(parts).encode() + b"\r\n\r\n"))
    assert found.domain in {"", "x.example", "ax.example", "a.example"} or found.domain.endswith(("x.example", "a"))


PIECES = [
    "a@bank.example", "<a@bank.example>", "b@evil.example", "<b@evil.example>", "@bank.example,", "@evil.example:",
    "=?utf-8?q?a=40bank.example?=", "=?utf-8?q?,?=", "g:", '"q"', "(c)", "\r\n ", *'"(),:;<>[]. \\\x00@',
]  # fmt: skip


@settings(max_examples=2_000)
@given(st.lists(st.sampled_from(PIECES), min_size=2, max_size=7).map("".join))
def test_rules_see_no_other_author_than_the_one_that_is_vouched_for(value):
    # An allow rule takes DMARC's word for the author whom custom rules read (gateway.rules.vouching).
    checked = author(value).domain
    field = HeaderSection(f"From:{value}\r\n\r\n".encode()).first("from")
    read = {found.domain for found in addresses.mailboxes(field.value) if found.domain} if field else set()
    assert checked != "evil.example" or "bank.example" not in read
