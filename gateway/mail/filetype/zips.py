"""Zip, and the formats that are zips: OOXML, OpenDocument, jars, packages (PKWARE APPNOTE 6.3.10).

Both directories are read, the central one and the local headers in front of each member: readers differ about which
they believe, and what either says counts. Nothing is unpacked but the manifest of an OpenDocument file, which is where
its encryption is written.
"""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gateway.mail.filetype.inside import Inside
from gateway.mail.text import charsets

# Large projects have some thousands of members; a directory of these takes 20 ms.
MAX_MEMBERS = 5000
_MAX_NAME = 512
_MANIFEST_OCTETS = 64 * 1024

_END = struct.Struct("<4s4H2IH")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
# The comment behind the end record has 65,535 octets at most (§4.3.16).
_END_WITHIN = 65_535 + _END.size

# §4.4.4: bit 0 encrypted, bit 6 strong encryption, bit 13 the central directory is encrypted; bit 11 names are UTF-8.
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_UTF8 = 1 << 11
# §4.4.5: AES, as WinZip and 7-Zip write it.
_AES_METHOD = 99
_MAX_VERSION = 63
_METHODS = frozenset((*range(21), *range(91, 100)))
_PRINTABLE = re.compile(rb"[^\x00-\x1f\x7f]+")


class _Member(NamedTuple):
    name: bytes
    utf8: bool
    encrypted: bool
    # Where its octets begin, 0 when only the central directory has it.
    start: int
    method: int


def read_zip(octets: bytes) -> Inside:
    """Return what is in a zip, without unpacking it."""
    central = list(_central(octets))
    local = list(_local(octets))
    listed = central or local
    names = _decoded([*central, *local])
    lowered = [name.lower() for name in names]
    kind = _kind({name.lower() for name in _decoded(listed)}, local, octets)
    encrypted = any(member.encrypted for member in (*central, *local))
    return Inside(
        kind=kind,
        encrypted=encrypted or (kind in _OPEN_DOCUMENT.values() and _manifest_encrypts(octets, local)),
        macros=any(map(_is_macro, lowered)),
        names=tuple(names),
        truncated="members" if max(len(central), len(local)) >= MAX_MEMBERS else "",
    )


def _central(octets: bytes) -> Iterator[_Member]:
    end = octets.rfind(b"PK\x05\x06", max(0, len(octets) - _END_WITHIN))
    if end < 0 or end + _END.size > len(octets):
        return
    _, _, _, _, _, size, offset, _ = _END.unpack_from(octets, end)
    # Something may stand before the archive (§4.1.9), so the directory is where it ends, if not where it says.
    at = offset if octets.startswith(b"PK\x01\x02", offset) else end - size
    for _ in range(MAX_MEMBERS):
        if at < 0 or at + _CENTRAL.size > len(octets) or not octets.startswith(b"PK\x01\x02", at):
            return
        fields = _CENTRAL.unpack_from(octets, at)
        flags, method, name, extra, comment = fields[3], fields[4], fields[10], fields[11], fields[12]
        start = at + _CENTRAL.size
        yield _member(octets[start : start + name], flags, method, 0)
        at = start + name + extra + comment


def _local(octets: bytes) -> Iterator[_Member]:
    at = -1
    for _ in range(MAX_MEMBERS):
        at = octets.find(b"PK\x03\x04", at + 1)
        if at < 0 or at + _LOCAL.size > len(octets):
            return
        _, version, flags, method, *_, name, extra = _LOCAL.unpack_from(octets, at)
        start = at + _LOCAL.size
        text = octets[start : start + name]
        # Packed octets look like a header once in four billion places, hardly ever with a sensible name.
        if version & 0xFF <= _MAX_VERSION and method in _METHODS and _PRINTABLE.fullmatch(text):
            yield _member(text, flags, method, start + name + extra)


def _member(name: bytes, flags: int, method: int, start: int) -> _Member:
    encrypted = bool(flags & _ENCRYPTED) or method == _AES_METHOD
    return _Member(name[:_MAX_NAME], bool(flags & _UTF8), encrypted, start, method)


def _decoded(members: Iterable[_Member]) -> list[str]:
    """Return members' names, each once; those without bit 11 in the charset that fits them all."""
    unique = {member.name: member.utf8 for member in members}
    # Together, because a language shows in many names better than in one; a line end is in no name.
    plain = [name.replace(b"\n", b"_") for name, utf8 in unique.items() if not utf8]
    decoded = iter(charsets.decode(b"\n".join(plain)).split("\n"))
    return [name.decode("utf-8", "replace") if utf8 else next(decoded, "") for name, utf8 in unique.items()]


_OPEN_DOCUMENT = {
    b"application/vnd.oasis.opendocument.text": "odt",
    b"application/vnd.oasis.opendocument.spreadsheet": "ods",
    b"application/vnd.oasis.opendocument.presentation": "odp",
    b"application/vnd.oasis.opendocument.graphics": "odg",
}
_MIMETYPES = {**_OPEN_DOCUMENT, b"application/epub+zip": "epub"}
# ISO/IEC 29500-2: the part that every package has, and the folders of each format.
_OOXML = (("word/", "docx"), ("xl/", "xlsx"), ("ppt/", "pptx"), ("visio/", "vsdx"))
_BY_MEMBER = (
    ("appxmanifest.xml", "msix"),
    ("appxmetadata/appxbundlemanifest.xml", "msix"),
    ("androidmanifest.xml", "apk"),
    ("meta-inf/manifest.mf", "jar"),
    ("ofd.xml", "ofd"),
    ("fixeddocseq.fdseq", "xps"),
    ("fixeddocumentsequence.fdseq", "xps"),
)


def _kind(names: set[str], local: list[_Member], octets: bytes) -> str:
    if "[content_types].xml" in names:
        for folder, kind in _OOXML:
            if any(name.replace("\\", "/").startswith(folder) for name in names):
                return kind
    if local and local[0].name == b"mimetype":
        head = octets[local[0].start : local[0].start + 100]
        for mimetype, kind in _MIMETYPES.items():
            if head.startswith(mimetype):
                return kind
    return next((kind for member, kind in _BY_MEMBER if member in names), "")


def _is_macro(name: str) -> bool:
    name = name.replace("\\", "/")
    # OOXML: VBA, and the macro sheets of Excel 4; OpenDocument: Basic and other scripts.
    return name.endswith("vbaproject.bin") or "macrosheets/" in name or name.startswith(("basic/", "scripts/"))


def _manifest_encrypts(octets: bytes, local: list[_Member]) -> bool:
    for member in local:
        if member.name == b"META-INF/manifest.xml":
            packed = octets[member.start : member.start + _MANIFEST_OCTETS]
            try:
                text = (
                    zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, _MANIFEST_OCTETS)
                    if member.method
                    else packed
                )
            except zlib.error:
                return False
            return b"encryption-data" in text
    return False
