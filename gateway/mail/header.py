r"""The header section by octet offset (RFC 5322 §2.2): fields are found, never re-serialised.

The section ends before the first empty line, or at MAX_HEADER_OCTETS. Whatever arrives is scanned, in one pass and in
linear time: a line that is neither a field nor a continuation (an mbox "From " line, say) is a ``defect`` and is
stepped over, not the end of the section. Some mail clients stop there and some go on; a scanner that stops would
leave a forged trace field to those that go on.

Defects: ``mbox-from`` (the first line is one), ``not-a-field``, ``no-end`` (longer than is looked at). Offsets count
from the first octet of the content.
"""

import re
from collections.abc import KeysView
from typing import NamedTuple

# A mail with a header section beyond this is refused or cut for inspection: Postfix's header_size_limit is 100 KiB,
# Exim's 1 MiB.
MAX_HEADER_OCTETS = 1024 * 1024

# One field: name, optional obsolete white space (RFC 5322 §4.5), colon, value with folded lines and their line ends.
# Every repetition is possessive and the start is anchored to a line's, so each octet is looked at twice at most,
# whatever the input.
_FIELD = re.compile(rb"^([!-9;-~]++)[ \t]*+:([^\n]*+\n?+(?:[ \t][^\n]*+\n?+)*+)", re.MULTILINE)
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_MBOX_FROM = (b"From ", b">From ")


class HeaderField(NamedTuple):
    """One field: ``name`` as written, ``start`` and ``end`` its range, final CR LF included.

    ``raw_value`` is the octets after the colon, folding and final CR LF included.
    """

    name: bytes
    raw_value: bytes
    start: int
    end: int

    @property
    def value_start(self) -> int:
        """The offset of the octet after the colon."""
        return self.end - len(self.raw_value)

    @property
    def value(self) -> bytes:
        """The value unfolded and stripped, still octets."""
        value = self.raw_value.strip(b" \t\r\n")
        return _FOLD.sub(b"", value) if b"\n" in value else value

    @property
    def text(self) -> str:
        """The value as text: UTF-8 when it is valid (RFC 6532), else Latin-1, so that it never raises."""
        value = self.value
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.decode("latin-1")


class HeaderSection:
    """All fields in order; ``end`` is where the section ends, ``defect`` the first thing wrong with it or "".

    ``base`` is the offset of the section's first octet: 0 for the message's own, more for a MIME part's.
    """

    __slots__ = ("_by_name", "_head", "base", "defect", "end")

    def __init__(self, head: bytes, base: int = 0) -> None:
        """Scan ``head``, the octets of a content from ``base`` on; MAX_HEADER_OCTETS at most are looked at."""
        self._head = head
        self.base = base
        length, self.defect = _find_end(head)
        self.end = base + length
        # Matches, because most fields of most mail are never asked for.
        self._by_name: dict[bytes, list[re.Match[bytes]]] = {}
        self._scan()

    def _scan(self) -> None:
        index = self._by_name
        at = 0
        length = self.end - self.base
        for match in _FIELD.finditer(self._head, 0, length):
            if match.start() != at:
                self._note_defect(at)
            at = match.end()
            key = match[1].lower()
            if key in index:
                index[key].append(match)
            else:
                index[key] = [match]
        if at != length:
            self._note_defect(at)

    def _note_defect(self, at: int) -> None:
        if not self.defect:
            self.defect = "mbox-from" if at == 0 and self._head.startswith(_MBOX_FROM) else "not-a-field"

    @property
    def octets(self) -> bytes:
        """The header section without the empty line that ends it."""
        return self._head[: self.end - self.base]

    @property
    def fields(self) -> tuple[HeaderField, ...]:
        """Every field in order."""
        matches = [match for found in self._by_name.values() for match in found]
        return tuple(self._field(match) for match in sorted(matches, key=re.Match.start))

    @property
    def names(self) -> KeysView[bytes]:
        """Every field name present, in lower case."""
        return self._by_name.keys()

    def get_all(self, name: str) -> list[HeaderField]:
        """Return every field called ``name`` (any case), in order."""
        return [self._field(match) for match in self._by_name.get(name.lower().encode("ascii"), ())]

    def first(self, name: str) -> HeaderField | None:
        """Return the first field called ``name`` or None."""
        found = self._by_name.get(name.lower().encode("ascii"))
        return self._field(found[0]) if found else None

    def count(self, name: str) -> int:
        """Return how many fields are called ``name``."""
        return len(self._by_name.get(name.lower().encode("ascii"), ()))

    def _field(self, match: re.Match[bytes]) -> HeaderField:
        return HeaderField(match[1], match[2], self.base + match.start(), self.base + match.end())


def has_end(head: bytes) -> bool:
    """Tell whether the empty line that ends the header section is within ``head``."""
    return head.startswith((b"\r\n", b"\n")) or _empty_line(head) >= 0


def _find_end(head: bytes) -> tuple[int, str]:
    if head.startswith((b"\r\n", b"\n")):
        return 0, ""
    end = _empty_line(head)
    if end >= 0:
        return end, ""
    if len(head) > MAX_HEADER_OCTETS:
        return MAX_HEADER_OCTETS, "no-end"
    return len(head), ""


def _empty_line(head: bytes) -> int:
    # Content from outside has CR LF only (intake sees to it); files given to `explain` may have LF.
    crlf = head.find(b"\n\r\n", 0, MAX_HEADER_OCTETS)
    lf = head.find(b"\n\n", 0, crlf if crlf >= 0 else MAX_HEADER_OCTETS)
    end = lf if lf >= 0 else crlf
    return end + 1 if end >= 0 else -1
