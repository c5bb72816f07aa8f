"""Who gave a mail to a forwarder that we believe: the Received fields that it, and those behind it, wrote.

RFC 5321 §4.4: each server puts its own field in front, and names in its TCP-info the address that connected to it.
The topmost field of a mail from a trusted forwarder is that forwarder's own; the address in it is the next hop back.
While that one is trusted too, so is the field below. The first address that is not trusted is where the mail came
from; what stands below its field anybody may have written.
"""

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from gateway.mail.header import HeaderSection

# RFC 5321 §4.4: From-domain, then TCP-info in parentheses. An address literal before it is what the client called
# itself, which is never believed.
_TCP_INFO = re.compile(
    r"\s*from\s+[^\s()]+\s+\((?:[^\s()\[\]]+\s+)?\[(?:IPv6:)?([0-9A-Fa-f:.]{2,45})\]", re.ASCII | re.IGNORECASE
)
# A client's own name may look like TCP-info, where the forwarder takes any: "x (y [192.0.2.1])".
_LIKE_TCP_INFO = re.compile(r"\((?:[^\s()\[\]]+\s+)?\[(?:IPv6:)?[0-9A-Fa-f:.]{2,45}\]", re.ASCII | re.IGNORECASE)
# Beyond these a mail is refused as a loop (limits.received_fields); each costs a match of its first words.
_MOST_FIELDS = 100
_MOST_CHARACTERS = 1000

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


def is_within(address: Address, networks: Sequence[Network]) -> bool:
    """Whether one of the networks has the address."""
    return any(network.version == address.version and address in network for network in networks)


def first_untrusted(header: HeaderSection, trusted: Sequence[Network]) -> str:
    """Return the address that gave a trusted forwarder's mail to the trusted, "" where no field tells."""
    for found in _hops(header):
        if found is None:
            return ""
        if not is_within(found, trusted):
            return str(found)
    return ""


def _hops(header: HeaderSection) -> Iterator[Address | None]:
    for field in header.get_all("received")[:_MOST_FIELDS]:
        text = field.text[:_MOST_CHARACTERS]
        match = _TCP_INFO.match(text)
        if match and _LIKE_TCP_INFO.search(text, match.end()):
            # Which of the two the forwarder wrote nobody can tell: it names nobody, rather than a stranger.
            match = None
        try:
            address = ip_address(match[1]) if match else None
        except ValueError:
            address = None
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        yield mapped or address
