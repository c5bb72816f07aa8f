"""If one of these fails, a few large attachments take the memory that all other mail needs."""

import os
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.antivirus.conftest import ROOT
from tests.antivirus.test_message import mail

pytestmark = pytest.mark.real

MIB = 1024 * 1024
ATTACHMENT_OCTETS = 25 * MIB
# What is documented: two large parts at a time, and what the allocator and a walk's report take beside them.
BESIDE_OCTETS = 14 * MIB


@pytest.fixture(scope="module")
def attachments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A mail with 25 MiB of nothing in particular, and one with a zip of the same."""
    folder = tmp_path_factory.mktemp("large")
    octets = os.urandom(ATTACHMENT_OCTETS)
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.bin", octets)
    for name, held in (("a.bin", octets), ("a.zip", packed.getvalue())):
        (folder / name).write_bytes(mail(name, held).octets or b"")
    return {name: folder / name for name in ("a.bin", "a.zip")}


def grown(clamd, at_once: int, *paths: Path) -> int:
    """Return by how much a process grew at its peak for scanning the mails, each ``at_once`` times together."""
    program = Path(__file__).with_name("measured_scan.py")
    done = subprocess.run(
        [sys.executable, str(program), clamd.unix.path, str(at_once), *map(str, paths)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_one_large_attachment_is_in_memory_once(shared_clamd, attachments):
    assert grown(shared_clamd, 1, attachments["a.zip"]) < ATTACHMENT_OCTETS + BESIDE_OCTETS


def test_several_at_once_take_no_more_than_two(shared_clamd, attachments):
    assert grown(shared_clamd, 2, *attachments.values()) < 2 * ATTACHMENT_OCTETS + BESIDE_OCTETS
