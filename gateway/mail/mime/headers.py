"""Where header sections begin and end (RFC 5322 §2.2, RFC 2046 §5.1), as ranges of a whole content.

The next empty line is remembered, so that a thousand parts without one do not search the rest a thousand times.
"""

import re
from collections.abc import Iterator

from gateway.mail.header import HeaderSection
from gateway.mail.mime.delimiters import Notes
from gateway.mail.mime.habits import Habits
from gateway.mail.mime.limits import MimeLimits
from gateway.mail.mime.octets import Octets

# A line of white space only: RFC 5322 §4.2 has it continue the field before, some readers end the section there.
_WHITE_LINE = re.compile(rb"\n[ \t]++\r?\n")
# The first line that is neither a field nor continues one.
_NOT_A_FIELD = re.compile(rb"(?:\A|\n)(?![!-9;-~]++[ \t]*+:|[ \t]|\r?\n|\Z)")


class HeaderFinder:
    """Finds the header sections of one content, in ascending order."""

    __slots__ = ("_crlf", "_habits", "_lf", "_lf_searched", "_limits", "_notes", "_octets", "_size")

    def __init__(self, octets: Octets, habits: Habits, limits: MimeLimits, notes: Notes) -> None:
        self._octets, self._habits, self._limits, self._notes = octets, habits, limits, notes
        self._size = len(octets)
        self._crlf = self._lf = -1
        self._lf_searched = 0

    def empty_line(self, start: int) -> tuple[int, int]:
        """Return where the first empty line from ``start`` on begins and where it ends; both ``size`` without one."""
        beginning = self._octets[start : start + 2]
        if beginning == b"\r\n" or beginning[:1] == b"\n":
            return start, start + (2 if beginning == b"\r\n" else 1)
        crlf, lf = self._next_crlf(start), self._next_lf(start)
        if lf < crlf:
            return lf + 1, lf + 2
        return (crlf + 1, crlf + 3) if crlf < self._size else (self._size, self._size)

    def ended(self, start: int, end: int, body: int) -> tuple[int, int]:
        """Return the end of a section and the beginning of its body as the reader has them, who may end it earlier."""
        if self._habits.header_end == "empty-line":
            return end, body
        return self._earlier(start, end, body)

    def section(self, start: int, end: int, known: HeaderSection | None) -> HeaderSection:
        """Return the fields of a section, scanned again only when ``known`` is not this very section."""
        if known is not None and known.end == end <= self._limits.max_header_octets:
            section = known
        else:
            section = HeaderSection(self._octets[start : min(end, start + self._limits.max_header_octets)], start)
        if section.end < end:
            self._notes.limit("header")
        for oddity in oddities(section):
            self._notes.ambiguous(oddity)
        return section

    def _next_crlf(self, start: int) -> int:
        if self._crlf < start:
            found = self._octets.find(b"\n\r\n", start, self._size)
            self._crlf = found if found >= 0 else self._size
        return self._crlf

    def _next_lf(self, start: int) -> int:
        """Return the next empty line that ends in LF alone, ``size`` when there is none before the next CR LF one."""
        if self._lf >= start:
            return self._lf
        searched = max(start, self._lf_searched)
        if searched >= self._crlf:
            return self._size
        self._lf = self._octets.find(b"\n\n", searched, self._crlf)
        self._lf_searched = self._lf + 1 if self._lf >= 0 else self._crlf
        return self._lf if self._lf >= 0 else self._size

    def _earlier(self, start: int, end: int, body: int) -> tuple[int, int]:
        head = self._octets[start : min(end, start + self._limits.max_header_octets)]
        if self._habits.header_end == "white-line":
            found = _WHITE_LINE.search(head)
            return (start + found.start() + 1, start + found.end()) if found else (end, body)
        # An mbox "From " line is passed over by everybody.
        skipped = head.find(b"\n") + 1 if head.startswith((b"From ", b">From ")) else 0
        found = _NOT_A_FIELD.search(head, max(0, skipped - 1))
        if found is None:
            return end, body
        return start + found.end(), start + found.end()


def oddities(section: HeaderSection) -> Iterator[str]:
    """Yield what readers take differently in the octets of a header section, whatever its fields say."""
    octets = section.octets
    if section.defect == "not-a-field":
        yield "not-a-field"
    if octets.count(b"\r") != octets.count(b"\r\n"):
        yield "bare-cr"
    if b"\0" in octets:
        yield "nul"
    if (b"\n " in octets or b"\n\t" in octets) and _WHITE_LINE.search(octets):
        yield "white-line"
