"""What breaks if these fail: after a disaster mail that was acknowledged is gone, or is delivered twice."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.backup.errors import BackupError, DamagedError
from gateway.backup.repository import Repository, Run
from gateway.backup.restore import Wishes, restore
from gateway.backup.verify import Verification
from gateway.cli.main import app
from gateway.journal.reader import JournalReader
from gateway.ledger import Ledger
from gateway.spool.message import QueueQuery, RecipientState
from tests.backup.conftest import Place, quiet

LARGE = 300_000


async def queued(place: Place, data: Path) -> dict[str, bytes]:
    """Return what a gateway on ``data`` would have in custody: content by trace id."""
    custody = place.custody(data)
    try:
        messages = await custody.select(QueueQuery(limit=-1))
        return {m.trace_id: b"".join((await custody.content(m)).chunks()) for m in messages}
    finally:
        custody.close_now()


def back(place: Place, name: str = "", into: str = "restored", wishes: Wishes | None = None) -> Path:
    repository = place.repository
    restore(repository, repository.find(name), place.folder / into, quiet, wishes)
    return place.folder / into


async def test_what_was_in_custody_comes_back_octet_by_octet(either: Place):
    custody = either.custody()
    small, large = await either.store(custody), await either.store(custody, octets=LARGE)
    held = await either.store(custody, state=RecipientState.QUARANTINED)
    either.backup("full")
    custody.close_now()
    wanted = await queued(either, either.data)
    assert set(wanted) == {small, large, held}
    shutil.rmtree(either.data)
    assert await queued(either, back(either) / "data") == wanted


async def test_a_backup_is_made_while_the_spool_is_served_and_is_one_moment(place: Place):
    """Nothing of the serving process is stopped or closed; what is stored after the run is in the next one."""
    custody = place.custody()
    first = await place.store(custody)
    assert place.backup("full").messages == 1
    second = await place.store(custody)
    manifest = place.backup()
    assert (manifest.kind, manifest.number, manifest.messages) == ("increment", 1, 2)
    assert manifest.last_received_at == place.clock.stamp().utc - 10
    third = await place.store(custody)
    custody.close_now()
    assert set(await queued(place, back(place) / "data")) == {first, second}
    before = await queued(place, back(place, "", "again") / "data")
    assert third not in before


async def test_every_run_restores_as_it_was(place: Place):
    custody = place.custody()
    ids, names = [], []
    for kind in ("full", "increment", "increment", "full", "increment"):
        ids.append(await place.store(custody, octets=LARGE))
        manifest = place.backup(kind)
        names.append(str(Run(manifest.chain, manifest.number)))
    custody.close_now()
    for number, name in enumerate(names):
        found = await queued(place, back(place, name, f"restored-{number}") / "data")
        assert sorted(found) == ids[: number + 1]


async def test_an_increment_stores_what_is_new_only(place: Place):
    custody = place.custody()
    for _ in range(20):
        await place.store(custody, octets=LARGE, state=RecipientState.QUARANTINED)
    full = place.backup("full")
    await place.store(custody)
    increment = place.backup()
    custody.close_now()
    assert len(increment.files) == len(full.files)
    assert increment.added_octets < full.added_octets / 5
    # Contents that were there are named by the chunks of the full run, not read and stored again.
    contents = [file for file in increment.files if "/content/" in file.path]
    assert len(contents) == 20
    assert {increment.packs[increment.chunks[i].pack].run for file in contents for i in file.chunks} == {0}


async def test_a_second_full_run_shares_nothing_with_the_first(place: Place):
    custody = place.custody()
    trace_id = await place.store(custody, octets=LARGE)
    first = place.backup("full")
    second = place.backup("full")
    custody.close_now()
    assert first.chain != second.chain
    shutil.rmtree(place.folder / "backup" / first.chain)
    assert set(await queued(place, back(place) / "data")) == {trace_id}


async def test_what_the_ledger_knows_as_delivered_is_not_sent_again(place: Place):
    """The old disk survived, the newest backup is older than a delivery: its ledger says so."""
    custody = place.custody()
    delivered, waiting = await place.store(custody), await place.store(custody)
    place.backup("full")
    await place.deliver(custody, delivered)
    custody.close_now()
    assert set(await queued(place, back(place) / "data")) == {delivered, waiting}
    into = back(place, "", "knowing", Wishes(surviving=place.data))
    assert set(await queued(place, into / "data")) == {waiting}


async def test_a_content_that_goes_while_it_is_saved_was_delivered(place: Place):
    """The row is in the copy, the file is gone: custody ended after the copy was made, so nothing is left to send."""
    custody = place.custody()
    leaving, staying = await place.store(custody, octets=LARGE), await place.store(custody, octets=LARGE)
    live = place.data / "spool" / "content" / "0" / leaving[-2:] / leaving

    def vanish(what: str, _: int) -> None:
        if what.endswith("shard-0.sqlite") and live.exists():
            # What settling does after its commit, at the moment between copy and contents.
            live.unlink()
            from gateway.storage.online import amend  # noqa: PLC0415 - only here a foreign hand writes the store

            amend(
                place.data / "spool" / "shard-0.sqlite",
                [
                    ("DELETE FROM recipient WHERE trace_id = ?", [(leaving,)]),
                    ("DELETE FROM message WHERE trace_id = ?", [(leaving,)]),
                ],
            )

    custody.close_now()
    manifest = place.backup("full", progress=vanish)
    assert manifest.spool[0].ended == (leaving,)
    assert (manifest.messages, manifest.problems) == (1, ())
    assert set(await queued(place, back(place) / "data")) == {staying}


async def test_a_content_missing_in_custody_is_an_alarm_and_the_rest_is_saved(place: Place):
    custody = place.custody()
    lost, kept = await place.store(custody, octets=LARGE), await place.store(custody)
    (place.data / "spool" / "content" / "0" / lost[-2:] / lost).unlink()
    manifest = place.backup("full")
    custody.close_now()
    assert any(lost in problem and "missing" in problem for problem in manifest.problems)
    assert kept in set(await _ids(place, back(place) / "data"))


async def _ids(place: Place, data: Path) -> list[str]:
    custody = place.custody(data)
    try:
        return [m.trace_id for m in await custody.select(QueueQuery(limit=-1))]
    finally:
        custody.close_now()


async def test_ledger_and_journal_tell_the_same_afterwards(place: Place):
    custody = place.custody()
    trace_id = await place.store(custody)
    await place.deliver(custody, trace_id)
    await place.judged(trace_id)
    place.backup("full")
    custody.close_now()
    data = back(place) / "data"
    assert list(Ledger(data).between(0, 2e9)) == list(Ledger(place.data).between(0, 2e9))
    before, after = JournalReader(place.data / "journal"), JournalReader(data / "journal")
    assert after.of_trace(trace_id) == before.of_trace(trace_id) != []


def test_the_configuration_comes_back_and_keys_only_encrypted(either: Place):
    manifest = either.backup("full")
    configuration = back(either) / "configuration"
    assert (configuration / "tidegate.toml").read_text() == 'hostname = "mx.test"\n'
    assert (configuration / "tls.key").exists() == (either.key is not None)
    if either.key is None:
        assert manifest.omitted == ((str(either.folder / "etc/tls.key"), "a key, and this backup is not encrypted"),)
    else:
        assert [file.path for file in manifest.files if file.secret] == ["configuration/tls.key"]


def test_nothing_of_a_mail_can_be_read_without_the_key(encrypted: Place):
    (encrypted.data / "note").write_text("a secret word " * 1000)
    encrypted.backup("full")
    stored = b"".join(path.read_bytes() for path in (encrypted.folder / "backup").rglob("*") if path.is_file())
    assert b"secret" not in stored
    assert b"note" not in stored
    other = Repository(encrypted.folder / "backup", bytes(32))
    with pytest.raises(BackupError, match="another key"):
        other.manifest(other.find(""))
    without = Repository(encrypted.folder / "backup", None)
    with pytest.raises(BackupError, match="its key is wanted"):
        without.manifest(without.find(""))


def test_a_key_that_is_not_at_hand_is_no_damage(encrypted: Place):
    """On the day nobody must be told that the backup is damaged because the key lies elsewhere still."""
    encrypted.backup("full")
    encrypted.backup()
    folder = encrypted.folder / "backup"
    with pytest.raises(BackupError, match="its key is wanted") as caught:
        Verification(Repository(folder, None), quiet).run("")
    assert not isinstance(caught.value, DamagedError)
    for command in ("list", "verify"):
        done = CliRunner().invoke(app, ["backup", command, "--folder", str(folder)])
        assert (done.exit_code, done.output.count("its key is wanted")) == (1, 1)
        assert "DAMAGED" not in done.output


def test_modes_and_times_come_back(place: Place):
    path = place.data / "blocklists" / "lists.json"
    path.parent.mkdir()
    path.write_text("{}")
    path.chmod(0o640)
    place.backup("full")
    found = (back(place) / "data/blocklists/lists.json").stat()
    assert (found.st_mode & 0o777, found.st_mtime_ns) == (0o640, path.stat().st_mtime_ns)


def test_what_belongs_to_the_running_machine_is_left_out(place: Place):
    for name in ("counters", "tidegate.pid", "spool/incoming/0/01X", "spool/shard-0.sqlite.lock"):
        (place.data / name).parent.mkdir(parents=True, exist_ok=True)
        (place.data / name).write_bytes(b"x")
    (place.data / "evidence").mkdir()
    (place.data / "evidence" / "new-kind-of-store").write_bytes(b"y")
    manifest = place.backup("full")
    paths = {file.path for file in manifest.files if file.path.startswith("data/")}
    assert paths == {"data/evidence/new-kind-of-store", "data/state/rates.table"}


def test_only_into_an_empty_folder(place: Place):
    place.backup("full")
    (place.folder / "restored").mkdir()
    (place.folder / "restored" / "precious").write_text("mine")
    with pytest.raises(BackupError, match="not empty"):
        back(place)
    assert [path.name for path in (place.folder / "restored").iterdir()] == ["precious"]


def test_a_folder_without_the_mark_is_not_filled(place: Place):
    """A disk that is not mounted leaves an empty folder behind, on the disk that must not fill up."""
    (place.folder / "backup" / "tidegate-backup").unlink()
    with pytest.raises(BackupError, match="mounted"):
        place.backup("full")
    assert list((place.folder / "backup").iterdir()) == []
