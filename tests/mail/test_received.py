"""The first hop that nobody vouches for (RFC 5321 §4.4).

What breaks if these fail: an innocent forwarder is blocked for what it passed on, or a spammer who writes Received
fields of his own has a stranger blocked.
"""

from ipaddress import ip_network

import pytest

from gateway.mail.header import HeaderSection
from gateway.mail.received import first_untrusted

TRUSTED = (ip_network("192.0.2.0/28"), ip_network("2001:db8:1::/48"))


def header(*fields: str) -> HeaderSection:
    return HeaderSection("".join(f"Received: {field}\r\n" for field in fields).encode() + b"\r\n")


@pytest.mark.parametrize(
    ("field", "address"),
    [
        ("from mail.bad.test (mail.bad.test [198.51.100.7]) by fwd.test", "198.51.100.7"),
        ("from [203.0.113.1] (unknown [198.51.100.7]) by fwd.test", "198.51.100.7"),
        ("from bad.test ([198.51.100.7]) by fwd.test", "198.51.100.7"),
        ("from bad.test ([198.51.100.7] helo=me) by fwd.test", "198.51.100.7"),
        ("from bad.test (x [IPv6:2001:db8:9::7]) by fwd.test", "2001:db8:9::7"),
        ("from bad.test (x [::ffff:198.51.100.7]) by fwd.test", "198.51.100.7"),
        ("FROM bad.test\r\n\t(x [198.51.100.7])\r\n\tby fwd.test", "198.51.100.7"),
        ("from [198.51.100.7] by fwd.test", ""),
        ("from bad.test (x [999.1.1.1]) by fwd.test", ""),
        ("by fwd.test with LMTP", ""),
        ("from (" * 300, ""),
        # A HELO name that a forwarder took whole.
        ("from bad.test (x [203.0.113.9]) (unknown [198.51.100.7]) by fwd.test", ""),
        ("from bad.test (x [203.0.113.9]) by y (unknown [IPv6:2001:db8:9::7]) by fwd.test", ""),
        ("from bad.test (x [198.51.100.7]) by fwd.test (Postfix) for <a@[192.0.2.1]>", "198.51.100.7"),
    ],
)
def test_the_forwarders_own_field_tells_who_connected(field: str, address: str):
    assert first_untrusted(header(field), TRUSTED) == address


def test_a_chain_of_trusted_forwarders_is_followed_to_its_end():
    told = header(
        "from b.fwd.test (b.fwd.test [192.0.2.2]) by a.fwd.test",
        "from c.fwd.test (c.fwd.test [2001:db8:1::3]) by b.fwd.test",
        "from bad.test (bad.test [198.51.100.7]) by c.fwd.test",
        "from victim.test (victim.test [203.0.113.9]) by bad.test",
    )
    assert first_untrusted(told, TRUSTED) == "198.51.100.7"


def test_nothing_is_believed_behind_a_field_that_does_not_tell():
    told = header("by a.fwd.test with LMTP", "from bad.test (bad.test [198.51.100.7]) by b.fwd.test")
    assert first_untrusted(told, TRUSTED) == ""


def test_without_a_field_there_is_no_answer():
    assert first_untrusted(header(), TRUSTED) == ""
    assert first_untrusted(header("from b (b [192.0.2.2]) by a"), TRUSTED) == ""
