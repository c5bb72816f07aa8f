"""Octets to text."""


def decode(octets: bytes, declared: str = "") -> str:
    """Return the text of ``octets``; never raises."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        return octets.decode(declared or "gb18030", "replace")
    except LookupError:
        return octets.decode("latin-1")
