"""If one of these fails, a scanner is sent other octets than those whose digest is called clean."""

import asyncio
import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.antivirus import message, preparing
from gateway.antivirus.archive.report import ArchiveReport
from gateway.antivirus.framing import FileSpan
from gateway.antivirus.message import MessageScanner
from gateway.antivirus.preparing import IN_MEMORY_OCTETS, Depot
from gateway.mail.content import Content
from tests.antivirus.test_archive import zipped
from tests.antivirus.test_message import mail


def test_what_several_threads_put_there_at_once_lies_apart(monkeypatch):
    at_once, write = threading.Barrier(2, timeout=20), os.pwrite

    def slow(descriptor: int, octets: memoryview, at: int) -> int:
        at_once.wait()
        return write(descriptor, octets, at)

    monkeypatch.setattr(preparing.os, "pwrite", slow)
    depot = Depot(None)
    made = [bytes([n]) * (IN_MEMORY_OCTETS + 1) for n in (1, 2)]
    with ThreadPoolExecutor(2) as threads:
        spans = [piece.octets for piece in threads.map(depot.piece, made)]
    assert [os.pread(span.descriptor, span.size, span.start) for span in spans] == made


class Endless:
    """A scanner that never answers, and looks at what it was given once more when it is told to stop."""

    stream_limit = 0
    reach = None

    def __init__(self) -> None:
        self.read_at_the_end: list[int] = []

    async def scan(self, pieces):
        try:
            await asyncio.Event().wait()
        finally:
            files = [piece.octets for piece in pieces if isinstance(piece.octets, FileSpan)]
            self.read_at_the_end = [len(os.pread(span.descriptor, span.size, span.start)) for span in files]


class Empty:
    """A walker that finds nothing."""

    async def walk(self, *_, **__):
        return ArchiveReport(kinds=("zip",))


async def test_when_an_archives_files_find_no_room_the_scan_ends_before_its_files_are_closed(tmp_path, monkeypatch):
    """One that went on would send from a descriptor that is another mail's by then."""

    def full(*_):
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(message, "_put", full)
    octets = mail("a.zip", zipped(("a.txt", b"a"))).octets or b""
    path = tmp_path / "content"
    path.write_bytes(octets)
    scanner = Endless()
    with pytest.raises(OSError, match="no room"):
        await MessageScanner(scanner, Empty()).scan(Content(path=path, size=len(octets)))
    assert scanner.read_at_the_end == [len(octets)]
