"""A compiled list, mapped: all workers share one copy in memory, and starting reads nothing but the checksum.

``MappedList.open`` raises ``TornListError`` for a file that is cut short, altered, of another layout or machine: it is
compiled anew, never believed. The mapping lives as long as somebody holds the object, so a newer file may take its
name meanwhile.
"""

import json
import math
import mmap
import zlib
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.blocklist.local.collected import IDENTITY_MARK
from gateway.blocklist.local.compiling import Head, Origin
from gateway.blocklist.local.entry import Span, format_span
from gateway.blocklist.local.layout import (
    BYTE_ORDER,
    FACT,
    FLAG_DOTTED,
    FLAG_EXCLUDED,
    HASH_BITS,
    MAGIC,
    PREAMBLE,
    index_bits,
)
from gateway.blocklist.local.question import Question, Wanted

_LOW = (1 << 64) - 1
# Facts that were asked for before; some 300 octets each.
_REMEMBERED_FACTS = 4096


class TornListError(Exception):
    """The file is no compiled list, or not a whole one."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What the list says of an entry; ``following`` speaks when this has expired, 0 for nobody."""

    reason: str
    value: str
    entry: str
    following: int
    excluded: bool
    dotted: bool
    since: float | None
    until: float | None


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that holds the identity asked about, and what is said of it."""

    entry: str
    reason: str
    fact: Fact


class MappedList:
    """Immutable; look-ups allocate nothing until something is found."""

    def __init__(self, view: memoryview, head: Head, places: dict[str, tuple[int, int]]) -> None:
        self.head = head
        self.octets = len(view)
        self._facts: dict[int, Fact] = {}
        self._view = view

        def section(name: str, code: str = "I") -> memoryview:
            at, length = places[name]
            return view[at : at + length].cast(code)  # type: ignore[call-overload,no-any-return]

        self._index4, self._first4, self._last4 = section("4.index"), section("4.first"), section("4.last")
        self._fact4 = section("4.fact")
        self._shift4 = 32 - index_bits(len(self._first4))
        self._index6, self._fact6 = section("6.index"), section("6.fact")
        self._first6 = (section("6.first_high", "Q"), section("6.first_low", "Q"))
        self._last6 = (section("6.last_high", "Q"), section("6.last_low", "Q"))
        self._shift6 = HASH_BITS - index_bits(len(self._fact6))
        self._key_index, self._key_hash = section("key.index"), section("key.hash", "Q")
        self._key_fact = section("key.fact")
        self._key_shift = HASH_BITS - index_bits(len(self._key_hash))
        self._fact_rows, self._text_at = section("fact", "B"), section("text.at")
        self._text = section("text", "B")

    @classmethod
    def open(cls, path: Path) -> "MappedList":
        """Return the list in a file; raise ``TornListError``, or OSError when there is none."""
        with path.open("rb") as file:
            try:
                mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:
                raise TornListError(f"{path}: empty") from error
        view = memoryview(mapping)
        try:
            head, places, start = _verified(view)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise TornListError(f"{path}: {error}") from error
        return cls(view[start:], head, places)

    @property
    def is_empty(self) -> bool:
        """Whether it has no entries."""
        return not (len(self._first4) or len(self._fact6) or len(self._key_hash))

    def find(self, question: Question, now: float) -> Found | None:
        """Return the entry that speaks for an identity, an exclusion too; None when none does."""
        for wanted in question.wanted:
            number = self.fact_of(wanted.hash)
            if number and (fact := self._speaking(number, now)) is not None:
                return _named(wanted, fact)
        if question.version and (at := self.range_of(question.version, question.number)) >= 0:
            return self._in_range(question, at, now)
        return None

    def range_of(self, version: int, number: int) -> int:
        """Return which range holds an address, -1 for none."""
        if version == 4:  # noqa: PLR2004 - the version of IP
            part = number >> self._shift4
            index = self._index4
            at = bisect_right(self._first4, number, index[part], index[part + 1]) - 1
            return at if at >= 0 and number <= self._last4[at] else -1
        return self._range_of_6(number >> 64, number & _LOW)

    def _range_of_6(self, high: int, low: int) -> int:
        highs, lows = self._first6
        part = high >> self._shift6
        end = bisect_right(highs, high, self._index6[part], self._index6[part + 1])
        begin = bisect_left(highs, high, self._index6[part], end)
        at = bisect_right(lows, low, begin, end) - 1
        if at < 0:
            return -1
        last_high, last_low = self._last6[0][at], self._last6[1][at]
        return at if (high, low) <= (last_high, last_low) else -1

    def fact_of(self, key: int) -> int:
        """Return the number of the fact about a hash, 0 for none."""
        part = key >> self._key_shift
        hashes = self._key_hash
        at = bisect_left(hashes, key, self._key_index[part], self._key_index[part + 1])
        return self._key_fact[at] if at < len(hashes) and hashes[at] == key else 0

    def lists_any(self, span: Span, now: float) -> bool:
        """Whether one of these addresses is listed, and not excluded."""
        four = span.version == 4  # noqa: PLR2004 - the version of IP
        facts = self._fact4 if four else self._fact6
        at = bisect_left(range(len(facts)), span.first, key=lambda at: self._bounds(at, four=four)[1])
        while at < len(facts) and self._bounds(at, four=four)[0] <= span.last:
            if self._is_listed(facts[at], now):
                return True
            at += 1
        return False

    def lists_key(self, key: int, now: float) -> bool:
        """Whether the entry with this hash is there, and no exclusion."""
        return self._is_listed(self.fact_of(key), now)

    def _is_listed(self, number: int, now: float) -> bool:
        fact = self._speaking(number, now)
        return fact is not None and not fact.excluded

    def _in_range(self, question: Question, at: int, now: float) -> Found | None:
        four = question.version == 4  # noqa: PLR2004 - the version of IP
        fact = self._speaking((self._fact4 if four else self._fact6)[at], now)
        if fact is None:
            return None
        entry = fact.entry or format_span(question.version, *self._bounds(at, four=four))
        return Found(entry, fact.reason.replace(IDENTITY_MARK, question.text), fact)

    def _bounds(self, at: int, *, four: bool) -> tuple[int, int]:
        if four:
            return self._first4[at], self._last4[at]
        return (
            self._first6[0][at] << 64 | self._first6[1][at],
            self._last6[0][at] << 64 | self._last6[1][at],
        )

    def _speaking(self, number: int, now: float) -> Fact | None:
        """Return the first fact of a chain that has not expired."""
        while number:
            fact = self._facts.get(number) or self._fact(number)
            if fact.until is None or fact.until > now:
                return fact
            number = fact.following
        return None

    def _fact(self, number: int) -> Fact:
        reason, value, entry, following, flags, since, until = FACT.unpack_from(
            self._fact_rows, (number - 1) * FACT.size
        )
        fact = Fact(
            self._string(reason),
            self._string(value),
            self._string(entry),
            following,
            bool(flags & FLAG_EXCLUDED),
            bool(flags & FLAG_DOTTED),
            None if math.isnan(since) else since,
            None if math.isnan(until) else until,
        )
        if len(self._facts) >= _REMEMBERED_FACTS:
            self._facts.clear()
        self._facts[number] = fact
        return fact

    def _string(self, number: int) -> str:
        return str(self._text[self._text_at[number] : self._text_at[number + 1]], "utf-8") if number else ""


def _named(wanted: Wanted, fact: Fact) -> Found:
    entry = wanted.dotted if fact.dotted and wanted.dotted else wanted.entry
    # rbldnsd puts the entry's name for "$", without its wildcard.
    return Found(entry, fact.reason.replace(IDENTITY_MARK, wanted.entry.removeprefix("*.")), fact)


def _verified(view: memoryview) -> tuple[Head, dict[str, tuple[int, int]], int]:
    """Return head, places of the sections and where the first begins; ValueError, or what a wrong head makes."""
    start = len(MAGIC) + PREAMBLE.size
    if bytes(view[: len(MAGIC)]) != MAGIC or len(view) < start:
        raise ValueError("no compiled list of this version")
    crc, octets, head_octets = PREAMBLE.unpack_from(view, len(MAGIC))
    if octets != len(view):
        raise ValueError(f"{len(view)} octets where {octets} were written")
    if zlib.crc32(view[start:]) != crc:
        raise ValueError("the checksum does not match")
    written: dict[str, Any] = json.loads(bytes(view[start : start + head_octets]))
    if written["byte_order"] != BYTE_ORDER:
        raise ValueError("written on another kind of machine")
    head = written["head"]
    origin = Origin(**head.pop("origin"))
    problems = tuple(head.pop("problems"))
    places = {name: (place[0], place[1]) for name, place in written["sections"].items()}
    return Head(origin=origin, problems=problems, **head), places, start + head_octets
