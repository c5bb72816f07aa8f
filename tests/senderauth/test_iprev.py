"""iprev: the four words of RFC 8601 §2.7.3."""

from ipaddress import ip_address

import pytest

from gateway.dns.zone import ZoneResolver
from gateway.senderauth.iprev import MAX_NAMES, check_iprev

ZONE = """
1.2.0.192.in-addr.arpa PTR mail.example
mail.example A 192.0.2.1
2.2.0.192.in-addr.arpa PTR other.example
other.example A 192.0.2.99
3.2.0.192.in-addr.arpa * !SERVFAIL
4.2.0.192.in-addr.arpa PTR fails.example
fails.example * !TIMEOUT
5.2.0.192.in-addr.arpa PTR fails.example
5.2.0.192.in-addr.arpa PTR five.example
five.example A 192.0.2.5
6.2.0.192.in-addr.arpa PTR fails.example
6.2.0.192.in-addr.arpa PTR other.example
7.2.0.192.in-addr.arpa PTR .
8.2.0.192.in-addr.arpa TXT nodata
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR six.example
six.example AAAA 2001:db8::1
"""


@pytest.mark.parametrize(
    ("client", "word", "name"),
    [
        ("192.0.2.1", "pass", "mail.example"),
        ("192.0.2.2", "fail", ""),
        ("192.0.2.3", "temperror", ""),
        ("192.0.2.4", "temperror", ""),
        ("192.0.2.5", "pass", "five.example"),
        ("192.0.2.6", "temperror", ""),
        ("192.0.2.7", "permerror", ""),
        ("192.0.2.8", "permerror", ""),
        ("192.0.2.9", "permerror", ""),
        ("2001:db8::1", "pass", "six.example"),
        ("2001:db8::2", "permerror", ""),
    ],
)
async def test_words(client, word, name):
    result = await check_iprev(ZoneResolver(ZONE), ip_address(client))
    assert (result.result, result.name, result.client) == (word, name, client)
    assert result.reason


async def test_a_reverse_zone_cannot_make_us_ask_without_end():
    zone = ZoneResolver("\n".join(f"1.2.0.192.in-addr.arpa PTR n{n}.example" for n in range(1000)))
    assert (await check_iprev(zone, ip_address("192.0.2.1"))).result == "fail"
    assert len(zone.asked) == 1 + MAX_NAMES
