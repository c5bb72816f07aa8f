"""Hosts as a browser would ask for them, and whose they are.

``canonical`` undoes what a URL's host may be dressed in (https://url.spec.whatwg.org/#host-parsing): percent-encoding,
case, full-width letters, ideographic full stops, U-labels, and IPv4 addresses as one decimal number, in octal or
hexadecimal, or with fewer than four parts. ``registrable`` is the domain somebody registered: one label more than the
longest public suffix (https://publicsuffix.org), private suffixes such as ``github.io`` included, because every label
there is another customer. The list is the one that comes with publicsuffixlist; nothing is fetched.
"""

import re
import unicodedata
from functools import cache, lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from pathlib import Path
from urllib.parse import unquote

from publicsuffixlist import PSLFILE, PublicSuffixList

from gateway.smtp.domain import DomainError, display_domain, normalise_domain

# A host longer than a domain may be (RFC 5321 §4.5.3.1.2), percent-encoded throughout.
MAX_HOST = 255 * 3

# UTS #46 maps these to a full stop.
_STOPS = str.maketrans("\u3002\uff0e\uff61", "...")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_MAX_PARTS = 4
_IPV4_END = 2**32
# Digits of 2**32 in octal; a longer number is no address, and Python refuses to convert very long ones.
_MAX_DIGITS = 16


@cache
def _suffixes() -> PublicSuffixList:
    # A-labels are looked up as U-labels, which spares encoding the list: 20 ms instead of 80, once.
    return PublicSuffixList(accept_encoded_idn=False)


@cache
def _endings() -> frozenset[str]:
    file = Path(PSLFILE).read_text(encoding="utf-8")
    rules = (line.split()[0] for line in file.splitlines() if line.strip() and not line.startswith("//"))
    return frozenset(rule.rpartition(".")[2] for rule in rules)


def warm() -> None:
    """Load the list now, so that the first mail does not wait for it."""
    _suffixes()
    _endings()


def ends_suffix(label: str) -> bool:
    """Tell whether a last label in any case is one of the list's: the quick look before ``is_known``."""
    return label.lower() in _endings() or label[:4].lower() == "xn--"


def canonical(host: str) -> str:
    """Return a host in the form that is looked up, "" for one that no browser would ask for."""
    if len(host) > MAX_HOST:
        return ""
    if "%" in host:
        host = unquote(host)
    if host.startswith("["):
        return _ipv6(host)
    if not host.isascii():
        host = unicodedata.normalize("NFKC", host).translate(_STOPS)
    host = host.lower().removesuffix(".")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return _ipv4(host)
    try:
        return normalise_domain(host)
    except DomainError:
        return ""


@lru_cache(maxsize=4096)
def registrable(host: str) -> str:
    """Return the registrable domain of a canonical host; "" for addresses, public suffixes and single labels."""
    return _registrable(host, unknown=True)


@lru_cache(maxsize=4096)
def is_known(host: str) -> bool:
    """Tell whether a canonical host lies below a suffix that is on the list."""
    return bool(_registrable(host, unknown=False))


def _registrable(host: str, *, unknown: bool) -> str:
    if not host or is_address(host):
        return ""
    found = _suffixes().privatesuffix(display_domain(host), accept_unknown=unknown)
    return ".".join(host.split(".")[-1 - found.count(".") :]) if found else ""


def is_address(host: str) -> bool:
    """Tell whether a canonical host is an IP address."""
    return ":" in host or (host[-1:].isdigit() and host.replace(".", "").isdigit())


def _ipv6(host: str) -> str:
    try:
        address = IPv6Address(host[1 : host.index("]")])
    except (AddressValueError, ValueError):
        return ""
    return str(address.ipv4_mapped or address)


def _ipv4(host: str) -> str:
    """https://url.spec.whatwg.org/#concept-ipv4-parser: the last part fills all the octets that are left."""
    parts = host.split(".")
    if len(parts) > _MAX_PARTS or not all(_NUMBER.fullmatch(part) and len(part) <= _MAX_DIGITS for part in parts):
        return ""
    try:
        *numbers, last = map(_number, parts)
    except ValueError:
        return ""
    value = last
    for position, number in enumerate(numbers):
        value += number << 8 * (3 - position)
    fits = last < 1 << 8 * (_MAX_PARTS - len(numbers)) and all(number < 1 << 8 for number in numbers)
    return str(IPv4Address(value)) if fits and value < _IPV4_END else ""


def _number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8) if part.startswith("0") else int(part)
