"""What was read of one source, in memory: entries with what is said about each, and what could not be read.

A ``Note`` is everything a line says beside its entry. Notes are interned, since a million lines usually say one thing;
single IPv4 addresses, of which there may be a million too, are kept as their four octets.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from socket import AF_INET, inet_pton

from gateway.blocklist.local.entry import EntryError, Keys, Span, Target, format_span, is_too_wide, parse_entry
from gateway.config.problem import Problem

# The first ones tell; a wrong file has an error on every line.
MAX_PROBLEMS = 20
# One TXT character-string (RFC 1035 §3.3.14), and what fits a reply with room for the rest of it.
MAX_REASON_CHARACTERS = 255
# Prefix as written → the bits behind it, for networks of IPv4.
HOSTS = {str(bits): 0xFFFFFFFF >> bits for bits in range(33)}
# Stands in a reason for the identity looked up (rbldnsd's "$"); no input brings it in, see ``clean``.
IDENTITY_MARK = "\0"


@dataclass(frozen=True, slots=True)
class Note:
    """What a line says about its entry; UTC seconds; ``excluded`` entries are holes in wider ones."""

    reason: str = ""
    value: str = ""
    since: float | None = None
    until: float | None = None
    excluded: bool = False


NO_NOTE = Note()


@dataclass(slots=True, kw_only=True)
class Collected:
    """Filled by a reader. ``now`` (UTC) decides what has expired already: it is left out and counted."""

    file: str
    now: float
    notes: list[Note] = field(default_factory=list)
    # Four octets each, by number of the note.
    singles: dict[int, list[bytes]] = field(default_factory=dict)
    # (first, last, breadth, note), by IP version; ``entry`` texts of pieces whose own bounds are not the entry's.
    spans: dict[int, list[tuple[int, int, int, int]]] = field(default_factory=lambda: {4: [], 6: []})
    pieces: dict[tuple[int, int, int, int], str] = field(default_factory=dict)
    # Key → (number of the note, written with a dot in front).
    keys: dict[str, tuple[int, bool]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    bad_lines: int = 0
    expired: int = 0
    count: int = 0
    _numbers: dict[Note, int] = field(default_factory=dict)

    def number(self, note: Note) -> int:
        """Return the number of a note."""
        number = self._numbers.get(note)
        if number is None:
            number = self._numbers[note] = len(self.notes)
            self.notes.append(note)
        return number

    def single(self, note: Note) -> list[bytes]:
        """Return where single IPv4 addresses with this note go, as four octets each; the reader counts them itself."""
        return self.singles.setdefault(self.number(note), [])

    def add_network(self, line: str, note: Note, hosts: Mapping[str, int]) -> bool:
        """Take a line that is nothing but ``a/bits``, with one of the prefixes in ``hosts``; return whether it was."""
        address, _, mask = line.partition("/")
        host = hosts.get(mask)
        if host is None:
            return False
        try:
            first = int.from_bytes(inet_pton(AF_INET, address), "big")
        except (OSError, ValueError):
            return False
        if first & host:
            return False
        self.spans[4].append((first, first | host, host + 1, self.number(note)))
        self.count += 1
        return True

    def add_text(self, line: int, text: str, note: Note) -> None:
        """Take one entry as written; ``!`` in front excludes."""
        if text.startswith("!"):
            text, note = text[1:].strip(), Note(note.reason, note.value, note.since, note.until, excluded=True)
        try:
            target = parse_entry(text)
        except EntryError as error:
            self.bad(line, str(error), text)
            return
        self.add(target, note)

    def add(self, target: Target, note: Note) -> None:
        """Take one entry."""
        if self._is_over(note):
            return
        number = self.number(note)
        if isinstance(target, Span):
            self.spans[target.version].append((target.first, target.last, target.breadth, number))
        else:
            self._add_keys(target, note, number)

    def add_pieces(self, pieces: Iterable[tuple[int, int, int]], entry: str, note: Note) -> None:
        """Take one IPv4 entry cut into (first, last, breadth)."""
        if self._is_over(note):
            return
        number = self.number(note)
        for first, last, breadth in pieces:
            self.spans[4].append((first, last, breadth, number))
            self.pieces[(first, last, breadth, number)] = entry

    def _is_over(self, note: Note) -> bool:
        """Count an entry; return whether it has expired already."""
        over = note.until is not None and note.until <= self.now
        self.expired += over
        self.count += not over
        return over

    def _add_keys(self, target: Keys, note: Note, number: int) -> None:
        for key in target.keys:
            there = self.keys.get(key)
            # Of equal entries the exclusion wins, then the one with the note that came first.
            if there is None or (note.excluded and not self.notes[there[0]].excluded):
                self.keys[key] = (number, target.dotted)

    def bad(self, line: int, why: str, text: str = "") -> None:
        """Record a line that could not be read."""
        self.bad_lines += 1
        if len(self.problems) < MAX_PROBLEMS:
            shown = f": {clean(text)[:80]}" if text else ""
            self.problems.append(Problem(self.file, line, "", f"{why}{shown}"))

    def too_wide(self) -> dict[str, None]:
        """Return the entries that list more addresses than anybody means without being asked, as texts, in order."""
        return {
            format_span(version, first, last): None
            for version, spans in self.spans.items()
            for first, last, breadth, number in spans
            if is_too_wide(version, breadth) and not self.notes[number].excluded
        }

    def signatures(self) -> set[object]:
        """Return one value an entry, equal for entries that are equal however they were written."""
        found: set[object] = set(self.keys)
        for octets in self.singles.values():
            found.update(octets)
        for version, spans in self.spans.items():
            for first, last, _, number in spans:
                plain = version == 4 and first == last and not self.notes[number].excluded  # noqa: PLR2004 - version of IP
                found.add(first.to_bytes(4, "big") if plain else (version, first, last, self.notes[number].excluded))
        return found


def clean(text: str) -> str:
    """Return a text from outside on one line, without control characters, at most a TXT record long."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())[:MAX_REASON_CHARACTERS]
