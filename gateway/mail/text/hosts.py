"""Hosts as a browser would ask for them, and whose they are.

``canonical`` undoes what a URL's host may be dressed in (https://url.spec.whatwg.org/#host-parsing): percent-encoding,
case, full-width letters, ideographic full stops, U-labels, and IPv4 addresses as one decimal number, in octal or
hexadecimal, or with fewer than four parts. ``registrable`` is the domain somebody registered: one label more than the
longest public suffix (https://publicsuffix.org), private suffixes such as ``github.io`` included, because every label
there is another customer. The list is the one that comes with publicsuffixlist, or a newer one that ``use`` was given;
nothing is fetched.
"""

import re
import unicodedata
from dataclasses import dataclass
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


# The list of October 2026 has 10,000 rules: a file with fewer than half of them was cut off, or is no such list.
MIN_RULES = 5000


@dataclass(frozen=True, slots=True)
class SuffixList:
    """A list ready for use; ``endings`` are the last labels of its rules."""

    suffixes: PublicSuffixList
    endings: frozenset[str]


@lru_cache(maxsize=2)
def read_list(text: str) -> SuffixList:
    """Return the list in the form of publicsuffix.org; ValueError when it is none."""
    rules = [line.split()[0] for line in text.splitlines() if line.strip() and not line.startswith("//")]
    if len(rules) < MIN_RULES or not {"com", "co.uk"} <= set(rules):
        raise ValueError(f"not a public suffix list: {len(rules)} rules")
    # A-labels are looked up as U-labels, which spares encoding the list: 20 ms instead of 80, once.
    suffixes = PublicSuffixList(text.splitlines(), accept_encoded_idn=False)
    return SuffixList(suffixes, frozenset(rule.rpartition(".")[2] for rule in rules))


@cache
def _shipped() -> SuffixList:
    return read_list(Path(PSLFILE).read_text(encoding="utf-8"))


class _InUse:
    """What this process goes by; one list, since what is registrable must not depend on who asks."""

    chosen: SuffixList | None = None

    @property
    def list(self) -> SuffixList:
        return self.chosen or _shipped()


_IN_USE = _InUse()


def use(chosen: SuffixList | None) -> None:
    """Go by this list from now on, None: by the one that is shipped."""
    if chosen is not _IN_USE.chosen:
        _IN_USE.chosen = chosen
        registrable.cache_clear()
        is_known.cache_clear()


def warm() -> None:
    """Load the list now, so that the first mail does not wait for it."""
    _ = _IN_USE.list


def ends_suffix(label: str) -> bool:
    """Tell whether a last label in any case is one of the list's: the quick look before ``is_known``."""
    return label.lower() in _IN_USE.list.endings or label[:4].lower() == "xn--"


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
    found = _IN_USE.list.suffixes.privatesuffix(display_domain(host), accept_unknown=unknown)
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
