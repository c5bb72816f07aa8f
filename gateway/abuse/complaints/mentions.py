"""Identifiers in text: trace ids of ours, Message-IDs, IP addresses. Linear, bounded, and nothing raises."""

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address, ip_address

from gateway.mail.trace_id import trace_id_time

# A complaint is about a mail or a few; a list of a thousand is for a report.
MOST = 20
# RFC 5322 §2.1.1: a Message-ID stands in one line.
_MESSAGE_ID = re.compile(r"<[^<>\s@]{1,400}@[^<>\s@]{1,255}>")
# Crockford's base 32; the ids of this century begin so.
_TRACE_ID = re.compile(r"(?<![0-9A-Za-z])0[0-9A-HJKMNP-TV-Z]{25}(?![0-9A-Za-z])")
_BRACKETED = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f:.]{2,45})\]", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
# The lines of a quoted header section in which an address is the sender's own.
_FIELD = re.compile(
    r"^[>| \t]{0,40}+(message-id|x-tidegate-id|received|source-ip|x-originating-ip)[ \t]*:(.{0,2000})",
    re.IGNORECASE | re.MULTILINE,
)


def first(found: Iterable[str], most: int = MOST) -> tuple[str, ...]:
    """Return the first distinct values."""
    distinct: dict[str, None] = {}
    for value in found:
        distinct.setdefault(value)
        if len(distinct) >= most:
            break
    return tuple(distinct)


def trace_ids(text: str) -> Iterator[str]:
    """Yield what has the form of our trace ids."""
    for match in _TRACE_ID.finditer(text):
        try:
            trace_id_time(match[0])
        except ValueError:
            continue
        yield match[0]


def message_ids(text: str) -> Iterator[str]:
    """Yield Message-IDs with their angle brackets."""
    return (match[0] for match in _MESSAGE_ID.finditer(text))


def addresses(text: str) -> Iterator[str]:
    """Yield IP addresses that may be somebody's on the Internet, those in brackets first."""
    for pattern in (_BRACKETED, _IPV4):
        for match in pattern.finditer(text):
            if found := address(match[match.lastindex or 0]):
                yield found


def address(text: str) -> str:
    """Return an IP address in its normal form, "" for what is none, and for loopback and unspecified ones."""
    try:
        ip = ip_address(text.strip().strip("[]").removeprefix("IPv6:"))
    except ValueError:
        return ""
    ip = (ip.ipv4_mapped if isinstance(ip, IPv6Address) else None) or ip
    return "" if ip.is_unspecified or ip.is_multicast else str(ip)


def quoted_fields(text: str) -> dict[str, list[str]]:
    """Return the values of header fields written in a text, quoted or not, by their names in lower case."""
    found: dict[str, list[str]] = {}
    for match in _FIELD.finditer(text):
        values = found.setdefault(match[1].lower(), [])
        if len(values) < MOST:
            values.append(match[2].strip())
    return found
