"""Response policy zones (draft-vixie-dnsop-dns-rpz): the triggers ``rpz-client-ip`` and QNAME.

Read are the owner names of records, with ``$ORIGIN``, ``$TTL``, ``@``, parentheses, quoted strings, owners left out
and any class or TTL. A CNAME to ``rpz-passthru.`` is an exclusion; every other action lists, and stands in the
listing's value (``nxdomain``, ``nodata``, ``drop``, ``tcp-only``, ``local-data``). A TXT record gives the reason of
its owner. Refused by line: the triggers rpz-ip, rpz-nsip and rpz-nsdname, which ask about answers of DNS.

A name lists that name, ``*.name`` what is below it, as in DNS (RFC 4592).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from gateway.blocklist.local.collected import Collected, Note, clean
from gateway.blocklist.local.entry import EntryError, Target, parse_name, parse_span

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"?|([()])|;.*|([^\s();"]+)')
_NUMBER = re.compile(r"\d+[\dsmhdwSMHDW]*", re.ASCII)
_CLASSES = {"IN", "CH", "HS", "ANY"}
_TYPES = {"A", "AAAA", "CNAME", "TXT", "MX", "SRV", "PTR", "NS", "SOA", "DNAME", "HTTPS", "SVCB", "RRSIG", "NSEC"}
_INFRASTRUCTURE = {"SOA", "NS", "RRSIG", "NSEC"}
_ACTIONS = {".": "nxdomain", "*.": "nodata", "rpz-drop.": "drop", "rpz-tcp-only.": "tcp-only"}
_PASS = "rpz-passthru."  # noqa: S105 - an action of RPZ, no secret
_UNSUPPORTED = ("rpz-ip", "rpz-nsip", "rpz-nsdname")
_CLIENT_SUFFIX = ".rpz-client-ip"
_IPV4_LABELS = 5
_IPV6_WORDS = 8
# An unclosed parenthesis must not collect the whole file.
_MAX_TOKENS = 256


@dataclass(frozen=True, slots=True)
class _Record:
    """One record: ``data`` are the tokens behind the type, ``line`` where it begins."""

    line: int
    owner: str
    kind: str
    data: tuple[str, ...]


@dataclass(slots=True)
class _Owner:
    line: int
    value: str = ""
    reason: str = ""
    excluded: bool = False
    kinds: set[str] = field(default_factory=set)


def read_rpz(text: str, into: Collected) -> None:
    """Read a whole text."""
    owners: dict[str, _Owner] = {}
    for record in _Records(text, into):
        if record.kind in _INFRASTRUCTURE:
            continue
        owner = owners.setdefault(record.owner, _Owner(record.line))
        if record.kind == "TXT":
            owner.reason = clean(" ".join(record.data))
            owner.value = owner.value or "local-data"
        elif record.kind == "CNAME" and record.data:
            _apply(owner, record.owner, record.data[0].lower())
        else:
            owner.value = owner.value or "local-data"
    for name, owner in owners.items():
        try:
            into.add(_target(name), Note(owner.reason, owner.value, excluded=owner.excluded))
        except EntryError as error:
            into.bad(owner.line, str(error), name)


def _apply(owner: _Owner, name: str, target: str) -> None:
    # An older form of passthru is a CNAME to the name itself.
    owner.excluded = target == _PASS or target.removesuffix(".") == name
    owner.value = _ACTIONS.get(target, "local-data")


class _Records:
    """The records of a zone file (RFC 1035 §5.1), owners relative to the zone, lower case, without a final dot."""

    def __init__(self, text: str, into: Collected) -> None:
        self._text = text
        self._into = into
        self._origin = ""
        self._apex = ""
        self._owner = ""

    def __iter__(self) -> Iterator[_Record]:
        for line, blank_start, tokens in _entries(self._text):
            if tokens[0].startswith("$"):
                self._directive(line, tokens)
                continue
            record = self._record(line, tokens, blank_start=blank_start)
            if record is not None:
                yield record

    def _directive(self, line: int, tokens: list[str]) -> None:
        name = tokens[0].upper()
        if name == "$ORIGIN" and len(tokens) > 1:
            self._origin = tokens[1].lower().removesuffix(".")
            self._apex = self._apex or self._origin
        elif name != "$TTL":
            self._into.bad(line, "this directive is not supported", tokens[0])

    def _record(self, line: int, tokens: list[str], *, blank_start: bool) -> _Record | None:
        at = 0
        if not blank_start:
            self._owner = tokens[0].lower()
            at = 1
        while at < len(tokens) and (tokens[at].upper() in _CLASSES or _NUMBER.fullmatch(tokens[at])):
            at += 1
        if at >= len(tokens) or tokens[at].upper() not in _TYPES or not self._owner:
            self._into.bad(line, "no record with an owner and a known type", " ".join(tokens[:4]))
            return None
        kind = tokens[at].upper()
        if kind == "SOA" and self._owner.endswith("."):
            self._apex = self._owner.removesuffix(".")
        return _Record(line, self._relative(self._owner), kind, tuple(tokens[at + 1 :]))

    def _relative(self, owner: str) -> str:
        if owner == "@":
            return ""
        if owner.endswith("."):
            name = owner.removesuffix(".")
        elif self._origin not in {"", self._apex}:
            name = f"{owner}.{self._origin}"
        else:
            return owner
        return name.removesuffix(f".{self._apex}") if self._apex else name


def _entries(text: str) -> Iterator[tuple[int, bool, list[str]]]:
    """Yield (line, whether the owner was left out, tokens) of each entry that is not blank."""
    tokens: list[str] = []
    start, blank, depth = 0, False, 0
    for number, line in enumerate(text.split("\n"), 1):
        if not depth:
            tokens, start, blank = [], number, line[:1].isspace()
        for match in _TOKEN.finditer(line):
            if match[2]:
                depth = max(0, depth + (1 if match[2] == "(" else -1))
            elif not match[0].startswith(";"):
                tokens.append(match[1] if match[1] is not None else match[3])
        if len(tokens) > _MAX_TOKENS:
            depth = 0
        if tokens and not depth:
            yield start, blank, tokens
    if tokens and depth:
        yield start, blank, tokens


def _target(name: str) -> Target:
    if name.endswith(_CLIENT_SUFFIX):
        return parse_span(_network(name.removesuffix(_CLIENT_SUFFIX)))
    for trigger in _UNSUPPORTED:
        if name.endswith(f".{trigger}"):
            raise EntryError(f"the trigger {trigger} is not supported; allowed: names and rpz-client-ip")
    if name in {"", "*"}:
        raise EntryError("the zone itself lists nothing")
    return parse_name(name)


def _network(reversed_name: str) -> str:
    """Return ``192.0.2.0/24`` of ``24.0.2.0.192``, ``2001:db8::/32`` of ``32.zz.db8.2001``."""
    prefix, *words = reversed_name.split(".")
    words.reverse()
    if len(words) == _IPV4_LABELS - 1 and "zz" not in words:
        return f"{'.'.join(words)}/{prefix}"
    if "zz" in words:
        at = words.index("zz")
        words[at : at + 1] = ["0"] * (_IPV6_WORDS + 1 - len(words))
    try:
        return f"{IPv6Address(':'.join(words))}/{prefix}"
    except ValueError:
        raise EntryError("not an address as rpz-client-ip writes it, such as 24.0.2.0.192") from None
