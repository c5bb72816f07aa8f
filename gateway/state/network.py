"""The unit by which clients are counted: one IPv4 address, one IPv6 /64."""

from ipaddress import IPv4Address, IPv6Address, ip_address


def network_key(address: str | IPv4Address | IPv6Address) -> str:
    """Return ``192.0.2.1`` or ``2001:db8:1:2::/64``; IPv4-mapped counts as IPv4; ValueError for what is no address.

    A /64 is the smallest block an IPv6 client holds (RFC 6177 §2 speaks of giving out more), and it chooses freely
    within it.
    """
    ip = ip_address(address) if isinstance(address, str) else address
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is None:
            return f"{IPv6Address(int(ip) >> 64 << 64)}/64"
        ip = ip.ipv4_mapped
    return str(ip)
