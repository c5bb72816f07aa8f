"""Durations, sizes and rates as administrators write them: ``30s 5m 1h 5d``, ``25M 512K``, ``100/1m``.

``Duration``, ``Size`` and ``RateField`` are annotations for fields of the configuration's models and of filters'
``Options``; a file gives text, the program may give seconds (float) and octets (int). A bare number in a file is
refused as a duration, since nobody can tell its unit.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_OCTETS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)B?", re.ASCII | re.IGNORECASE)
_RATE = re.compile(r"(\d{1,12}) ?/ ?(\S+)", re.ASCII)

# A hundred years: beyond it dates overflow.
MAX_SECONDS = 36_525 * 86_400
# 1 PiB: every counter and column holds it.
MAX_SIZE = 1024**5


def parse_duration(text: object) -> float:
    """Return seconds; ``1h30m`` adds up. ValueError says what is allowed."""
    if isinstance(text, str) and (parts := _DURATION.findall(text)) and "".join(n + u for n, u in parts) == text:
        seconds = round(float(sum(float(n) * _SECONDS[u] for n, u in parts)), 6)
        if seconds <= MAX_SECONDS:
            return seconds
        raise ValueError("a duration is at most 36525d")
    raise ValueError('a duration such as "30s", "5m", "1h30m", "5d" is wanted')


def format_duration(seconds: float) -> str:
    """Return the shortest text that ``parse_duration`` reads back."""
    for unit in ("w", "d", "h", "m", "s"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{int(seconds // _SECONDS[unit])}{unit}"
    if seconds < 1:
        return f"{seconds * 1000:g}ms" if seconds else "0s"
    return f"{seconds:.6f}".rstrip("0") + "s"


def parse_size(text: object) -> int:
    """Return octets; K, M, G, T are powers of 1024. ValueError says what is allowed."""
    octets = -1
    if isinstance(text, int) and not isinstance(text, bool):
        octets = text
    elif isinstance(text, str) and (match := _SIZE.fullmatch(text)):
        octets = int(float(match[1]) * _OCTETS[match[2].upper()])
    if octets > MAX_SIZE:
        raise ValueError("a size is at most 1024T")
    if octets < 0:
        raise ValueError('a size such as "25M", "512K" or a number of octets is wanted')
    return octets


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
    if isinstance(text, str) and (match := _RATE.fullmatch(text.strip())):
        seconds = parse_duration(match[2])
        if seconds:
            return Rate(int(match[1]), seconds)
    raise ValueError('a rate such as "100/1m" is wanted')


def _duration(value: Any, info: ValidationInfo) -> float:
    # Files are validated as JSON (gateway.config.reading); seconds as a number come from the program only.
    if info.mode == "python" and isinstance(value, float):
        return value
    return parse_duration(value)


def _rate(value: Any) -> Rate:
    return parse_rate(value)


Duration = Annotated[float, BeforeValidator(_duration), PlainSerializer(format_duration, when_used="json")]
Size = Annotated[int, BeforeValidator(parse_size), PlainSerializer(format_size, when_used="json")]
RateField = Annotated[Rate, BeforeValidator(_rate), PlainSerializer(str, when_used="json")]
