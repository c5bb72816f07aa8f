"""One incident as one file for whoever shall look at it: a tar archive that proves itself.

    manifest.json       which incident, when and by whom exported, the excerpt's place in the chain, every file's digest
    chain.jsonl         the incident's rows of the chain, whole or with what is personal sealed
    links.bin           of every row between them its payload's digest, 32 octets: enough to compute the digests
    sightings.jsonl     the last sightings
    evidence/N.eml      the messages; redacted ones with pseudonyms (RFC 6590), else octet by octet as received
    manifest.sha256     the manifest's digest

``verify_bundle`` computes every digest of the excerpt anew and every file's, asks for each message that the chain
names, and writes the archive again from what it read: an octet changed anywhere makes a difference. Who alters all of
it consistently has another chain: with the house's record at hand the rows must be those of the record, and the
bundle's own digest stands there since its export. Redacted messages are held to the manifest; that they stem from those
on record only the house can tell.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.incidents.chain import COLUMNS, ROOT, Anchor, Row, link, stored_row
from gateway.incidents.evidence import EvidenceStore
from gateway.incidents.reader import EvidenceRow, IncidentReader
from gateway.incidents.redaction import Redactor, key_fingerprint
from gateway.incidents.values import Incident, Source, SourceKind
from gateway.incidents.verification import Flaw
from gateway.storage import StorageError

FORMAT = "tidegate-incident-bundle"
VERSION = 1
# What a receiver reads; the chain covers the rest.
MAX_SIGHTINGS = 1000
# A bundle is read into memory.
MAX_OCTETS = 1024**3
_HASH_OCTETS = 32
# What a redacted bundle tells of a row; everything else is sealed: who works here, whom the mail was for, what was
# written about people. A name that another room invents is sealed until it stands here.
_TOLD = frozenset(
    {
        *("at", "operation", "kind", "incident"),
        *("facts.source_kind", "facts.source_key", "facts.first_seen", "facts.previous", "facts.from", "facts.to"),
        *(
            "facts.state",
            "facts.resolution",
            "facts.evidence",
            "facts.trace_id",
            "facts.at",
            "facts.sha256",
            "facts.octets",
        ),
        *("facts.stored_sha256", "facts.stored_octets", "facts.about.policy", "facts.about.tls"),
        *("facts.about.envelope.reverse_path", "facts.clock", "facts.clock_kind", "facts.due_at", "facts.redacted"),
        *("facts.until", "facts.network"),
    }
)
_TOLD_PREFIXES = ("facts.about.connection.", "facts.about.tls.")
# Of a source that is one of our own users.
_OURS = ("facts.source_key", "facts.about.envelope.reverse_path", "facts.about.connection.")


class BundleError(Exception):
    """The incident cannot be exported as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An exported incident: the archive's octets and their digest."""

    octets: bytes
    sha256: str
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleVerification:
    """What was found in a bundle: sound when there are no flaws; ``head`` is where its excerpt ends."""

    flaws: tuple[Flaw, ...]
    incident: int
    rows: int
    messages: int
    redacted: bool
    head: Anchor
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """How an incident is to be exported; without a ``key`` nothing is redacted."""

    at: float
    by: str
    key: bytes | None


class Exporter:
    """Makes bundles from a record; raises StorageError, BundleError, EvidenceBrokenError."""

    def __init__(self, reader: IncidentReader, store: EvidenceStore) -> None:
        self._reader, self._store = reader, store

    def export(self, number: int, export: Export) -> Bundle:
        """Return an incident as a bundle."""
        incident, rows = self._reader.incident(number), self._reader.timeline(number)
        if incident is None or not rows:
            raise BundleError(f"there is no incident {number}")
        kept = [row for row in self._reader.evidence(number) if row.removed_at is None]
        redactor = _redactor(export.key, incident, kept, self._reader)
        files: dict[str, bytes] = {}
        excerpt = [_sealed(row, incident.source) for row in rows] if redactor else rows
        files["chain.jsonl"] = _lines(_row_value(row) for row in excerpt)
        files["links.bin"] = self._links(rows)
        files["sightings.jsonl"] = _lines(self._sightings(number, redactor))
        names = {}
        for row in kept:
            names[row.id] = f"evidence/{row.id}.eml"
            files[names[row.id]] = self._message(row, redactor)
        manifest = _manifest(incident, export, excerpt, self._before(rows[0].number))
        manifest["evidence"] = {name: number for number, name in names.items()}
        return _packed(manifest, files, int(export.at), len(kept))

    def _before(self, number: int) -> str:
        rows = self._reader.rows("SELECT digest FROM chain WHERE number = ?", (number - 1,))
        return str(rows[0][0]) if rows else ROOT.hex()

    def _links(self, rows: Sequence[Row]) -> bytes:
        """Return the payload digests of the rows in between."""
        between = self._reader.rows(
            f"SELECT {COLUMNS} FROM chain WHERE number > ? AND number < ? AND incident IS NOT ? ORDER BY number",  # noqa: S608 - constants
            (rows[0].number, rows[-1].number, rows[0].incident),
        )
        return b"".join(stored_row(values).payload() for values in between)

    def _sightings(self, number: int, redactor: Redactor | None) -> Iterator[dict[str, Any]]:
        for stored in reversed(self._reader.sightings(number, MAX_SIGHTINGS)):
            sighting = stored.sighting
            value = {
                "id": stored.id,
                "at": sighting.at,
                "trace_id": sighting.trace_id,
                "client": sighting.client,
                "helo": sighting.helo,
                "reverse_path": sighting.reverse_path,
                "recipients": list(sighting.recipients),
                "message_id": sighting.message_id,
                "subject": sighting.subject,
                "grounds": list(sighting.grounds),
                "findings": list(sighting.findings),
                "action": sighting.action,
                "octets": sighting.octets,
                "virus": sighting.virus,
            }
            yield redactor.value(value) if redactor else value

    def _message(self, row: EvidenceRow, redactor: Redactor | None) -> bytes:
        content = self._store.read(row)
        if redactor is None:
            return content
        # Who complained is nobody's spam source.
        return redactor.complaint(content) if is_complaint(row) else redactor.message(content)


def _redactor(
    key: bytes | None, incident: Incident, kept: Sequence[EvidenceRow], reader: IncidentReader
) -> Redactor | None:
    """Return who hides our users and complainants: whom this incident's mail was for, an account that sent it."""
    if key is None:
        return None
    private: set[str] = set()
    if incident.source.kind is SourceKind.ACCOUNT:
        private.add(incident.source.key)
    for stored in reader.sightings(incident.id, MAX_SIGHTINGS):
        private |= set(stored.sighting.recipients)
    for row in kept:
        envelope = row.facts.get("envelope")
        if isinstance(envelope, Mapping):
            private |= {str(each) for each in envelope.get("recipients", ())}
        if is_complaint(row):
            private.add(str(row.facts["complaint"].get("reporter", "")))
    return Redactor(key, private)


def is_complaint(row: EvidenceRow) -> bool:
    """Whether a kept message is a complaint's, not a spam source's."""
    return isinstance(row.facts.get("complaint"), Mapping)


def _sealed(row: Row, source: Source) -> Row:
    def hidden(name: str) -> bool:
        if source.kind.is_ours and name.startswith(_OURS):
            return True
        return name not in _TOLD and not name.startswith(_TOLD_PREFIXES)

    return row.without(hidden)


def _manifest(incident: Incident, export: Export, rows: Sequence[Row], before: str) -> dict[str, Any]:
    key = export.key
    source = incident.source.key
    if key is not None and incident.source.kind is SourceKind.ACCOUNT:
        source = Redactor(key).pseudonym(source)
    return {
        "format": FORMAT,
        "version": VERSION,
        "incident": incident.id,
        "source_kind": incident.source.kind.value,
        "source": source,
        "state": incident.state.value,
        "grounds": list(incident.grounds),
        "sightings": incident.sightings,
        "first_seen": incident.first_seen,
        "last_seen": incident.last_seen,
        "exported_at": export.at,
        "exported_by": "" if key else export.by,
        "redacted": key is not None,
        "redaction_key": key_fingerprint(key) if key else "",
        "chain": {
            "first": rows[0].number,
            "before": before,
            "last": rows[-1].number,
            "digest": rows[-1].digest,
        },
    }


def _row_value(row: Row) -> dict[str, Any]:
    return {
        "number": row.number,
        "fields": dict(row.fields),
        "salts": dict(row.salts),
        "sealed": dict(row.sealed),
        "digest": row.digest,
    }


def _lines(values: Iterator[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(value, ensure_ascii=False).encode("utf-8") + b"\n" for value in values)


def _packed(manifest: dict[str, Any], files: Mapping[str, bytes], at: int, messages: int) -> Bundle:
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(octets).hexdigest(), "octets": len(octets)} for name, octets in files.items()
    }
    told = json.dumps(manifest, ensure_ascii=False, indent=1).encode("utf-8") + b"\n"
    seal = hashlib.sha256(told).hexdigest().encode("ascii") + b"\n"
    octets = _tar({"manifest.json": told, **files, "manifest.sha256": seal}, at)
    return Bundle(octets=octets, sha256=hashlib.sha256(octets).hexdigest(), messages=messages)


def _tar(files: Mapping[str, bytes], at: int) -> bytes:
    """Return an archive that is the same for the same files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, octets in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(octets), at, 0o644
            archive.addfile(entry, io.BytesIO(octets))
    return out.getvalue()


# Verifying ------------------------------------------------------------------------------------------------------------


def verify_bundle(path: Path, data: Path | None = None) -> BundleVerification:
    """Verify a bundle by itself, and against the record under ``data`` where that is given; OSError."""
    octets = path.read_bytes() if path.stat().st_size <= MAX_OCTETS else b""
    flaws: list[Flaw] = []
    files, manifest = _opened(octets, flaws)
    rows = _rows(files.get("chain.jsonl", b""), flaws)
    if manifest:
        try:
            _check_chain(manifest, rows, files.get("links.bin", b""), flaws)
            _check_messages(manifest, rows, files, flaws)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            flaws.append(Flaw("manifest.json", f"it does not say what a manifest says: {error}"))
    sha256 = hashlib.sha256(octets).hexdigest()
    if data is not None and not flaws:
        flaws += _against(data, manifest, rows, sha256)
    head = manifest.get("chain", {}) if isinstance(manifest.get("chain"), dict) else {}
    return BundleVerification(
        flaws=tuple(dict.fromkeys(flaws)),
        incident=int(manifest.get("incident", 0)) if not flaws else 0,
        rows=len(rows),
        messages=len(manifest.get("evidence", ())),
        redacted=bool(manifest.get("redacted")),
        head=Anchor(int(head["last"]), str(head["digest"])) if head and not flaws else Anchor(0, ROOT.hex()),
        sha256=sha256,
    )


def _opened(octets: bytes, flaws: list[Flaw]) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the files and the manifest; what does not fit is told."""
    files: dict[str, bytes] = {}
    times: set[float] = set()
    try:
        with tarfile.open(fileobj=io.BytesIO(octets), mode="r:") as archive:
            for entry in archive:
                content = archive.extractfile(entry) if entry.isreg() else None
                files[entry.name] = content.read() if content else b""
                times.add(entry.mtime)
        manifest = json.loads(files["manifest.json"])
        listed = {name: value["sha256"] for name, value in manifest["files"].items()}
        same = _tar(files, int(max(times))) == octets
    except (
        tarfile.TarError,
        EOFError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
        OSError,
    ) as error:
        flaws.append(Flaw("bundle", f"it cannot be read: {error}"))
        return {}, {}
    if manifest.get("format") != FORMAT or manifest.get("version") != VERSION:
        flaws.append(Flaw("manifest.json", f"it is no {FORMAT} of version {VERSION}"))
    if files.get("manifest.sha256", b"").decode("ascii", "replace").strip() != _sha256(files["manifest.json"]):
        flaws.append(Flaw("manifest.json", "it was altered"))
    for name in sorted({*listed, *files} - {"manifest.json", "manifest.sha256"}):
        if name not in files:
            flaws.append(Flaw(name, "it is missing"))
        elif name not in listed:
            flaws.append(Flaw(name, "it was added"))
        elif _sha256(files[name]) != listed[name]:
            flaws.append(Flaw(name, "it was altered"))
    if not same and not flaws:
        flaws.append(Flaw("bundle", "the archive itself was altered"))
    return files, manifest


def _sha256(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


def _rows(lines: bytes, flaws: list[Flaw]) -> list[Row]:
    try:
        return [Row(**json.loads(line)) for line in lines.splitlines()]
    except (ValueError, TypeError) as error:
        flaws.append(Flaw("chain.jsonl", f"it cannot be read: {error}"))
        return []


def _check_chain(manifest: dict[str, Any], rows: Sequence[Row], links: bytes, flaws: list[Flaw]) -> None:
    """Compute every digest from the row before the first to the last."""
    place = manifest["chain"]
    first, last = int(place["first"]), int(place["last"])
    if len(links) != _HASH_OCTETS * (last - first + 1 - len(rows)):
        flaws.append(Flaw("links.bin", "rows are missing"))
        return
    by_number = {row.number: row for row in rows}
    digest, at = bytes.fromhex(place["before"]), 0
    for number in range(first, last + 1):
        row = by_number.get(number)
        if row is None:
            payload, at = links[at : at + _HASH_OCTETS], at + _HASH_OCTETS
        else:
            payload = row.payload()
            if row.fields.get("incident") != manifest["incident"]:
                flaws.append(Flaw(f"chain {number}", "it concerns another incident"))
        digest = link(digest, number, payload)
        if row is not None and digest.hex() != row.digest:
            flaws.append(Flaw(f"chain {number}", "it, or a row before it, was altered"))
            return
    if digest.hex() != place["digest"]:
        flaws.append(Flaw(f"chain {last}", "it is not the row that the manifest names"))


def _check_messages(
    manifest: dict[str, Any], rows: Sequence[Row], files: Mapping[str, bytes], flaws: list[Flaw]
) -> None:
    """Ask for each message that the chain names and that was not removed."""
    removed = {row.facts.get("evidence") for row in rows if row.kind == "evidence-removed"}
    named = {number: name for name, number in manifest["evidence"].items()}
    for row in rows:
        number = row.facts.get("evidence")
        if row.kind != "evidence" or number in removed:
            continue
        name = named.pop(number, "")
        content = files.get(name)
        if content is None:
            flaws.append(Flaw(f"evidence {number}", "the message is missing"))
        elif not manifest["redacted"] and _sha256(content) != row.facts["sha256"]:
            flaws.append(Flaw(name, "it is not the message on record"))
    flaws += [Flaw(name, "the chain does not name it") for name in named.values()]


def _against(data: Path, manifest: dict[str, Any], rows: Sequence[Row], sha256: str) -> Iterator[Flaw]:
    """Hold a bundle against the house's record."""
    try:
        with IncidentReader(data) as reader:
            for row in rows:
                found = reader.rows("SELECT digest FROM chain WHERE number = ?", (row.number,))
                if not found or found[0][0] != row.digest:
                    yield Flaw(f"chain {row.number}", "it is not the row of the record")
            exported = [row for row in reader.timeline(manifest["incident"]) if row.kind == "exported"]
    except StorageError as error:
        yield Flaw("record", str(error))
        return
    if not any(row.facts.get("sha256") == sha256 or "facts.sha256" in row.sealed for row in exported):
        yield Flaw("bundle", "this record never exported it")
