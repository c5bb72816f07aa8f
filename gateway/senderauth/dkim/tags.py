"""Tag lists (RFC 6376 §3.2): ``name=value; name=value``, with folding white space around and inside values."""

import re

# RFC 6376 §3.2: tag-name = ALPHA *ALNUMPUNC; ALNUMPUNC = ALPHA / DIGIT / "_"
_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*")
_FWS = b" \t\r\n"
# RFC 6376 §3.2: VALCHAR = %x21-3A / %x3C-7E, FWS within; RFC 8616 §3 adds UTF-8.
_OCTETS = re.compile(rb"[\x21-\x7e\x80-\xff \t\r\n]*")

# A signature with two keys' worth of base 64, a long h= and a copied header section; hostile ones are longer.
MAX_TAGS = 64


class TagError(ValueError):
    """The octets are no tag list; the message says why."""


def parse_tags(octets: bytes) -> dict[str, bytes]:
    """Return the tags in order, values stripped of white space at both ends; raise ``TagError``."""
    if not _OCTETS.fullmatch(octets):
        raise TagError("a control character")
    tags: dict[str, bytes] = {}
    specs = octets.split(b";")
    if not specs[-1].strip(_FWS):
        # RFC 6376 §3.2: tag-list = tag-spec *( ";" tag-spec ) [ ";" ]
        specs.pop()
    if len(specs) > MAX_TAGS:
        raise TagError(f"more than {MAX_TAGS} tags")
    for spec in specs:
        name, equals, value = spec.partition(b"=")
        name, value = name.strip(_FWS), value.strip(_FWS)
        if not equals or not _NAME.fullmatch(name):
            raise TagError(f"{spec[:40]!r} is no tag")
        key = name.decode("ascii")
        if key in tags:
            # RFC 6376 §3.2: tags with duplicate names MUST NOT occur.
            raise TagError(f"{key}= occurs twice")
        tags[key] = value
    return tags


def without_space(value: bytes) -> bytes:
    """Return a value without the white space that base 64, lists and domains may be folded with."""
    return value.translate(None, _FWS)
