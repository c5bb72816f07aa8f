"""The values of conditions that are no plain text: sizes, durations, times of day, networks.

Each function takes what ``tomllib`` gave and returns the value, or raises ``ValueError`` saying what is allowed.
"""

import re
from datetime import UTC, date, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from math import isfinite
from typing import Any

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]?)", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_SPAN = re.compile(r"(-?)(\d+(?:\.\d+)?)(s|m|h|d)")
_SPAN_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?:(Z)|([+-])([01]\d):([0-5]\d))?")
_SECONDS_A_DAY = 86_400


def number(value: Any) -> float:
    """Return a number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError("a number is wanted")
    return float(value)


def size(value: Any) -> float:
    """Return octets: a number, or ``"10M"``."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found:
        return float(found[1]) * _SIZE_UNITS[found[2].upper()]
    if isinstance(value, str):
        raise ValueError('a size such as 4096 or "10M" is wanted')  # noqa: TRY004 - complaints are ValueErrors
    return number(value)


def span(value: Any) -> float:
    """Return seconds: ``"2d"``, ``"-30m"``."""
    found = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError('a duration such as "30m", "2d" or "-1h" is wanted')
    return float(found[2]) * _SPAN_UNITS[found[3]] * (-1 if found[1] else 1)


def clock(value: Any) -> float:
    """Return a time of day in seconds of UTC: ``"22:00"``, ``"22:00+08:00"``."""
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError('a time of day such as "22:30" (UTC) or "22:30+08:00" is wanted, in quotes')
    seconds = int(found[1]) * 3600 + int(found[2]) * 60
    if found[4]:
        offset = int(found[5]) * 3600 + int(found[6]) * 60
        seconds -= offset if found[4] == "+" else -offset
    return float(seconds % _SECONDS_A_DAY)


def network(value: Any) -> IPv4Network | IPv6Network:
    """Return an address or network; one of IPv4-mapped addresses as IPv4's."""
    wanted = 'an address or a network such as "192.0.2.1", "10.0.0.0/8" or "2001:db8::/32" is wanted'
    if not isinstance(value, str):
        raise ValueError(wanted)  # noqa: TRY004 - complaints are ValueErrors
    try:
        found = ip_network(value, strict=False)
    except ValueError:
        raise ValueError(wanted) from None
    if isinstance(found, IPv6Network) and found.prefixlen >= _MAPPED and found.network_address.ipv4_mapped:
        return IPv4Network((found.network_address.ipv4_mapped, found.prefixlen - _MAPPED))
    return found


# RFC 4291 §2.5.5.2: ::ffff:0:0/96 holds the IPv4-mapped addresses.
_MAPPED = 96


def flag(value: Any) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false is wanted")  # noqa: TRY004 - complaints are ValueErrors
    return value


def instant(value: Any) -> float:
    """Return a TOML date or date-time as seconds since 1970; without an offset it is UTC."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    raise ValueError("a date such as 2027-01-31 or 2027-01-31T12:00:00+08:00 is wanted, without quotes")
