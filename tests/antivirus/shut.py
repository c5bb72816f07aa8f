"""Documents and archives that want a password, made here: what a test needs and no program at hand writes."""

import io
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from hashlib import md5, sha1

import pikepdf
import py7zr
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from msoffcrypto.format.ooxml import OOXMLFile
from msoffcrypto.method.ecma376_standard import ECMA376Standard
from msoffcrypto.method.rc4 import DocumentRC4
from msoffcrypto.method.rc4_cryptoapi import DocumentRC4CryptoAPI

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
    return compounds({name: octets})


def compounds(streams: Mapping[str, bytes]) -> bytes:
    """Return a compound file (MS-CFB), in sectors of 512 octets behind one another; each stream has 4,096 or more."""
    table, body, entries, at = [FAT, END, END], b"", b"", 3

    def entry(title: str, kind: int, links: tuple[int, int], start: int, size: int) -> bytes:
        raw = title.encode("utf-16-le") + b"\0\0"
        right, child = links
        return struct.pack(
            "<64sHBBIII16x4x16xIQ", raw, len(raw), kind, 1, FREE, right, child, start, size
        )  # fmt: skip

    for number, (name, octets) in enumerate(streams.items(), 1):
        count = -(-len(octets) // SECTOR)
        entries += entry(name, 2, (number + 1 if number < len(streams) else FREE, FREE), at, len(octets))
        table += [*range(at + 1, at + count), END]
        body += octets.ljust(count * SECTOR, b"\0")
        at += count
    directory = entry("Root Entry", 5, (FREE, 1), END, 0) + entries
    # The directory takes two sectors: the root and up to seven streams.
    table[1] = 2
    header = struct.pack(
        "<8s16xHHHHH6xIIIII", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, 1, 0, 4096
    )
    header += struct.pack("<IIII", END, 0, END, 0) + struct.pack("<109I", 0, *[FREE] * 108)
    fat = struct.pack(f"<{len(table)}I", *table)
    return header + fat.ljust(SECTOR, b"\xff") + directory.ljust(2 * SECTOR, b"\0") + body


SALT, VERIFIER = bytes(range(16)), bytes(range(16, 32))


def crypto_rc4(password: str, block: int, octets: bytes, size: int = 512) -> bytes:
    """Return octets under CryptoAPI's RC4 with 128 bits, a key for each ``size`` of them (MS-OFFCRYPTO §2.3.5.2)."""
    return DocumentRC4CryptoAPI.decrypt(password, SALT, 128, io.BytesIO(octets), blocksize=size, block=block).read()


def crypto_header(password: str) -> bytes:
    """Return what stands in front of what is encrypted so (§2.3.5.1): version, header and verifier."""
    name = "Microsoft Enhanced Cryptographic Provider v1.0\0".encode("utf-16-le")
    about = struct.pack("<IIIIIIII", 4, 0, 0x6801, 0x8004, 128, 1, 0, 0) + name
    tried = crypto_rc4(password, 0, VERIFIER + sha1(VERIFIER).digest())  # noqa: S324 - what the format uses
    verifier = struct.pack("<I", 16) + SALT + tried[:16] + struct.pack("<I", 20) + tried[16:]
    return struct.pack("<HHII", 4, 2, 4, len(about)) + about + verifier


def shut_doc(octets: bytes, password: str) -> bytes:
    """Return a document of Word 97 with RC4 (MS-DOC §2.2.6.2, MS-OFFCRYPTO §2.3.6)."""
    tried = rc4(password, SALT, VERIFIER + md5(VERIFIER).digest())  # noqa: S324 - what the format uses
    head = struct.pack("<HH", 1, 1) + SALT + tried
    return _word(octets, head, lambda plain: DocumentRC4.decrypt(password, SALT, io.BytesIO(plain)).read())


def shut_newer_doc(octets: bytes, password: str) -> bytes:
    """Return a document of Word 2002 with CryptoAPI's RC4 (MS-DOC §2.2.6.3)."""
    return _word(octets, crypto_header(password), lambda plain: crypto_rc4(password, 0, plain))


def _word(octets: bytes, head: bytes, cipher: Callable[[bytes], bytes]) -> bytes:
    # MS-DOC §2.5.1: fEncrypted and fWhichTblStm, and the size of what stands first in the table's stream.
    base = struct.pack("<HHHHHHHI12x", 0xA5EC, 0xC1, 0, 0x409, 0, 0x0300, 0xBF, len(head)).ljust(68, b"\0")
    text = cipher(bytes(len(base)) + octets + bytes(4096))
    return compounds({"WordDocument": base + text[len(base) :], "1Table": head.ljust(4096, b"\0")})


def shut_ppt(octets: bytes, password: str, *, within: Sequence[int] = (), pictures: bytes = b"") -> bytes:
    """Return a presentation of PowerPoint 2002 (MS-PPT §2.3.7), ``octets`` in its one object.

    ``within`` are places in it where the directory has other objects begin.
    """
    plain = ppt_record(0x000F, 0x03E8, octets + bytes(4096))
    shut = crypto_rc4(password, 1, plain, size=len(plain))
    session = ppt_record(0x000F, 0x2F14, crypto_header(password))
    begins = (0, *within, len(plain))
    count = len(begins)
    directory = ppt_record(0, 0x1772, struct.pack(f"<I{count}I", 1 | count << 20, *begins))
    edit = struct.pack("<IHBBIIIIHHI", 0, 0, 0, 3, 0, len(plain) + len(session), 1, count, 0, 0, count)
    stream = shut + session + directory + ppt_record(0, 0x0FF5, edit)
    # A long name, since short streams lie elsewhere.
    letters = 1355
    user = struct.pack("<IIIHHBBH", 0x14, 0xF3D1C4DF, len(stream) - 40, letters, 0x03F4, 3, 0, 0)
    current = ppt_record(0, 0x0FF6, user + b"a" * letters + struct.pack("<I", 8) + "a".encode("utf-16-le") * letters)
    return compounds(
        {"PowerPoint Document": stream, "Current User": current} | ({"Pictures": pictures} if pictures else {})
    )


def ppt_record(version: int, kind: int, octets: bytes) -> bytes:
    return struct.pack("<HHI", version, kind, len(octets)) + octets


def shut_older_docx(octets: bytes, password: str) -> bytes:
    """Return an OOXML document with standard encryption, as Office 2007 writes it (MS-OFFCRYPTO §2.3.4.5)."""
    package = docx(octets)
    key = ECMA376Standard.makekey_from_password(password, 0x660E, 0x8004, 24, 128, 16, SALT)

    def aes(plain: bytes) -> bytes:
        encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - what the format uses
        return encryptor.update(plain.ljust(-(-len(plain) // 16) * 16, b"\0")) + encryptor.finalize()

    name = "Microsoft Enhanced RSA and AES Cryptographic Provider\0".encode("utf-16-le")
    about = struct.pack("<IIIIIIII", 0x24, 0, 0x660E, 0x8004, 128, 24, 0, 0) + name
    digest = sha1(VERIFIER).digest()  # noqa: S324 - what the format uses
    verifier = struct.pack("<I", 16) + SALT + aes(VERIFIER) + struct.pack("<I", 20) + aes(digest)
    info = struct.pack("<HHII", 3, 2, 0x24, len(about)) + about + verifier
    return compounds(
        {
            # What stands behind the verifier is not read.
            "EncryptionInfo": info.ljust(4096, b"\0"),
            "EncryptedPackage": struct.pack("<Q", len(package)) + aes(package),
        }
    )


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
