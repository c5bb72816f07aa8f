"""``ZoneResolver``: DNS from a text, for tests, for ``explain``, and for a gateway that runs where there is no DNS.

One record a line, ``name TYPE value``; "#" and ";" begin a comment line. Names are absolute, with or without the
final dot, in U- or A-labels, underscores included. MX takes ``10 mx.example``; TXT one or several "quoted" strings,
which are joined, or the rest of the line as it stands. ``name TYPE !SERVFAIL`` (any word after "!") answers temperror
with that reason, ``name * !TIMEOUT`` for every type. CNAMEs are followed; a leading ``*`` label is a wildcard (RFC
4592).

A name that has another type, or that other names stand below, exists: NODATA; anything else is NXDOMAIN (RFC 8020).
"""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

from gateway.dns.answer import Answer, found, no_such_name, no_such_record, temperror
from gateway.dns.resolver import Resolver
from gateway.smtp.domain import DomainError, normalise_domain

# As long as an hour's test needs and no longer; a zone text has no TTLs.
_TTL_SECONDS = 300

# As in common resolvers; a longer chain of aliases is a loop.
_MAX_ALIASES = 8

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')

_Records = dict[str, tuple[str, ...]]


class ZoneError(ValueError):
    """The text is no zone; the message begins with the line's number."""


class ZoneResolver(Resolver):
    """Answers from the records given; ``asked`` holds every question, in order."""

    def __init__(self, text: str = "", *, ttl_seconds: int = _TTL_SECONDS) -> None:
        self._names = _parsed(text)
        self._ttl_seconds = ttl_seconds
        self._existing = {ancestor for name in self._names for ancestor in _with_ancestors(name)}
        self.asked: list[tuple[str, str]] = []

    async def query(self, name: str, rdtype: str) -> Answer:
        """Return the zone's answer."""
        self.asked.append((name, rdtype))
        try:
            target = _name(name)
        except DomainError as error:
            return no_such_name(name, rdtype, 0, f"not a domain name: {error}")
        for _ in range(_MAX_ALIASES):
            records = self._records(target)
            if records is None:
                return no_such_name(name, rdtype, self._ttl_seconds)
            alias = records.get("CNAME")
            if alias is None or rdtype == "CNAME":
                return self._answer(name, rdtype, records)
            target = alias[0]
        return temperror(name, rdtype, "alias chain too long")

    def _records(self, name: str) -> Mapping[str, tuple[str, ...]] | None:
        if name in self._names:
            return self._names[name]
        if name in self._existing:
            return {}
        # RFC 4592 §3.3.1: the wildcard below the closest encloser, and no other, counts.
        encloser = next((parent for parent in _with_ancestors(name)[1:] if parent in self._existing), "")
        return self._names.get(f"*.{encloser}" if encloser else "*")

    def _answer(self, name: str, rdtype: str, records: Mapping[str, tuple[str, ...]]) -> Answer:
        failure = records.get(f"!{rdtype}") or records.get("!*")
        if failure:
            return temperror(name, rdtype, failure[0])
        values = records.get(rdtype)
        if not values:
            return no_such_record(name, rdtype, self._ttl_seconds)
        return found(name, rdtype, values, self._ttl_seconds)


def _with_ancestors(name: str) -> list[str]:
    labels = name.split(".")
    return [".".join(labels[i:]) for i in range(len(labels))]


def _parsed(text: str) -> dict[str, _Records]:
    names: dict[str, _Records] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        try:
            name, rdtype, value = _record(stripped)
        except ValueError as error:
            raise ZoneError(f"line {number}: {error}") from error
        records = names.setdefault(name, {})
        records[rdtype] = (*records.get(rdtype, ()), value)
    return names


def _record(line: str) -> tuple[str, str, str]:
    words = line.split(maxsplit=2)
    if len(words) != 3:  # noqa: PLR2004 - name, type, value
        raise ValueError("a record is: name TYPE value")
    name, rdtype, value = words
    rdtype = rdtype.upper()
    if value.startswith("!"):
        return _name(name), f"!{rdtype}", value[1:]
    return _name(name), rdtype, _value(rdtype, value)


def _name(text: str) -> str:
    # Names in DNS may end in numbers (4.3.2.1.zone has none, 10.in-addr.arpa neither, a test's root might).
    name = text.lower().removesuffix(".")
    return name if name.isascii() else normalise_domain(name)


def _value(rdtype: str, value: str) -> str:
    match rdtype:
        case "A":
            return str(IPv4Address(value))
        case "AAAA":
            return str(IPv6Address(value))
        case "MX":
            preference, exchange = value.split()
            return f"{int(preference)} {_name(exchange) or '.'}"
        case "TXT" if value.startswith('"'):
            return "".join(re.sub(r"\\(.)", r"\1", string) for string in _QUOTED.findall(value))
        case "CNAME" | "PTR" | "NS":
            return _name(value) or "."
    return value
