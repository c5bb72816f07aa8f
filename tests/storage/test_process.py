"""The writer process: what it was given is committed whoever dies, and a dead one is replaced."""

import asyncio
import contextlib
import enum
import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gateway.storage import (
    Database,
    Migration,
    Schema,
    StorageError,
    StorageRefused,
    StorageUnavailable,
    insert_into,
    open_readonly,
    process,
)
from gateway.storage.frames import Unpacker, pack


def create(schema: Schema) -> None:
    schema.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, body BLOB)")


MIGRATIONS = (Migration(1, "items", create),)
INSERT = insert_into("item", ("id", "body"))


def open_store(path: Path) -> Database:
    return Database(path, MIGRATIONS, synchronous="FULL", writer="process")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "items.sqlite"


@pytest.fixture
async def database(path):
    database = open_store(path)
    yield database
    database.close_now()


def ids(path: Path) -> list[int]:
    with open_readonly(path) as reader:
        return [row[0] for row in reader.read("SELECT id FROM item ORDER BY id")]


async def under_way_with_stopped_writer(database: Database, number: int) -> "asyncio.Future[None]":
    """Return the commit of one row that the stopped child has not answered.

    A death that is noticed before the hand-over fails nothing: the next child commits it.
    """
    os.kill(database._writer._child.pid, signal.SIGSTOP)
    under_way = database.commit([(INSERT, (number, b""))])
    # More than the hand-over of a busy store waits for.
    assert not (await asyncio.wait({under_way}, timeout=0.1))[0]
    return under_way


async def test_a_killed_writer_fails_what_was_under_way_and_the_next_commit_works(database, path):
    await database.commit([(INSERT, (1, b""))])
    under_way = await under_way_with_stopped_writer(database, 2)
    os.kill(database._writer._child.pid, signal.SIGKILL)
    with pytest.raises(StorageUnavailable, match="writer process ended"):
        await under_way
    await database.commit([(INSERT, (3, b""))])
    assert {1, 3} <= set(ids(path))


async def test_what_waits_behind_a_killed_writer_is_committed_by_the_next_and_told_only_then(database, path):
    await database.commit([(INSERT, (1, b""))])
    under_way = await under_way_with_stopped_writer(database, 2)
    behind = [database.commit([(INSERT, (number, b""))]) for number in range(3, 6)]
    os.kill(database._writer._child.pid, signal.SIGKILL)
    with pytest.raises(StorageUnavailable, match="writer process ended"):
        await under_way
    await asyncio.gather(*behind)
    assert {1, 3, 4, 5} <= set(ids(path))
    # An answer taken for another group's would tell of a commit before its time, or find none that waits for it.
    last = await under_way_with_stopped_writer(database, 6)
    os.kill(database._writer._child.pid, signal.SIGCONT)
    await last


@pytest.fixture
def child_that(monkeypatch):
    """Return a function: children started from now on are as ours with something done to ``Child``."""

    def change(code: str) -> None:
        start = subprocess.Popen

        def changed(command, **more):
            program = f"import os, signal\nfrom gateway.storage import child\n{code}\nchild.main()"
            module = command.index("-m")
            return start([*command[:module], "-c", program, *command[module + 2 :]], **more)

        monkeypatch.setattr(process.subprocess, "Popen", changed)

    yield change
    monkeypatch.undo()


DYING = "lambda *_: os.kill(os.getpid(), signal.SIGKILL)"


async def test_what_a_writer_committed_before_it_was_killed_is_told_so(path, child_that):
    """Told that it failed, the client would send the mail again beside the one that is in the spool."""
    child_that(f"child.Child._answer = {DYING}")
    troubles: list[StorageError] = []
    store = Database(path, MIGRATIONS, synchronous="FULL", writer="process", on_trouble=troubles.append)
    await asyncio.gather(*(store.commit([(INSERT, (number, b""))]) for number in range(3)))
    await store.commit([(INSERT, (3, b""))])
    assert len(troubles) == 2
    last = store.commit([(INSERT, (4, b""))])
    await store.close()
    await last
    assert ids(path) == [0, 1, 2, 3, 4]


async def test_what_a_writer_had_not_committed_is_not_taken_for_what_an_earlier_one_had(path, child_that):
    """Numbers that begin anew with each life would tell of mail that is nowhere as durable."""
    for number in range(3):
        store = open_store(path)
        await store.commit([(INSERT, (number, b""))])
        await store.close()
    child_that(f"child.Child._commit = {DYING}")
    store = open_store(path)
    for number in range(3, 6):
        with pytest.raises(StorageUnavailable, match="writer process ended"):
            await store.commit([(INSERT, (number, b""))])
    last = store.commit([(INSERT, (6, b""))])
    await store.close()
    with pytest.raises(StorageUnavailable):
        await last
    assert ids(path) == [0, 1, 2]


@pytest.fixture
def no_memory(monkeypatch):
    """Return a context in which no process can be started."""

    def failing(*_, **__):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    @contextlib.contextmanager
    def short():
        with monkeypatch.context() as patched:
            patched.setattr(process.subprocess, "Popen", failing)
            yield

    return short


async def test_a_writer_that_cannot_be_started_is_tried_again_with_the_next_commit(database, path, no_memory):
    """What killed it, a lack of memory, may keep its successor from being forked; mail waited for ever."""
    under_way = await under_way_with_stopped_writer(database, 1)
    with no_memory():
        os.kill(database._writer._child.pid, signal.SIGKILL)
        with pytest.raises(StorageUnavailable, match="writer process ended"):
            await under_way
        waiting = [database.commit([(INSERT, (number, b""))]) for number in (2, 3)]
        for future in waiting:
            with pytest.raises(StorageUnavailable, match=r"no writer process can be started.*memory"):
                await future
    await database.commit([(INSERT, (4, b""))])
    assert ids(path) == [4]


async def test_a_store_without_a_writer_process_is_closed_all_the_same(path, no_memory):
    store = open_store(path)
    with no_memory():
        os.kill(store._writer._child.pid, signal.SIGKILL)
        with pytest.raises(StorageUnavailable):
            await store.commit([(INSERT, (1, b""))])
        last = store.commit([(INSERT, (2, b""))])
        await store.close()
    with pytest.raises(StorageUnavailable):
        await last
    open_store(path).close_now()


async def test_a_frame_larger_than_the_socket_passes_whole(database, path):
    bodies = [bytes([n]) * 3_000_000 for n in range(4)]
    await asyncio.gather(*(database.commit([(INSERT, (n, body))]) for n, body in enumerate(bodies)))
    with open_readonly(path) as reader:
        assert [row[0] for row in reader.read("SELECT body FROM item ORDER BY id")] == bodies


async def test_closing_commits_what_is_under_way_and_what_waits_behind_it(path):
    database = open_store(path)
    first = database.commit([(INSERT, (1, b"x" * 2_000_000))])
    await asyncio.sleep(0)
    second = database.commit([(INSERT, (2, b""))])
    await database.close()
    await asyncio.gather(first, second)
    assert ids(path) == [1, 2]


async def test_enumerations_are_stored_as_their_values_and_what_no_column_takes_is_refused_alone(database, path):
    class Word(enum.StrEnum):
        ONE = "one"

    good = database.commit([(INSERT, (1, Word.ONE))])
    bad = database.commit([(INSERT, (2, object()))])
    await good
    with pytest.raises(StorageRefused):
        await bad
    with open_readonly(path) as reader:
        assert reader.read("SELECT id, body FROM item") == [(1, "one")]


def test_a_successor_waits_until_the_writer_of_a_killed_process_has_committed(path):
    program = textwrap.dedent(
        f"""
        import asyncio, os, signal
        from pathlib import Path
        from gateway.storage import Database, Migration, insert_into
        create = lambda schema: schema.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, body BLOB)")
        insert = insert_into("item", ("id", "body"))

        async def run():
            migrations = (Migration(1, "items", create),)
            database = Database(Path({str(path)!r}), migrations, synchronous="FULL", writer="process")
            await database.commit([(insert, (0, b""))])
            database.commit([(insert, (1, b"x" * 100_000))])
            await asyncio.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(run())
        """
    )
    ended = subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(__file__).parents[2])
    assert ended.returncode == -signal.SIGKILL
    database = open_store(path)
    try:
        assert ids(path) == [0, 1]
    finally:
        database.close_now()


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_frames_cut_anywhere_are_read_whole(step):
    values = [
        ("outcomes", [None]),
        ("trouble", ("StorageFull", "no room")),
        ([], [[(0, (1, b"\0" * 5000, None, 2.5))]]),
    ]
    stream = b"".join(pack(value) for value in values)
    unpacker = Unpacker()
    read = [value for at in range(0, len(stream), step) for value in unpacker.feed(stream[at : at + step])]
    assert read == values
