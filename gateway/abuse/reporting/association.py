"""Batches for the Internet association (contract.md §4 a), on a schedule: mails or files.

A batch has the confirmed sources from outside that were seen since they were last told: each once, until seen again.
As a mail it has a table and a XARF document for each source beside each other; feedback reports are mails of their
own. Into a folder go the same as files, written before they are put on record: a batch begun twice has the same
names.
"""

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.abuse.identity import signature
from gateway.abuse.reporting import table, xarf
from gateway.abuse.reporting.case import Case, Cases
from gateway.abuse.reporting.contacts import Contact
from gateway.abuse.reporting.draft import ASSOCIATION, Draft
from gateway.abuse.reporting.operators import OperatorReports, moment
from gateway.abuse.writing import Attachment, Letter, Writer, template, write
from gateway.config.abuse_desk import Association, Reporting
from gateway.incidents import Incident, IncidentReader
from gateway.incidents.reader import INCIDENT_COLUMNS, incident_of
from gateway.storage import DurableFiles

# Sources in one batch: with 32 KiB of evidence each in base64 they stay below 8 MiB; the rest follow in
# the next, at once.
MOST_IN_A_BATCH = 100
MARK = "association"
# RFC 7111 §5.1: a first line with the columns' names.
_TABLE = (("charset", "utf-8"), ("header", "present"))
# Behind the first file's name, where there are so many.
_MORE = {"en": " and others, {} files in all", "zh": " 等 {} 个文件"}
_DAY_SECONDS = 86_400.0
_DUE = f"""
SELECT {INCIDENT_COLUMNS} FROM incident
WHERE confirmed_at IS NOT NULL AND state <> 'closed' AND source_kind IN ('network', 'hop') AND NOT EXISTS (
    SELECT 1 FROM report_incident JOIN report ON report.id = report_incident.report
    WHERE report_incident.incident = incident.id AND report.kind = 'association'
        AND report.at >= min(incident.last_seen, ?)
) ORDER BY last_seen LIMIT ?"""  # noqa: S608 - constants


def is_due(settings: Association, last: float | None, now: float) -> bool:
    """Whether a batch is due: at the time of day, or so long after the last one where that is less than a day."""
    if not (settings.address or settings.folder):
        return False
    if last is None or settings.every < _DAY_SECONDS:
        return last is None or now - last >= settings.every
    today = datetime.fromtimestamp(now, UTC).replace(
        hour=settings.at.hour, minute=settings.at.minute, second=0, microsecond=0
    )
    latest = today if today.timestamp() <= now else today - timedelta(days=1)
    return last < latest.timestamp() and now - last >= settings.every - _DAY_SECONDS / 2


def due(reader: IncidentReader, begun: float) -> list[Incident]:
    """Return the incidents of the next batch, without those told since ``begun``, even where they were seen again."""
    return [incident_of(row) for row in reader.rows(_DUE, (begun, MOST_IN_A_BATCH))]


class AssociationReports:
    """Drafts a batch; blocking."""

    def __init__(self, data: Path, settings: Reporting, writer: Writer, operators: OperatorReports) -> None:
        self._data, self._settings, self._writer = data, settings, writer
        self._association, self._operators = settings.association, operators

    def drafts(
        self, now: float, token: Callable[[], str], begun: float = math.inf
    ) -> Iterator[tuple[Draft, tuple[Attachment, ...]]]:
        """Yield the reports of a batch, those into a folder with their files; ``begun`` as ``due`` has it."""
        with IncidentReader(self._data) as reader:
            incidents = due(reader, begun)
        with Cases(self._data, self._settings) as cases:
            batch = [cases.of(incident) for incident in incidents]
        if not batch:
            return
        files = tuple(self._files(batch, now))
        formats = "+".join(each for each in self._association.formats if each != "arf")
        numbers = tuple(case.incident.id for case in batch)
        if self._association.folder is not None:
            names = ", ".join(file.name for file in files)
            place = f"{self._association.folder}/{_stamp(now)}"
            yield Draft(kind=ASSOCIATION, format=formats, recipient=place, incidents=numbers, file=names), files
        if self._association.address and files:
            written = write(self._letter(batch, files, now), self._writer, token=token(), returned=True)
            to = self._association.address
            yield Draft(kind=ASSOCIATION, format=formats, recipient=to, incidents=numbers, written=written), ()
        if self._association.address and "arf" in self._association.formats:
            contact = Contact(address=self._association.address, origin=ASSOCIATION)
            for case in batch:
                single = self._operators.draft(case, contact, token(), now)
                yield _of_association(single), ()

    def _files(self, batch: list[Case], now: float) -> Iterator[Attachment]:
        stamp = _stamp(now)
        if "csv" in self._association.formats:
            name = f"spam-sources-{stamp}.csv"
            yield Attachment(name=name, kind="text/csv", octets=table.write(batch), parameters=_TABLE)
        if "xarf" in self._association.formats:
            for case in batch:
                name = f"xarf-{stamp}-{case.incident.id}.json"
                yield Attachment(name=name, kind="application/json", octets=xarf.write(case, self._writer))

    def _letter(self, batch: list[Case], files: tuple[Attachment, ...], now: float) -> Letter:
        subject, text = template(
            "association",
            self._settings.language,
            {
                "day": moment(now)[:10],
                "count": len(batch),
                "organisation": self._writer.organisation or self._writer.hostname,
                "since": moment(min(case.incident.first_seen for case in batch)),
                "until": moment(max(case.incident.last_seen for case in batch)),
                "messages": sum(case.incident.sightings for case in batch),
                "files": files[0].name + (_MORE[self._settings.language].format(len(files)) if files[1:] else ""),
                "signature": signature(self._writer),
            },
        )
        return Letter(
            to=self._association.address,
            subject=subject,
            text=text,
            at=now,
            purpose="association-report",
            automatic="auto-generated",
            attachments=files,
        )


def store(folder: Path, files: tuple[Attachment, ...], now: float) -> None:
    """Write a batch's files into its folder, durable on return; StorageError."""
    writer = DurableFiles()
    for file in files:
        writer.write(folder / _stamp(now) / file.name, [file.octets])


def _of_association(draft: Draft) -> Draft:
    return Draft(
        kind=ASSOCIATION,
        format=draft.format,
        recipient=draft.recipient,
        incidents=draft.incidents,
        written=draft.written,
    )


def _stamp(now: float) -> str:
    return f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"
