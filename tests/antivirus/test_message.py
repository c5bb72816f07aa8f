"""Whole mails against a real clamd: whatever a client would show is scanned, and what could not be is never clean."""

import asyncio
import base64
import csv
import hashlib
import io
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from gateway.antivirus.archive.report import ArchiveLimits, ArchiveReport
from gateway.antivirus.archive.walker import ArchiveWalker
from gateway.antivirus.cache import ResultCache
from gateway.antivirus.connection import stream_limit
from gateway.antivirus.message import MessageScan, MessageScanner
from gateway.antivirus.result import Cause, Outcome
from gateway.antivirus.scanner import Scanner, ScannerLimits
from gateway.antivirus.scanners import Scanners
from gateway.clock import FakeClock
from gateway.mail.content import Content
from tests.antivirus.conftest import EICAR, MATERIAL

pytestmark = pytest.mark.real

NAMES = [f"{n:02}" for n in (*range(1, 29), 40, *range(50, 55))]
# Their infection is no single part of the received octets, or not for every reader.
NOT_FOR_EVERY_READER = {"26-dup-ct.eml"}


@pytest.fixture
async def walker():
    walker = ArchiveWalker(ArchiveLimits())
    yield walker
    walker.close()


@pytest.fixture
def scanner(shared_clamd, walker) -> MessageScanner:
    return MessageScanner(Scanners([Scanner(shared_clamd.unix, ScannerLimits())], ResultCache(FakeClock())), walker)


def mail(name: str, octets: bytes, text: str = "See the attachment.") -> Content:
    parts = (
        b'Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n'
        b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + text.encode() + b"\r\n--b\r\n"
        b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="' + name.encode() + b'"\r\n\r\n'
    )
    return Content(parts + base64.encodebytes(octets).replace(b"\n", b"\r\n") + b"--b--\r\n")


def zipped(*entries: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, octets in entries:
            archive.writestr(name, octets)
    return buffer.getvalue()


def row(mails: Path, number: str) -> dict[str, str]:
    with (mails / "manifest.csv").open(encoding="utf-8", newline="") as file:
        found = [row for row in csv.DictReader(file) if row["file"].startswith(f"{number}-")]
    if not found:
        pytest.skip("7z (package p7zip-full) is not installed, this mail was not built")
    return found[0]


@pytest.mark.parametrize("number", NAMES)
async def test_every_mail_of_the_material_has_its_verdict_and_its_part(mails, scanner, number):
    expected = row(mails, number)
    scan = await scanner.scan(Content((mails / expected["file"]).read_bytes()))
    outcome = {"infected": Outcome.INFECTED, "clean": Outcome.CLEAN, "unscannable": Outcome.ENCRYPTED}
    assert scan.result.outcome is outcome[expected["expect"]], scan
    wanted = set(expected["infected_part"].split("|")) if expected["expect"] != "clean" else set()
    bad = [part for part in scan.parts if not part.result.clean]
    assert {part.leaf.part.filename for part in bad if part.leaf.is_separable} == wanted
    usual = expected["file"] not in NOT_FOR_EVERY_READER
    assert all(part.usual is usual for part in bad)


async def test_a_spilled_content_is_scanned_like_one_in_memory(mails, scanner, tmp_path):
    octets = (mails / "22-two-bad.eml").read_bytes()
    path = tmp_path / "content"
    path.write_bytes(octets)
    scan = await scanner.scan(Content(path=path, size=len(octets)))
    assert [part.leaf.part.filename for part in scan.infected] == ["a.zip", "b.com"]


@pytest.fixture
def encrypted_zip(tmp_path) -> bytes:
    if shutil.which("7z") is None:
        pytest.skip("7z (package p7zip-full) is not installed")
    (tmp_path / "eicar.com").write_bytes(EICAR)
    arguments = ["7z", "a", "-bso0", "-bsp0", "-tzip", "-mem=AES256", "-p8888", "e.zip", "eicar.com"]
    subprocess.run(arguments, cwd=tmp_path, check=True)
    return (tmp_path / "e.zip").read_bytes()


async def test_an_encrypted_archive_is_opened_with_the_password_of_the_text(scanner, encrypted_zip):
    scan = await scanner.scan(mail("e.zip", encrypted_zip))
    assert scan.result.outcome is Outcome.ENCRYPTED
    scan = await scanner.scan(mail("e.zip", encrypted_zip, "附件的解压密码：8888"))
    assert scan.result.outcome is Outcome.INFECTED
    assert [part.leaf.part.filename for part in scan.infected] == ["e.zip"]


async def test_what_a_scanner_does_not_see_in_an_archive_is_scanned_by_itself(scanner):
    octets = zipped(("eicar.com", EICAR)) + zipped(("good.txt", b"good"))
    scan = await scanner.scan(mail("two.zip", octets))
    assert scan.result.outcome is Outcome.INFECTED
    assert "zip-hidden" in scan.ambiguities


async def test_a_mail_with_many_archives_holds_up_no_other_mails(shared_clamd):
    """Two hundred that take their time would else be before everybody's documents, who are deferred as busy."""

    walks: list[str] = []

    class Slow(ArchiveWalker):
        async def walk(self, octets, *, name="", passwords=()):  # noqa: ARG002 - as it is called
            child = await self._free.get()
            walks.append(name)
            await asyncio.sleep(0.02)
            self._free.put_nowait(child)
            return ArchiveReport()

    walker = Slow(ArchiveLimits())
    scanners = Scanners([Scanner(shared_clamd.unix, ScannerLimits())], ResultCache(FakeClock()))
    scanner = MessageScanner(scanners, walker)
    boundary = b'Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    many = boundary + b"".join(
        b"--b\r\nContent-Type: application/zip; name=many.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(zipped((f"{number}.txt", b"x"))).replace(b"\n", b"\r\n")
        for number in range(30)
    )
    flood = asyncio.create_task(scanner.scan(Content(many + b"--b--\r\n")))
    async with asyncio.timeout(30):
        while not walks:  # noqa: ASYNC110 - a plain list
            await asyncio.sleep(0.001)
    await scanner.scan(mail("one.zip", zipped(("one.txt", b"y"))))
    assert walks.index("one.zip") < 10
    assert not flood.done()
    await flood
    assert len(walks) == 31
    walker.close()


async def test_a_mail_that_is_one_text_is_scanned_as_a_whole_and_its_part_has_that_result(scanner):
    head = b"From: a@b.test\r\nContent-Type: text/plain\r\n\r\n"
    for body, outcome in ((b"hello\r\n", Outcome.CLEAN), (EICAR + b"\r\n", Outcome.INFECTED)):
        scan = await scanner.scan(Content(head + body))
        assert [part.result.outcome for part in scan.parts] == [outcome]
        assert scan.parts[0].result == scan.whole
    encoded = Content(head.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n") + b"aGVsbG8=\r\n")
    assert (await scanner.scan(encoded)).parts[0].result != scan.whole


FOUND_BY_HASH = b"Nothing but its hash tells what this is.\r\n" * 3


@pytest.fixture
def by_hash(clamds, walker) -> MessageScanner:
    """Return a scanner with a signature of a text's hash, with the line ends that clamd gives it and with its own."""
    clamd = clamds()
    clamd.kill()
    texts = FOUND_BY_HASH, FOUND_BY_HASH.replace(b"\r\n", b"\n")
    lines = [f"{hashlib.md5(text).hexdigest()}:{len(text)}:Test.Hash\n" for text in texts]  # noqa: S324 - as clamd has it
    (clamd.folder / "db" / "hash.hdb").write_text("".join(lines))
    clamd.start()
    return MessageScanner(Scanners([Scanner(clamd.unix, ScannerLimits())], ResultCache(FakeClock())), walker)


async def test_a_text_that_only_its_hash_tells_is_found_whatever_field_the_mail_begins_with(by_hash):
    """clamd takes for octets what does not begin as the mails it knows: a virus would hide behind any other field."""
    for first in (b"Received: from x", b"From: a@b.test", b"X-Odd: 1", b"Subject: x", b"from: a@b.test"):
        scan = await by_hash.scan(Content(first + b"\r\nContent-Type: text/plain\r\n\r\n" + FOUND_BY_HASH))
        assert scan.result.outcome is Outcome.INFECTED, first


async def test_a_bomb_is_unscannable_and_not_clean(scanner):
    scan = await scanner.scan(mail("bomb.zip", zipped(("zeros", bytes(60 * 1024 * 1024)))))
    assert scan.result.outcome is Outcome.UNSCANNABLE
    assert "ratio" in scan.result.reason


async def test_a_message_that_is_elsewhere_is_not_clean(scanner):
    content = Content(
        b'Content-Type: message/partial; id="x"; number=2; total=3\r\n\r\nSubject: x\r\n\r\nhalf of it\r\n'
    )
    assert (await scanner.scan(content)).result.outcome is Outcome.UNSCANNABLE


@pytest.mark.parametrize("known", ["known", "unknown"])
async def test_larger_than_the_scanner_takes_is_too_large_and_the_parts_are_scanned_all_the_same(
    shared_clamd, walker, known
):
    scanner = Scanner(shared_clamd.unix, ScannerLimits())
    scanner.alerts_limits = True
    if known == "known":
        scanner.stream_limit = await stream_limit(shared_clamd.unix, 50 * 1024 * 1024)
    scan = await MessageScanner(Scanners([scanner], ResultCache(FakeClock())), walker).scan(
        mail("large", os.urandom(25 * 1024 * 1024))
    )
    assert scan.whole.outcome is Outcome.TOO_LARGE, "base64 makes 34 MiB of it, StreamMaxLength is 30"
    assert scan.result.outcome is Outcome.TOO_LARGE
    assert [part.result.outcome for part in scan.parts] == [Outcome.CLEAN, Outcome.CLEAN]


async def test_without_a_scanner_nothing_is_clean(walker):
    scan = await MessageScanner(Scanners([], ResultCache(FakeClock())), walker).scan(mail("a.txt", b"x"))
    assert (scan.result.outcome, scan.result.cause) == (Outcome.TEMPERROR, Cause.CIRCUIT_OPEN)
    assert not any(part.result.clean for part in scan.parts)


MESSAGES = sorted(p for p in (MATERIAL.parent / "mime").rglob("*") if p.suffix in {".eml", ".msg", ".txt"})


async def test_no_awkward_message_raises_and_each_part_has_a_result(scanner):
    if not MESSAGES:
        pytest.skip("no test material for MIME")
    for path in MESSAGES:
        scan: MessageScan = await scanner.scan(Content(path.read_bytes()))
        assert scan.result.outcome is not Outcome.TEMPERROR, path.name
        assert scan.whole.clean, path.name
