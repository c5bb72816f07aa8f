"""Documents and archives that want a password, made here: what a test needs and no program at hand writes."""

import io
import random
import struct
from hashlib import md5

import pikepdf
import py7zr
from msoffcrypto.format.ooxml import OOXMLFile
from msoffcrypto.method.rc4 import DocumentRC4

from tests.antivirus.test_archive import zipped

SECTOR = 512
FREE, END, FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
TYPES = b'<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"></Types>'


# Its encryption writes no packages below the 4,096 octets of a compound file's small streams.
FILLER = random.Random(0).randbytes(6000)  # noqa: S311 - octets that do not compress, the same each time


def docx(octets: bytes) -> bytes:
    return zipped(("[Content_Types].xml", TYPES), ("word/media/image1.png", FILLER), ("word/media/a.bin", octets))


def shut_docx(octets: bytes, password: str) -> bytes:
    """Return an OOXML document with agile encryption (MS-OFFCRYPTO §2.3.4.10)."""
    made = io.BytesIO()
    OOXMLFile(io.BytesIO(docx(octets))).encrypt(password, made)
    return made.getvalue()


def record(number: int, octets: bytes) -> bytes:
    return struct.pack("<HH", number, len(octets)) + octets


def rc4(password: str, salt: bytes, octets: bytes) -> bytes:
    return DocumentRC4.decrypt(password, salt, io.BytesIO(octets), blocksize=1024).read()


def shut_xls(octets: bytes, password: str) -> bytes:
    """Return a workbook of Excel 97 with RC4 (MS-XLS §2.2.10, MS-OFFCRYPTO §2.3.6.2), ``octets`` in a record."""
    salt, verifier = bytes(range(16)), bytes(range(16, 32))
    tried = rc4(password, salt, verifier + md5(verifier).digest())  # noqa: S324 - what the format uses
    head = record(0x0809, bytes(16)) + record(0x002F, struct.pack("<HHH", 1, 1, 1) + salt + tried)
    plain = [(0x00FC, octets + bytes(4096)), (0x000A, b"")]
    clear = bytes(len(head)) + b"".join(bytes(4) + body for _, body in plain)
    shut = rc4(password, salt, clear)
    at, made = len(head), head
    for number, body in plain:
        made += record(number, shut[at + 4 : at + 4 + len(body)])
        at += 4 + len(body)
    return compound("Workbook", made)


def compound(name: str, octets: bytes) -> bytes:
    """Return a compound file of one stream (MS-CFB), in sectors of 512 octets behind one another."""
    count = -(-len(octets) // SECTOR)
    table = [FAT, END, *range(3, count + 2), END]
    header = struct.pack(
        "<8s16xHHHHH6xIIIII", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, 1, 0, 4096
    )
    header += struct.pack("<IIII", END, 0, END, 0) + struct.pack("<109I", 0, *[FREE] * 108)

    def entry(title: str, kind: int, child: int, start: int, size: int) -> bytes:
        raw = title.encode("utf-16-le") + b"\0\0"
        return struct.pack(
            "<64sHBBIII16x4x16xIQ", raw, len(raw), kind, 1, FREE, FREE, child, start, size
        )  # fmt: skip

    directory = entry("Root Entry", 5, 1, END, 0) + entry(name, 2, FREE, 2, len(octets))
    fat = struct.pack(f"<{len(table)}I", *table)
    return header + fat.ljust(SECTOR, b"\xff") + directory.ljust(SECTOR, b"\0") + octets.ljust(count * SECTOR, b"\0")


def shut_pdf(octets: bytes, user: str) -> bytes:
    """Return a PDF with an embedded file and AES-256 (ISO 32000-2 §7.6.4)."""
    document, made = pikepdf.new(), io.BytesIO()
    document.add_blank_page()
    document.attachments["a.com"] = octets
    document.save(made, encryption=pikepdf.Encryption(owner="its owner", user=user, R=6))
    return made.getvalue()


def shut_7z(octets: bytes, password: str) -> bytes:
    made = io.BytesIO()
    with py7zr.SevenZipFile(made, "w", password=password, header_encryption=True) as archive:
        archive.writestr(octets, "eicar.com")
    return made.getvalue()
