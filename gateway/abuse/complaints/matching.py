"""What a complaint is about: the mail by our trace id or its Message-ID, the incident, else the source.

A complaint is *proven* by a mail that its author has: one named by our trace id, which stands in that mail alone, or by
its Message-ID where the mail went to the author's domain. Then its incident is confirmed (contract.md §4 a). A
Message-ID can be read in a list's archive by anybody, and a source named about anybody: they link the ticket to the
incident, and confirm nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from gateway.abuse.complaints.complaint import Complaint
from gateway.abuse.sightings import Neighbourhood
from gateway.incidents import IncidentReader
from gateway.incidents.values import Incident, Source, SourceKind, State, StoredSighting
from gateway.journal.events import MessageJudged
from gateway.journal.reader import JournalReader
from gateway.mail.text.hosts import registrable

# Of one Message-ID: a mail sent through us to many, or spam that repeats it.
_MOST_EVENTS = 20
# A mail is complained of within weeks, mostly of days; the journal is kept for months, and has no index of Message-IDs.
_LOOK_BACK_DAYS = (3.0, 21.0, 90.0)
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What was found: ``by`` trace id, Message-ID, source or nothing; whether the author is proven to have the mail."""

    by: str = ""
    trace_id: str = ""
    message_id: str = ""
    source: Source | None = None
    incident: int | None = None
    is_proven: bool = False


class Matcher:
    """Looks into the journal and the incidents; a context manager. What cannot be read is as if it were not there."""

    def __init__(self, data: Path, near: Neighbourhood, now: Callable[[], float], patience_seconds: float) -> None:
        """Take the parts; no search of the journal begins when ``patience_seconds`` have gone by."""
        self._journal = JournalReader(data / "journal")
        self._incidents = IncidentReader(data)
        self._near, self._now, self._until = near, now, now() + patience_seconds

    def match(self, complaint: Complaint, reporter: str) -> Match:
        """Return what a complaint is about, by the most certain thing it names; ``reporter`` is "" for a forged one."""
        domain = _organisation(reporter)
        for match in self._candidates(complaint, domain):
            return match
        return Match()

    def _candidates(self, complaint: Complaint, domain: str) -> Iterator[Match]:
        for trace_id in complaint.trace_ids:
            told = [event for event in self._journal.of_trace(trace_id) if isinstance(event, MessageJudged)]
            judged = told[0] if told else None
            if found := self._of_mail("trace id", trace_id, judged, self._incidents.by_trace(trace_id)):
                yield replace(found, is_proven=True)
        for message_id in complaint.message_ids:
            sightings = self._incidents.by_message_id(message_id)
            judged = None if sightings else self._judged(message_id)
            trace_id = sightings[0].sighting.trace_id if sightings else judged.trace_id if judged else ""
            if found := self._of_mail("Message-ID", trace_id, judged, sightings):
                yield replace(found, is_proven=bool(domain) and domain in _recipients(judged, sightings))
        for address in complaint.sources:
            for kind in SourceKind:
                source = Source.at(address, kind) if kind is not SourceKind.ACCOUNT else None
                if source is not None and (incident := self._incident_of(source)):
                    yield Match(by="source", source=source, incident=incident)
        for address in complaint.sources[:1]:
            yield Match(by="", source=Source.at(address))

    def _judged(self, message_id: str) -> MessageJudged | None:
        """Return the journal's latest word on a Message-ID; a list of made-up ones must not keep the desk for hours."""
        for days in _LOOK_BACK_DAYS:
            now = self._now()
            if now >= self._until:
                return None
            events = self._journal.mentioning(message_id, now - days * _DAY_SECONDS, _MOST_EVENTS)
            named = [e for e in events if isinstance(e, MessageJudged) and _same(e.message_id, message_id)]
            if named:
                return named[-1]
        return None

    def _of_mail(
        self, by: str, trace_id: str, judged: MessageJudged | None, sightings: list[StoredSighting]
    ) -> Match | None:
        if judged is None and not sightings:
            return None
        source = self._sender(judged) if judged is not None else None
        incident = sightings[0].incident if sightings else None
        if sightings:
            source = sightings[0].sighting.source
        elif source is not None:
            incident = self._incident_of(source)
        message_id = judged.message_id if judged is not None else sightings[0].sighting.message_id
        return Match(by=by, trace_id=trace_id, message_id=message_id, source=source, incident=incident)

    def _sender(self, judged: MessageJudged) -> Source:
        return self._near.source(judged.client, judged.reverse_path, role=judged.role, origin=judged.origin)

    def _incident_of(self, source: Source) -> int | None:
        """Return a source's newest incident that is not closed."""
        found: list[Incident] = self._incidents.by_source(source)
        return next((incident.id for incident in found if incident.state is not State.CLOSED), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()
        self._incidents.close()


def _recipients(judged: MessageJudged | None, sightings: list[StoredSighting]) -> set[str]:
    """Return the organisations that a mail went to."""
    addresses = [disposition[0] for disposition in judged.dispositions] if judged is not None else []
    addresses += [address for each in sightings for address in each.sighting.recipients]
    return {_organisation(address) for address in addresses}


def _organisation(address: str) -> str:
    """Return the domain that somebody registered: a provider's reports come from names of their own below it."""
    domain = address.rpartition("@")[2].lower()
    return registrable(domain) or domain


def _same(one: str, other: str) -> bool:
    return one.strip("<> ") == other.strip("<> ")
