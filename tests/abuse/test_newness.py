"""Files are read only where a look says that there may be something new.

What breaks if these fail: verdicts that nobody reads, and so spam without an incident; or a processor that reads the
same rows several times a second.
"""

import os
import sqlite3
from pathlib import Path

import pytest

from gateway.abuse.newness import READ_SECONDS, STILL_SECONDS, Newness
from gateway.clock import FakeClock

LATER = STILL_SECONDS * 2


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def written(tmp_path: Path):
    connection = sqlite3.connect(tmp_path / "a.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (a)")
    yield connection
    connection.close()


def at_rest(newness: Newness, clock: FakeClock) -> Newness:
    """Return it after the looks that a file needs which has changed."""
    assert newness.look()
    clock.advance(LATER)
    assert newness.look(), "written within the same tick, it would be missed"
    assert not newness.look()
    return newness


def test_what_is_committed_is_new_once(tmp_path, clock, written):
    newness = at_rest(Newness(tmp_path / "a.sqlite", clock), clock)
    written.execute("INSERT INTO t VALUES (1)")
    at_rest(newness, clock)


def test_what_is_overwritten_in_a_log_that_begins_anew_is_new(tmp_path, clock, written):
    written.execute("INSERT INTO t VALUES (1)")
    written.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    newness = at_rest(Newness(tmp_path / "a.sqlite", clock), clock)
    log = tmp_path / "a.sqlite-wal"
    before = log.stat().st_size
    os.utime(log, ns=(0, 0))
    at_rest(newness, clock)
    written.execute("INSERT INTO t VALUES (2)")
    assert log.stat().st_size == before, "or it proves nothing"
    at_rest(newness, clock)


def test_what_a_writer_put_into_the_file_when_it_closed_is_new(tmp_path, clock, written):
    written.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    newness = at_rest(Newness(tmp_path / "a.sqlite", clock), clock)
    # Two checkpoints within a tick of the file system's clock would leave the same time.
    os.utime(tmp_path / "a.sqlite", ns=(0, 0))
    at_rest(newness, clock)
    written.execute("INSERT INTO t VALUES (1)")
    written.close()
    assert not (tmp_path / "a.sqlite-wal").exists()
    at_rest(newness, clock)


def test_another_file_in_its_place_is_new(tmp_path, clock):
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"x")
    newness = at_rest(Newness(path, clock), clock)
    other = tmp_path / "other"
    other.write_bytes(b"y")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    at_rest(newness, clock)


def test_a_file_that_is_not_there_is_looked_for_each_time(tmp_path, clock):
    newness = Newness(tmp_path / "a.sqlite", clock)
    clock.advance(LATER)
    assert newness.look()
    assert newness.look()


def test_a_reader_that_could_not_read_all_may_ask_again(tmp_path, clock, written):
    newness = at_rest(Newness(tmp_path / "a.sqlite", clock), clock)
    newness.again()
    at_rest(newness, clock)


def test_a_file_system_without_times_is_read_now_and_then(tmp_path, clock, written):
    newness = at_rest(Newness(tmp_path / "a.sqlite", clock), clock)
    clock.advance(READ_SECONDS)
    assert newness.look()
    assert not newness.look()
