"""Restoring a part: one message, one account's mail with its operation log, or files by name.

    INTO/messages/ID.eml     the content as it was received        INTO/messages/ID.json   envelope and states
    INTO/operations.jsonl    what the journals tell of an account  INTO/ledger.jsonl       its delays
    INTO/account.jsonl       its incidents and suspensions         INTO/incident-N.tar     one incident, its evidence
    INTO/data/…              files chosen by a pattern

An account is a mailbox or a domain; mail from it and to it is its mail. The journal finds mailboxes only: for a domain
the operation log is what its ledger rows tell.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

from gateway.backup.databases import discard
from gateway.backup.errors import BackupError
from gateway.backup.evidence import SavedIncidents
from gateway.backup.manifest import Manifest, SavedFile, SpoolSummary
from gateway.backup.packs import PackReader
from gateway.backup.repository import Repository, Run
from gateway.backup.restore import write_file
from gateway.journal.codec import as_dict
from gateway.journal.reader import JournalReader
from gateway.ledger import Ledger
from gateway.storage import ReadDatabase, Row, open_readonly

# All there are: the account's own log, not a page of it.
_ALL = 10_000_000
_LEDGER = "data/spool/"
_JOURNAL = "data/journal/"
_MESSAGES = (
    "SELECT trace_id, sender_address, client, helo, received_at, octets, filed FROM message WHERE trace_id IN "
    "(SELECT value FROM json_each(?))"
)
_COPIES = "SELECT number, address, state, action, reason FROM recipient WHERE trace_id = ? ORDER BY number"
_OF_ACCOUNT = (
    "SELECT trace_id FROM message WHERE sender_address = ?1 OR substr(sender_address, -length(?2)) = ?2 UNION "
    "SELECT trace_id FROM recipient WHERE address = ?1 OR substr(address, -length(?2)) = ?2"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be restored; at least one is given. ``paths`` are patterns over the saved paths."""

    trace_ids: tuple[str, ...] = ()
    account: str = ""
    paths: tuple[str, ...] = ()
    incidents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Who:
    """Whose command it is, and when: an incident's bundle says so; UTC seconds."""

    name: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """How much there was."""

    messages: int
    events: int
    delays: int
    files: int
    records: int = 0
    incidents: int = 0

    @property
    def nothing(self) -> bool:
        """Whether the backup has nothing of what was wanted."""
        return not any(astuple(self))


def extract(repository: Repository, run: Run, into: Path, wanted: Wanted, who: Who) -> Extracted:
    """Restore parts of a run into an empty folder; BackupError, DamagedError or StorageError."""
    with repository.reading():
        manifest = repository.manifest(run)
        _begin(into)
        with (
            repository.reader(manifest) as reader,
            TemporaryDirectory(prefix=".restoring-", dir=into) as scratch,
        ):
            part = _Part(manifest, reader, into, Path(scratch))
            incidents = SavedIncidents(manifest, reader, Path(scratch))
            try:
                found = Extracted(
                    files=part.files(wanted.paths),
                    messages=part.messages(wanted),
                    delays=part.delays(wanted.account),
                    events=part.events(wanted.account),
                    records=_account(incidents, wanted.account, into),
                    incidents=sum(_incident(incidents, number, into, who) for number in wanted.incidents),
                )
            except OSError as error:
                raise BackupError(f"{into}: {error.strerror or error}") from error
    if found.nothing:
        # So that it can be asked again with another name.
        rmtree(into)
    return found


def _account(incidents: SavedIncidents, account: str, into: Path) -> int:
    found = incidents.of_account(account) if account else []
    if found:
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in found)
        (into / "account.jsonl").write_text("".join(lines), encoding="utf-8")
    return len(found)


def _incident(incidents: SavedIncidents, number: int, into: Path, who: Who) -> bool:
    bundle = incidents.bundle(number, who.at, who.name)
    if bundle is not None:
        (into / f"incident-{number}.tar").write_bytes(bundle.octets)
    return bundle is not None


def _begin(into: Path) -> None:
    try:
        into.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(into.iterdir()):
            raise BackupError(f"{into} is not empty; restore into an empty folder")
    except OSError as error:
        raise BackupError(f"{into}: {error.strerror or error}") from error


class _Part:
    def __init__(self, manifest: Manifest, reader: PackReader, into: Path, scratch: Path) -> None:
        self._manifest, self._reader, self._into, self._scratch = manifest, reader, into, scratch
        self._saved = {file.path: file for file in manifest.files}

    def files(self, patterns: tuple[str, ...]) -> int:
        """Write the files that a pattern names."""
        chosen = [file for file in self._manifest.files if any(fnmatchcase(file.path, p) for p in patterns)]
        for file in chosen:
            write_file(file, self._reader, self._into / file.path)
        return len(chosen)

    def messages(self, wanted: Wanted) -> int:
        """Write the messages of an account and those named."""
        if not (wanted.account or wanted.trace_ids):
            return 0
        (self._into / "messages").mkdir()
        return sum(self._of_shard(shard, wanted) for shard in self._manifest.spool if shard.path in self._saved)

    def _of_shard(self, shard: SpoolSummary, wanted: Wanted) -> int:
        image = self._scratch / "image.sqlite"
        write_file(self._saved[shard.path], self._reader, image)
        try:
            with open_readonly(image) as database:
                chosen = set(wanted.trace_ids)
                if wanted.account:
                    account = wanted.account.casefold()
                    chosen |= {row[0] for row in database.read(_OF_ACCOUNT, (account, f"@{account}"))}
                rows = database.read(_MESSAGES, (json.dumps(sorted(chosen)),))
                for row in rows:
                    self._message(database, shard, row)
        finally:
            discard(image)
        return len(rows)

    def _message(self, database: ReadDatabase, shard: SpoolSummary, row: Row) -> None:
        trace_id, sender, client, helo, received_at, octets, filed = row
        target = self._into / "messages" / f"{trace_id}.eml"
        if filed:
            saved = self._saved.get(f"data/spool/content/{shard.shard}/{trace_id[-2:]}/{trace_id}")
            if saved is not None:
                write_file(saved, self._reader, target)
        else:
            ((content,),) = database.read("SELECT content FROM message WHERE trace_id = ?", (trace_id,))
            target.write_bytes(content)
        names = ("number", "address", "state", "action", "reason")
        story: dict[str, Any] = {
            "id": trace_id,
            "reverse_path": sender or "",
            "client": client,
            "helo": helo,
            "received_at": received_at,
            "octets": octets,
            "content": target.exists(),
            "recipients": [dict(zip(names, copy, strict=True)) for copy in database.read(_COPIES, (trace_id,))],
        }
        target.with_suffix(".json").write_text(json.dumps(story, ensure_ascii=False, indent=1), encoding="utf-8")

    def delays(self, account: str) -> int:
        """Write the ledger rows of an account."""
        if not account:
            return 0
        found = 0
        with (self._into / "ledger.jsonl").open("w", encoding="utf-8") as file:
            for folder in self._each(_LEDGER):
                for record in Ledger(folder / "data").between(0.0, float("inf")):
                    if _is_of(account, record.recipient) or _is_of(account, record.reverse_path):
                        file.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
                        found += 1
        return found

    def events(self, account: str) -> int:
        """Write what the journals tell of an account."""
        if "@" not in account:
            return 0
        found = 0
        with (self._into / "operations.jsonl").open("w", encoding="utf-8") as file:
            for folder in self._each(_JOURNAL):
                reader = JournalReader(folder / "data/journal")
                events = reader.mentioning(account, 0.0, _ALL)
                reader.close()
                found += len(events)
                file.writelines(json.dumps(as_dict(event)) + "\n" for event in events)
        return found

    def _each(self, prefix: str) -> Iterator[Path]:
        """Yield the scratch folder with one database of a kind in it at a time, in order."""
        for file in self._databases(prefix):
            target = self._scratch / file.path
            write_file(file, self._reader, target)
            try:
                yield self._scratch
            finally:
                discard(target)

    def _databases(self, prefix: str) -> list[SavedFile]:
        found = [f for f in self._manifest.files if f.kind == "database" and f.path.startswith(prefix)]
        return sorted(found, key=lambda f: f.path)


def _is_of(account: str, address: str) -> bool:
    ours, theirs = account.casefold(), address.casefold().strip("<>")
    return theirs == ours or theirs.endswith(f"@{ours}")
