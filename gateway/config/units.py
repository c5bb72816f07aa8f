"""Durations, sizes and rates as administrators write them: ``30s 5m 1h 5d``, ``25M 512K``, ``100/1m``."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_OCTETS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)B?", re.IGNORECASE)


def parse_duration(text: object) -> float:
    """Return seconds; ``1h30m`` adds up. ValueError says what is allowed."""
    if isinstance(text, str) and (parts := _DURATION.findall(text)) and "".join(n + u for n, u in parts) == text:
        return float(sum(float(n) * _SECONDS[u] for n, u in parts))
    raise ValueError('a duration such as "30s", "5m", "1h30m", "5d" is wanted')


def format_duration(seconds: float) -> str:
    """Return the shortest text that ``parse_duration`` reads back."""
    for unit in ("w", "d", "h", "m", "s"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{int(seconds // _SECONDS[unit])}{unit}"
    return "0s" if not seconds else f"{seconds * 1000:g}ms"


def parse_size(text: object) -> int:
    """Return octets; K, M, G, T are powers of 1024. ValueError says what is allowed."""
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    if isinstance(text, str) and (match := _SIZE.fullmatch(text)):
        return int(float(match[1]) * _OCTETS[match[2].upper()])
    raise ValueError('a size such as "25M", "512K" or a number of octets is wanted')


def format_size(octets: int) -> str:
    """Return the shortest text that ``parse_size`` reads back."""
    for unit in ("T", "G", "M", "K"):
        if octets and octets % _OCTETS[unit] == 0:
            return f"{octets // _OCTETS[unit]}{unit}"
    return str(octets)


@dataclass(frozen=True, slots=True)
class Rate:
    """``count`` events in ``seconds``."""

    count: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.count}/{format_duration(self.seconds)}"


def parse_rate(text: object) -> Rate:
    """Return a Rate from ``100/1m``; ValueError says what is allowed."""
    if isinstance(text, Rate):
        return text
    if isinstance(text, str) and "/" in text:
        count, _, window = text.partition("/")
        if count.strip().isdigit():
            return Rate(int(count), parse_duration(window.strip()))
    raise ValueError('a rate such as "100/1m" is wanted')


def _duration(value: Any) -> float:
    return value if isinstance(value, float) else parse_duration(value)


Duration = Annotated[float, BeforeValidator(_duration), PlainSerializer(format_duration, when_used="json")]
Size = Annotated[int, BeforeValidator(parse_size), PlainSerializer(format_size, when_used="json")]
RateField = Annotated[Rate, BeforeValidator(parse_rate), PlainSerializer(str, when_used="json")]
