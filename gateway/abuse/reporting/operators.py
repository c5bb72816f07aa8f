"""Reports to those who run a source and its network: who is due, to whom, and what is written.

Due is a confirmed source from outside that was seen since its last report, once a day (contract.md §4 a). A source that
has nobody to tell is noted, so that the day's next round asks nobody again. Nothing goes to our own domains, and no
more to one contact a day than it would read.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from gateway.abuse.complaints.letter import mailbox_of
from gateway.abuse.complaints.octets import shown
from gateway.abuse.identity import signature
from gateway.abuse.reporting import arf
from gateway.abuse.reporting.case import Case, Cases, address_of
from gateway.abuse.reporting.contacts import Contact, Contacts
from gateway.abuse.reporting.draft import ASSOCIATION, OPERATOR, Draft
from gateway.abuse.terms import grounds_in, origin_in
from gateway.abuse.writing import Letter, Writer, template
from gateway.config.abuse_desk import Reporting
from gateway.incidents import Incident, IncidentReader
from gateway.incidents.reader import INCIDENT_COLUMNS, incident_of

# Looked at in a round: those without a contact are noted as such and do not come again.
MOST_A_ROUND = 200
# What is older nobody can do anything about any more.
FRESH_SECONDS = 2 * 86_400.0
_DUE = f"""
SELECT {INCIDENT_COLUMNS} FROM incident
WHERE state IN ('confirmed', 'reported', 'blocked') AND last_seen >= ? AND source_kind IN ('network', 'hop') AND NOT
EXISTS (
    SELECT 1 FROM report WHERE report.kind = 'operator' AND report.source_key = incident.source_key
        AND (report.day = ? OR report.at >= incident.last_seen)
) ORDER BY last_seen DESC LIMIT ?"""  # noqa: S608 - constants


def due(reader: IncidentReader, now: float, limit: int = MOST_A_ROUND) -> list[Incident]:
    """Return the incidents whose operator is to be told now."""
    return [incident_of(row) for row in reader.rows(_DUE, (now - FRESH_SECONDS, day_of(now), limit))]


def told(reader: IncidentReader, day: str) -> dict[str, int]:
    """Return how many reports went to each contact on a day."""
    rows = reader.rows(
        "SELECT recipient, count(*) FROM report WHERE kind = 'operator' AND day = ? AND recipient <> ''"
        " GROUP BY recipient",
        (day,),
    )
    return {row[0]: row[1] for row in rows}


class OperatorReports:
    """Drafts them; blocking. Whose contact is not known yet comes in a later round."""

    def __init__(
        self, data: Path, settings: Reporting, writer: Writer, contacts: Contacts, *, own_domains: frozenset[str]
    ) -> None:
        self._data, self._settings, self._writer, self._contacts = data, settings, writer, contacts
        self._own_domains = own_domains

    def drafts(self, now: float, token: Callable[[], str]) -> Iterator[tuple[Draft, Contact]]:
        """Yield what is due now, within the limits of the day."""
        day = day_of(now)
        with IncidentReader(self._data) as reader:
            incidents, before = due(reader, now), told(reader, day)
        left = self._settings.operators_per_day - sum(before.values())
        if left > 0:
            self._contacts.prepare(((address_of(each.source.key), each.source.key) for each in incidents), now)
        with Cases(self._data, self._settings) as cases:
            for incident in incidents:
                if left <= 0:
                    return
                contact = self._contacts.find(address_of(incident.source.key), incident.source.key, now)
                if contact is None:
                    continue
                contact = self._allowed(contact)
                if before.get(contact.address, 0) >= self._settings.contact_per_day:
                    continue
                yield self.draft(cases.of(incident), contact, token(), now), contact
                if contact.address:
                    left -= 1
                    before[contact.address] = before.get(contact.address, 0) + 1

    def draft(self, case: Case, contact: Contact, token: str, now: float) -> Draft:
        """Return the report of one case; ``contact`` is of origin ``association`` where that is whom it is for."""
        source = case.incident.source
        nobody = Draft(
            kind=OPERATOR,
            format="",
            recipient="",
            origin=contact.origin,
            source_kind=source.kind.value,
            source_key=source.key,
        )
        if not contact.address:
            return nobody
        language = self._settings.language
        values = _values(case, contact, self._writer, language)
        subject, text = template("source" if contact.origin == ASSOCIATION else "operator", language, values)
        letter = Letter(
            to=contact.address,
            subject=subject,
            text=text,
            at=now,
            purpose="abuse-report",
            automatic="auto-generated",
        )
        return replace(
            nobody,
            format="arf",
            recipient=contact.address,
            incidents=(case.incident.id,),
            written=arf.write(letter, case, self._writer, token),
        )

    def _allowed(self, contact: Contact) -> Contact:
        mailbox = mailbox_of(contact.address)
        if mailbox is not None and mailbox.domain in self._own_domains:
            return Contact(address="", origin="own")
        return contact


def day_of(utc: float) -> str:
    """Return the day of an instant, UTC."""
    return f"{datetime.fromtimestamp(utc, UTC):%Y-%m-%d}"


def _values(case: Case, contact: Contact, writer: Writer, language: str) -> dict[str, object]:
    incident = case.incident
    return {
        "address": shown(case.address),
        "incident": incident.id,
        "origin": origin_in(language, contact.origin),
        "source": shown(incident.source.key),
        "network": shown(f"AS{incident.asn} {incident.network}" if incident.asn else incident.network) or "-",
        "first_seen": moment(incident.first_seen),
        "last_seen": moment(incident.last_seen),
        "messages": incident.sightings,
        "grounds": grounds_in(language, incident.grounds) or "-",
        "helo": shown(case.helo) or "-",
        "mail_from": shown(case.mail_from) or "<>",
        "subject": shown(case.subject) or "-",
        "findings": shown("; ".join(case.findings), 500) or "-",
        "trace": case.trace_id or "-",
        "organisation": writer.organisation or writer.hostname,
        "signature": signature(writer),
    }


def moment(utc: float) -> str:
    """Return an instant as reports show it."""
    return f"{datetime.fromtimestamp(utc, UTC):%Y-%m-%d %H:%M:%S UTC}"
