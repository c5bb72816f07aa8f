"""What breaks if these fail: a backup is believed that cannot be restored, or an accident takes one that can be."""

import base64
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.backup.drill import Drilled, record
from gateway.backup.errors import BackupError, BusyError, DamagedError
from gateway.backup.frames import Sealer
from gateway.backup.repository import MARKER, Run
from gateway.backup.restore import Wishes, restore
from gateway.backup.retention import KeptAccount, keep_account, prune
from gateway.backup.scratch import Scratch, scratch_of
from gateway.backup.verify import Verification, Verified
from gateway.cli.main import app
from gateway.storage import StorageFull
from tests.backup.conftest import Place, quiet
from tests.system.parts import until

LARGE = 300_000


def verified(place: Place, name: str = "") -> Verified:
    return Verification(place.repository, quiet).run(name)


def stored(place: Place) -> list[Path]:
    """Return every file of the backup; who holds the lock is no part of it."""
    return sorted(p for p in (place.folder / "backup").rglob("*") if p.is_file() and p.name != "lock")


async def with_mail(place: Place) -> tuple[str, str]:
    """Store two mails and make a full run and an increment of each; return the runs' names."""
    custody = place.custody()
    await place.store(custody, octets=LARGE)
    first = place.backup("full")
    await place.store(custody, octets=LARGE)
    second = place.backup()
    custody.close_now()
    await place.judged("01JD")
    return str(Run(first.chain, 0)), str(Run(second.chain, 1))


# Verify ---------------------------------------------------------------------------------------------------------------


async def test_a_sound_backup_is_called_sound_and_says_what_it_gives(either: Place):
    await with_mail(either)
    found = verified(either)
    assert (found.damages, found.notes, found.runs) == ((), (), 2)
    assert found.octets == sum(p.stat().st_size for p in stored(either) if p.suffix in {".pack", ".manifest"})
    assert found.databases == 1
    assert found.manifest.messages == 2
    assert found.manifest.last_received_at > 0


def test_a_folder_of_an_older_format_is_refused_and_not_called_damaged(place: Place):
    """Its digests are of another kind; whoever heard of damage would throw away what an older version still reads."""
    place.backup("full")
    mark = place.folder / "backup" / MARKER
    mark.write_bytes(mark.read_bytes().replace(b"format 2", b"format 1"))
    with pytest.raises(BackupError, match="older Tidegate"):
        verified(place)
    with pytest.raises(BackupError, match="older Tidegate"):
        place.backup()


def test_any_single_changed_octet_is_found_and_named(either: Place):
    """In every file of a small backup (packs, manifests, lists, the mark): both ends, and every fifth octet between."""
    (either.data / "state" / "rates.table").write_bytes(b"abc" * 20)
    kept = KeptAccount(account="a@box.test", locked_at=1.0, until=2.0, reason="spam", who="anna")
    drilled = Drilled(
        run="chain/0000", started_at=1.0, seconds=1.0, messages=0, copies={}, complete_until=0.0, problems=()
    )
    either.backup("full")
    (either.data / "more").write_text("one file more")
    either.backup()
    keep_account(either.repository, kept)
    record(either.repository, drilled)
    assert verified(either).sound
    chance = random.Random(7)  # noqa: S311 - which bit
    for path in stored(either):
        octets = path.read_bytes()
        ends = {*range(40), *range(len(octets) - 40, len(octets))}
        for at in sorted(ends | set(range(0, len(octets), 5))):
            changed = bytearray(octets)
            changed[at] ^= 1 << chance.randrange(8)
            path.write_bytes(changed)
            damages = verified(either).damages
            assert any(str(path) in damage.place for damage in damages), f"octet {at} of {path.name}: {damages}"
        path.write_bytes(octets)
    assert verified(either).sound


async def test_damage_names_what_needs_it(either: Place):
    first, second = await with_mail(either)
    pack = either.folder / "backup" / first.split("/")[0] / "0000-0001.pack"
    octets = bytearray(pack.read_bytes())
    octets[len(octets) // 2] ^= 1
    pack.write_bytes(octets)
    (damage,) = verified(either, first).damages
    assert damage.place.startswith(f"{pack} at octet ")
    assert any("/content/" in path for path in damage.needed_by)
    assert damage.runs == (first, second)


@pytest.mark.parametrize("what", ["cut", "longer", "gone"])
async def test_a_pack_that_is_cut_or_longer_or_gone_is_found(place: Place, what: str):
    first, _ = await with_mail(place)
    pack = place.folder / "backup" / first.split("/")[0] / "0000-0001.pack"
    if what == "gone":
        pack.unlink()
    else:
        octets = pack.read_bytes()
        pack.write_bytes(octets[:-1] if what == "cut" else octets + b"x")
    assert any(str(pack) in damage.place for damage in verified(place).damages)


async def test_a_run_that_was_taken_out_of_a_chain_is_found(place: Place):
    _, second = await with_mail(place)
    (place.folder / "backup" / second.split("/")[0] / "0000.manifest").unlink()
    assert any("0000 is gone" in damage.why for damage in verified(place).damages)


async def test_a_manifest_of_another_chain_is_none_of_this_one(encrypted: Place):
    first, _ = await with_mail(encrypted)
    other = encrypted.backup("full")
    path = encrypted.folder / "backup" / first.split("/")[0] / "0000.manifest"
    path.write_bytes((encrypted.folder / "backup" / other.chain / "0000.manifest").read_bytes())
    assert any(str(path) in damage.place for damage in verified(encrypted).damages)


async def test_a_chain_of_another_key_is_no_damage_and_its_octets_are_checked_all_the_same(encrypted: Place):
    """Whoever has changed the key must not hear for a month that his backup is damaged, nor go without being told."""
    first = encrypted.backup("full")
    encrypted.backup()
    encrypted.key = bytes(32)
    encrypted.backup()
    found = verified(encrypted)
    assert (found.damages, found.locked) == ((), (first.chain,))
    assert found.octets == sum(p.stat().st_size for p in stored(encrypted) if p.suffix in {".pack", ".manifest"})
    key = encrypted.folder / "new.key"
    key.write_text(base64.b64encode(encrypted.key).decode())
    options = ["backup", "verify", "--folder", str(encrypted.folder / "backup"), "--key", str(key)]
    done = CliRunner().invoke(app, options)
    assert (done.exit_code, f"{first.chain} has another key" in done.output) == (1, True)
    for name in ("0000-0001.pack", "0001.manifest"):
        path = encrypted.folder / "backup" / first.chain / name
        sound = path.read_bytes()
        for at in (9, len(sound) // 2, len(sound) - 1):
            path.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
            (damage,) = verified(encrypted).damages
            assert damage.place.startswith(f"{path} at octet ")
        path.write_bytes(sound[:-1])
        assert "changed" in verified(encrypted).damages[0].why
        path.write_bytes(sound)


async def test_a_manifest_of_another_key_in_a_chain_of_ours_is_damage(encrypted: Place):
    first, second = await with_mail(encrypted)
    path = encrypted.folder / "backup" / second.split("/")[0] / "0001.manifest"
    path.write_bytes(Sealer(bytes(32), first.split("/")[0]).seal(b"{}", "manifest 1"))
    found = Verification(encrypted.repository, quiet).run(first)
    assert (found.locked, [damage.place for damage in found.damages]) == ((), [str(path)])


# Restoring what is damaged --------------------------------------------------------------------------------------------


async def test_a_damaged_file_is_not_restored_silently(place: Place):
    first, _ = await with_mail(place)
    manifest = place.repository.manifest(place.repository.find(first))
    content = next(file for file in manifest.files if "/content/" in file.path)
    chunk = manifest.chunks[content.chunks[0]]
    pack = place.folder / "backup" / manifest.chain / manifest.packs[chunk.pack].name
    octets = bytearray(pack.read_bytes())
    octets[chunk.offset + 100] ^= 1
    pack.write_bytes(octets)
    into = place.folder / "restored"
    with pytest.raises(DamagedError, match=f"{pack.name} at octet {chunk.offset}"):
        restore(place.repository, place.repository.find(""), into, quiet)
    assert list(into.iterdir()) == []
    done = restore(place.repository, place.repository.find(""), into, quiet, Wishes(salvage=True))
    assert [path for path, _ in done.lost] == [content.path]
    assert not (into / content.path).exists()


async def test_a_store_that_was_damaged_when_it_was_saved_is_named_and_set_aside(place: Place):
    """The octets are those that were saved; what they hold was broken before."""
    custody = place.custody()
    for _ in range(30):
        await place.store(custody, octets=20_000)
    custody.close_now()
    shard = place.data / "spool" / "shard-0.sqlite"
    octets = bytearray(shard.read_bytes())
    # The head of a table's page: SQLite copies it as it is, and only its check looks at it.
    octets[8192 * 2 : 8192 * 2 + 200] = bytes(200)
    shard.write_bytes(octets)
    place.backup("full")
    assert any("data/spool/shard-0.sqlite" in damage.place for damage in verified(place).damages)
    into = place.folder / "restored"
    with pytest.raises(DamagedError, match="damaged when it was saved"):
        restore(place.repository, place.repository.find(""), into, quiet)
    done = restore(place.repository, place.repository.find(""), into, quiet, Wishes(salvage=True))
    assert [path for path, _ in done.lost] == ["data/spool/shard-0.sqlite"]
    # Beyond the first page, whose counter of changes the copying itself raises.
    assert (into / "data/spool/shard-0.sqlite.corrupt").read_bytes()[8192:] == octets[8192:]
    assert (into / "configuration/tidegate.toml").exists()


async def test_a_key_that_was_changed_begins_a_new_chain_and_the_old_one_goes_in_its_time(encrypted: Place):
    first = encrypted.backup("full")
    encrypted.key = bytes(32)
    # Of what it cannot read it knows the day by the file's time only.
    manifest = encrypted.repository.manifest_path(Run(first.chain, 0))
    os.utime(manifest, (first.started_at,) * 2)
    second = encrypted.backup()
    assert (second.kind, "another key" in second.problems[0]) == ("full", True)
    assert prune(encrypted.repository, encrypted.clock.stamp().utc + 1000 * 86_400, 86_400.0)[0].chain == first.chain
    assert encrypted.repository.chains() == [second.chain]


async def test_an_increment_on_a_broken_chain_begins_a_new_one(place: Place):
    first, _ = await with_mail(place)
    (place.folder / "backup" / first.split("/")[0] / "0000-0001.pack").unlink()
    manifest = place.backup()
    assert manifest.kind == "full"
    assert "so this one is full" in manifest.problems[0]


# Interrupted ----------------------------------------------------------------------------------------------------------

_KILLED = """
import os, signal, sys
from pathlib import Path
from tests.backup.conftest import KEY, Place, quiet
from gateway.backup.restore import restore
place = Place(Path(sys.argv[1]))
place.clock.advance(10_000)
what, at = sys.argv[2], int(sys.argv[3])
heard = 0
def progress(path, octets):
    global heard
    heard += 1
    if heard >= at:
        print("killing myself", path, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
if what == "restore":
    restore(place.repository, place.repository.find(""), place.folder / "restored", progress)
else:
    place.backup(what, progress=progress)
print("done", heard)
"""


def killed(place: Place, what: str, at: int) -> bool:
    """Do it in a process that kills itself at the given step; return whether it did."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(place.folder), what, str(at)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode != 0


@pytest.mark.parametrize("kind", ["full", "increment"])
async def test_a_run_killed_at_any_step_leaves_the_previous_one_whole(place: Place, kind: str):
    await with_mail(place)
    custody = place.custody()
    for _ in range(3):
        await place.store(custody, octets=LARGE)
    custody.close_now()
    runs = place.repository.runs()
    step = 1
    while killed(place, kind, step):
        assert place.repository.runs() == runs
        assert verified(place).sound
        step += 4
    assert step > 5
    found = verified(place)
    assert (found.sound, found.notes, found.runs) == (True, (), len(runs) + 1)
    assert found.manifest.messages == 5


async def test_a_restore_killed_at_any_step_leaves_nothing_to_start_on_and_can_begin_anew(place: Place):
    await with_mail(place)
    into = place.folder / "restored"
    step = 1
    while killed(place, "restore", step):
        assert [path.name for path in into.iterdir()] == [".restoring"]
        step += 2
    assert step > 3
    assert sorted(path.name for path in into.iterdir()) == ["configuration", "data"]


async def test_two_at_once_are_refused(place: Place):
    await with_mail(place)
    with place.repository.writing(), pytest.raises(BusyError, match=f"process {os.getpid()}"):
        place.backup()
    with place.repository.reading():
        assert verified(place).sound
        with pytest.raises(BusyError):
            place.backup()


# Full disks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_target(place: Place) -> Iterator[Place]:
    """The backup folder on a file system of 2 MiB."""
    folder = place.folder / "backup"
    (folder / "tidegate-backup").unlink()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False)
    if done.returncode:
        pytest.skip("mounts a small file system, which only root can")
    place.repository.make(folder)
    try:
        yield place
    finally:
        until(lambda: subprocess.run(["umount", str(folder)], check=False).returncode == 0, what="umount")


async def test_a_full_target_ends_the_run_and_nothing_else(small_target: Place):
    await with_mail(small_target)
    custody = small_target.custody()
    for _ in range(20):
        await small_target.store(custody, octets=LARGE)
    runs, before = small_target.repository.runs(), stored(small_target)
    with pytest.raises(StorageFull):
        small_target.backup()
    with pytest.raises(StorageFull):
        small_target.backup("full")
    # Mail is taken as before, what was saved is whole, and nothing takes the room of the next attempt.
    await small_target.store(custody)
    custody.close_now()
    assert (small_target.repository.runs(), stored(small_target)) == (runs, before)
    assert verified(small_target).sound


async def test_the_floor_of_the_data_disk_is_respected(place: Place):
    custody = place.custody()
    await place.store(custody)
    with pytest.raises(StorageFull, match="floor"):
        place.backup("full", floor_octets=2**60)
    custody.close_now()
    assert place.repository.runs() == []


async def test_a_restore_without_room_says_so_before_it_begins(place: Place, monkeypatch: pytest.MonkeyPatch):
    await with_mail(place)
    monkeypatch.setattr("gateway.backup.restore.free_octets", lambda _: 1000)
    with pytest.raises(BackupError, match="1000 octets are free"):
        restore(place.repository, place.repository.find(""), place.folder / "restored", quiet)
    assert list((place.folder / "restored").iterdir()) == []


async def test_looking_into_a_backup_never_takes_the_room_that_mail_needs(place: Place):
    await with_mail(place)
    place.backup()
    left = place.data / "backup-scratch" / "tidegate-drill-killed"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    with pytest.raises(BackupError, match="left free"):
        Verification(place.repository, quiet).run("", Scratch(folder=left.parent, floor_octets=2**60))
    assert list(left.parent.iterdir()) == []
    assert Verification(place.repository, quiet).run("", scratch_of(place.data, 0)).sound
    assert list(left.parent.iterdir()) == []
