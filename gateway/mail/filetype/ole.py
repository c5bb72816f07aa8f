"""OLE2 compound files: Office documents before 2007, Outlook messages, installers, encrypted OOXML.

Directory entries are found by their shape in every 128-octet slot instead of by following the allocation table, so that
a damaged or forged table hides nothing, and the work is linear. olefile follows the table, in Python, and finds the
same entries in files that are whole. Sources: MS-CFB, MS-DOC, MS-XLS, MS-OFFCRYPTO.
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from gateway.mail.filetype.inside import Inside

# MS-CFB §2.6.1: an entry has 128 octets: 64 of name in UTF-16, its length in octets with the final zero, its type.
_SLOT = 128
_TYPE_AT = 66
_STORAGE_OR_STREAM = re.compile(rb"[\x01\x02\x05]")
_MIN_NAME_OCTETS, _MAX_NAME_OCTETS = 4, 64
_START_AT = 116
_HEADER_OCTETS = 512
# An Outlook message with attachments has some hundreds.
MAX_ENTRIES = 20_000

# MS-OFFCRYPTO §2.3.4: where an encrypted OOXML package lies.
_ENCRYPTED_PACKAGE = "encryptedpackage"
_MACROS = frozenset({"_vba_project", "_vba_project_cur", "macros"})
_KINDS = (
    (_ENCRYPTED_PACKAGE, "ooxml-encrypted"),
    ("worddocument", "doc"),
    ("workbook", "xls"),
    ("book", "xls"),
    ("powerpoint document", "ppt"),
    ("__properties_version1.0", "msg"),
)
# The class of installation packages and patches: {000C1084-…}, {000C1086-…}, {000C1082-…}.
_INSTALLER = re.compile(rb"[\x82\x84\x86]\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46")

# MS-DOC §2.5.1: wIdent and the bit fEncrypted of FibBase.
_WORD_IDENT = b"\xec\xa5"
_WORD_FLAGS_AT = 0x0A
_WORD_ENCRYPTED = 0x0100
# MS-PPT §2.3.2, §2.3.3: the token of an encrypted presentation, and an edit with a reference to its encryption; where
# its properties are not encrypted, only these tell.
_PRESENTATION_ENCRYPTED = re.compile(rb"\xf6\x0f.{4}\x14\0\0\0\xdf\xc4\xd1\xf3|\xf5\x0f\x20\0\0\0", re.DOTALL)
# MS-XLS §2.3: records of the globals; a workbook has a few thousand before its sheets.
_FILE_PASS = 0x2F
_BOUND_SHEET = 0x85
_END_OF_GLOBALS = 0x0A
_MACRO_SHEET = 1
_MAX_RECORDS = 5000
_RECORD = struct.Struct("<HH")


class _Entry(NamedTuple):
    name: str
    sector: int


def read_ole(octets: bytes) -> Inside:
    """Return what is in a compound file."""
    entries = {entry.name: entry for entry in _entries(octets)}
    kind = next((kind for name, kind in _KINDS if name in entries), "")
    if not kind and _INSTALLER.search(octets):
        kind = "msi"
    encrypted = kind == "ooxml-encrypted" or "encryptedsummary" in entries
    macros = not _MACROS.isdisjoint(entries)
    if kind == "doc":
        encrypted = encrypted or _word_encrypted(octets, _stream(octets, entries["worddocument"]))
    elif kind == "ppt":
        encrypted = encrypted or bool(_PRESENTATION_ENCRYPTED.search(octets))
    elif kind == "xls":
        records = set(_records(octets, _stream(octets, entries.get("workbook") or entries["book"])))
        encrypted = encrypted or (_FILE_PASS, 0) in records
        macros = macros or (_BOUND_SHEET, _MACRO_SHEET) in records
    return Inside(kind=kind, encrypted=encrypted, macros=macros)


def _entries(octets: bytes) -> Iterator[_Entry]:
    count = 0
    for match in _STORAGE_OR_STREAM.finditer(octets[_TYPE_AT::_SLOT]):
        at = match.start() * _SLOT
        length = int.from_bytes(octets[at + 64 : at + 66], "little")
        if not _MIN_NAME_OCTETS <= length <= _MAX_NAME_OCTETS or length % 2 or count >= MAX_ENTRIES:
            continue
        count += 1
        name = octets[at : at + length - 2].decode("utf-16-le", "replace").lower()
        yield _Entry(name, int.from_bytes(octets[at + _START_AT : at + _START_AT + 4], "little"))


def _stream(octets: bytes, entry: _Entry) -> int:
    """Return where a stream begins; the sector's size is a power of two in the header (MS-CFB §2.2)."""
    shift = int.from_bytes(octets[0x1E:0x20], "little")
    return (entry.sector + 1) << shift if shift in (9, 12) else _HEADER_OCTETS


def _word_encrypted(octets: bytes, at: int) -> bool:
    flags = int.from_bytes(octets[at + _WORD_FLAGS_AT : at + _WORD_FLAGS_AT + 2], "little")
    return octets.startswith(_WORD_IDENT, at) and bool(flags & _WORD_ENCRYPTED)


def _records(octets: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Yield type and, for sheets, the sheet's type of a workbook's first records, as far as they lie in one piece."""
    for _ in range(_MAX_RECORDS):
        if at + _RECORD.size > len(octets):
            return
        number, length = _RECORD.unpack_from(octets, at)
        if number == _END_OF_GLOBALS:
            return
        # MS-XLS §2.4.28: four octets of position, one of visibility, one of type.
        yield number, (octets[at + 9] if number == _BOUND_SHEET and at + 9 < len(octets) else 0)
        at += _RECORD.size + length
