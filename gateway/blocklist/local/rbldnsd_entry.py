"""Entries and values of rbldnsd's zones: prefixes and ranges, the cut into its four levels, A values, TXT templates."""

import re
from collections.abc import Mapping

from gateway.blocklist.local.collected import IDENTITY_MARK, MAX_REASON_CHARACTERS, Collected, Note, clean
from gateway.blocklist.local.entry import EntryError, Keys, Span, parse_name, parse_span

DEFAULT_VALUE = "127.0.0.2"
# The base template of ``$=`` among the variables.
BASE = "="

_IPV4_BITS = 32
_WORD = 0xFFFFFFFF
_OCTET = 255
_OCTET_BITS = 8
_QUAD = 4
_PREFIX = re.compile(r"\d{1,3}(?:\.\d{1,3}){0,3}", re.ASCII)
_MASK = re.compile(r"\d{1,2}", re.ASCII)
_REVERSED = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})", re.ASCII)
_VALUE = re.compile(r":([^:]*)(:?)(.*)", re.DOTALL)
_SUBSTITUTION = re.compile(r"\$([$=0-9]?)")
_IPV6_WORDS = 8


# Entries --------------------------------------------------------------------------------------------------------------


def take_ip4set(into: Collected, entry: str, note: Note) -> None:
    """Take an address, prefix or range, cut into rbldnsd's levels; raise ``EntryError``."""
    span = parse_ip4(entry)
    pieces = cut_levels(span.first, span.last)
    whole = pieces == [(span.first, span.last, pieces[0][2])]
    into.add_pieces(pieces, "" if whole else entry, note)


def take_ip4trie(into: Collected, entry: str, note: Note) -> None:
    """Take an address or prefix; raise ``EntryError``."""
    if "-" in entry:
        raise EntryError("a trie takes no ranges, only networks such as 192.0.2.0/24")
    into.add(parse_ip4(entry), note)


def take_ip6(into: Collected, entry: str, note: Note) -> None:
    """Take an IPv6 network, whose last words may be left out; raise ``EntryError``."""
    address, slash, mask = entry.partition("/")
    words = address.split(":")
    if "::" not in address and len(words) < _IPV6_WORDS and "." not in address:
        address += "::"
        mask = mask if slash else str(16 * len(words))
        slash = "/"
    into.add(parse_span(f"{address}{slash}{mask}"), note)


def take_name(into: Collected, entry: str, note: Note) -> None:
    """Take a domain name, or an IPv4 address reversed, as the zones of URLs' hosts have it; raise ``EntryError``."""
    if (octets := _REVERSED.fullmatch(entry)) is not None:
        into.add(parse_ip4(".".join(reversed(octets.groups()))), note)
        return
    target = parse_name(entry)
    into.add(Keys(target.keys, target.dotted), note)


def take_mixed(into: Collected, entry: str, note: Note) -> None:
    """Take whichever of the three it looks like; raise ``EntryError``."""
    if ":" in entry:
        take_ip6(into, entry, note)
    elif any(c.isalpha() for c in entry):
        take_name(into, entry, note)
    else:
        take_ip4set(into, entry, note)


def parse_ip4(text: str) -> Span:
    """Return the addresses of ``127/8``, ``127.0.0``, ``127.16-31``, ``a-b`` …; raise ``EntryError``."""
    start, dash, end = text.partition("-")
    if dash:
        return _between(start, end)
    start, slash, mask = text.partition("/")
    first, bits = _prefix(start)
    if slash:
        if not _MASK.fullmatch(mask) or int(mask) > _IPV4_BITS:
            raise EntryError("a prefix has 0 to 32 bits")
        bits = int(mask)
    elif bits == _OCTET_BITS:
        raise EntryError(f"a bare number; write {start}/8")
    if first & _host(bits):
        raise EntryError("bits are set behind the prefix")
    return Span(4, first, first | _host(bits))


def _between(start: str, end: str) -> Span:
    first, bits = _prefix(start)
    last, last_bits = _prefix(end)
    if last_bits == _OCTET_BITS:
        # One octet stands for the last one written of the other boundary.
        last = last >> (bits - _OCTET_BITS) | first & ~_host(bits - _OCTET_BITS)
    elif last_bits != bits:
        raise EntryError("a range has two boundaries of as many octets")
    last |= _host(bits)
    if last < first:
        raise EntryError("a range that ends before it begins")
    return Span(4, first, last)


def _prefix(text: str) -> tuple[int, int]:
    if not _PREFIX.fullmatch(text):
        raise EntryError("not an IPv4 address, network or range")
    octets = [int(octet) for octet in text.split(".")]
    if max(octets) > _OCTET:
        raise EntryError("an octet is at most 255")
    bits = _OCTET_BITS * len(octets)
    return int.from_bytes(bytes(octets), "big") << (_IPV4_BITS - bits), bits


def _host(bits: int) -> int:
    return _WORD >> bits


def cut_levels(first: int, last: int) -> list[tuple[int, int, int]]:
    """Return (first, last, size of the level) of what rbldnsd makes of a range."""
    pieces: list[tuple[int, int, int]] = []

    def piece(start: int, end: int, shift: int) -> None:
        pieces.append((start << shift, ((end + 1) << shift) - 1, 1 << shift))

    for shift in (0, 8, 16):
        if first | _OCTET >= last:
            if last - first == _OCTET:
                piece(first >> 8, first >> 8, shift + 8)
            else:
                piece(first, last, shift)
            return pieces
        if first & _OCTET:
            piece(first, first | _OCTET, shift)
            first += _OCTET + 1
        if last & _OCTET != _OCTET:
            piece(last & ~_OCTET, last, shift)
            last -= _OCTET + 1
        first, last = first >> 8, last >> 8
        if first > last:
            return pieces
    piece(first, last, 24)
    return pieces


# Values ---------------------------------------------------------------------------------------------------------------


def parse_value(text: str, value: str, template: str) -> tuple[str, str]:
    """Return A value and TXT template of ``:A:TXT``, ``:A`` or ``TXT``; ``value`` and ``template`` are the defaults.

    ``:A`` keeps the default template, ``:A:`` has none. Raises ``EntryError``.
    """
    match = _VALUE.match(text)
    if match is None:
        return value, clean(text)
    given, colon, rest = match[1].strip(), match[2], match[3].strip()
    return (_a_value(given) if given else value), (clean(rest) if colon else template)


def _a_value(text: str) -> str:
    if _PREFIX.fullmatch(text):
        octets = [int(octet) for octet in text.split(".")]
        if max(octets) <= _OCTET and len(octets) in {1, _QUAD}:
            return f"127.0.0.{octets[0]}" if len(octets) == 1 else ".".join(map(str, octets))
    raise EntryError("an A value is an IPv4 address, or its last octet")


def expand(template: str, variables: Mapping[str, str]) -> str:
    """Return the reason that a template makes, with IDENTITY_MARK where the identity asked about will stand."""
    inner, whole = template, template
    if template.startswith("="):
        whole = template[1:]
    elif BASE in variables:
        whole = variables[BASE]
    text = _substituted(whole, variables, inner)
    return text[:MAX_REASON_CHARACTERS]


def _substituted(text: str, variables: Mapping[str, str], inner: str) -> str:
    def replacement(match: re.Match[str]) -> str:
        sign = match[1]
        if sign == "$":
            return "$"
        if sign == BASE:
            return _substituted(inner, variables, "") if inner else IDENTITY_MARK
        return variables.get(sign, "") if sign else IDENTITY_MARK

    return _SUBSTITUTION.sub(replacement, text)
