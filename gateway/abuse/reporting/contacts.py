"""Whom to tell about a source: the configured table, then a zone of contacts, then registration data; remembered.

A zone such as Abusix's has an address as TXT at the reversed address (``9.113.0.203.ZONE``). Registration data (RDAP,
RFC 9083) comes by the library whoisit, over HTTPS. Both are asked by the keeper or a command only, never while mail
waits. What could not be found out is not remembered; that there is nobody, is.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from gateway.abuse.complaints.letter import mailbox_of
from gateway.blocklist.dns.query import reversed_label
from gateway.config.abuse_desk import ReportContact, Reporting
from gateway.dns.resolver import Resolver
from gateway.incidents import Change, IncidentReader

TABLE, ZONE, RDAP, NOBODY = "table", "zone", "rdap", "nobody"

Lookup = Callable[[str], str | None]
"""From an IP address to a contact, "" when there is none, None when that could not be found out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Whom to tell: ``address`` is "" when there is nobody; ``origin`` is table, zone, rdap or nobody."""

    address: str
    origin: str


class Contacts:
    """Finds contacts; blocking."""

    def __init__(self, data: Path, settings: Reporting, lookups: Iterable[tuple[str, Lookup]]) -> None:
        self._data, self._settings, self._lookups = data, settings, tuple(lookups)

    def find(self, address: str, key: str, now: float) -> Contact | None:
        """Return the contact of a source at an IP address; None when that cannot be found out now."""
        if found := _of_table(address, self._settings.contact):
            return Contact(address=found, origin=TABLE)
        return self._remembered(key, now) or self._asked(address)

    def _remembered(self, key: str, now: float) -> Contact | None:
        with IncidentReader(self._data) as reader:
            rows = reader.rows(
                "SELECT address, origin FROM contact WHERE source_key = ? AND found_at > ?",
                (key, now - self._settings.contact_ttl),
            )
        return Contact(address=rows[0][0], origin=rows[0][1]) if rows else None

    def _asked(self, address: str) -> Contact | None:
        unknown = False
        for origin, lookup in self._lookups:
            found = lookup(address)
            unknown |= found is None
            if found and mailbox_of(found):
                return Contact(address=found, origin=origin)
        return None if unknown else Contact(address="", origin=NOBODY)


def remember(change: Change, key: str, contact: Contact) -> None:
    """Remember a contact that was asked for."""
    if contact.origin != TABLE:
        change.execute(
            "INSERT INTO contact (source_key, address, origin, found_at) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET address = excluded.address, origin = excluded.origin, found_at = excluded.found_at",
            (key, contact.address, contact.origin, change.at),
        )


def _of_table(address: str, contacts: Iterable[ReportContact]) -> str:
    """Return the address of the smallest configured network that holds an IP address."""
    try:
        host = ip_network(address)
    except ValueError:
        return ""
    fitting = [
        c
        for c in contacts
        if c.network.version == host.version and host.subnet_of(c.network)  # type: ignore[arg-type]
    ]
    return max(fitting, key=lambda c: c.network.prefixlen).address if fitting else ""


def zone_lookup(zone: str, resolver: Callable[[], Resolver]) -> Lookup:
    """Return a look-up in a zone of contacts; each has a loop of its own, for threads without one."""

    def look_up(address: str) -> str | None:
        found: IPv4Address | IPv6Address = ip_address(address)
        answer = asyncio.run(resolver().query(f"{reversed_label(found)}.{zone}", "TXT"))
        if answer.is_temperror:
            return None
        # Several addresses stand in one text, with commas; the first will do.
        texts = (record.split(",")[0].strip() for record in answer.records)
        return next((text for text in texts if mailbox_of(text)), "")

    return look_up


def rdap_lookup(query: Callable[[str], object]) -> Lookup:
    """Return a look-up in registration data; ``query`` is whoisit's ``ip``."""

    def look_up(address: str) -> str | None:
        try:
            return _abuse_address(query(address))
        except Exception:  # noqa: BLE001 - the library raises what its own libraries raise; the next round asks again
            return None

    return look_up


def whoisit_query(address: str) -> object:
    """Ask the registries; needs the extra ``rdap``."""
    # An optional library, slow to import.
    whoisit = import_module("whoisit")
    if not whoisit.is_bootstrapped():
        whoisit.bootstrap()
    answer: object = whoisit.ip(address)
    return answer


def _abuse_address(answer: object) -> str:
    entities = answer.get("entities") if isinstance(answer, dict) else None
    abuse = entities.get("abuse") if isinstance(entities, dict) else None
    for entity in abuse if isinstance(abuse, list) else []:
        email = entity.get("email") if isinstance(entity, dict) else None
        if isinstance(email, str) and mailbox_of(email):
            return email
    return ""
