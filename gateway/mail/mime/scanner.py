"""One pass over the octets: headers, delimiters, parts (RFC 2045, RFC 2046), with an explicit stack, never recursive.

A header section ends at its empty line or at the next delimiter, whichever comes first. A multipart's part ends before
the line end of the next delimiter of any open multipart; what the enclosing one ends, ends everything within.
"""

import re
from typing import TYPE_CHECKING

from gateway.mail.header import HeaderSection
from gateway.mail.mime.blocks import Search
from gateway.mail.mime.delimiters import Delimiter, Delimiters
from gateway.mail.mime.draft import Draft
from gateway.mail.mime.entity import describe
from gateway.mail.mime.habits import USUAL, Habits
from gateway.mail.mime.headers import HeaderFinder
from gateway.mail.mime.limits import DEFAULT_LIMITS, MimeLimits
from gateway.mail.mime.octets import Octets, octets_of
from gateway.mail.mime.part import MimeTree
from gateway.mail.mime.transfer import IDENTITIES

if TYPE_CHECKING:
    from gateway.mail.content import Content

# What a reader that guesses a boundary goes by: the first line that begins as a delimiter, near the beginning.
_FIRST_DELIMITER = re.compile(rb"(?:\A|\n)--([^\r\n]{1,998}+)")
_GUESS_OCTETS = 64 * 1024


def parse(content: "Content", *, limits: MimeLimits = DEFAULT_LIMITS, habits: Habits = USUAL) -> MimeTree:
    """Find every part of a content; OSError when a spilled one cannot be read."""
    with octets_of(content) as octets:
        return _Scan(octets, limits, habits, content.header).tree()


class _Notes:
    __slots__ = ("ambiguities", "truncated")

    def __init__(self) -> None:
        self.ambiguities: set[str] = set()
        self.truncated = ""

    def ambiguous(self, name: str) -> None:
        self.ambiguities.add(name)

    def limit(self, name: str) -> None:
        self.truncated = self.truncated or name


class _Scan:
    __slots__ = (
        "_delimiters",
        "_finder",
        "_floor",
        "_habits",
        "_limits",
        "_notes",
        "_octets",
        "_open",
        "_parts",
        "_root",
        "_size",
    )

    def __init__(self, octets: Octets, limits: MimeLimits, habits: Habits, root: HeaderSection) -> None:
        self._octets, self._limits, self._habits, self._root = octets, limits, habits, root
        self._size = len(octets)
        self._notes = _Notes()
        self._delimiters = Delimiters(octets, habits, limits, self._notes)
        self._finder = HeaderFinder(octets, habits, limits, self._notes)
        self._parts: list[Draft] = []
        # Ancestors of what is being read, the message itself first.
        self._open: list[Draft] = []
        # Where what was read so far ends: nothing that follows begins before it.
        self._floor = 0

    def tree(self) -> MimeTree:
        at = self._enter(0, None)
        while (delimiter := self._delimiters.next(at, self._size)) is not None:
            owner = self._parts[delimiter.owner]
            start = max(delimiter.start, self._floor)
            self._close_within(owner, start)
            if len(self._parts) >= self._limits.max_parts:
                self._notes.limit("parts")
                break
            at = self._pass(owner, delimiter, start)
        while self._open:
            self._close(self._open.pop(), self._size)
        return MimeTree(
            parts=tuple(draft.part() for draft in self._parts),
            size=self._size,
            ambiguities=tuple(sorted(self._notes.ambiguities)),
            truncated=self._notes.truncated,
        )

    def _pass(self, owner: Draft, delimiter: Delimiter, start: int) -> int:
        """Step over a delimiter: into the next part, or into the epilogue."""
        if owner.preamble_end < 0:
            owner.preamble_end = start
            owner.is_divided = True
        owner.epilogue_start = delimiter.after if delimiter.closing else -1
        # The line end after a close-delimiter may be that before the next delimiter.
        self._floor = delimiter.end
        if not delimiter.closing:
            # A delimiter that ends the content begins nothing: a close-delimiter without its hyphens.
            return self._enter(delimiter.after, owner) if delimiter.after < self._size else self._size
        if self._habits.epilogue == "ignored":
            self._delimiters.close(owner.index)
        return delimiter.after

    def _enter(self, start: int, parent: Draft | None) -> int:
        """Read the header of a part, and of the messages it encloses; return where the body to look through begins."""
        draft = self._read_header(start, parent)
        while draft.encloses_message:
            if draft.depth >= self._limits.max_depth or len(self._parts) >= self._limits.max_parts:
                self._notes.limit("depth" if draft.depth >= self._limits.max_depth else "parts")
                break
            draft.is_divided = True
            draft = self._read_header(draft.body_start, draft)
        if draft.is_multipart and not draft.boundary and self._habits.no_boundary == "guessed":
            draft.boundary = self._guessed_boundary(draft)
        if draft.boundary:
            if draft.depth < self._limits.max_depth:
                draft.watched = self._delimiters.open(draft.boundary, draft.index, draft.body_start)
            else:
                self._notes.limit("depth")
        self._floor = draft.body_start
        return draft.body_start

    def _read_header(self, start: int, parent: Draft | None) -> Draft:
        header_end, body_start = self._header_range(start)
        header = self._finder.section(start, header_end, self._root if start == 0 else None)
        draft = Draft(len(self._parts), parent, header, start, header_end, body_start)
        describe(draft, self._habits, self._notes)
        self._parts.append(draft)
        self._open.append(draft)
        return draft

    def _guessed_boundary(self, draft: Draft) -> bytes:
        found = _FIRST_DELIMITER.search(self._octets[draft.body_start : draft.body_start + _GUESS_OCTETS])
        return found[1].rstrip(b" \t") if found and draft.encoding in IDENTITIES else b""

    def _header_range(self, start: int) -> tuple[int, int]:
        """Return where a header section and the empty line after it end: at a delimiter at the latest."""
        end, body = self._finder.empty_line(start)
        delimiter = self._delimiters.next(start, body)
        if delimiter is not None and delimiter.line <= body:
            most = max(start, delimiter.start)
            if end > most:
                self._notes.ambiguous("delimiter-in-header")
            if self._habits.header_delimiter == "ends":
                end, body = min(end, most), min(body, most)
        return self._finder.ended(start, end, body)

    def _close_within(self, owner: Draft, end: int) -> None:
        while self._open[-1] is not owner:
            self._close(self._open.pop(), end)

    def _close(self, draft: Draft, end: int) -> None:
        draft.body_end = end
        draft.epilogue_start = min(draft.epilogue_start, end)
        if draft.watched:
            self._delimiters.drop(draft.index, end)
            if draft.epilogue_start < 0:
                # RFC 2046 §5.1.1: a multipart ends with its close-delimiter.
                draft.defects.append("no-close-delimiter")
                if end < self._size:
                    self._notes.ambiguous("unclosed-multipart")
        elif draft.is_plain_text:
            self._add_blocks(draft)

    def _add_blocks(self, draft: Draft) -> None:
        search = Search(self._octets, draft.body_start, draft.body_end)
        for block in search.blocks():
            if len(self._parts) >= self._limits.max_parts:
                self._notes.limit("parts")
                return
            self._parts.append(Draft.of_block(len(self._parts), draft, block))
        if search.exhausted:
            self._notes.limit("blocks")
