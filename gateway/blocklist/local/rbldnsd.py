"""Zone files of rbldnsd(8), without rbldnsd: ip4set, ip4trie, ip4tset, ip6trie, ip6tset, dnset and combined.

Read are addresses, prefixes and ranges in all its forms, names with wildcards, ``!`` exclusions, default and own A
values and TXT templates with their variables (``$``, ``$0`` to ``$9``, ``$=``), ``$TIMESTAMP`` and ``$MAXRANGE4``;
passed over are ``$SOA``, ``$NS`` and ``$TTL``, which say nothing about what is listed. ``mixed`` takes all three kinds
of entry in one file. Within combined, datasets that list nothing (generic, acl) are passed over too.

Specificity is rbldnsd's: an ip4set knows addresses, /24, /16 and /8 only and cuts every range into those, so that of
``!192.0.2.0/25`` and ``192.0.2.0/26`` the exclusion wins; in a trie the longest prefix does. Where several values are
listed for one entry, rbldnsd returns all of them, and this the first.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from socket import AF_INET, inet_pton
from types import MappingProxyType

from gateway.blocklist.local.collected import HOSTS, Collected, Note, clean
from gateway.blocklist.local.entry import EntryError
from gateway.blocklist.local.rbldnsd_entry import (
    BASE,
    DEFAULT_VALUE,
    expand,
    parse_ip4,
    parse_value,
    take_ip4set,
    take_ip4trie,
    take_ip6,
    take_mixed,
    take_name,
)

MIXED = "mixed"
COMBINED = "combined"

Take = Callable[[Collected, str, Note], None]

TYPES: Mapping[str, Take] = MappingProxyType(
    {
        "ip4set": take_ip4set,
        "ip4tset": take_ip4set,
        "ip4trie": take_ip4trie,
        "ip6trie": take_ip6,
        "ip6tset": take_ip6,
        "dnset": take_name,
        MIXED: take_mixed,
    }
)
_SINGLES = (take_ip4set, take_ip4trie, take_mixed)
_COLONS = (take_ip6, take_mixed)
_LEVELS = (take_ip4set, take_mixed)
# Networks that an ip4set has no need to cut.
_WHOLE_LEVELS = {bits: HOSTS[bits] for bits in ("8", "16", "24", "32")}
_LISTS_NOTHING = {"generic", "acl"}
# rbldnsd takes "$X", and the same behind "#", ";" or ":", so that other programs pass over it.
_SPECIAL = re.compile(r"[#;:]?\$(=|\d|[A-Za-z]\w*)\s*(.*)", re.DOTALL)
_STAMP = re.compile(r"(\d{4})[:-]?(\d\d)[:-]?(\d\d)(?:[:-]?(\d\d)(?:[:-]?(\d\d)(?:[:-]?(\d\d))?)?)?", re.ASCII)
_RELATIVE = re.compile(r"\+(\d{1,9})([smhdw]?)", re.ASCII)
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SIZE = re.compile(r"/(\d{1,2})|(\d{1,10})", re.ASCII)
_PASSED_OVER = {"SOA", "NS", "TTL", "MAXRANGE6"}


def read_zone(text: str, into: Collected, kind: str) -> None:
    """Read a whole text of the type ``kind``: one of TYPES, or ``combined``."""
    _Zone(into, kind).read(text)


@dataclass(slots=True)
class _Scope:
    """What holds for the entries that follow, until the end of their dataset."""

    value: str = DEFAULT_VALUE
    template: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    since: float | None = None
    until: float | None = None
    most: int = 1 << 32

    def note(self, value: str, template: str) -> Note:
        return Note(expand(template, self.variables), value, self.since, self.until)


class _Zone:
    def __init__(self, into: Collected, kind: str) -> None:
        self._into = into
        self._combined = kind == COMBINED
        self._take: Take | None = None if self._combined else TYPES[kind]
        self._common = _Scope()
        self._scope = self._common
        self._default: Note | None = None
        self._singles: list[bytes] | None = None

    def read(self, text: str) -> None:
        before = sum(map(len, self._into.singles.values()))
        for number, line in enumerate(text.split("\n"), 1):
            # The usual line of the largest zones, an address and nothing else, costs a fraction of any other.
            try:
                octets = inet_pton(AF_INET, line)
            except (OSError, ValueError):
                if "/" in line and self._network(line):
                    continue
                self._line(number, line.strip())
            else:
                if self._singles is not None:
                    self._singles.append(octets)
                else:
                    self._single(number, line, octets)
        self._into.count += sum(map(len, self._into.singles.values())) - before

    def _single(self, number: int, line: str, octets: bytes) -> None:
        note = self._default_note()
        if self._take in _SINGLES and (note.until is None or note.until > self._into.now):
            self._singles = self._into.single(note)
            self._singles.append(octets)
        else:
            self._line(number, line)

    def _network(self, line: str) -> bool:
        hosts = _WHOLE_LEVELS if self._take in _LEVELS else HOSTS if self._take is take_ip4trie else None
        note = self._default_note()
        usual = hosts is not None and note.until is None and self._scope.most > 1 << 31
        return usual and hosts is not None and self._into.add_network(line, note, hosts)

    def _default_note(self) -> Note:
        if self._default is None:
            self._default = self._scope.note(self._scope.value, self._scope.template)
        return self._default

    def _changed(self) -> None:
        self._default = self._singles = None

    def _line(self, number: int, line: str) -> None:
        try:
            if "$" in line[:2] and (special := _SPECIAL.match(line)):
                self._special(special[1], special[2].strip())
            elif line and not line.startswith(("#", ";")):
                self._entry_or_default(line)
        except EntryError as error:
            self._into.bad(number, str(error), line)

    def _entry_or_default(self, line: str) -> None:
        # "::1" begins with what begins a default too.
        if line.startswith(":") and not (line.startswith("::") and self._take in _COLONS):
            self._scope.value, self._scope.template = parse_value(line, DEFAULT_VALUE, "")
            self._changed()
        elif self._take is not None:
            self._entry(line, self._take)
        elif not self._combined or self._scope is self._common:
            raise EntryError("an entry before the first $DATASET")

    def _entry(self, line: str, take: Take) -> None:
        excluded = line.startswith("!")
        entry, rest = _parted(line.removeprefix("!").strip())
        note = self._default_note()
        if excluded:
            note = Note(excluded=True, until=self._scope.until)
        elif rest:
            note = self._scope.note(*parse_value(rest, self._scope.value, self._scope.template))
        if self._scope.most <= 1 << 31 and ":" not in entry and entry[:1].isdigit():
            self._hold_to_range(entry)
        take(self._into, entry, note)

    def _hold_to_range(self, entry: str) -> None:
        if not any(c.isalpha() for c in entry) and parse_ip4(entry).breadth > self._scope.most:
            raise EntryError("a range larger than $MAXRANGE4 allows")

    # Special entries --------------------------------------------------------------------------------------------------

    def _special(self, word: str, rest: str) -> None:
        self._changed()
        name = word.upper()
        if name == BASE or name.isdigit():
            self._scope.variables[name] = clean(rest)
        elif name == "TIMESTAMP":
            self._timestamp(rest.split())
        elif name == "MAXRANGE4":
            self._scope.most = min(self._scope.most, _range_size(rest))
        elif name == "DATASET" and self._combined:
            self._dataset(rest)
        elif name not in _PASSED_OVER:
            raise EntryError("an unknown special entry")

    def _dataset(self, rest: str) -> None:
        common = self._common
        self._scope = _Scope(variables=dict(common.variables), since=common.since, until=common.until, most=common.most)
        kind = rest.split(":", 1)[0].split(None, 1)[0] if rest else ""
        self._take = TYPES.get(kind)
        if self._take is None and kind not in _LISTS_NOTHING:
            raise EntryError(f"a dataset of an unknown type; allowed: {', '.join(sorted(TYPES))}")

    def _timestamp(self, words: list[str]) -> None:
        scope = self._scope
        scope.since = _instant(words[0]) if words else None
        relative = _RELATIVE.fullmatch(words[1]) if len(words) > 1 else None
        if relative is not None:
            start = self._into.now if scope.since is None else scope.since
            scope.until = start + int(relative[1]) * _UNIT_SECONDS[relative[2]]
        else:
            scope.until = _instant(words[1]) if len(words) > 1 else None
        if scope.since is not None and scope.since > self._into.now:
            raise EntryError("the timestamp lies in the future")


def _parted(line: str) -> tuple[str, str]:
    """Return the entry and its value, "" for none or a comment."""
    words = line.split(None, 1)
    entry, rest = words[0] if words else "", words[1] if len(words) > 1 else ""
    for sign in "#;":
        if sign in entry:
            return entry.partition(sign)[0], ""
    before, colon, behind = entry.partition(":")
    # "192.0.2.1:4:text" has no space; an IPv6 address has colons of its own.
    if colon and "." in before:
        entry, rest = before, f":{behind} {rest}"
    return entry, "" if rest.startswith(("#", ";")) else rest


def _range_size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None or (match[1] and int(match[1]) > 32):  # noqa: PLR2004 - bits of IPv4
        raise EntryError("$MAXRANGE4 is a number of addresses or a prefix such as /24")
    return 1 << 32 - int(match[1]) if match[1] else int(match[2])


def _instant(text: str) -> float | None:
    if text in {"0", "-"}:
        return None
    match = _STAMP.fullmatch(text)
    parts = [int(part or 0) for part in match.groups()] if match else [0]
    try:
        return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[arg-type,misc]
    except (TypeError, ValueError):
        raise EntryError("a timestamp such as 2026:11:22:10:00 is wanted") from None
