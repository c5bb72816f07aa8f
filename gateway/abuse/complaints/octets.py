"""Parts of a complaint as bounded octets and text: what is beyond the bounds is not looked at, and nothing raises."""

from gateway.mail.content import Content
from gateway.mail.mime import MimePart
from gateway.mail.mime.transfer import decode
from gateway.mail.text import charsets

# Of one part: a report's fields, JSON and a mail's header section are some kilobytes; evidence is not decoded.
MAX_PART_OCTETS = 1024 * 1024


def body(part: MimePart, content: Content, most: int = MAX_PART_OCTETS) -> bytes:
    """Return the beginning of a part's data, its transfer encoding undone."""
    # A quarter more than enough for base64 with its line ends; what is cut ends within the part.
    end = min(part.body_end, part.body_start + most * 3 // 2)
    return decode(b"".join(content.chunks(part.body_start, end)), part.encoding, max_octets=most).octets


def text(part: MimePart, content: Content, most: int = MAX_PART_OCTETS) -> str:
    """Return the beginning of a part as text, whatever its charset is or is said to be."""
    return charsets.decode(body(part, content, most), part.charset)


def shown(value: str, most: int = 200) -> str:
    """Return a text that stays within its line and its length."""
    line = " ".join(value.split())
    line = "".join(c if c.isprintable() else "?" for c in line.encode("utf-8", "replace").decode("utf-8"))
    return line if len(line) <= most else f"{line[: most - 1]}…"
