"""If one of these fails, an archive hides behind something else: in a program, behind a picture, behind another one."""

import gzip
import struct
import tarfile
import zipfile
import zlib
from functools import partial
from hashlib import shake_128
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.antivirus.archive.beginnings import MARKS, beginnings
from gateway.antivirus.archive.kinds import kinds_of
from gateway.antivirus.archive.report import ArchiveLimits
from gateway.antivirus.archive.walk import Walk
from gateway.antivirus.archive.walker import ArchiveWalker
from gateway.antivirus.cache import ResultCache
from gateway.antivirus.message import MessageScan, MessageScanner
from gateway.antivirus.result import Outcome
from gateway.antivirus.scanner import Scanner, ScannerLimits
from gateway.antivirus.scanners import Scanners
from gateway.clock import FakeClock
from gateway.mail.content import Content
from tests.antivirus.conftest import EICAR, Clamd
from tests.antivirus.shut import shut_7z
from tests.antivirus.test_archive import local_entry, paths, rar4, walk, zipped
from tests.antivirus.test_message import mail

pytest.importorskip("libarchive", reason="libarchive-c, or Debian's libarchive13, is not installed")

# The beginnings of programs for Windows and for Linux, of a picture and of a script.
FRONTS = {
    "a.exe": b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(3000),
    "a": b"\x7fELF\x02\x01\x01" + bytes(3000),
    "a.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(3000) + b"\xff\xd9",
    "a.sh": b"#!/bin/sh\nexit 0\n",
}


def block5(kind: int, rest: bytes, *, data: bytes | None = None) -> bytes:
    head = bytes([kind, 0 if data is None else 2]) + (b"" if data is None else bytes([len(data)])) + rest
    summed = bytes([len(head)]) + head
    return struct.pack("<I", zlib.crc32(summed)) + summed + (data or b"")


def rar5(name: bytes, data: bytes) -> bytes:
    """Return a RAR 5 archive of one stored entry of up to 127 octets (RAR 5.0 archive format, by its author)."""
    file = bytes([4, len(data), 0x20]) + struct.pack("<I", zlib.crc32(data)) + bytes([0, 1, len(name)]) + name
    return b"Rar!\x1a\x07\x01\x00" + block5(1, b"\0") + block5(2, file, data=data) + block5(5, b"\0")


def shut_rar5() -> bytes:
    """Return what begins a RAR 5 archive of which even the names are encrypted."""
    return b"Rar!\x1a\x07\x01\x00" + block5(4, bytes([0, 0, 15]) + bytes(range(16))) + bytes(range(200))


def seven(octets: bytes) -> bytes:
    py7zr = pytest.importorskip("py7zr")
    made = BytesIO()
    with py7zr.SevenZipFile(made, "w") as archive:
        archive.writestr(octets, "eicar.com")
    return made.getvalue()


ARCHIVES = {"7z": seven(EICAR), "RAR 4": rar4(b"eicar.com", EICAR), "RAR 5": rar5(b"eicar.com", EICAR)}


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("behind", [b"", b"a signature of its maker" * 50], ids=["", "signed"])
def test_what_stands_in_front_or_behind_hides_no_archive(front, kind, behind):
    report = walk(FRONTS[front] + ARCHIVES[kind] + behind)
    assert (paths(report), report.complete) == (["eicar.com"], True)
    assert bytes(report.entries[0].octets) == EICAR
    assert "executable" in report.entries[0].risks


@pytest.mark.parametrize("kind", ["RAR 4", "RAR 5"])
@pytest.mark.parametrize("front", [zipped(("a.txt", b"harmless")), gzip.compress(b"harmless")], ids=["zip", "gzip"])
def test_one_behind_another_kind_of_archive_is_what_some_program_opens(kind, front):
    report = walk(front + ARCHIVES[kind])
    assert paths(report)[-1] == "eicar.com"
    assert "archive-kinds" in report.ambiguous


@pytest.mark.parametrize("kind", ARCHIVES)
def test_one_that_lies_in_another_as_it_is_is_walked_once(kind):
    """Else what may be handed over of archives in archives would be half of what the limit says."""
    packed, made = zipped(("a.bin", ARCHIVES[kind]), method=zipfile.ZIP_STORED), BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        info = tarfile.TarInfo("a.zip")
        info.size = len(packed)
        tar.addfile(info, BytesIO(packed))
    report = walk(made.getvalue())
    assert paths(report) == ["a.zip", "a.zip/a.bin", "a.zip/a.bin/eicar.com"]
    assert report.ambiguous == ()


@pytest.mark.parametrize("pack", [zipped, lambda entry: gzip.compress(entry[1])], ids=["zip", "gzip"])
@pytest.mark.parametrize("kind", ["7z", "RAR 4"])
def test_one_that_did_not_shrink_is_no_second_one_spoiled(kind, pack):
    """Deflate leaves it as it is but for five octets in 64 KB: such mail would be held as not to be scanned."""
    content = shake_128(b"").digest(300_000)
    packed = pack(("a.bin", seven(content) if kind == "7z" else rar4(b"eicar.com", content)))
    assert any(sum(1 for _ in beginnings(packed, embedded)) for embedded in MARKS)
    report = walk(packed)
    assert (report.damaged, report.ambiguous, report.encrypted) == ("", (), False)
    assert [e.size for e in report.entries][1:] == [len(content)]


def test_a_spoiled_one_behind_another_archive_is_damage():
    assert walk(zipped(("a.rar", rar4(b"good.txt", b"good"))) + ARCHIVES["RAR 4"][:-30]).damaged


def test_a_program_that_lies_in_a_zip_as_it_is_is_walked_once():
    report = walk(zipped(("a.exe", FRONTS["a.exe"] + ARCHIVES["7z"]), method=zipfile.ZIP_STORED))
    assert (paths(report), report.ambiguous) == (["a.exe", "a.exe/eicar.com"], ())


def test_a_number_with_zeros_on_top_is_that_number():
    """Readers of RAR 5 take it; who does not would see no archive."""
    plain = ARCHIVES["RAR 5"]
    block = plain[8 : 8 + 4 + 1 + plain[12]]
    summed = bytes([block[4] + 1, block[5] | 0x80, 0]) + block[6:]
    longer = plain[:8] + struct.pack("<I", zlib.crc32(summed)) + summed + plain[8 + len(block) :]
    assert paths(walk(FRONTS["a.exe"] + longer)) == ["eicar.com"]


def test_one_that_goes_on_behind_its_entry_is_walked_again():
    """To whoever takes it out of the zip it ends with the entry; whoever opens the zip as a RAR reads on."""
    end, good, bad = 20, rar4(b"good.txt", b"good"), rar4(b"eicar.com", EICAR)
    entry, rest = good[: len(good) - 7], bad[end:]
    octets = bytearray(zipped(("a.rar", entry), method=zipfile.ZIP_STORED))
    at = octets.index(entry) + len(entry)
    octets[at:at] = rest
    where = octets.rindex(b"PK\x05\x06") + 16
    octets[where : where + 4] = struct.pack("<I", at + len(rest))
    report = walk(bytes(octets))
    assert [e.octets for e in report.entries if e.path[-1] == "eicar.com"] == [EICAR]


def shut_zip() -> bytes:
    """Return an encrypted entry of a zip without a directory near its end."""
    locked = bytearray(local_entry(b"eicar.com", EICAR))
    locked[6] |= 1
    return bytes(locked) + bytes(70_000)


@pytest.mark.parametrize("make", [shut_rar5, shut_zip, partial(shut_7z, EICAR, "geheim")], ids=["RAR 5", "zip", "7z"])
def test_an_encrypted_one_is_encrypted_and_not_nothing(make):
    report = walk(FRONTS["a.exe"] + make())
    assert report.encrypted
    assert not report.complete


def test_an_encrypted_program_is_opened_with_the_password():
    report = walk(FRONTS["a.exe"] + shut_7z(EICAR, "geheim"), ["wrong", "geheim"])
    assert report.opened
    assert EICAR in report.carried


def test_a_spoiled_one_is_damage_and_not_nothing():
    assert walk(FRONTS["a.exe"] + ARCHIVES["RAR 4"][:-30]).damaged


# An Outlook message, whose streams lie in sectors of 512 octets where there is room, and a PDF.
DOCUMENTS = {"a.msg": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504), "a.pdf": b"%PDF-1.7\n1 0 obj\n<<>>stream\n"}
# Of octets that no signature knows where they lie bare, and which do not shrink.
WITHIN = {"7z": seven(shake_128(b"").digest(900)), "RAR 4": rar4(b"a", shake_128(b"").digest(900))}


def in_pieces(document: str, kind: str) -> bytes:
    archive = WITHIN[kind]
    half = len(archive) // 2
    return DOCUMENTS[document] + archive[:half] + bytes(512) + archive[half:] + b"\nendstream\nendobj\n%%EOF\n"


@pytest.mark.real
@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("kind", WITHIN)
async def test_one_in_pieces_within_a_document_is_unscannable_and_not_nothing(shared_clamd, document, kind):
    """Its end cannot be found here, and Debian's clamd has no unrar: nobody has seen what is in it."""
    scan = await scanned(shared_clamd, mail(document, in_pieces(document, kind)))
    assert (scan.result.outcome, scan.result.name) == (Outcome.UNSCANNABLE, "Archive.Damaged")


@pytest.mark.real
async def test_an_encrypted_rar_stays_encrypted_whatever_password_the_mail_tells(shared_clamd):
    scan = await scanned(shared_clamd, mail("a.rar", shut_rar5(), text="The password: geheim"))
    assert (scan.result.outcome, scan.result.name) == (Outcome.ENCRYPTED, "Archive.Encrypted")


async def scanned(clamd: Clamd, content: Content) -> MessageScan:
    walker = ArchiveWalker(ArchiveLimits())
    try:
        pool = Scanners([Scanner(clamd.unix, ScannerLimits())], ResultCache(FakeClock()))
        return await MessageScanner(pool, walker).scan(content)
    finally:
        walker.close()


@pytest.mark.parametrize(
    "mark", [b"Rar!\x1a\x07", b"Rar!\x1a\x07\x00", b"Rar!\x1a\x07\x01\x00", b"7z\xbc\xaf\x27\x1c"], ids=str
)
def test_a_programs_own_knowledge_of_the_mark_is_no_archive(mark):
    report = walk(FRONTS["a.exe"] + mark + bytes(100))
    assert report.complete
    assert report.entries == ()


@given(
    st.binary(max_size=60),
    st.sampled_from([b"Rar!\x1a\x07\x00", b"Rar!\x1a\x07\x01\x00", b"7z\xbc\xaf\x27\x1c\x00\x04"]),
)
def test_whatever_stands_behind_a_mark_is_a_report(rest, mark):
    octets = b"MZ" + mark + rest
    assert kinds_of(octets)
    walk(octets)


def test_many_marks_are_a_limit_and_no_stall():
    head = ARCHIVES["7z"][:32]
    report = Walk(ArchiveLimits(entries=50), (), lambda: 0.0).run(b"MZ" + head * 100)
    assert report.limit == "entries"


@pytest.mark.real
@pytest.mark.parametrize("kind", ["RAR 4", "RAR 5"])
async def test_a_virus_in_a_rar_that_unpacks_itself_is_found(shared_clamd, kind):
    """Packed once more, so that it is not its octets in the program that are found; Debian's clamd has no unrar."""
    make, packed = rar4 if kind == "RAR 4" else rar5, gzip.compress(EICAR, mtime=0)
    scan = await scanned(shared_clamd, mail("a.exe", FRONTS["a.exe"] + make(b"eicar.com.gz", packed)))
    assert scan.result.outcome is Outcome.INFECTED
    assert [part.leaf.part.filename for part in scan.infected] == ["a.exe"]
