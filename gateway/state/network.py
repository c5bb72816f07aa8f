"""The units by which clients are counted: one IPv4 address or IPv6 /64, and the network it lies in."""

from ipaddress import IPv4Address, IPv6Address, ip_address

IpAddress = IPv4Address | IPv6Address


def network_key(address: str | IpAddress) -> str:
    """Return ``192.0.2.1`` or ``2001:db8:1:2::/64``; IPv4-mapped counts as IPv4; ValueError for what is no address.

    A /64 is the smallest block an IPv6 client holds (RFC 6177 §2 speaks of giving out more), and it chooses freely
    within it.
    """
    ip = _plain(address)
    return str(ip) if isinstance(ip, IPv4Address) else f"{_cut(ip, 64)}/64"


def neighbourhood_key(address: str | IpAddress) -> str:
    """Return ``192.0.2.0/24`` or ``2001:db8:1::/48``: what is usually one site's; otherwise as ``network_key``.

    RFC 6177 §2: a /48 is the most that a site is given. A /24 is the smallest IPv4 route.
    """
    ip = _plain(address)
    if isinstance(ip, IPv4Address):
        return f"{IPv4Address(int(ip) >> 8 << 8)}/24"
    return f"{_cut(ip, 48)}/48"


def _plain(address: str | IpAddress) -> IpAddress:
    ip = ip_address(address) if isinstance(address, str) else address
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return mapped or ip


def _cut(ip: IPv6Address, bits: int) -> IPv6Address:
    return IPv6Address(int(ip) >> (128 - bits) << (128 - bits))
