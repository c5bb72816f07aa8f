"""The header section by octet offset (RFC 5322 §2.2): fields are found, never re-serialised.

The scanner accepts whatever arrived: a line that is no field and no continuation ends the section as a defect, as mail clients do.
Offsets count from the first octet of the content.
"""

import re
from dataclasses import dataclass
from functools import cached_property

# A mail with a header section beyond this is refused or cut for inspection: Postfix's header_size_limit is 100 KiB, Exim's 1 MiB.
MAX_HEADER_OCTETS = 1024 * 1024

# One field: name, optional obsolete white space (RFC 5322 §4.5), colon, value with folded lines, up to and with its CR LF.
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:((?:[^\n]*\n)(?:[ \t][^\n]*\n)*)")
_UNFOLD = re.compile(rb"\r?\n(?=[ \t])")


@dataclass(frozen=True, slots=True)
class HeaderField:
    """One field: ``name`` as written, ``raw_value`` the octets after the colon with folding and final CR LF, ``start``–``end`` its range."""

    name: bytes
    raw_value: bytes
    start: int
    end: int

    @property
    def value(self) -> bytes:
        """The value unfolded and stripped, still octets."""
        return _UNFOLD.sub(b"", self.raw_value).strip(b" \t\r\n")

    @property
    def text(self) -> str:
        """The value as text: UTF-8 when it is valid (RFC 6532), else Latin-1, so that it never raises."""
        value = self.value
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.decode("latin-1")


class HeaderSection:
    """All fields in order; ``octets`` is the section with its CR LFs, ``end`` where it ends, ``defect`` what was wrong or ""."""

    def __init__(self, head: bytes) -> None:
        """Scan ``head``: the beginning of a content, as far as the caller has it (at most MAX_HEADER_OCTETS are looked at)."""
        self._head = head
        self.end, self.defect = self._find_end()

    def _find_end(self) -> tuple[int, str]:
        if self._head[:2] == b"\r\n" or not self._head:
            return 0, ""
        blank = self._head.find(b"\r\n\r\n", 0, MAX_HEADER_OCTETS)
        if blank >= 0:
            return blank + 2, ""
        return min(len(self._head), MAX_HEADER_OCTETS), "no-end" if len(self._head) > MAX_HEADER_OCTETS else ""

    @cached_property
    def fields(self) -> tuple[HeaderField, ...]:
        """Every field in order, up to the first line that is none."""
        found: list[HeaderField] = []
        at = 0
        octets = self.octets if self.octets.endswith(b"\n") else self.octets + b"\r\n"
        while at < len(octets):
            match = _FIELD.match(octets, at)
            if match is None:
                self.defect = self.defect or "not-a-field"
                break
            found.append(HeaderField(match[1], match[2], at, min(match.end(), self.end)))
            at = match.end()
        return tuple(found)

    @cached_property
    def _by_name(self) -> dict[bytes, list[HeaderField]]:
        index: dict[bytes, list[HeaderField]] = {}
        for field in self.fields:
            index.setdefault(field.name.lower(), []).append(field)
        return index

    @property
    def octets(self) -> bytes:
        """The header section without the empty line that ends it."""
        return self._head[: self.end]

    def get_all(self, name: str) -> list[HeaderField]:
        """Return every field called ``name`` (any case), in order."""
        return self._by_name.get(name.lower().encode("ascii"), [])

    def first(self, name: str) -> HeaderField | None:
        """Return the first field called ``name`` or None."""
        found = self.get_all(name)
        return found[0] if found else None

    def count(self, name: str) -> int:
        """Return how many fields are called ``name``."""
        return len(self.get_all(name))
