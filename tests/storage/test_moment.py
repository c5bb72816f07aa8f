"""What breaks if these fail: a backup has pages of two moments in one store, which no digest would tell."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.storage import ReadDatabase, StorageCorrupt
from gateway.storage.moment import Moment
from gateway.storage.online import integrity
from tests.system.parts import until

PIECE_OCTETS = 16 * 8192
MOMENTS = 40
# Another process, as in life: it moves amounts between rows of many sizes and checkpoints when it likes. Whatever the
# moment, the sum is the same.
WRITER = """
import random, sys
from pathlib import Path
from gateway.storage.connection import connect_writer
chance = random.Random(7)
store = connect_writer(Path(sys.argv[1]), "NORMAL")
store.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, amount INTEGER, note BLOB)")
store.executemany("INSERT INTO account VALUES (?, 100, zeroblob(9000))", [(i,) for i in range(60)])
print("ready", flush=True)
while True:
    store.execute("BEGIN IMMEDIATE")
    for sign in (1, -1):
        note = chance.randbytes(chance.choice((10, 9000, 40000)))
        change = "UPDATE account SET amount = amount + ?, note = ? WHERE id = ?"
        store.execute(change, (sign, note, chance.randrange(60)))
    store.execute("COMMIT")
    if chance.random() < 0.05:
        store.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
"""
RESTARTER = """
import sys
from pathlib import Path
from gateway.storage.connection import connect_writer
store = connect_writer(Path(sys.argv[1]), "NORMAL")
store.execute("CREATE TABLE t (x BLOB)")
store.execute("INSERT INTO t VALUES (zeroblob(100000))")
store.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
print("ready", flush=True)
sys.stdin.readline()
store.execute("UPDATE t SET x = ?", (b"y" * 100000,))
print("done", flush=True)
sys.stdin.readline()
"""


@contextmanager
def written(path: Path) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout
            assert writer.stdout.readline() == b"ready\n"
            yield
        finally:
            writer.kill()


def image(moment: Moment, at: Path) -> Path:
    at.write_bytes(b"".join(moment.pieces(PIECE_OCTETS)))
    return at


def accounts(database: ReadDatabase) -> list[tuple]:
    return database.read("SELECT * FROM account ORDER BY id")


def test_a_store_read_while_it_is_written_and_checkpointed_is_one_moment(tmp_path: Path):
    store = tmp_path / "store.sqlite"
    seen = set()
    with written(store):
        for number in itertools.count():
            if number >= MOMENTS and len(seen) > 1:
                break
            with Moment(store) as moment:
                copy = image(moment, tmp_path / f"copy-{number}.sqlite")
                wanted = accounts(moment)
                assert copy.stat().st_size == moment.octets
            assert integrity(copy) == []
            with ReadDatabase(copy) as found:
                assert accounts(found) == wanted
            assert sum(row[1] for row in wanted) == 6000
            seen.add(hash(tuple(wanted)))


def test_how_long_the_log_has_become_meanwhile_is_told(tmp_path: Path):
    """It cannot begin anew before the moment is over, and whoever holds that must hurry before the disk is full."""
    store = tmp_path / "store.sqlite"
    with written(store), Moment(store) as moment:
        until(lambda: moment.logged_octets() > 2_000_000, what="a long log")
        assert moment.logged_octets() <= store.with_name("store.sqlite-wal").stat().st_size


def test_a_log_that_begins_anew_while_the_moment_lasts_takes_nothing_from_it(tmp_path: Path):
    """All of the log was in the file: SQLite lets the next commit write over it, and the frames found are gone."""
    store = tmp_path / "store.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", RESTARTER, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin
        assert writer.stdout
        assert writer.stdout.readline() == "ready\n"
        with Moment(store) as moment:
            print("go", file=writer.stdin, flush=True)
            assert writer.stdout.readline() == "done\n"
            copy = image(moment, tmp_path / "copy.sqlite")
        with Moment(store) as later:
            assert later.read("SELECT x FROM t") == [(b"y" * 100_000,)]
        writer.stdin.close()
    with ReadDatabase(copy) as found:
        assert found.read("SELECT x FROM t") == [(bytes(100_000),)]


def test_a_store_that_nobody_has_open_is_read_as_it_lies(tmp_path: Path):
    store = tmp_path / "store.sqlite"
    with written(store):
        pass
    # Its writer was killed: what was committed is in the log still.
    with Moment(store) as moment:
        copy = image(moment, tmp_path / "copy.sqlite")
        wanted = accounts(moment)
    with ReadDatabase(copy) as found:
        assert accounts(found) == wanted


def test_what_is_no_store_is_corrupt(tmp_path: Path):
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"SQLite format 3\0" + b"x" * 8176)
    with pytest.raises(StorageCorrupt):
        Moment(path)
