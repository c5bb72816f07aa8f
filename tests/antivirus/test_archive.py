"""If one of these fails, something in an archive is seen by a reader and by nobody else, or an archive stalls us."""

import asyncio
import bz2
import gzip
import io
import lzma
import shutil
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.antivirus.archive.child import walk as child_walk
from gateway.antivirus.archive.kinds import kinds_of
from gateway.antivirus.archive.names import decode_name, shown
from gateway.antivirus.archive.report import ArchiveLimits, ArchiveReport, as_plain, from_plain
from gateway.antivirus.archive.walk import Walk
from gateway.antivirus.archive.walker import ArchiveWalker
from tests.antivirus.conftest import EICAR, eventually

libarchive = pytest.importorskip("libarchive", reason="libarchive-c, or Debian's libarchive13, is not installed")


def walk(archive: bytes, passwords: Sequence[str] = (), **limits) -> ArchiveReport:
    return Walk(ArchiveLimits(**limits), passwords, lambda: 0.0).run(archive, "mail.zip")


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, octets in entries:
            archive.writestr(name, octets)
    return buffer.getvalue()


def paths(report: ArchiveReport) -> list[str]:
    return ["/".join(entry.path) for entry in report.entries]


# What is inside -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_method_that_zips_use_is_undone(method):
    report = walk(zipped(("a.txt", b"text" * 1000), ("eicar.com", EICAR), method=method))
    assert paths(report) == ["a.txt", "eicar.com"]
    assert [entry.size for entry in report.entries] == [4000, len(EICAR)]
    assert report.complete
    assert report.ambiguous == ()


def test_archives_in_archives_are_walked():
    inner = zipped(("eicar.com", EICAR))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("inner.zip")
        info.size = len(inner)
        tar.addfile(info, io.BytesIO(inner))
    report = Walk(ArchiveLimits(), (), lambda: 0.0).run(zipped(("all.tar.gz", buffer.getvalue())), "mail.zip")
    assert paths(report) == [
        "all.tar.gz",
        "all.tar.gz/all.tar",
        "all.tar.gz/all.tar/inner.zip",
        "all.tar.gz/all.tar/inner.zip/eicar.com",
    ]
    assert report.complete


@pytest.mark.parametrize(
    ("kind", "octets"),
    [("gzip", gzip.compress(EICAR, mtime=0)), ("bzip2", bz2.compress(EICAR)), ("xz", lzma.compress(EICAR))],
)
def test_a_compressed_file_has_its_own_name_without_the_ending(kind, octets):
    report = Walk(ArchiveLimits(), (), lambda: 0.0).run(octets, "virus.exe.gz")
    assert report.kinds == (kind,)
    assert paths(report) == ["virus.exe"]


def seven_zip(folder, *arguments: str) -> None:
    program = shutil.which("7z")
    if program is None:
        pytest.skip("7z (package p7zip-full) is not installed")
    subprocess.run([program, "a", "-bso0", "-bsp0", *arguments], cwd=folder, check=True)


@pytest.mark.real
def test_7z_is_read(tmp_path):
    (tmp_path / "eicar.com").write_bytes(EICAR)
    seven_zip(tmp_path, "e.7z", "eicar.com")
    report = walk((tmp_path / "e.7z").read_bytes())
    assert (report.kinds, paths(report), report.complete) == (("7z",), ["eicar.com"], True)


@pytest.mark.real
@pytest.mark.parametrize("method", ["-mem=ZipCrypto", "-mem=AES256"])
def test_an_encrypted_zip_is_opened_with_the_password_and_its_content_handed_over(tmp_path, method):
    (tmp_path / "eicar.com").write_bytes(EICAR)
    seven_zip(tmp_path, "-tzip", "-pgeheim", method, "e.zip", "eicar.com")
    octets = (tmp_path / "e.zip").read_bytes()
    shut = walk(octets, ["wrong", "other"])
    assert shut.encrypted
    assert not shut.complete
    assert paths(shut) == ["eicar.com"], "names are readable without the password"
    opened = walk(octets, ["wrong", "geheim"])
    assert opened.complete
    [entry] = opened.entries
    assert (entry.octets, entry.encrypted, entry.unlocked) == (EICAR, True, True)


@pytest.mark.real
@pytest.mark.parametrize("packing", ["-mm=Copy", "-mm=Deflate"])
def test_a_wrong_password_that_zips_own_check_lets_pass_opens_nothing(tmp_path, packing):
    """One of 256 passes it: whoever sends a virus would put such a one beside the right one, or alone."""
    (tmp_path / "eicar.com").write_bytes(EICAR * 50)
    seven_zip(tmp_path, "-tzip", "-pgeheim", "-mem=ZipCrypto", packing, "e.zip", "eicar.com")
    octets = (tmp_path / "e.zip").read_bytes()
    decoys = [word for word in map(str, range(2000)) if passes(octets, word)][:3]
    shut = walk(octets, decoys)
    assert decoys
    assert (shut.encrypted, [entry.unlocked for entry in shut.entries]) == (True, [False])
    [entry] = walk(octets, [*decoys, "geheim"]).entries
    assert (entry.octets, entry.unlocked) == (EICAR * 50, True)


def passes(archive: bytes, password: str) -> bool:
    """Tell whether a password passes the check of one octet (APPNOTE 6.1.6)."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened, opened.open("eicar.com", pwd=password.encode()):
            return True
    except RuntimeError:
        return False


@pytest.mark.real
@pytest.mark.parametrize("names", ["-mhe=on", "-mhe=off"])
@pytest.mark.parametrize("method", ["LZMA2", "PPMd", "BZip2", "Copy"])
def test_an_encrypted_7z_is_opened_with_the_password_and_stays_encrypted_without(tmp_path, names, method):
    (tmp_path / "eicar.com").write_bytes(EICAR)
    seven_zip(tmp_path, "-pgeheim", names, f"-m0={method}", "e.7z", "eicar.com")
    octets = (tmp_path / "e.7z").read_bytes()
    shut = walk(octets, ["wrong"])
    assert shut.encrypted
    assert not shut.complete
    opened = walk(octets, ["wrong", "geheim"])
    assert opened.opened
    [entry] = opened.entries
    assert (entry.path, entry.octets, entry.unlocked) == (("eicar.com",), EICAR, True)


def attribute(identifier: int, data: bytes) -> bytes:
    return struct.pack("<BII", 2, identifier, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)


def tnef(*attributes: bytes) -> bytes:
    return b"\x78\x9f\x3e\x22\x01\x00" + b"".join(attributes)


REND, TITLE, DATA, PROPERTIES = 0x00069002, 0x00018010, 0x0006800F, 0x00069005


def test_files_in_a_winmail_dat_are_named_and_handed_over_and_looked_into():
    inner = zipped(("eicar.com", EICAR))
    one = (attribute(REND, b"x"), attribute(DATA, b"hello"), attribute(TITLE, "发票.txt".encode("gbk") + b"\0"))
    two = (attribute(REND, b"x"), attribute(TITLE, b"a.zip\0"), attribute(DATA, inner))
    report = walk(tnef(attribute(0x00089006, b"\0\0\1\0"), *one, *two))
    assert (report.kinds, report.complete) == (("tnef",), True)
    assert paths(report) == ["发票.txt", "a.zip", "a.zip/eicar.com"]
    assert [bytes(entry.octets) for entry in report.entries] == [b"hello", inner, EICAR]


def test_a_message_in_a_winmail_dat_is_looked_into():
    within = tnef(attribute(REND, b"x"), attribute(TITLE, b"e.com\0"), attribute(DATA, EICAR))
    report = walk(tnef(attribute(REND, b"x"), attribute(PROPERTIES, bytes(40) + within)))
    assert paths(report) == ["message.tnef", "message.tnef/e.com"]
    assert "executable" in report.entries[1].risks


def test_a_winmail_dat_cut_short_is_damaged_and_what_stands_behind_one_is_handed_over():
    whole = tnef(attribute(REND, b"x"), attribute(TITLE, b"e.com\0"), attribute(DATA, EICAR))
    cut = walk(whole[:-20])
    assert bytes(cut.entries[0].octets) == EICAR[:-18]
    assert "cut short" in cut.damaged
    behind = walk(whole + b"\r\na footer of a list\r\n")
    assert behind.complete
    assert b"\r\na footer of a list\r\n" in [bytes(entry.octets) for entry in behind.entries]


@given(st.binary(max_size=400))
def test_any_octets_behind_the_signature_of_a_winmail_dat_are_a_report(rest):
    walk(b"\x78\x9f\x3e\x22" + rest)
    walk(tnef(attribute(DATA, b"x")) + rest)


def rar4(name: bytes, data: bytes) -> bytes:
    """Return a RAR archive of one stored entry (RAR 4's technote): there is no free program that writes one."""

    def block(kind: int, flags: int, rest: bytes, behind: int = 0) -> bytes:
        head = struct.pack("<BHH", kind, flags, 7 + len(rest)) + rest
        return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head

    file = struct.pack("<IIBIIBBHI", len(data), len(data), 2, zlib.crc32(data), 0, 20, 0x30, len(name), 0x20) + name
    return b"Rar!\x1a\x07\x00" + block(0x73, 0, bytes(6)) + block(0x74, 0x8000, file) + data + block(0x7B, 0x4000, b"")


def test_a_rar_is_read_and_handed_over_because_not_every_scanner_does():
    report = walk(rar4(b"eicar.com", EICAR))
    assert (report.kinds, paths(report), report.complete) == (("rar",), ["eicar.com"], True)
    assert bytes(report.entries[0].octets) == EICAR
    assert not walk(rar4(b"eicar.com", EICAR)[:-30]).complete


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "deceptive"),
    [
        ("invoice.pdf.exe", True),
        ("ann\u202efdp.exe", True),
        ("run.exe .", True),
        ("list            .scr", True),
        ("run.exe", False),
        ("Dr. J. Smith.", False),
        ("דוח.pdf", False),
    ],
)
def test_a_name_that_hides_what_it_is(name, deceptive):
    [entry] = walk(zipped((name, b"x"))).entries
    assert bool({"double-extension", "deceptive-name"} & {*entry.risks}) is deceptive
    assert entry.path[0].isprintable()


@pytest.mark.parametrize("charset", ["gb18030", "utf-8"])
def test_chinese_names_without_the_utf8_bit_are_read(charset):
    octets = zipped(("AAAAAAAA", b"x"))
    raw = "发票.exe".encode(charset)
    octets = octets.replace(struct.pack("<H", 8) + b"\0\0AAAAAAAA", struct.pack("<H", len(raw)) + b"\0\0" + raw)
    # The names' lengths differ from the placeholder's, so the directory is left as it was, and contradicts.
    report = walk(octets)
    assert paths(report) == ["发票.exe"]


def test_gbk_names_written_by_windows_are_read_from_header_and_directory():
    raw = "发票.exe".encode("gb18030")
    octets = zipped(("A" * len(raw), b"x")).replace(b"A" * len(raw), raw)
    report = walk(octets)
    assert paths(report) == ["发票.exe"]
    assert report.ambiguous == ()


@given(st.binary(max_size=300))
def test_any_name_is_decoded_and_shown_without_control_characters(raw):
    assert shown(decode_name(raw)).isprintable()
    assert shown(decode_name(raw, utf8=True)).isprintable()


def test_names_that_are_paths_are_only_names():
    report = walk(zipped(("../../etc/passwd", b"x"), ("C:\\windows\\a.exe", b"y"), ("a\nb", b"z")))
    assert [entry.path[-1] for entry in report.entries] == ["../../etc/passwd", "C:\\windows\\a.exe", "a\\u000ab"]


# Two readers ----------------------------------------------------------------------------------------------------------


def test_of_two_zips_one_behind_the_other_both_are_read_and_the_first_is_handed_over():
    report = walk(zipped(("evil.exe", EICAR)) + zipped(("good.txt", b"good")))
    assert paths(report) == ["evil.exe", "good.txt"]
    assert report.ambiguous == ("zip-hidden",)
    hidden, listed = report.entries
    assert (hidden.hidden, hidden.octets, listed.hidden, listed.octets) == (True, EICAR, False, None)


def local_entry(name: bytes, octets: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(octets) + packer.flush()
    sizes = zlib.crc32(octets), len(packed), len(octets)
    return struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 8, 0, 0, *sizes, len(name), 0) + name + packed


def test_an_entry_that_the_directory_leaves_out_is_found():
    octets = zipped(("good.txt", b"good"))
    at = octets.index(b"PK\x01\x02")
    evil = local_entry(b"evil.exe", EICAR)
    end = bytearray(octets[at:])
    where = end.index(b"PK\x05\x06") + 16
    end[where : where + 4] = struct.pack("<I", at + len(evil))
    report = walk(octets[:at] + evil + bytes(end))
    assert paths(report) == ["good.txt", "evil.exe"]
    assert report.entries[1].octets == EICAR
    assert report.ambiguous == ("zip-hidden",)


def test_a_name_that_header_and_directory_give_differently_is_ambiguous():
    octets = zipped(("good.txt", EICAR))
    report = walk(octets.replace(b"good.txt", b"evil.exe", 1))
    assert report.ambiguous == ("zip-names",)
    assert paths(report) == ["evil.exe"]


def zip_of(name: bytes, octets: bytes, local: tuple[int, int], listed: tuple[int, int]) -> bytes:
    """Return a zip of one entry whose header and directory say what they like of its (method, packed size)."""

    def about(method: int, packed: int) -> bytes:
        return struct.pack("<HHHHIIIHH", 0, method, 0, 0, zlib.crc32(octets), packed, packed, len(name), 0)

    head = b"PK\x03\x04\x14\x00" + about(*local) + name + octets
    entry = b"PK\x01\x02\x14\x00\x14\x00" + about(*listed) + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    return head + entry + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, len(entry), len(head), 0)


PACKED = gzip.compress(EICAR, mtime=0)


@pytest.mark.parametrize(
    ("local", "listed"),
    [
        ((0, 0), (0, len(PACKED))),
        ((0, 5), (0, len(PACKED))),
        ((0, len(PACKED)), (0, 5)),
        ((8, len(PACKED)), (0, len(PACKED))),
        ((0, len(PACKED)), (8, len(PACKED))),
    ],
)
def test_an_entry_of_which_header_and_directory_make_different_octets_is_read_by_both(local, listed):
    """A scanner reads it by one of them and finds nothing; whoever opens it reads it by the other."""
    report = walk(zip_of(b"e.gz", PACKED, local, listed))
    assert "zip-headers" in report.ambiguous
    assert EICAR in [entry.octets for entry in report.entries]


def test_a_tar_of_before_posix_is_looked_into():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("e.com")
        info.size = len(EICAR)
        tar.addfile(info, io.BytesIO(EICAR))
    head = bytearray(buffer.getvalue())
    head[257:265] = bytes(8)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head[:512])
    report = walk(bytes(head))
    assert (report.kinds, paths(report), report.complete) == (("tar",), ["e.com"], True)


def test_an_old_lzma_is_undone_and_handed_over():
    report = Walk(ArchiveLimits(), (), lambda: 0.0).run(lzma.compress(EICAR, format=lzma.FORMAT_ALONE), "e.com.lzma")
    assert (report.kinds, paths(report), report.entries[0].octets) == (("lzma",), ["e.com"], EICAR)


def test_a_stream_that_is_none_is_damaged_and_no_archive_in_itself():
    report = walk(PACKED[:5])
    assert (report.limit, report.entries, report.damaged != "") == ("", (), True)


def test_of_streams_within_streams_each_kind_is_a_level_of_its_own():
    """libarchive undoes them all at once if it may, and for some kinds by starting programs."""
    octets = gzip.compress(bz2.compress(gzip.compress(EICAR)))
    assert len(walk(octets).entries) == 3
    assert walk(octets, depth=2).limit == "depth"


def test_an_openpgp_file_is_encrypted():
    armoured = b"-----BEGIN PGP MESSAGE-----\r\n\r\nabcd\r\n-----END PGP MESSAGE-----\r\n"
    for name, octets in (("a.asc", armoured), ("a.gpg", b"\x8c\x0d\x04\x09\x03\x02" + bytes(range(200, 240)))):
        assert walk(zipped((name, octets))).encrypted, name


def test_a_zip_behind_a_picture_is_found():
    report = walk(b"\x89PNG\r\n\x1a\n" + bytes(5000) + zipped(("evil.exe", EICAR)))
    assert report.kinds == ("zip",)
    assert paths(report) == ["evil.exe"]
    assert not report.entries[0].hidden


def test_a_zip_behind_another_kind_of_archive_is_found_and_handed_over():
    report = walk(gzip.compress(b"good") + zipped(("evil.exe", EICAR)))
    assert report.kinds == ("gzip", "zip")
    assert "archive-kinds" in report.ambiguous
    assert [e.octets for e in report.entries if e.path == ("evil.exe",)] == [EICAR]


def test_a_zip_in_a_program_is_looked_into_but_broken_pieces_of_it_are_no_damage():
    report = walk(b"MZ" + bytes(500) + local_entry(b"setup.exe", EICAR) + b"PK\x03\x04" + bytes(100))
    assert report.kinds == ("embedded-zip",)
    assert [entry.octets for entry in report.entries] == [EICAR]
    assert report.complete


def test_a_zip_cut_short_is_read_as_far_as_it_goes_and_is_not_complete():
    octets = zipped(("a.txt", b"first"), ("b.bin", bytes(range(256)) * 50))
    report = walk(octets[: octets.index(b"b.bin") + 40])
    assert "a.txt" in paths(report)
    assert report.damaged
    assert not report.complete


def test_a_method_nobody_knows_is_not_complete():
    octets = zipped(("a.txt", b"first")).replace(b"\x08\x00", b"\x13\x00")
    assert "method" in walk(octets).damaged


# Bombs ----------------------------------------------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    octets = EICAR
    for level in range(depth):
        octets = zipped((f"{level}.zip", octets))
    return octets


def test_too_deep_is_a_limit():
    assert walk(nested(12)).limit == ""
    assert walk(nested(13)).limit == "depth"


def test_too_many_entries_are_a_limit():
    octets = zipped(*((f"{n}", b"") for n in range(20)))
    assert walk(octets, entries=20).limit == ""
    assert walk(octets, entries=19).limit == "entries"


def test_too_many_octets_are_a_limit():
    assert walk(zipped(("a", bytes(10_000_000))), octets=5_000_000).limit == "octets"


def test_an_entry_larger_than_a_scanner_looks_at_is_a_limit():
    assert walk(zipped(("a", bytes(3_000_000))), entry_octets=2_000_000).limit == "entry"


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_is_a_limit(method):
    report = walk(zipped(("zeros", bytes(100 * 1024 * 1024)), method=method))
    assert report.limit == "ratio"
    assert not report.complete


def test_overlapping_entries_are_a_limit():
    """As in zips of 42 KB that unpack to petabytes: many names in the directory, one piece of data."""
    octets = zipped(("a", b"x" * 1000), method=zipfile.ZIP_STORED)
    at = octets.index(b"PK\x01\x02")
    end = octets.index(b"PK\x05\x06")
    second = bytearray(octets[at:end])
    second[42:46] = struct.pack("<I", 500)
    tail = bytearray(octets[end:])
    tail[12:16] = struct.pack("<I", 2 * (end - at))
    assert walk(octets[:end] + bytes(second) + bytes(tail)).limit == "overlap"


def test_time_is_a_limit():
    ticking = iter(range(1000))
    report = Walk(ArchiveLimits(seconds=5), (), lambda: float(next(ticking))).run(nested(10))
    assert report.limit == "seconds"


def test_what_is_handed_over_is_bounded():
    octets = zipped(("evil", bytes(10_000_000))) + zipped(("good", b""))
    assert walk(octets, carried_octets=5_000_000).limit == "carried"


# Any octets -----------------------------------------------------------------------------------------------------------

GOOD = zipped(("a.txt", b"some text " * 20), ("inner.zip", zipped(("b.txt", b"b" * 99))), ("c", b"c" * 1000))


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=12), st.integers(0, len(GOOD)))
def test_a_spoiled_zip_is_a_report_whatever_is_wrong_with_it(changes, end):
    octets = bytearray(GOOD)
    for at, value in changes:
        octets[at] = value
    report = walk(bytes(octets[:end]))
    assert from_plain(as_plain(report), carried(report)) == report


def carried(report: ArchiveReport) -> memoryview:
    return memoryview(b"".join(bytes(e.octets) for e in report.entries if e.octets is not None))


@settings(max_examples=100)
@given(
    st.sampled_from(
        [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\x01\x00", b"\x1f\x8b\x08", b"BZh91AY&SY", b"MSCF\0\0\0\0", b"!<arch>\n"]
    ),
    st.binary(),
)
def test_what_only_begins_like_an_archive_is_a_report(head, rest):
    report = walk(head + rest)
    assert report.kinds[0]


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"Hello -lh5- world",
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        b"%PDF-1.7\n%%EOF",
        b"\xff\xd8\xff\xe0JFIF",
        b"BZhello",
        b"\x1f\x8b",
        b"\x1f\x9d\x00",
        b"07070 is a number",
        b"PK",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000),
    ],
)
def test_what_is_no_archive_is_not_walked(octets):
    assert kinds_of(octets) == ()


# The child ------------------------------------------------------------------------------------------------------------


async def test_the_child_gives_the_report_that_a_walk_gives():
    walker = ArchiveWalker(ArchiveLimits())
    octets = zipped(("evil.exe", EICAR)) + zipped(("good.txt", b"good"))
    report = await walker.walk(octets, name="mail.zip")
    assert paths(report) == ["evil.exe", "good.txt"]
    assert bytes(report.entries[0].octets) == EICAR
    walker.close()


async def test_a_child_that_dies_is_a_report_and_the_next_archive_is_walked():
    walker = ArchiveWalker(ArchiveLimits(), children=1)
    await walker.walk(GOOD)
    [child] = walker._all
    child._process.kill()
    child._process.wait()
    assert (await walker.walk(GOOD)).limit == "crashed"
    report = await walker.walk(GOOD)
    assert report.complete
    walker.close()


async def test_a_child_that_takes_too_long_is_killed(monkeypatch):
    from gateway.antivirus.archive import walker as module  # noqa: PLC0415 - its constant is what is changed

    monkeypatch.setattr(module, "_GRACE_SECONDS", 0.0)
    walker = ArchiveWalker(ArchiveLimits(seconds=0.0), children=1)
    assert (await walker.walk(GOOD)).limit == "seconds"
    assert not walker._all
    walker.close()


async def test_memory_is_a_limit_that_the_gateway_does_not_feel():
    walker = ArchiveWalker(ArchiveLimits(memory_octets=300 * 1024 * 1024, ratio=10_000), children=1)
    report = await walker.walk(zipped(("zeros", bytes(250 * 1024 * 1024))))
    assert report.limit in ("memory", "crashed")
    assert (await walker.walk(GOOD)).complete
    walker.close()


async def test_archives_of_one_moment_share_the_children():
    walker = ArchiveWalker(ArchiveLimits(), children=2)
    reports = await asyncio.gather(*(walker.walk(GOOD) for _ in range(10)))
    assert all(report.complete for report in reports)
    assert len(walker._all) == 2
    walker.close()


async def test_a_mail_that_has_gone_leaves_no_answer_for_the_next():
    walker = ArchiveWalker(ArchiveLimits(), children=1)
    await walker.walk(GOOD)
    waiting = asyncio.ensure_future(walker.walk(zipped(("other", bytes(50_000_000)))))
    await eventually(walker._free.empty)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert paths(await walker.walk(zipped(("mine", b"x")))) == ["mine"]
    walker.close()


def test_a_child_takes_its_limits_from_the_request():
    request = {"limits": {"depth": 1}, "passwords": [], "name": ""}
    assert child_walk(request, nested(3)).limit == "depth"


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"carried": [[0, 5]]},
        {"kinds": 1, "entries": [], "carried": [], "limit": "", "damaged": "", "ambiguous": []},
    ],
)
def test_what_is_no_report_is_refused(plain):
    with pytest.raises((ValueError, KeyError, TypeError)):
        from_plain(plain, memoryview(b""))
