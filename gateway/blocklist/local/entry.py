"""What one entry of a list means: a range of addresses, or keys of the table of names.

    192.0.2.7  192.0.2.0/24  192.0.2.1-192.0.2.9  192.0.2.1-9      addresses, IPv6 alike
    example.com            this name only
    *.example.com          every name below it
    .example.com           both (as rbldnsd's dnset says it)
    anna@example.com       one mailbox;  @example.com, @.example.com  all of a domain, and below it
    http://host/path?q     one URL; without a path its host
    64 hexadecimal digits  SHA-256 of an attachment, as decoded

An IPv4-mapped IPv6 address is the IPv4 address. Refused, with a reason: bits behind a prefix, ranges that end before
they begin, and whatever is none of these.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from socket import AF_INET, AF_INET6, inet_ntoa, inet_pton

from gateway.smtp.domain import DomainError, normalise_domain

BITS = {4: 32, 6: 128}
# ::ffff:0:0/96 (RFC 4291 §2.5.5.2)
_MAPPED = 0xFFFF << 32
_WORD = 0xFFFFFFFF
_OCTET = 255
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})", re.ASCII)
_MASK = re.compile(r"\d{1,3}", re.ASCII)
# No holder has more than an IPv4 /8; a registry's whole region is an IPv6 /12. Beyond it somebody's slip shuts out, or
# lets in, the world.
_WIDEST_BITS = {4: 8, 6: 12}
_FLAGS = re.ASCII | re.IGNORECASE | re.DOTALL
# RFC 3986 §3: the scheme; user information is dropped, since it is the sender's whim.
_URL = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/?#@]*@)?(\[[^]/?#]*\]|[^:/?#]*)(:\d*)?((?:[/?][^#]*)?)(?:#.*)?", _FLAGS)
_DEFAULT_PORTS = {":", ":80", ":443"}
# RFC 5321 §4.5.3.1: 128 octets before the @ are taken (gateway.smtp.limits), 255 behind it; URLs as browsers take them.
_MAX_CHARACTERS = 2048


class EntryError(ValueError):
    """The text is no entry; the message says what is wrong and what is allowed."""


@dataclass(frozen=True, slots=True)
class Span:
    """Addresses from ``first`` to ``last`` of IP ``version``, as numbers."""

    version: int
    first: int
    last: int

    @property
    def breadth(self) -> int:
        """How many addresses: of entries that hold an address the narrowest speaks for it."""
        return self.last - self.first + 1


def is_too_wide(version: int, breadth: int) -> bool:
    """Whether an entry of so many addresses is more than anybody means without being asked: /8 of IPv4, /12 of IPv6."""
    return breadth > 1 << (BITS[version] - _WIDEST_BITS[version])


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of the table of names; ``dotted`` when the entry was written ``.example.com``."""

    keys: tuple[str, ...]
    dotted: bool = False


Target = Span | Keys


def parse_entry(text: str) -> Target:
    """Return what an entry means; raise ``EntryError``."""
    if not text or len(text) > _MAX_CHARACTERS:
        raise EntryError("an entry has 1 to 2048 characters")
    if "://" in text:
        return _url(text)
    if "@" in text:
        return _mailbox(text)
    if text[0].isdecimal() or ":" in text:
        if (digest := _DIGEST.fullmatch(text)) is not None:
            return Keys((digest_key(digest[1]),))
        if _looks_like_addresses(text):
            return parse_span(text)
    elif (digest := _DIGEST.fullmatch(text)) is not None:
        return Keys((digest_key(digest[1]),))
    return parse_name(text)


def same_entry(one: str, other: str) -> bool:
    """Whether two entries, which both must be some, mean the same however they are written."""
    return one == other or parse_entry(one) == parse_entry(other)


def parse_span(text: str) -> Span:
    """Return the addresses of ``a``, ``a/bits`` or ``a-b``; raise ``EntryError``."""
    start, dash, end = text.partition("-")
    if dash:
        return _between(start.strip(), end.strip())
    address, slash, mask = text.partition("/")
    version, first = address_number(address)
    bits = BITS[version]
    if not slash:
        return _unmapped(Span(version, first, first))
    prefix = _prefix(mask, version)
    host = (1 << (bits - prefix)) - 1
    if first & host:
        raise EntryError(f"bits are set behind the prefix; {format_number(version, first & ~host)}/{prefix} is meant?")
    return _unmapped(Span(version, first, first | host))


def parse_name(text: str) -> Keys:
    """Return the keys of a domain name with or without wildcard; raise ``EntryError``."""
    if text.startswith("*."):
        return Keys((below_key(domain(text[2:])),))
    if text.startswith("."):
        name = domain(text[1:])
        return Keys((name_key(name), below_key(name)), dotted=True)
    return Keys((name_key(domain(text)),))


def address_number(text: str) -> tuple[int, int]:
    """Return version and number of an address; raise ``EntryError``."""
    try:
        if ":" in text:
            return 6, int.from_bytes(inet_pton(AF_INET6, text), "big")
        return 4, int.from_bytes(inet_pton(AF_INET, text), "big")
    except (OSError, ValueError) as error:
        raise EntryError("not an IP address, a network such as 192.0.2.0/24 or a range such as a-b") from error


def domain(text: str) -> str:
    """Return the normal form of a name, with or without the final dot; raise ``EntryError``."""
    try:
        return normalise_domain(text.removesuffix("."))
    except DomainError as error:
        raise EntryError(f"not an address, a domain or a digest: {error}") from error


# Keys -----------------------------------------------------------------------------------------------------------------

# How keys of names begin, and those of mailboxes.
NAME_KEYS = ("d:", "w:")
MAILBOX_KEYS = ("a:",)


def name_key(name: str) -> str:
    """Return the key of the name itself."""
    return f"d:{name}"


def below_key(name: str) -> str:
    """Return the key of every name below ``name``."""
    return f"w:{name}"


def mailbox_key(address: str) -> str:
    """Return the key of one mailbox; ``@name`` is every mailbox of that domain, ``@*.name`` of the domains below it."""
    return f"a:{address}"


def url_key(url: str) -> str:
    """Return the key of one URL in the form of ``normal_url``."""
    return f"u:{url}"


def digest_key(digest: str) -> str:
    """Return the key of one SHA-256."""
    return f"s:{digest.lower()}"


def normal_url(text: str) -> tuple[str, str]:
    """Return host and ``host:port/path?query``, lower case host, no scheme, user or fragment; raise ``EntryError``."""
    match = _URL.fullmatch(text)
    if match is None or not match[1]:
        raise EntryError("not a URL such as https://host/path")
    host = match[1].strip("[]").lower()
    if ":" not in host and not host.replace(".", "").isdecimal():
        host = domain(host)
    port = "" if match[2] is None or match[2] in _DEFAULT_PORTS else match[2]
    path = match[3] if match[3].startswith("/") else f"/{match[3]}"
    return host, f"{host}{port}{path}"


# Numbers and texts ----------------------------------------------------------------------------------------------------


def format_span(version: int, first: int, last: int) -> str:
    """Return ``a``, ``a/bits`` or ``a-b``."""
    start = format_number(version, first)
    if first == last:
        return start
    size = last - first + 1
    if size & (size - 1) == 0 and first % size == 0:
        return f"{start}/{BITS[version] - size.bit_length() + 1}"
    return f"{start}-{format_number(version, last)}"


def format_number(version: int, number: int) -> str:
    """Return an address as text."""
    if version == 4:  # noqa: PLR2004 - the version of IP
        return inet_ntoa(number.to_bytes(4, "big"))
    return str(IPv6Address(number))


def _looks_like_addresses(text: str) -> bool:
    # A name may begin with a digit; its last label then is no number. Ports and times have no place in a list.
    return ":" in text or not any(c.isalpha() for c in text)


def _between(start: str, end: str) -> Span:
    version, first = address_number(start)
    if end.isascii() and end.isdecimal() and len(end) <= 3 and version == 4:  # noqa: PLR2004 - an octet; the version of IP
        if int(end) > _OCTET:
            raise EntryError("the last octet of a range is at most 255")
        last = first & ~_OCTET | int(end)
    else:
        other, last = address_number(end)
        if other != version:
            raise EntryError("a range has two addresses of one kind")
    if last < first:
        raise EntryError("a range that ends before it begins")
    return _unmapped(Span(version, first, last))


def _prefix(mask: str, version: int) -> int:
    bits = BITS[version]
    if _MASK.fullmatch(mask):
        if int(mask) <= bits:
            return int(mask)
    elif version == 4 and "." in mask:  # noqa: PLR2004 - the version of IP
        number = address_number(mask)[1]
        host = ~number & _WORD
        if host & (host + 1) == 0:
            return bits - host.bit_length()
    raise EntryError(f"a prefix has 0 to {bits} bits")


def _unmapped(span: Span) -> Span:
    if span.version == 6 and span.first >> 32 == span.last >> 32 == _MAPPED >> 32:  # noqa: PLR2004 - the version of IP
        return Span(4, span.first & _WORD, span.last & _WORD)
    return span


def _mailbox(text: str) -> Keys:
    local, _, name = text.rpartition("@")
    if local:
        if local.startswith("*"):
            raise EntryError("write @example.com for every mailbox of a domain")
        return Keys((mailbox_key(f"{local.casefold()}@{domain(name)}"),))
    if name.startswith("*."):
        return Keys((mailbox_key(f"@*.{domain(name[2:])}"),))
    if name.startswith("."):
        name = domain(name[1:])
        return Keys((mailbox_key(f"@{name}"), mailbox_key(f"@*.{name}")), dotted=True)
    return Keys((mailbox_key(f"@{domain(name)}"),))


def _url(text: str) -> Target:
    host, url = normal_url(text)
    if url == f"{host}/":
        return parse_span(host) if ":" in host or host.replace(".", "").isdecimal() else Keys((name_key(host),))
    return Keys((url_key(url),))
