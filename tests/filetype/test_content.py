"""What a file is must come from its octets: an executable called a picture is an executable, a password hides a member.

Archives are made here by zipfile, or were made by 7-Zip 26.02 (the 7z ones, in base64). Compound files, RAR archives
and PDFs are put together from their specifications, as small as these allow.
"""

import io
import struct
import tarfile
import zipfile
from base64 import b64decode

import pytest

from gateway.mail.filetype import inspect
from gateway.mail.filetype.kinds import KINDS
from gateway.mail.filetype.unknown import _library


def zipped(*names: str, content: bytes = b"x") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return buffer.getvalue()


PE = b"MZ" + bytes(58) + struct.pack("<I", 0x40) + b"PE\0\0" + bytes(100)
SIGNED = {
    "pe": PE,
    "dos": b"MZ" + bytes(100),
    "elf": b"\x7fELF\x02\x01\x01" + bytes(60),
    "macho": b"\xcf\xfa\xed\xfe\x07\0\0\x01",
    "java-class": b"\xca\xfe\xba\xbe\0\0\0\x41",
    "lnk": bytes.fromhex("4c0000000114020000000000c000000000000046"),
    "script": b"#!/bin/sh\nrm -rf /\n",
    "zip": zipped("a.txt"),
    "tar": tarred(),
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0",
    "bzip2": b"BZh91AY&SY",
    "xz": b"\xfd7zXZ\0\0\x04",
    "cab": b"MSCF\0\0\0\0",
    "iso": bytes(0x8001) + b"CD001",
    "lha": b"\x20\x30-lh5-",
    "arj": b"\x60\xea\x2c\0",
    "pdf": b"%PDF-1.7\n",
    "rtf": b"{\\rtf1\\ansi}",
    "html": b"\xef\xbb\xbf \n<!DOCTYPE html><html>",
    "svg": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">',
    "xml": b'<?xml version="1.0"?><Workbook/>',
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "gif": b"GIF89a\x01\0",
    "bmp": b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0",
    "tiff": b"II*\0\x08\0\0\0",
    "webp": b"RIFF\0\0\0\0WEBPVP8 ",
    "heif": b"\0\0\0\x18ftypheic",
    "mp4": b"\0\0\0\x18ftypmp42",
    "mp3": b"ID3\x04\0",
    "onenote": bytes.fromhex("e4525c7b8cd8a74daeb15378d02996d3"),
    "tnef": b"\x78\x9f\x3e\x22\0\0",
    "empty": b"",
    "text": b"plain words\r\n",
}


@pytest.mark.parametrize("kind", SIGNED)
def test_kinds_by_their_octets_whatever_the_name(kind: str):
    facts = inspect(SIGNED[kind], "photo.jpg", "image/jpeg")
    assert (facts.kind, facts.family, facts.media_type) == (kind, KINDS[kind].family, KINDS[kind].media_type)
    assert facts.executable is (KINDS[kind].family in ("executable", "script"))
    assert facts.archive is (KINDS[kind].family == "archive")
    assert facts.mismatch is (kind not in ("jpeg", "empty"))


def test_a_pdf_with_something_in_front_is_one():
    # ISO 32000-1, annex H.3.4.1: readers look for it within the first 1,024 octets.
    assert inspect(b"\n<junk>" + b"%PDF-1.4").kind == "pdf"


def test_the_library_is_asked_about_the_rest():
    if _library() is None:
        pytest.skip("needs libmagic (Debian: libmagic1)")
    # A PCX image has one octet of signature.
    pcx = bytes([10, 5, 1, 8]) + struct.pack("<8H", 0, 0, 15, 15, 300, 300, 0, 0) + bytes(100)
    facts = inspect(pcx, "a.pcx")
    assert (facts.kind, facts.media_type) == ("data", "image/x-pcx")


# --- Zip and what is built on it.


@pytest.mark.parametrize(
    ("names", "kind", "macros"),
    [
        (("a.txt",), "zip", ()),
        (("[Content_Types].xml", "word/document.xml"), "docx", ()),
        (("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin"), "docx", ("macros",)),
        (("[Content_Types].xml", "xl/workbook.bin", "xl/VBAPROJECT.BIN"), "xlsx", ("macros",)),
        (("[Content_Types].xml", "xl/workbook.xml", "xl/macrosheets/sheet1.xml"), "xlsx", ("macros",)),
        (("[Content_Types].xml", "ppt/presentation.xml"), "pptx", ()),
        (("META-INF/MANIFEST.MF", "A.class"), "jar", ()),
        (("AndroidManifest.xml", "classes.dex"), "apk", ()),
        (("OFD.xml", "Doc_0/Document.xml"), "ofd", ()),
    ],
)
def test_what_zips_are(names: tuple[str, ...], kind: str, macros: tuple[str, ...]):
    facts = inspect(zipped(*names))
    assert (facts.kind, facts.macros, facts.encrypted) == (kind, bool(macros), False)
    assert facts.members == names


def open_document(*, manifest: bytes = b"<manifest/>") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        archive.writestr("META-INF/manifest.xml", manifest, zipfile.ZIP_DEFLATED)
        archive.writestr("Basic/Standard/Module1.xml", "x")
    return buffer.getvalue()


def test_an_opendocument_text():
    facts = inspect(open_document())
    assert (facts.kind, facts.macros, facts.encrypted) == ("odt", True, False)
    facts = inspect(open_document(manifest=b"<manifest><encryption-data/></manifest>"))
    assert facts.encrypted


@pytest.mark.parametrize("directory", ["local", "central"])
def test_either_directory_of_a_zip_tells_of_a_password(directory: str):
    octets = bytearray(zipped("secret.txt"))
    # APPNOTE §4.4.4: bit 0 of the flags, six octets into the local header, eight into the central one.
    at = 6 if directory == "local" else octets.index(b"PK\x01\x02") + 8
    octets[at] |= 1
    assert inspect(bytes(octets)).encrypted


def test_a_program_that_only_a_local_header_names_is_found():
    octets = zipped("harmless.txt")
    hidden = zipped("run.exe")
    facts = inspect(hidden[: hidden.index(b"PK\x01\x02")] + octets)
    assert set(facts.members) == {"harmless.txt", "run.exe"}
    assert facts.executable_member
    assert not inspect(octets).executable_member


def test_names_without_the_flag_for_utf_8_are_read_in_their_charset():
    # zipfile writes the flag for what is not ASCII; a Chinese program writes GBK without it.
    octets = bytearray(zipped("aaaaaaaaaaaaaaaaaaaa.exe"))
    name = "增值税电子发票清单".encode("gbk")
    for at in (octets.index(b"aaaa"), octets.rindex(b"a" * 20)):
        octets[at : at + len(name)] = name
    (member,) = inspect(bytes(octets)).members
    assert member == "增值税电子发票清单aa.exe"


def test_a_zip_in_front_of_which_something_stands():
    assert inspect(b"PK00" + zipped("a.exe")).executable_member


# --- 7z and RAR.

SEVEN = {
    "encrypted": (
        "N3q8ryccAAST2GOiEAAAAAAAAABiAAAAAAAAAO+z5B5/o4qzGuMBLC9hoa2VsM8JAQQGAAEJEAAHCwEAAiQG8QcBElMPDwZKL/O5"
        "JKx7mVajwmdZKSEhAQABAAwLBwAICgGMsuviAAAFARkBABENAHMALgB0AHgAdAAAABQKAQBGipgSuHrdARUGAQAggKSBAAA="
    ),
    "header encrypted": (
        "N3q8ryccAAS/oK/xgAAAAAAAAAAuAAAAAAAAAI4vlo+9pHNwRmzfvPyjuOJSsH7CHP7O1UOoauiGInbVrE810nYXx14DhisCYc06"
        "/UG+zmgjX51225HUnwiODihhI5j8CNr8uNU+77NVHeNZOyq5Z6M6NPcZWbBCbcEhnYDz4p9GvXhu1HUNgdtTG2Mz94ZSZsESyrfE"
        "5dS9izkaFM8QDRcGEAEJcAAHCwEAASQG8QcBElMPtVHQjVruPBlZQhEogVrSoAxiCgHTcJrqAAA="
    ),
    "header packed": (
        "N3q8ryccAATTGI97tAEAAAAAAAAjAAAAAAAAAFk+TOHMLXwxOvWLdhrD4rbeUNbEK8KIk7ULP5zcElkhp0IQrfkxfxzR7KYSs1zf"
        "t2QqVORF34ud856O46jDCIRM7m4sQs+lAIa/XHvc+X8HlIMYHzTROo3Bucad73az3qwfLrEIqLNKJikwoQfLvCDg9XdtINOIOfCC"
        "grtKlIPbINjBwwAAgTMHru0qnjb7OysIWjF4aexJJbrhbKLpBCqWFxxI/aXxhzWyaveO6xbZ7hyUzgFn2X6mpO67yJZnC7Qk8YTr"
        "NMNcO6NfK4gKMpJitySpbm+rI9ytwu0OWwZf9CNfV6gLVAeQo5UQhlPt1LRZoLysJyu8LefIuDfdNxwxK8pW2beJh2uZodkEp1fQ"
        "k6N97lbYamac6iVpkRzLCh1zaJC43X5ONcPUrPDshifPPuHFZ9p0vvnTUxD2igFnNZRvJNss4FcXYOedj8eOuFzuu5e3tS8fb+dv"
        "4l/Yv/ueoHoS6FAZp2I524Qp5kw2LsC2TF01Oeg9IzQHeRBEKlMpGC7YKPmg2D4qSA1nVcr7mkENoUhSP++jvRhvYL7tN0NjWt8K"
        "dRRGqHwxHjMBF7epBXSQAAAAFwaAgAEJgTQABwsBAAEjAwEBBV0AEAAADIL+CgFFQ6hGAAA="
    ),
    "plain": (
        "N3q8ryccAATIjPkWrAAAAAAAAAAiAAAAAAAAAK+HGbIBAA8xCjIKMwo0CjUKNgo3CjgKAAAAgTMHrg/PObAMB8hDf0Gx+v3i+3np"
        "nOIytZbC4vSYjQPasgGodesJ0h4eH2PTo5o5UAS5bHnp53Tf1QD1jWLg64MRxPj+yFZsoYICFq7xfU3Vg0O2vcKuLWOmVrUh7VT7"
        "QBbiZ4iekRodHrJ+inZUcdiSC+9XkkPziXavaNBvFzPjh22GHUsRZIvgZdZXzZ2TUJbcAAAAFwYUAQmAmAAHCwEAASMDAQEFXQAQ"
        "AAAMgf4KAVaQLD0AAA=="
    ),
}


@pytest.mark.parametrize("name", SEVEN)
def test_a_password_of_a_7z(name: str):
    facts = inspect(b64decode(SEVEN[name]))
    assert (facts.kind, facts.encrypted, facts.truncated) == ("7z", name != "plain", "")


def rar4(*, main_flags: int = 0, file_flags: int = 0, name: bytes = b"a.exe") -> bytes:
    main = struct.pack("<HBHH", 0, 0x73, main_flags, 13) + bytes(6)
    body = struct.pack("<IIBIIBBHI", 3, 3, 0, 0, 0, 20, 0x30, len(name), 0) + name
    return b"Rar!\x1a\x07\0" + main + struct.pack("<HBHH", 0, 0x74, file_flags, 7 + len(body)) + body + b"abc"


def rar5(*, extra: bytes = b"", first: bytes = b"") -> bytes:
    file = bytes((2, 1 if extra else 0)) + (bytes((len(extra),)) if extra else b"")
    file += bytes((0, 3, 0, 0, 0, 5)) + b"b.scr" + extra
    return b"Rar!\x1a\x07\x01\0" + first + bytes(4) + bytes((len(file),)) + file


def test_rar_archives():
    facts = inspect(rar4())
    assert (facts.kind, facts.members, facts.executable_member, facts.encrypted) == ("rar", ("a.exe",), True, False)
    assert inspect(rar4(file_flags=0x04)).encrypted
    assert inspect(rar4(main_flags=0x80)).encrypted
    facts = inspect(rar5())
    assert (facts.kind, facts.members, facts.executable_member, facts.encrypted) == ("rar", ("b.scr",), True, False)
    # An extra record of type 1: the file is encrypted; a block of type 4: everything is.
    assert inspect(rar5(extra=b"\x02\x01\0")).encrypted
    assert inspect(rar5(first=bytes(4) + b"\x03\x04\0\0")).encrypted


# --- Compound files.


def entry(name: str, *, kind: int = 2, sector: int = 0) -> bytes:
    encoded = name.encode("utf-16-le")
    head = encoded.ljust(64, b"\0") + struct.pack("<HBB", len(encoded) + 2, kind, 1)
    return head + bytes(48) + struct.pack("<IQ", sector, 4096)


def compound(*entries: bytes, stream: bytes = b"", clsid: bytes = b"") -> bytes:
    header = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + struct.pack("<HHHH", 0x3E, 3, 0xFFFE, 9)
    return header.ljust(512, b"\0") + stream.ljust(1024, b"\0") + b"".join(entries) + clsid


BOF = struct.pack("<HH", 0x809, 16) + bytes(16)
END = struct.pack("<HH", 0x0A, 0)
# A presentation's current user, up to the token that tells whether it is encrypted.
PPT_USER = struct.pack("<HHII", 0, 0x0FF6, 32, 20)


@pytest.mark.parametrize(
    ("octets", "kind", "facts"),
    [
        (compound(entry("WordDocument"), stream=b"\xec\xa5" + bytes(30)), "doc", ()),
        (compound(entry("WordDocument"), stream=b"\xec\xa5" + bytes(8) + b"\0\x01"), "doc", ("encrypted",)),
        (compound(entry("WordDocument"), entry("Macros", kind=1), entry("_VBA_PROJECT")), "doc", ("macros",)),
        (compound(entry("WordDocument"), entry("_vba_project")), "doc", ("macros",)),
        (compound(entry("Workbook"), stream=BOF + END), "xls", ()),
        (compound(entry("Workbook"), entry("_VBA_PROJECT_CUR", kind=1)), "xls", ("macros",)),
        (compound(entry("Workbook"), stream=BOF + struct.pack("<HH", 0x2F, 2) + bytes(2) + END), "xls", ("encrypted",)),
        (
            compound(entry("Workbook"), stream=BOF + struct.pack("<HHIBB", 0x85, 8, 0, 2, 1) + bytes(2) + END),
            "xls",
            ("macros",),
        ),
        (compound(entry("PowerPoint Document")), "ppt", ()),
        (compound(entry("PowerPoint Document"), entry("EncryptedSummary")), "ppt", ("encrypted",)),
        (compound(entry("PowerPoint Document"), stream=PPT_USER + b"\xdf\xc4\xd1\xf3"), "ppt", ("encrypted",)),
        (compound(entry("PowerPoint Document"), stream=PPT_USER + b"\x5f\xc0\x91\xe3"), "ppt", ()),
        (compound(entry("PowerPoint Document"), stream=b"\0\0\xf5\x0f\x20\0\0\0"), "ppt", ("encrypted",)),
        (compound(entry("EncryptionInfo"), entry("EncryptedPackage")), "ooxml-encrypted", ("encrypted",)),
        (compound(entry("__properties_version1.0")), "msg", ()),
        (compound(entry("x"), clsid=bytes.fromhex("84100c0000000000c000000000000046")), "msi", ()),
        (compound(entry("x")), "ole2", ()),
    ],
)
def test_compound_files(octets: bytes, kind: str, facts: tuple[str, ...]):
    found = inspect(octets)
    assert found.kind == kind
    assert tuple(name for name in ("encrypted", "macros") if getattr(found, name)) == facts
    assert found.executable is (kind == "msi")


# --- PDF.


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"trailer << /Root 1 0 R /Encrypt 5 0 R >>", ("encrypted",)),
        (b"/Encrypt<</Filter/Standard>>", ("encrypted",)),
        (b"/#45ncryp#74 5 0 R", ("encrypted",)),
        (b"/EncryptMetadata true", ()),
        (b"/Root 1 0 R", ()),
    ],
)
@pytest.mark.parametrize("padding", [0, 5 * 1024 * 1024])
def test_a_password_of_a_pdf(octets: bytes, said: tuple[str, ...], padding: int):
    assert inspect(b"%PDF-1.7\n" + bytes(padding) + octets).encrypted is bool(said)


def test_a_manifest_that_inflates_without_end_is_read_to_a_limit():
    bomb = open_document(manifest=bytes(50_000_000) + b"encryption-data")
    assert not inspect(bomb).encrypted
