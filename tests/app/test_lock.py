"""One gateway a data folder; what breaks if these fail: two share a spool, or a command keeps one from starting."""

import fcntl
import os
from pathlib import Path

import pytest

from gateway.app.lock import AlreadyRunningError, hold, is_held


@pytest.fixture
def looked_at(tmp_path: Path):
    """Return a descriptor of the file as a command has it that looks whether a gateway runs."""
    descriptor = os.open(tmp_path / "tidegate.pid", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    yield descriptor
    os.close(descriptor)


def test_the_second_gateway_is_told_of_the_first(tmp_path: Path):
    assert not is_held(tmp_path)
    first = hold(tmp_path)
    assert is_held(tmp_path)
    with pytest.raises(AlreadyRunningError, match=rf"process {os.getpid()}\)"):
        hold(tmp_path)
    os.close(first)
    assert not is_held(tmp_path)


def test_two_commands_that_look_at_once_take_each_other_for_no_gateway(tmp_path: Path, looked_at: int):
    assert not is_held(tmp_path)


def test_a_command_that_looks_keeps_no_gateway_from_starting(tmp_path: Path, looked_at: int, monkeypatch):
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        fcntl.flock(looked_at, fcntl.LOCK_UN)

    monkeypatch.setattr("gateway.app.lock.time.sleep", wait)
    os.close(hold(tmp_path))
    assert len(waits) == 1
