"""A file is there whole or not at all, whatever fails on the way."""

import errno
import os
from pathlib import Path

import pytest

from gateway.storage import DurableFiles, StorageFull, StorageUnavailable, free_octets


class FailingSync:
    """fsync that fails at its ``at``-th call (from 1)."""

    def __init__(self, at: int, code: int) -> None:
        self.left = at
        self.code = code

    def __call__(self, _: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(self.code, os.strerror(self.code))


def test_a_written_file_is_complete_and_leaves_no_draft(tmp_path):
    DurableFiles().write(tmp_path / "a" / "b", [b"one", b"two"])
    assert (tmp_path / "a" / "b").read_bytes() == b"onetwo"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_everything_is_synced_before_it_is_promised(tmp_path):
    synced = []
    files = DurableFiles(lambda descriptor: synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink())))
    files.write(tmp_path / "f" / "x", [b"1"])
    assert synced == [str(tmp_path), str(tmp_path / "f" / "x.draft"), str(tmp_path / "f")]


@pytest.mark.parametrize(("code", "error"), [(errno.ENOSPC, StorageFull), (errno.EIO, StorageUnavailable)])
def test_a_failed_sync_of_the_octets_leaves_nothing(tmp_path, code, error):
    with pytest.raises(error):
        DurableFiles(FailingSync(1, code)).write(tmp_path / "x", [b"1"])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_adoption_leaves_the_received_file(tmp_path):
    (tmp_path / "in").write_bytes(b"mail")
    with pytest.raises(StorageUnavailable):
        DurableFiles(FailingSync(1, errno.EIO)).adopt(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "in").read_bytes() == b"mail"
    assert not (tmp_path / "out").exists()


def test_an_adopted_file_has_its_new_name_only(tmp_path):
    (tmp_path / "in").write_bytes(b"mail")
    DurableFiles().adopt(tmp_path / "in", tmp_path / "to" / "out")
    assert not (tmp_path / "in").exists()
    assert (tmp_path / "to" / "out").read_bytes() == b"mail"


def test_free_octets_of_a_missing_folder_is_an_error(tmp_path):
    assert free_octets(tmp_path) > 0
    with pytest.raises(StorageUnavailable):
        free_octets(tmp_path / "none")
