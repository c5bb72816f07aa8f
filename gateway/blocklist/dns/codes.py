"""Patterns over return codes, the A records of a listing (RFC 5782 §2.1, §2.3).

| written | matches |
|---|---|
| ``127.0.0.2`` | that one |
| ``127.0.0.[2-8]``, ``127.0.0.[2..8]``, ``127.0.0.10-11`` | a range; in any octet |
| ``127.0.0.[2;4;9-11]`` | several |
| ``127.0.*.3`` | any number there (DNSWL: category, then trust) |
| ``127.0.1.0/24`` | a network |
| ``&8``, ``&0.0.1.0`` | any of these bits set (RFC 5782 §2.3: lists that answer with a bit mask) |
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

_OCTETS = 4
_MOST = 255
_ANY = (1 << 256) - 1
# The dots between octets; those of "[2..11]" are none.
_DOT = re.compile(r"\.(?![^\[]*\])")
_RANGE = re.compile(r"(\d{1,3})(?:(?:-|\.\.)(\d{1,3}))?", re.ASCII)
_SEPARATORS = re.compile(r"[;,]")

WANTED = 'a code such as "127.0.0.2", "127.0.0.[2-8]", "127.0.*.3", "127.0.1.0/24" or a bit mask such as "&8" is wanted'


@dataclass(frozen=True, slots=True)
class CodePattern:
    """``sets`` holds a bitmap of 256 bits for each octet; ``mask`` is not 0 for a bit mask, and then decides alone."""

    text: str
    sets: tuple[int, ...]
    mask: int = 0

    def matches(self, code: IPv4Address) -> bool:
        """Tell whether a code is one of those meant."""
        if self.mask:
            return bool(int(code) & self.mask)
        return all(chosen >> octet & 1 for chosen, octet in zip(self.sets, code.packed, strict=True))


def parse_code(text: str) -> CodePattern:
    """Return the pattern of a text; ``ValueError`` says what is wanted."""
    if text.startswith("&"):
        return CodePattern(text, (), _mask(text))
    if "/" in text:
        return CodePattern(text, _network(text))
    octets = _DOT.split(text)
    if len(octets) != _OCTETS:
        raise ValueError(f'"{text}": {WANTED}')
    return CodePattern(text, tuple(_octet_set(octet, text) for octet in octets))


def parse_codes(texts: Iterable[str]) -> tuple[CodePattern, ...]:
    """Return the patterns of several texts."""
    return tuple(parse_code(text) for text in texts)


def _octet_set(octet: str, text: str) -> int:
    if octet == "*":
        return _ANY
    chosen = 0
    inner = octet[1:-1] if octet.startswith("[") and octet.endswith("]") else octet
    for piece in _SEPARATORS.split(inner):
        match = _RANGE.fullmatch(piece)
        if match is None:
            raise ValueError(f'"{text}": {WANTED}')
        low, high = int(match[1]), int(match[2] or match[1])
        if not low <= high <= _MOST:
            raise ValueError(f'"{text}": an octet is 0 to 255, a range goes upwards')
        chosen |= ((1 << (high - low + 1)) - 1) << low
    return chosen


def _network(text: str) -> tuple[int, ...]:
    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise ValueError(f'"{text}": {WANTED}') from error
    pairs = zip(network.network_address.packed, network.broadcast_address.packed, strict=True)
    return tuple(((1 << (high - low + 1)) - 1) << low for low, high in pairs)


def _mask(text: str) -> int:
    bits = text.removeprefix("&")
    try:
        mask = int(bits) if bits.isascii() and bits.isdigit() else int(IPv4Address(bits))
    except ValueError as error:
        raise ValueError(f'"{text}": {WANTED}') from error
    if not 0 < mask < 1 << 24:
        # The first octet of every answer is 127; its bits say nothing.
        raise ValueError(f'"{text}": a mask has bits of the last three octets')
    return mask
