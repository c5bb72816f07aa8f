"""A store keeps what it promised, fails with a named error, and works again when the cause is gone."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.storage import (
    Database,
    Migration,
    Phase,
    ReadDatabase,
    Schema,
    Statement,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageLocked,
    StorageRefused,
    StorageTooNew,
    StorageUnavailable,
    delete_by,
    insert_into,
    open_readonly,
)
from gateway.storage import database as storage_database


def create(schema: Schema) -> None:
    schema.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, body BLOB)")


MIGRATIONS = (Migration(1, "items", create),)
INSERT = insert_into("item", ("id", "name", "body"))
INSERT_ONCE = insert_into("item", ("id", "name", "body"), "DO NOTHING")
DELETE = delete_by("item", {"id": "INTEGER", "name": "TEXT"})
RENAME = Statement("UPDATE item SET name = ? WHERE id = ?", Phase.UPDATE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "items.sqlite"


@pytest.fixture(params=["thread", "process"])
async def database(path, request):
    database = Database(path, MIGRATIONS, synchronous="FULL", writer=request.param)
    yield database
    database.close_now()


@pytest.fixture
def threaded(path):
    """A store whose writing connection the test can reach."""
    database = Database(path, MIGRATIONS, synchronous="FULL")
    yield database
    database.close_now()


async def names(database: Database) -> list[str]:
    return [row[0] for row in await database.read("SELECT name FROM item ORDER BY id")]


async def test_committed_rows_are_read_back_in_another_connection(database, path):
    await database.commit([(INSERT, (1, "a", b"\x00\xff"))])
    with open_readonly(path) as reader:
        assert reader.read("SELECT id, name, body FROM item") == [(1, "a", b"\x00\xff")]


async def test_many_submissions_of_one_loop_turn_are_all_durable(database):
    await asyncio.gather(*(database.commit([(INSERT, (n, f"n{n}", b""))]) for n in range(333)))
    assert len(await names(database)) == 333


def commit_as_one_group(database, *submissions):
    """Commit as the idle writer would if all were pending at once; return the types of the outcomes."""
    return [type(outcome) for outcome in database._writer._committer._group.commit(submissions)]


async def test_within_a_group_inserts_come_first_then_updates_then_deletes(threaded):
    commit_as_one_group(
        threaded,
        [(DELETE, (1, "renamed"))],
        [(RENAME, ("renamed", 1)), (RENAME, ("other", 2))],
        [(INSERT, (1, "a", None)), (INSERT, (2, "b", None))],
    )
    assert await names(threaded) == ["other"]


async def test_a_bad_submission_fails_alone_and_its_group_is_kept(threaded):
    outcomes = commit_as_one_group(
        threaded,
        [(INSERT, (1, "same", None))],
        [(INSERT, (2, "same", None))],
        [(INSERT, (3, "other", None))],
        [(INSERT, (4, "\udcff", None))],
        [(INSERT, (2**70, "big", None))],
    )
    assert outcomes == [type(None), StorageRefused, type(None), StorageRefused, StorageRefused]
    assert await names(threaded) == ["same", "other"]


async def test_a_refused_submission_leaves_none_of_its_rows(database):
    with pytest.raises(StorageRefused):
        await database.commit([(INSERT, (1, "a", None)), (INSERT, (2, None, None))])
    assert await names(database) == []


async def test_storing_twice_changes_nothing_where_the_statement_says_so(database):
    await database.commit([(INSERT_ONCE, (1, "first", None))])
    await database.commit([(INSERT_ONCE, (1, "second", None))])
    assert await names(database) == ["first"]


async def test_a_cancelled_waiter_does_not_take_its_rows_back(database):
    future = database.commit([(INSERT, (1, "a", None))])
    future.cancel()
    await database.commit([(INSERT, (2, "b", None))])
    assert await names(database) == ["a", "b"]


async def test_a_full_store_says_so_keeps_what_it_had_and_takes_deletes(threaded):
    await threaded.commit([(INSERT, (n, f"n{n}", bytes(100_000))) for n in range(10)])
    pages = (await threaded.read("PRAGMA page_count"))[0][0]
    threaded._writer._committer._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    outcomes = commit_as_one_group(threaded, [(INSERT, (99, "large", bytes(500_000)))], [(DELETE, (0, "n0"))])
    assert outcomes == [StorageFull, type(None)]
    assert len(await names(threaded)) == 9
    # The room that the delete made is used: the store recovered without being opened again.
    await threaded.commit([(INSERT, (100, "fits", bytes(50_000)))])


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a file system needs root and the right to")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_a_full_disk_says_so_and_mail_is_taken_again_when_there_is_room(small_disk):
    database = Database(small_disk / "items.sqlite", MIGRATIONS, synchronous="FULL")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_000_000))
    with pytest.raises(StorageFull):
        await database.commit([(INSERT, (1, "a", bytes(1_500_000)))])
    ballast.unlink()
    await database.commit([(INSERT, (1, "a", bytes(100_000)))])
    assert await names(database) == ["a"]
    database.close_now()


def test_a_read_only_file_system_is_named_in_the_error(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StorageUnavailable, match="small"):
        Database(small_disk / "items.sqlite", MIGRATIONS, synchronous="FULL")


async def test_a_locked_store_is_unavailable_until_the_lock_is_gone(database, path):
    stranger = sqlite3.connect(path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable):
        await database.commit([(INSERT, (1, "a", None))])
    stranger.execute("ROLLBACK")
    stranger.close()
    await database.commit([(INSERT, (1, "a", None))])
    assert await names(database) == ["a"]


def test_an_input_output_error_is_unavailable_until_it_is_gone(path):
    """A limit on file sizes makes writes fail for real (EFBIG); it holds for a whole process, hence the child."""
    program = """if True:
        import asyncio, resource, signal, sys
        from pathlib import Path
        from gateway.storage import Database, StorageUnavailable
        sys.path.insert(0, sys.argv[2])
        from test_database import INSERT, MIGRATIONS

        async def main():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            database = Database(Path(sys.argv[1]), MIGRATIONS, synchronous="FULL")
            await database.commit([(INSERT, (1, "before", None))])
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
            try:
                await database.commit([(INSERT, (2, "during", bytes(200_000)))])
            except StorageUnavailable:
                print("unavailable")
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await database.commit([(INSERT, (3, "after", None))])
            print([row[0] for row in await database.read("SELECT name FROM item ORDER BY id")])
            database.close_now()

        asyncio.run(main())
    """
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", program, path, here], capture_output=True, text=True, check=False)
    assert done.stdout == "unavailable\n['before', 'after']\n", done.stderr


async def test_a_damaged_page_is_reported_as_corrupt(path):
    database = Database(path, MIGRATIONS, synchronous="FULL")
    await database.commit([(INSERT, (n, f"n{n}", bytes(5000))) for n in range(200)])
    database.close_now()
    with path.open("r+b") as file:
        half = path.stat().st_size // 2
        file.seek(half)
        file.write(b"\xa5" * half)
    database = Database(path, MIGRATIONS, synchronous="FULL")
    with pytest.raises(StorageCorrupt):
        await database.read("SELECT * FROM item")
    with pytest.raises(StorageCorrupt):
        await database.commit([(INSERT, (999, "new", None))])
    database.close_now()


def test_a_file_that_is_no_database_is_reported_as_corrupt(path):
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(StorageCorrupt):
        Database(path, MIGRATIONS, synchronous="FULL")
    # The failed opening let go of the lock.
    path.unlink()
    Database(path, MIGRATIONS, synchronous="FULL").close_now()


def test_the_second_process_is_told_who_serves_the_file(database, path):
    program = """if True:
        import sys
        from pathlib import Path
        from gateway.storage import Database
        Database(Path(sys.argv[1]), (), synchronous="FULL")
    """
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    assert "StorageLocked" in done.stderr
    assert f"in use by process {os.getpid()}" in done.stderr


def test_a_second_opening_in_one_process_is_refused_too(database, path):
    with pytest.raises(StorageLocked, match=str(os.getpid())):
        Database(path, MIGRATIONS, synchronous="FULL")


async def test_closing_commits_what_is_pending_and_empties_the_log(path):
    database = Database(path, MIGRATIONS, synchronous="FULL")
    futures = [database.commit([(INSERT, (n, f"n{n}", bytes(9000)))]) for n in range(50)]
    await database.close()
    assert [future.done() and future.exception() for future in futures] == [None] * 50
    assert not path.with_name(path.name + "-wal").exists()
    with open_readonly(path) as reader:
        assert reader.read("SELECT count(*) FROM item") == [(50,)]


async def test_a_closed_store_refuses(path):
    database = Database(path, MIGRATIONS, synchronous="FULL")
    await database.close()
    with pytest.raises(StorageUnavailable):
        await database.commit([(INSERT, (1, "a", None))])
    with pytest.raises(StorageUnavailable):
        await database.read("SELECT 1")


async def test_a_reader_beside_the_writer_cannot_write(database, path):
    await database.commit([(INSERT, (1, "a", None))])
    with open_readonly(path) as reader, pytest.raises(StorageError):
        reader.read("DELETE FROM item")
    with pytest.raises(StorageError):
        await database.read("DELETE FROM item")
    assert await names(database) == ["a"]


def test_reading_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(StorageUnavailable):
        ReadDatabase(tmp_path / "none.sqlite")


def test_migrations_run_once_and_in_order(path):
    ran = []

    def step(number):
        def apply(schema):
            ran.append(number)
            schema.execute(f"CREATE TABLE t{number} (x)")

        return Migration(number, "steps", apply)

    Database(path, (step(2), step(1)), synchronous="NORMAL").close_now()
    Database(path, (step(1), step(2), step(3)), synchronous="NORMAL").close_now()
    assert ran == [1, 2, 3]


def test_a_failed_migration_leaves_the_old_schema(path):
    def fail(schema):
        schema.execute("CREATE TABLE half (x)")
        schema.execute("CREATE TABLE half (x)")

    Database(path, MIGRATIONS, synchronous="FULL").close_now()
    with pytest.raises(StorageError):
        Database(path, (*MIGRATIONS, Migration(2, "items", fail)), synchronous="FULL")
    with open_readonly(path) as reader:
        assert reader.read("SELECT name FROM sqlite_master WHERE name = 'half'") == []


def test_a_newer_schema_is_refused_with_its_number(path):
    Database(path, (*MIGRATIONS, Migration(2, "items", lambda _: None)), synchronous="FULL").close_now()
    with pytest.raises(StorageTooNew, match=r"items 2 is newer than this version, which knows up to 1"):
        Database(path, MIGRATIONS, synchronous="FULL")


def test_deletes_by_two_columns_use_the_key(path):
    """Without it every delivery would scan the queue."""
    Database(path, MIGRATIONS, synchronous="FULL").close_now()
    statement = delete_by("item", {"name": "TEXT"})
    ((sql, values),) = statement.batches([("a",), ("b",)])
    with open_readonly(path) as reader:
        plan = str(reader.read(f"EXPLAIN QUERY PLAN {sql}", values))
    assert "SCAN item" not in plan
    assert "SEARCH item USING" in plan


@pytest.mark.parametrize("count", [1, 2, 3, 63, 64, 65, 200])
def test_batches_carry_every_row_once(count):
    rows = [(n, n + 1, n + 2) for n in range(count)]
    carried = [value for _, values in INSERT.batches(rows) for value in values]
    assert carried == [value for row in rows for value in row]


async def test_a_loop_that_is_never_idle_does_not_starve_the_writer(database):
    """With the interpreter's default switch interval of 5 ms one commit took seconds on an idle machine."""
    spinning = True

    async def spin():
        while spinning:
            end = time.perf_counter() + 0.0001
            while time.perf_counter() < end:
                pass
            await asyncio.sleep(0)

    spinner = asyncio.create_task(spin())
    for n in range(3):
        await database.commit([(INSERT, (n, f"n{n}", bytes(8192)))])
    spinning = False
    await spinner
    # How long that takes is the machine's affair, and that of all who share it; what we ask of it is not.
    assert sys.getswitchinterval() <= 0.0002


# When a group is handed over ------------------------------------------------------------------------------------------


@pytest.fixture
def transactions(threaded):
    """The statements that ended a transaction of the store."""
    ended: list[str] = []
    connection = threaded._writer._committer._connection
    connection.set_trace_callback(lambda sql: ended.append(sql) if sql == "COMMIT" else None)
    yield ended
    connection.set_trace_callback(None)


def busy_turn():
    """Keep the loop for longer than a turn in which nothing is done takes."""
    end = time.monotonic() + 4 * storage_database._IDLE_TURN_SECONDS
    while time.monotonic() < end:
        pass


async def test_what_a_busy_loop_submits_in_several_turns_shares_a_transaction(threaded, transactions, monkeypatch):
    monkeypatch.setattr(storage_database, "_GATHER_SECONDS", 3600.0)
    submitted = []
    for n in range(5):
        submitted.append(threaded.commit([(INSERT, (n, f"n{n}", None))]))
        busy_turn()
        await asyncio.sleep(0)
    await asyncio.gather(*submitted)
    assert transactions == ["COMMIT"]


async def test_a_loop_with_nothing_else_to_do_waits_for_no_company(threaded, monkeypatch):
    monkeypatch.setattr(storage_database, "_GATHER_SECONDS", 3600.0)
    await threaded.commit([(INSERT, (1, "a", None))])
    assert await names(threaded) == ["a"]


async def test_a_loop_that_is_never_idle_writes_all_the_same(threaded):
    submitted = threaded.commit([(INSERT, (1, "a", None))])
    while not submitted.done():
        busy_turn()
        await asyncio.sleep(0)
    assert await names(threaded) == ["a"]


async def test_what_comes_while_a_group_is_written_is_written_after_it(threaded, transactions, monkeypatch):
    submit, late = threaded._writer.submit, []

    def submit_and_go_on(group):
        submit(group)
        if not late:
            late.extend(threaded.commit([(INSERT, (n, f"n{n}", None))]) for n in (2, 3, 4))

    monkeypatch.setattr(threaded._writer, "submit", submit_and_go_on)
    await threaded.commit([(INSERT, (1, "a", None))])
    await asyncio.gather(*late)
    assert transactions == ["COMMIT", "COMMIT"]
