"""Header values as a reader sees them."""

from email.header import decode_header as _words

from gateway.mail.text import charsets


def decode_header(octets: bytes, fallback: str = "") -> str:
    """Return an unstructured header value as text; ``fallback`` is a charset to try for raw 8-bit octets."""
    text = charsets.decode(octets, fallback)
    if "=?" not in text:
        return text.strip()
    return "".join(
        part if isinstance(part, str) else charsets.decode(part, charset or fallback) for part, charset in _words(text)
    ).strip()
