r"""Plain values as JSON text for a column, compact and in ASCII (``\uXXXX``).

ASCII, because text from outside may hold lone surrogates, which neither UTF-8 nor SQLite can. orjson takes a tenth of
the standard library's time (a judged message: 1.2 µs of 11.7), and what it cannot say so, text that is not ASCII and
numbers beyond 64 bits, the standard library says.
"""

import json

import orjson

_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False).encode


def to_json(values: object) -> str:
    """Return lists, tuples, dictionaries, text, numbers, booleans and None as one line of JSON."""
    try:
        octets = orjson.dumps(values)
    except TypeError:
        return _encode(values)
    return octets.decode("ascii") if octets.isascii() else _encode(values)
