"""The writer's checkpoints: a log that somebody held still is begun anew soon after they let go."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.storage.committer import HELD_SECONDS, IDLE_SECONDS, Committer
from gateway.storage.connection import connect_writer
from gateway.storage.errors import StorageError
from gateway.storage.statement import Statement

PUT = Statement("INSERT INTO t VALUES (?)", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def committer(path: Path) -> Iterator[Committer]:
    troubles: list[StorageError] = []
    connection = connect_writer(path, "FULL")
    connection.execute("CREATE TABLE t (x)")
    made = Committer(connection, path, troubles.append)
    yield made
    made.close()
    assert not troubles


def test_the_log_is_kept_short_behind_the_answers(path: Path, committer: Committer, monkeypatch: pytest.MonkeyPatch):
    """A checkpoint takes milliseconds, and seconds on a slow disk: mail that is durable does not wait for it."""
    monkeypatch.setattr("gateway.storage.committer._CHECKPOINT_OCTETS", 10_000)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
        size = path.stat().st_size
        for _ in range(20):
            assert committer.commit([[(PUT, (b"x" * 9000,))]]) == [None]
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (20,)
    assert path.stat().st_size == size
    committer.keep_up()
    assert path.stat().st_size > size


def test_a_log_that_was_held_is_begun_anew_when_nobody_writes_any_more(path: Path, committer: Committer):
    """A backup that ended while no mail came would leave its gigabytes of log, and the next begin with them."""
    log = path.with_name("store.sqlite-wal")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM t").fetchone()
        for _ in range(20):
            assert committer.commit([[(PUT, (b"x" * 9000,))]]) == [None]
        assert committer.patience_seconds == IDLE_SECONDS
        committer.idle()
        assert committer.patience_seconds == HELD_SECONDS
        held = log.stat().st_size
    committer.idle()
    assert committer.patience_seconds is None
    assert committer.commit([[(PUT, (b"x",))]]) == [None]
    # The file keeps its size; what is written begins at its front.
    assert log.stat().st_size == held
