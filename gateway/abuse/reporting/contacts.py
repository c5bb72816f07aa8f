"""Whom to tell about a source: the configured table, then a zone of contacts, then registration data; remembered.

A zone such as Abusix's has an address as TXT at the reversed address (``9.113.0.203.ZONE``). Registration data (RDAP,
RFC 9083) comes over HTTPS (``rdap``). Both are asked beside the desk's own work (``inquiry``), never while mail waits;
what is not known yet is known in a later round. What could not be found out is not remembered; that there is nobody,
is.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from gateway.abuse.complaints.letter import mailbox_of
from gateway.abuse.reporting.inquiry import Inquiry
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
    """Finds contacts; ``patience_seconds`` is how long ``prepare`` waits for those that have to be asked for."""

    def __init__(
        self,
        data: Path,
        settings: Reporting,
        lookups: Iterable[tuple[str, Lookup]],
        inquiry: Inquiry,
        patience_seconds: float,
    ) -> None:
        self._data, self._settings, self._lookups = data, settings, tuple(lookups)
        self._inquiry, self._patience_seconds = inquiry, patience_seconds

    def prepare(self, sources: Iterable[tuple[str, str]], now: float) -> None:
        """Begin to ask for the contacts of sources, given as IP address and key, that are not known yet."""
        for address, key in sources:
            if self._known(address, key, now) is None:
                self._inquiry.ask(key, partial(self._asked, address))
        if self._patience_seconds:
            self._inquiry.wait(self._patience_seconds)

    def find(self, address: str, key: str, now: float) -> Contact | None:
        """Return the contact of a source at an IP address; None when that is not known yet, or cannot be found out."""
        if found := self._known(address, key, now):
            return found
        told = self._inquiry.answer(key)
        if told is None:
            return None
        origin, _, contact = told.partition(" ")
        return Contact(address=contact, origin=origin)

    def _known(self, address: str, key: str, now: float) -> Contact | None:
        if found := _of_table(address, self._settings.contact):
            return Contact(address=found, origin=TABLE)
        return self._remembered(key, now)

    def _remembered(self, key: str, now: float) -> Contact | None:
        with IncidentReader(self._data) as reader:
            rows = reader.rows(
                "SELECT address, origin FROM contact WHERE source_key = ? AND found_at > ?",
                (key, now - self._settings.contact_ttl),
            )
        return Contact(address=rows[0][0], origin=rows[0][1]) if rows else None

    def _asked(self, address: str) -> str | None:
        """Return where a contact was found, and which; None when that cannot be found out. In a thread of its own."""
        unknown = False
        for origin, lookup in self._lookups:
            found = lookup(address)
            unknown |= found is None
            if found and mailbox_of(found):
                return f"{origin} {found}"
        return None if unknown else f"{NOBODY} "


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
