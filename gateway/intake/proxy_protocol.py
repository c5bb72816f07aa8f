r"""HAProxy's PROXY protocol, versions 1 and 2, as of its specification of 2020-03-05. No input or output.

``parse_proxy_header`` looks at what has come so far and answers with a value: the header, ``INCOMPLETE``, or
``Malformed`` with the reason. ``PROXY UNKNOWN``, ``LOCAL`` and families other than TCP over IPv4 and IPv6 are headers
without addresses: the peer stays the client.

Refused: anything that is neither version, a v1 line over 107 octets or with anything but canonical addresses and
ports, a v2 header whose block is shorter than its family needs or longer than 4,096 octets (TLVs of certificates are
the largest in use), v2 commands other than LOCAL and PROXY. TLVs are skipped; the CRC32C one included, for a header
from a trusted proxy over TCP has TCP's checksum.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

_V1_PREFIX = b"PROXY "
# Specification §2.1: 107 octets with CR LF are the worst case.
_V1_MOST = 107
_V1_LINE = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n"
)

_V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED = 16
_V2_MOST_BLOCK = 4096
# Specification §2.2: command LOCAL 0x0 and PROXY 0x1 in the low half of octet 13, version 2 in the high half.
_V2_LOCAL, _V2_PROXY = 0x20, 0x21
# Address family and transport: TCP over IPv4 with a block of 12 octets, TCP over IPv6 with one of 36.
_V2_TCP4, _V2_TCP6 = 0x11, 0x21
_V2_OCTETS = {_V2_TCP4: 4, _V2_TCP6: 16}
_MOST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """What the proxy says: the client's address and port, and where the client connected to."""

    source: IPv4Address | IPv6Address
    source_port: int
    destination: IPv4Address | IPv6Address
    destination_port: int


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A whole header of ``length`` octets; ``endpoints`` is None when it names nobody."""

    length: int
    endpoints: Endpoints | None


@dataclass(frozen=True, slots=True)
class Malformed:
    """What came is no PROXY header; ``reason`` for the journal."""

    reason: str


class Incomplete:
    """More octets are needed; the one value is ``INCOMPLETE``."""


INCOMPLETE = Incomplete()


def parse_proxy_header(data: bytes) -> ProxyHeader | Malformed | Incomplete:
    """Return what ``data``, the first octets of a connection, say."""
    if data[:12] == _V2_SIGNATURE[: len(data)]:
        return _parse_v2(data)
    if data[:6] == _V1_PREFIX[: len(data)]:
        return _parse_v1(data)
    return Malformed("no PROXY header")


def _parse_v1(data: bytes) -> ProxyHeader | Malformed | Incomplete:
    end = data.find(b"\r\n", 0, _V1_MOST)
    if end < 0:
        return INCOMPLETE if len(data) < _V1_MOST else Malformed("version 1 line too long")
    line = data[: end + 2]
    # Specification §2.1: whatever follows UNKNOWN is ignored up to the CR LF.
    if line[6:13] in (b"UNKNOWN", b"UNKNOWN ") and line[13:14] in (b"\r", b" "):
        return ProxyHeader(len(line), None)
    match = _V1_LINE.fullmatch(line)
    if match is None:
        return Malformed("version 1 line malformed")
    return _v1_header(match, len(line))


def _v1_header(match: re.Match[bytes], length: int) -> ProxyHeader | Malformed:
    kind = IPv4Address if match[1] == b"TCP4" else IPv6Address
    source_port, destination_port = int(match[4]), int(match[5])
    try:
        source, destination = kind(match[2].decode("ascii")), kind(match[3].decode("ascii"))
    except ValueError:
        return Malformed("version 1 address malformed")
    if source_port > _MOST_PORT or destination_port > _MOST_PORT:
        return Malformed("version 1 port out of range")
    endpoints = Endpoints(
        source=plain_address(source),
        source_port=source_port,
        destination=plain_address(destination),
        destination_port=destination_port,
    )
    return ProxyHeader(length, endpoints)


def _parse_v2(data: bytes) -> ProxyHeader | Malformed | Incomplete:
    if len(data) < _V2_FIXED:
        return INCOMPLETE
    command, family = data[12], data[13]
    if command not in (_V2_LOCAL, _V2_PROXY):
        return Malformed("version 2 command unknown")
    block = int.from_bytes(data[14:16], "big")
    if block > _V2_MOST_BLOCK:
        return Malformed("version 2 header too long")
    octets = _V2_OCTETS.get(family) if command == _V2_PROXY else None
    if octets is not None and block < 2 * octets + 4:
        return Malformed("version 2 addresses cut short")
    if len(data) < _V2_FIXED + block:
        return INCOMPLETE
    endpoints = _v2_endpoints(data[_V2_FIXED : _V2_FIXED + block], octets) if octets else None
    return ProxyHeader(_V2_FIXED + block, endpoints)


def _v2_endpoints(block: bytes, octets: int) -> Endpoints:
    ports = block[2 * octets : 2 * octets + 4]
    return Endpoints(
        source=plain_address(ip_address(block[:octets])),
        source_port=int.from_bytes(ports[:2], "big"),
        destination=plain_address(ip_address(block[octets : 2 * octets])),
        destination_port=int.from_bytes(ports[2:], "big"),
    )


def plain_address(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2) as the IPv4 address that it is; others as they are."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
