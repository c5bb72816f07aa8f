"""Addresses of a host, and the names that addresses have in the reverse tree (RFC 1035 §3.5, RFC 3596 §2.5)."""

import asyncio
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import chain, zip_longest

from gateway.dns.answer import Answer, Outcome
from gateway.dns.resolver import Resolver


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAddresses:
    """What A and AAAA said together.

    *found* when either has an address, even if the other failed (``reason`` says so); *absent* when both say there is
    none; *temperror* when nothing was found and either failed. ``addresses`` alternate, IPv6 first (RFC 8305 §4).
    """

    host: str
    outcome: Outcome
    addresses: tuple[str, ...] = ()
    reason: str = ""
    nxdomain: bool = False


async def addresses(resolver: Resolver, host: str) -> HostAddresses:
    """Return the addresses of ``host``, a name or an IP address, asking for A and AAAA at the same time."""
    literal = _literal(host)
    if literal is not None:
        return HostAddresses(host=host, outcome=Outcome.FOUND, addresses=(str(literal),))
    if (known6 := resolver.known(host, "AAAA")) and (known4 := resolver.known(host, "A")):
        return _joined(host, known6, known4)
    v6, v4 = await asyncio.gather(resolver.query(host, "AAAA"), resolver.query(host, "A"))
    return _joined(host, v6, v4)


def reverse_name(ip: str) -> str:
    """Return the name of ``ip`` in in-addr.arpa or ip6.arpa; an IPv4-mapped address counts as IPv4.

    Raise ``ValueError``.
    """
    return unmapped(ip).reverse_pointer


def unmapped(ip: str) -> IPv4Address | IPv6Address:
    """Return the address of ``ip``, IPv4 for an IPv4-mapped one (RFC 4291 §2.5.5.2); raise ``ValueError``."""
    address = ip_address(ip)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _joined(host: str, v6: Answer, v4: Answer) -> HostAddresses:
    pairs = zip_longest(v6.records, v4.records)
    both = tuple(address for address in chain.from_iterable(pairs) if address is not None)
    reason = "; ".join(f"{answer.rdtype}: {answer.reason}" for answer in (v6, v4) if answer.reason)
    if both:
        failed = v6.is_temperror or v4.is_temperror
        return HostAddresses(host=host, outcome=Outcome.FOUND, addresses=both, reason=reason if failed else "")
    if v6.is_temperror or v4.is_temperror:
        return HostAddresses(host=host, outcome=Outcome.TEMPERROR, reason=reason)
    return HostAddresses(host=host, outcome=Outcome.ABSENT, reason=reason, nxdomain=v6.nxdomain and v4.nxdomain)
