"""Writes a compiled list: whole under its name, or not there (``gateway.storage.durable``). Blocks; run in a thread."""

import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.blocklist.local.collected import Collected
from gateway.blocklist.local.entry import MAILBOX_KEYS, NAME_KEYS
from gateway.blocklist.local.layout import ALIGNMENT, BYTE_ORDER, MAGIC, PREAMBLE, aligned
from gateway.blocklist.local.tables import Sections, sections_of
from gateway.storage import DurableFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a compiled list was made from: the source's SHA-256, and what else decides how it is read."""

    sha256: str
    recipe: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a compiled list says about itself. ``compiled_at`` is UTC seconds; ``problems`` the first bad lines.

    ``names`` and ``mailboxes`` tell whether it has entries of domains, and of mailboxes; what does not say so, may.
    """

    origin: Origin
    compiled_at: float
    entries: int
    bad_lines: int
    expired: int
    problems: tuple[str, ...]
    names: bool = True
    mailboxes: bool = True


def compile_list(collected: Collected, origin: Origin, path: Path, files: DurableFiles) -> Head:
    """Write the compiled form of what was collected; raise StorageFull or StorageUnavailable."""
    head = Head(
        origin=origin,
        compiled_at=collected.now,
        entries=collected.count,
        bad_lines=collected.bad_lines,
        expired=collected.expired,
        problems=tuple(map(str, collected.problems)),
        names=any(key.startswith(NAME_KEYS) for key in collected.keys),
        mailboxes=any(key.startswith(MAILBOX_KEYS) for key in collected.keys),
    )
    files.write(path, _pieces(head, sections_of(collected)))
    return head


def _pieces(head: Head, sections: Sections) -> Iterator[bytes]:
    text, body = _head_text(head, sections), list(_body(sections))
    octets = len(MAGIC) + PREAMBLE.size + len(text) + sum(map(len, body))
    crc = zlib.crc32(text)
    for piece in body:
        crc = zlib.crc32(piece, crc)
    yield MAGIC
    yield PREAMBLE.pack(crc, octets, len(text))
    yield text
    yield from body


def _head_text(head: Head, sections: Sections) -> bytes:
    places, at = {}, 0
    for name, octets in sections.items():
        places[name] = (at, len(octets))
        at = aligned(at + len(octets))
    text = json.dumps({"byte_order": BYTE_ORDER, "sections": places, "head": asdict(head)}).encode()
    # Blanks, so that the sections begin at a multiple of the alignment.
    before = len(MAGIC) + PREAMBLE.size
    return text + b" " * (aligned(before + len(text)) - before - len(text))


def _body(sections: Sections) -> Iterator[bytes]:
    for octets in sections.values():
        yield bytes(octets)
        yield bytes(-len(octets) % ALIGNMENT)
