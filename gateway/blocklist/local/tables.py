"""What was collected, made into the sections of a compiled list (``layout``)."""

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from operator import itemgetter

from gateway.blocklist.local.collected import Collected, Note
from gateway.blocklist.local.entry import format_span
from gateway.blocklist.local.layout import (
    BYTE_ORDER,
    FACT,
    FLAG_DOTTED,
    FLAG_EXCLUDED,
    HASH_BITS,
    index_bits,
    key_hash,
)
from gateway.blocklist.local.segments import Speaker, cut

_LOW = (1 << 64) - 1

Sections = dict[str, bytes | bytearray | memoryview]


class _Texts:
    """Each text once; number 0 is the empty one."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {"": 0}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    def sections(self) -> Sections:
        encoded = [text.encode("utf-8", "replace") for text in self._numbers]
        return {"text.at": _octets("I", [0, *accumulate(map(len, encoded))]), "text": b"".join(encoded)}


class _Facts:
    """Each fact once: a note, the text of its entry, and the fact that speaks when it has expired. Numbers from 1."""

    def __init__(self, notes: list[Note]) -> None:
        self._notes = notes
        self._numbers: dict[tuple[int, str, bool, int], int] = {}
        self._rows = bytearray()
        self._texts = _Texts()

    def number(self, note: int, entry: str = "", *, dotted: bool = False, following: int = 0) -> int:
        key = (note, entry, dotted, following)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._numbers) + 1
            self._rows += self._row(self._notes[note], entry, dotted=dotted, following=following)
        return number

    def _row(self, note: Note, entry: str, *, dotted: bool, following: int) -> bytes:
        flags = FLAG_EXCLUDED * note.excluded | FLAG_DOTTED * dotted
        texts = [self._texts.number(text) for text in (note.reason, note.value, entry)]
        return FACT.pack(*texts, following, flags, _or_nan(note.since), _or_nan(note.until))

    def sections(self) -> Sections:
        return {"fact": self._rows, **self._texts.sections()}


def sections_of(collected: Collected) -> Sections:
    """Return every section of the list."""
    facts = _Facts(collected.notes)
    sections = _addresses(collected, facts) | _long_addresses(collected, facts) | _names(collected, facts)
    return sections | facts.sections()


def _addresses(collected: Collected, facts: _Facts) -> Sections:
    if not collected.spans[4] and len(collected.singles) == 1:
        first = last = _only_singles(collected)
        fact = array("I", [facts.number(next(iter(collected.singles)))]) * len(first)
    else:
        first, last, fact = array("I"), array("I"), array("I")
        for start, end, number in _numbered(collected, 4, facts):
            first.append(start)
            last.append(end)
            fact.append(number)
    return {
        "4.index": _index(first, 32),
        "4.first": memoryview(first).cast("B"),
        "4.last": memoryview(last).cast("B"),
        "4.fact": memoryview(fact).cast("B"),
    }


def _only_singles(collected: Collected) -> "array[int]":
    """Return the addresses of a list that has nothing but single ones, all with one note."""
    # Octets of equal length sort as the numbers that they are.
    first = array("I", b"".join(sorted(set(next(iter(collected.singles.values()))))))
    if BYTE_ORDER == "little":
        first.byteswap()
    return first


def _long_addresses(collected: Collected, facts: _Facts) -> Sections:
    halves: dict[str, list[int]] = {"first_high": [], "first_low": [], "last_high": [], "last_low": []}
    numbers: list[int] = []
    for start, end, number in _numbered(collected, 6, facts):
        for name, value in (("first", start), ("last", end)):
            halves[f"{name}_high"].append(value >> 64)
            halves[f"{name}_low"].append(value & _LOW)
        numbers.append(number)
    sections: Sections = {f"6.{name}": _octets("Q", values) for name, values in halves.items()}
    return sections | {"6.index": _index(halves["first_high"], HASH_BITS), "6.fact": _octets("I", numbers)}


def _numbered(collected: Collected, version: int, facts: _Facts) -> Iterator[tuple[int, int, int]]:
    """Yield (first, last, number of the fact) of disjoint ranges."""
    expires = [note.until is not None for note in collected.notes]
    pieces = bool(collected.pieces)
    whole: dict[int, int] = {}
    for first, last, chain in cut(_speakers(collected, version), expires):
        speaker = chain[0]
        # The usual range: one entry, uncut.
        if len(chain) == 1 and not pieces and speaker[3] == first and speaker[4] == last:
            note = speaker[2]
            yield first, last, whole.get(note) or whole.setdefault(note, facts.number(note))
            continue
        number = 0
        for speaker in reversed(chain):
            number = facts.number(speaker[2], _entry(collected, version, speaker, (first, last)), following=number)
        yield first, last, number


def _entry(collected: Collected, version: int, speaker: Speaker, bounds: tuple[int, int]) -> str:
    """Return the text of a speaker's entry, "" when it is that of its range."""
    breadth, _, note, first, last = speaker
    if version == 4 and collected.pieces:  # noqa: PLR2004 - the version of IP
        written = collected.pieces.get((first, last, breadth, note), "")
        if written:
            return written
    return "" if (first, last) == bounds else format_span(version, first, last)


def _speakers(collected: Collected, version: int) -> list[Speaker]:
    spoken = [0 if note.excluded else 1 for note in collected.notes]
    found = [(breadth, spoken[n], n, first, last) for first, last, breadth, n in collected.spans[version]]
    if version == 4:  # noqa: PLR2004 - the version of IP
        for n, octets in collected.singles.items():
            found += [(1, spoken[n], n, a, a) for a in map(_as_number, set(octets))]
    found.sort(key=itemgetter(3))
    return found


def _as_number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def _names(collected: Collected, facts: _Facts) -> Sections:
    hashed = sorted((key_hash(key), facts.number(n, dotted=dotted)) for key, (n, dotted) in collected.keys.items())
    hashes = [pair[0] for pair in hashed]
    return {
        "key.index": _index(hashes, HASH_BITS),
        "key.hash": _octets("Q", hashes),
        "key.fact": _octets("I", [pair[1] for pair in hashed]),
    }


def _index(numbers: "array[int] | list[int]", width: int) -> bytes:
    """Return where the numbers with each of the leading bits begin, and where the last of them end."""
    bits = index_bits(len(numbers))
    starts, at = [], 0
    for part in range(1 << bits):
        at = bisect_left(numbers, part << (width - bits), at)
        starts.append(at)
    return _octets("I", [*starts, len(numbers)])


def _octets(code: str, numbers: Iterable[int]) -> bytes:
    return array(code, numbers).tobytes()


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
