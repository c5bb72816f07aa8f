"""A store that several processes write: one after the other, all or nothing, and readers wait for nobody."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.storage import Migration, SharedDatabase, StorageLocked, StorageRefused, open_readonly
from gateway.storage.lock import FileLock
from gateway.storage.online import integrity

MIGRATIONS = (Migration(1, "test", lambda schema: schema.execute("CREATE TABLE number (n INTEGER NOT NULL)")),)
_ADD = "INSERT INTO number SELECT coalesce(max(n), 0) + 1 FROM number"
WRITER = """
import sys
from pathlib import Path
from gateway.storage import Migration, SharedDatabase
create = lambda schema: schema.execute("CREATE TABLE number (n INTEGER NOT NULL)")
database = SharedDatabase(Path(sys.argv[1]), (Migration(1, "test", create),))
for _ in range(20):
    with database.transaction() as transaction:
        transaction.execute("INSERT INTO number SELECT coalesce(max(n), 0) + 1 FROM number")
"""


@pytest.fixture
def database(tmp_path: Path) -> SharedDatabase:
    return SharedDatabase(tmp_path / "new" / "shared.sqlite", MIGRATIONS)


def numbers(database: SharedDatabase) -> list[int]:
    with open_readonly(database.path) as reader:
        return [row[0] for row in reader.read("SELECT n FROM number ORDER BY rowid")]


def add(database: SharedDatabase) -> None:
    with database.transaction() as transaction:
        transaction.execute(_ADD)


def fail(database: SharedDatabase, error: Exception) -> None:
    with database.transaction() as transaction:
        transaction.execute(_ADD)
        raise error


def test_processes_and_threads_write_one_after_the_other(database: SharedDatabase):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(database.path)]) for _ in range(2)]
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(add, database) for _ in range(15)]:
            done.result(60)
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert numbers(database) == list(range(1, 56))


def test_what_raises_leaves_nothing_behind(database: SharedDatabase):
    add(database)
    with pytest.raises(KeyError):
        fail(database, KeyError())
    add(database)
    assert numbers(database) == [1, 2]


def test_a_statement_that_breaks_the_schema_is_refused(database: SharedDatabase):
    def refused(sql: str, value: object) -> None:
        with database.transaction() as transaction:
            transaction.execute(sql, (value,))

    for value in (None, "\ud800", 2**70, object()):
        with pytest.raises(StorageRefused):
            refused("INSERT INTO number VALUES (?)", value)
    assert numbers(database) == []


def test_a_reader_sees_one_moment_while_another_writes(database: SharedDatabase):
    add(database)
    with open_readonly(database.path) as reader:
        reader.read("BEGIN")
        assert reader.read("SELECT count(*) FROM number") == [(1,)]
        add(database)
        assert reader.read("SELECT count(*) FROM number") == [(1,)]
    assert numbers(database) == [1, 2]


def test_who_is_in_the_way_is_named(database: SharedDatabase):
    add(database)
    hasty = SharedDatabase(database.path, MIGRATIONS, patience_seconds=0.0)
    lock = FileLock(database.path)
    with pytest.raises(StorageLocked, match="in use by process"):
        add(hasty)
    lock.release()
    add(hasty)
    assert numbers(database) == [1, 2]


# Held: one writer leaves it open between its transactions -------------------------------------------------------------


@pytest.fixture
def held(database: SharedDatabase) -> Iterator[SharedDatabase]:
    database.hold()
    yield database
    database.let_go()


def test_a_held_file_is_written_by_others_too(held: SharedDatabase):
    other = SharedDatabase(held.path, MIGRATIONS)
    for _ in range(3):
        add(held)
        add(other)
        subprocess.run([sys.executable, "-c", WRITER, str(held.path)], check=True, timeout=50)
    add(held)
    assert numbers(held) == list(range(1, 68))
    assert integrity(held.path) == []


def broken(database: SharedDatabase, sql: str) -> None:
    with database.transaction() as transaction:
        transaction.execute(_ADD)
        transaction.execute(sql)
        raise ZeroDivisionError


def test_what_raises_leaves_nothing_behind_in_a_held_file_either(held: SharedDatabase):
    add(held)
    with pytest.raises(StorageRefused):
        broken(held, "INSERT INTO number VALUES (NULL)")
    with pytest.raises(ZeroDivisionError):
        broken(held, _ADD)
    add(held)
    assert numbers(held) == [1, 2]


def test_a_file_put_in_the_place_of_a_held_one_is_written_to(held: SharedDatabase):
    add(held)
    for path in held.path.parent.glob("shared.sqlite*"):
        path.unlink()
    add(held)
    assert numbers(held) == [1]


def test_a_held_files_log_stays_short(held: SharedDatabase, monkeypatch):
    monkeypatch.setattr("gateway.storage.shared._LOG_OCTETS", 100_000)
    log = held.path.with_name("shared.sqlite-wal")
    sizes = []
    for _ in range(60):
        add(held)
        sizes.append(log.stat().st_size)
    assert max(sizes) < 200_000, "each transaction adds a page of 8 KiB and more"
    assert numbers(held) == list(range(1, 61))


def test_a_checkpoint_that_fails_is_no_failure_of_what_was_committed(database: SharedDatabase, monkeypatch):
    """On a full disk the log may have had room and the file none: who repeats what failed would have it twice."""
    add(database)

    class Full:
        def __init__(self, connection: sqlite3.Connection) -> None:
            self._connection = connection

        def execute(self, sql: str, *more: object) -> sqlite3.Cursor:
            if "wal_checkpoint" in sql:
                raise sqlite3.OperationalError("database or disk is full")
            return self._connection.execute(sql, *more)

        def __getattr__(self, name: str) -> object:
            return getattr(self._connection, name)

    ready = SharedDatabase._ready
    monkeypatch.setattr(SharedDatabase, "_ready", lambda self: Full(ready(self)))
    add(database)
    assert numbers(database) == [1, 2]


def test_a_file_that_was_let_go_has_nothing_open(held: SharedDatabase):
    add(held)
    held.let_go()
    assert not held.path.with_name("shared.sqlite-wal").exists(), "the last one to close copies the log back"
    add(held)
    assert numbers(held) == [1, 2]
