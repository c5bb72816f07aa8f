"""What a mail says to its reader, as far as a password may stand in it: the subject, then its texts."""

from collections.abc import Iterator

from gateway.antivirus.passwords import MAX_TEXT_CHARACTERS, candidates
from gateway.mail.content import Content
from gateway.mail.mime.part import MimePart
from gateway.mail.text.charsets import decode
from gateway.mail.text.html import to_text
from gateway.mail.text.words import decode_header

# Four octets make a character at most; markup is longer than what it says.
_TEXT_OCTETS = 4 * MAX_TEXT_CHARACTERS
_MAX_TEXTS = 10


def passwords_in(content: Content) -> tuple[str, ...]:
    """Return what may be passwords in a mail; reads and decodes, so call it off the loop."""
    return candidates("\n".join(_texts(content)))


def _texts(content: Content) -> Iterator[str]:
    subject = content.header.first("subject")
    if subject is not None:
        yield decode_header(subject.value)
    texts = [p for p in content.mime.leaves if p.media_type.startswith("text/") and not p.is_attachment]
    for part in texts[:_MAX_TEXTS]:
        yield _text(part, content)


def _text(part: MimePart, content: Content) -> str:
    octets = part.decode(content, max_octets=_TEXT_OCTETS).octets
    text = decode(octets, part.charset)
    return to_text(text).text if part.media_type == "text/html" else text
