"""Messages kept whole as evidence: taken beside the mail path, filed by the keeper, read and checked later.

A worker puts a sample into ``data/incidents/incoming``: ``TRACEID.zst`` is the content as received, compressed, and
``TRACEID.json`` says what it is, written last, so that a sample is there whole or not at all. The keeper adopts it into
``data/incidents/evidence/XX/SHA256.zst``, named by the content's digest, with a row of the chain that seals both
digests and every fact. What a power failure left half adopted is adopted again.

Every octet counts: the digest of the stored file is on record as well as that of the content, since a compressed file
has octets that do not show in what it unpacks to.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from heapq import nsmallest
from pathlib import Path
from typing import Any

import zstandard

from gateway.incidents.book import Change
from gateway.incidents.chain import COLUMNS, clean, erase, stored_row
from gateway.incidents.reader import EvidenceRow
from gateway.incidents.schema import FOLDER
from gateway.mail.trace_id import LENGTH
from gateway.storage import DurableFiles

# Level 3 packs mail at 300 MB/s to a third or half.
_LEVEL = 3
# What a message may unpack to; larger than any that is taken (max_message).
MAX_OCTETS = 512 * 1024**2
_READ_OCTETS = 256 * 1024
_SUFFIXES = (".json", ".zst")
_IS_KEPT = "SELECT 1 FROM evidence WHERE trace_id = ? AND sha256 = ? AND removed_at IS NULL"


class EvidenceBrokenError(Exception):
    """A kept message is not there, or not as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One sample that waits to be adopted: its ``octets`` as they lie there."""

    trace_id: str
    at: float
    octets: int


def _leave(_: int) -> None:
    """Leave it to the system when a file is written to the disk."""


class Inbox:
    """``data/incidents/incoming``: the workers' end. Blocking: call it in a thread; raises StorageError.

    Nothing is synced: that would hold up the mail beside it. A power failure may take the samples of the last seconds;
    one that it tore is not what its digests say.
    """

    def __init__(self, data: Path, files: DurableFiles | None = None) -> None:
        self.folder = data / FOLDER / "incoming"
        self._files = files or DurableFiles(_leave)

    def put(self, trace_id: str, at: float, facts: Mapping[str, Any], content: Iterable[bytes]) -> int:
        """Leave a sample for the keeper, and return the octets written.

        ``facts`` are what is known of the message besides its content, plain values: by convention ``connection``,
        ``envelope``, ``tls``, ``findings``, ``policy``, each a mapping or list.
        """
        packed = pack(content)
        self._files.write(self.folder / f"{trace_id}.zst", [packed.octets])
        head = {
            "at": at,
            "sha256": packed.sha256,
            "octets": packed.length,
            "stored_sha256": hashlib.sha256(packed.octets).hexdigest(),
            "facts": clean(facts),
        }
        written = json.dumps(head).encode("ascii")
        self._files.write(self.folder / f"{trace_id}.json", [written])
        return len(packed.octets) + len(written)

    def waiting(self, *, after: str = "", most: int = 1_000_000) -> list[Waiting]:
        """Return what waits to be adopted, the oldest first, behind a trace id; at most so many."""
        found = []
        for trace_id in nsmallest(most, (each for each in self._names() if each > after)):
            path = self.folder / f"{trace_id}.json"
            try:
                octets = path.stat().st_size + path.with_suffix(".zst").stat().st_size
                at = path.stat().st_mtime
            except FileNotFoundError:
                continue
            found.append(Waiting(trace_id=trace_id, at=at, octets=octets))
        return found

    def _names(self) -> Iterator[str]:
        try:
            with os.scandir(self.folder) as entries:
                yield from (entry.name[:-5] for entry in entries if entry.name.endswith(".json"))
        except FileNotFoundError:
            return

    def octets(self) -> int:
        """Return how much waits, half-written samples too."""
        try:
            return sum(entry.stat().st_size for entry in os.scandir(self.folder))
        except FileNotFoundError:
            return 0

    def sweep(self, before: float) -> None:
        """Remove what a kill or a full disk left half-written before a UTC second."""
        names = set(self._names())
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                whole = entry.name.endswith(_SUFFIXES) and entry.name.partition(".")[0] in names
                if not whole and entry.stat().st_mtime < before:
                    Path(entry.path).unlink(missing_ok=True)

    def discard(self, trace_id: str) -> None:
        """Throw a sample away: its source has no incident."""
        for suffix in _SUFFIXES:
            (self.folder / f"{trace_id}{suffix}").unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Packed:
    """A message ready to be kept: compressed ``octets``, the ``length`` and digest of what they unpack to."""

    octets: bytes
    length: int
    sha256: str


def pack(content: Iterable[bytes]) -> Packed:
    """Return content compressed, with a checksum of its own, and its digest."""
    digest, length, packed = hashlib.sha256(), 0, io.BytesIO()
    with zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).stream_writer(packed, closefd=False) as writer:
        for piece in content:
            digest.update(piece)
            length += len(piece)
            writer.write(piece)
    return Packed(packed.getvalue(), length, digest.hexdigest())


class EvidenceStore:
    """``data/incidents/evidence``: adopting, reading, checking, removing. Blocking."""

    def __init__(self, data: Path, files: DurableFiles | None = None) -> None:
        self.folder = data / FOLDER / "evidence"
        self.inbox = Inbox(data, files)
        self._files = files or DurableFiles()

    def path(self, sha256: str) -> Path:
        """Return where the content of a digest lies."""
        return self.folder / sha256[:2] / f"{sha256}.zst"

    def adopt(self, change: Change, incident: int, trace_id: str) -> int | None:
        """File a waiting sample under an incident within a change; return the evidence's number.

        None when there is no such sample, or it is not what its facts say: then it is thrown away, on record. What
        waited is removed when the change is durable.
        """
        head = self._head(trace_id)
        if head is None:
            return None
        change.afterwards(lambda: self.inbox.discard(trace_id))
        if change.execute(_IS_KEPT, (trace_id, head.get("sha256"))):
            # Killed behind the change that filed it, before it was removed here.
            return None
        stored = self._file(trace_id, head)
        if stored is None:
            change.record("evidence-refused", incident, {"trace_id": trace_id, "reason": "not as it was written"})
            return None
        return self._enter(change, (incident, trace_id), head, stored)

    def keep(
        self, change: Change, incident: int | None, trace_id: str, packed: Packed, facts: Mapping[str, Any]
    ) -> int:
        """File a message that is at hand, such as a complaint, of an incident or of none; return the evidence's number.

        It is packed before the change begins, so that nobody waits for that.
        """
        head = {
            "at": change.at,
            "sha256": packed.sha256,
            "octets": packed.length,
            "stored_sha256": hashlib.sha256(packed.octets).hexdigest(),
            "facts": clean(facts),
        }
        path = self.path(packed.sha256)
        if not path.exists():
            self._files.write(path, [packed.octets])
        return self._enter(change, (incident, trace_id), head, path)

    def _head(self, trace_id: str) -> dict[str, Any] | None:
        if len(trace_id) != LENGTH or not trace_id.isalnum():
            return None
        try:
            head = json.loads((self.inbox.folder / f"{trace_id}.json").read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return head if isinstance(head, dict) else {}

    def _file(self, trace_id: str, head: dict[str, Any]) -> Path | None:
        """Return where the content lies now, by a second name until the first one goes; None when it is not right."""
        sha256, waiting = str(head.get("sha256", "")), self.inbox.folder / f"{trace_id}.zst"
        try:
            octets = waiting.read_bytes()
        except OSError:
            octets = b""
        if hashlib.sha256(octets).hexdigest() != head.get("stored_sha256") or _sha256_of(octets) != sha256:
            return None
        path = self.path(sha256)
        if not path.exists():
            self._files.write(path, [octets])
        return path

    def _enter(self, change: Change, of: tuple[int | None, str], head: Mapping[str, Any], path: Path) -> int:
        incident, trace_id = of
        stored = path.read_bytes()
        values: dict[str, Any] = {
            "trace_id": trace_id,
            "at": float(head["at"]),
            "sha256": head["sha256"],
            "octets": int(head["octets"]),
            "stored_sha256": hashlib.sha256(stored).hexdigest(),
            "stored_octets": len(stored),
        }
        facts = head["facts"]
        number = change.insert(
            f"INSERT INTO evidence (incident, {', '.join(values)}, facts, number)"  # noqa: S608 - names of this function
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
            (incident, *values.values(), json.dumps(facts, ensure_ascii=False, separators=(",", ":"))),
        )
        row = change.record("evidence", incident, {"evidence": number} | values | flat(facts))
        change.execute("UPDATE evidence SET number = ? WHERE id = ?", (row, number))
        return number

    def read(self, row: EvidenceRow) -> bytes:
        """Return a message as it was received; EvidenceBrokenError when it is gone or not what was kept."""
        if wrong := self.check(row):
            raise EvidenceBrokenError(wrong)
        return _unpacked(self.path(row.sha256).read_bytes())

    def check(self, row: EvidenceRow) -> str:
        """Return what is wrong with a kept message, "" for nothing."""
        name = f"evidence {row.id}"
        try:
            stored = self.path(row.sha256).read_bytes()
        except OSError:
            return f"{name}: its file is missing"
        if hashlib.sha256(stored).hexdigest() != row.stored_sha256:
            return f"{name}: its file was altered"
        if _sha256_of(stored) != row.sha256:
            return f"{name}: its content is not what was received"
        return ""

    def remove(self, change: Change, rows: Sequence[EvidenceRow], reason: str) -> None:
        """Remove kept messages within a change: the files go when it is durable, who and why is on record."""
        for row in rows:
            change.execute("UPDATE evidence SET removed_at = ?, facts = '{}' WHERE id = ?", (change.at, row.id))
            _erase(change, row.number)
            facts = {"evidence": row.id, "sha256": row.sha256, "reason": reason}
            change.record("evidence-removed", row.incident, facts)
        for sha256 in {row.sha256 for row in rows}:
            still = "SELECT 1 FROM evidence WHERE sha256 = ? AND removed_at IS NULL LIMIT 1"
            if not change.execute(still, (sha256,)):
                change.afterwards(partial(self.path(sha256).unlink, missing_ok=True))


def _erase(change: Change, number: int) -> None:
    """Forget what was said about a message: it is personal, and was kept for the message."""
    found = change.execute(f"SELECT {COLUMNS} FROM chain WHERE number = ?", (number,))  # noqa: S608 - constants
    erase(change, stored_row(found[0]), lambda name: name.startswith("facts.about."))


def flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts under the names they have in the chain: ``about.envelope.recipients``; two levels are told apart."""
    found: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            found |= {f"about.{name}.{inner}": each for inner, each in value.items()}
        else:
            found[f"about.{name}"] = value
    return found


def _sha256_of(stored: bytes) -> str:
    """Return the digest of what a compressed file holds, "" for one that is damaged."""
    try:
        return hashlib.sha256(_unpacked(stored)).hexdigest()
    except EvidenceBrokenError:
        return ""


def _unpacked(stored: bytes) -> bytes:
    pieces, length = [], 0
    try:
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(stored)) as reader:
            while piece := reader.read(_READ_OCTETS):
                length += len(piece)
                if length > MAX_OCTETS:
                    raise EvidenceBrokenError("it unpacks to more than any message")
                pieces.append(piece)
    except zstandard.ZstdError as error:
        raise EvidenceBrokenError(f"it does not unpack: {error}") from error
    return b"".join(pieces)
