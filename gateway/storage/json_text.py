r"""Plain values as JSON text for a column, compact and in ASCII (``\uXXXX``).

ASCII, because text from outside may hold lone surrogates, which neither UTF-8 nor SQLite can. orjson takes a tenth of
the standard library's time (a judged message: 1.2 µs of 11.7), and what it cannot say so, text that is not ASCII and
numbers beyond 64 bits, and what it takes for null, infinity and NaN, the standard library says.
"""

import json
from typing import Any

import orjson

_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False).encode


def to_json(values: object) -> str:
    """Return lists, tuples, dictionaries, text, numbers, booleans and None as one line of JSON."""
    try:
        octets = orjson.dumps(values)
    except TypeError:
        return _encode(values)
    if b"null" in octets or not octets.isascii():
        return _encode(values)
    return octets.decode("ascii")


def from_json(text: str) -> Any:
    """Return the values of a JSON text; ValueError. An integer beyond 64 bits may come back as a float."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # A lone surrogate, as a rule.
        return json.loads(text)
