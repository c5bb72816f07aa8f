"""Trace ids: one sortable name from connection to last delivery.

26 characters of Crockford's base 32: 48 bits of milliseconds since 1970, then 80 random bits (the ULID layout), so
ids sort by time, never collide between workers and can be read aloud.
"""

from collections.abc import Callable

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# Two characters at a time: 13 look-ups instead of 26.
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_VALUES = {c: i for i, c in enumerate(_ALPHABET)}
LENGTH = 26


def new_trace_id(utc: float, random_octets: Callable[[int], bytes]) -> str:
    """Return a fresh id for the instant ``utc`` (seconds); ``random_octets(n)`` gives n random octets (os.urandom)."""
    value = (int(utc * 1000) << 80) | int.from_bytes(random_octets(10), "big")
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def trace_id_time(trace_id: str) -> float:
    """Return the UTC second at which an id was made; ValueError for what is not an id."""
    if len(trace_id) != LENGTH or any(c not in _VALUES for c in trace_id):
        raise ValueError(f"not a trace id: {trace_id!r}")
    value = 0
    for c in trace_id[:10]:
        value = value << 5 | _VALUES[c]
    return value / 1000
