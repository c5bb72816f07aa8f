"""What a content is by its first octets, where those are exact.

Exact means: a format's own signature, of three octets and more, at its place. What is left open here is asked of
libmagic (``unknown``).
"""

import re
from collections.abc import Callable

# Octets at the start, by their first; longer before shorter.
_AT_START: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "pdf"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"PK\x07\x08PK\x03\x04", "zip"),
    (b"PK00PK\x03\x04", "zip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole2"),
    (b"\x7fELF", "elf"),
    (b"Rar!\x1a\x07", "rar"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x1f\x9d", "compress"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"LZIP\x01", "lzip"),
    (b"MSCF\x00\x00\x00\x00", "cab"),
    (b"ITSF\x03\x00\x00\x00", "chm"),
    (b"xar!", "xar"),
    (b"!<arch>\ndebian-binary", "deb"),
    (b"!<arch>\n", "ar"),
    (b"\xed\xab\xee\xdb", "rpm"),
    (b"070701", "cpio"),
    (b"070702", "cpio"),
    (b"070707", "cpio"),
    (b"\x60\xea", "arj"),
    (b"{\\rt", "rtf"),
    (b"%!PS", "postscript"),
    (b"\xc5\xd0\xd3\xc6", "postscript"),
    (b"L\x00\x00\x00\x01\x14\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00F", "lnk"),
    (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", "onenote"),
    (b"\x78\x9f\x3e\x22", "tnef"),
    (b"dex\n03", "dex"),
    (b"\x00asm\x01\x00\x00\x00", "wasm"),
    (b"\xfe\xed\xfa\xce", "macho"),
    (b"\xfe\xed\xfa\xcf", "macho"),
    (b"\xce\xfa\xed\xfe", "macho"),
    (b"\xcf\xfa\xed\xfe", "macho"),
    (b"FWS", "swf"),
    (b"CWS", "swf"),
    (b"ZWS", "swf"),
    (b"#@~^", "encoded-script"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"8BPS\x00", "psd"),
    (b"\x00\x00\x01\x00", "ico"),
    (b"\xd7\xcd\xc6\x9a", "wmf"),
    (b"AT&TFORM", "djvu"),
    (b"\x00\x00\x00\x0cjP  \r\n", "jp2"),
    (b"ID3", "mp3"),
    (b"OggS\x00", "ogg"),
    (b"fLaC", "flac"),
    (b"MThd\x00\x00\x00\x06", "midi"),
    (b"#!AMR", "amr"),
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"FLV\x01", "flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"\x00\x00\x01\xb3", "mpeg"),
    (b"\x00\x01\x00\x00\x00", "ttf"),
    (b"OTTO\x00", "otf"),
    (b"wOFF", "woff"),
    (b"wOF2", "woff"),
    (b"SQLite format 3\x00", "sqlite"),
    (b"conectix", "vhd"),
    (b"vhdxfile", "vhdx"),
    (b"-----BEGIN PGP MESSAGE-----", "pgp"),
    (b"[InternetShortcut]", "url-shortcut"),
    (b"#!", "script"),
)
_BY_FIRST: dict[int, list[tuple[bytes, str]]] = {}
for _magic, _kind in _AT_START:
    _BY_FIRST.setdefault(_magic[0], []).append((_magic, _kind))

# Readers of PDF look for its signature in the first 1,024 octets (ISO 32000-1, annex H, note 13).
_PDF_OCTETS = 1024
_TEXT_OCTETS = 2048
_BOM = b"\xef\xbb\xbf"


def signed(octets: bytes) -> str:
    """Return the kind that the octets' own signature names, "" when none does."""
    if not octets:
        return "empty"
    for magic, kind in _BY_FIRST.get(octets[0], ()):
        if octets.startswith(magic):
            return kind
    for check in _CHECKS:
        if kind := check(octets):
            return kind
    return ""


def _program(octets: bytes) -> str:
    # Microsoft PE specification: the offset of "PE\0\0" is at 0x3c.
    if octets.startswith((b"MZ", b"ZM")):
        offset = int.from_bytes(octets[0x3C:0x40], "little")
        return "pe" if octets[offset : offset + 4] == b"PE\0\0" else "dos"
    if octets.startswith(b"\xca\xfe\xba\xbe") and len(octets) >= 8:  # noqa: PLR2004 - two 32-bit words
        # A universal binary counts its architectures where a class has its version, 45 and more.
        return "macho" if int.from_bytes(octets[4:8], "big") < 30 else "java-class"  # noqa: PLR2004 - as said
    return ""


def _container(octets: bytes) -> str:
    if octets.startswith(b"RIFF"):
        return {b"WEBP": "webp", b"WAVE": "wav", b"AVI ": "avi"}.get(octets[8:12], "")
    if octets[4:8] == b"ftyp":
        return "heif" if octets[8:12] in _HEIF_BRANDS else "mp4"
    if octets.startswith(b"BZh") and octets[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "bzip2"
    if octets.startswith(b"BM") and int.from_bytes(octets[10:14], "little") < _BMP_HEADER and octets[6:10] == bytes(4):
        return "bmp"
    return _by_offset(octets)


_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis"})
# Where a bitmap's pixels begin: behind its headers and at most 256 colours.
_BMP_HEADER = 0x1000
_AT_OFFSET = (
    (257, b"ustar", "tar"),
    (7, b"**ACE**", "ace"),
    (20, b"\xdc\xa7\xc4\xfd", "zoo"),
    (40, b" EMF\x00\x00\x01\x00", "emf"),
    (0x8001, b"CD001", "iso"),
    (0x8001, b"BEA01", "iso"),
    (0x8801, b"CD001", "iso"),
)


def _by_offset(octets: bytes) -> str:
    for offset, magic, kind in _AT_OFFSET:
        if octets.startswith(magic, offset):
            return kind
    if octets[2:4] == b"-l" and octets[4:5] in b"hz" and octets[6:7] == b"-":
        return "lha"
    # Disk images have their mark in the last sector.
    if octets.startswith(b"conectix", max(0, len(octets) - 512)):
        return "vhd"
    return "dmg" if octets.startswith(b"koly", max(0, len(octets) - 512)) else ""


_HTML = re.compile(
    rb"(?i)(?:<!--[^>]{0,512}>\s*)*<(?:!doctype\s+html|html|head|body|script|iframe|table|meta|title|form|svg/?onload)\b"
)
_SVG = re.compile(rb"(?i)<(?:!doctype\s+)?svg\b")


def _markup(octets: bytes) -> str:
    head = octets[:_TEXT_OCTETS].removeprefix(_BOM).lstrip()
    if not head.startswith(b"<"):
        return "pdf" if b"%PDF-" in octets[:_PDF_OCTETS] else ""
    if _HTML.match(head):
        return "html"
    if head.startswith((b"<?xml", b"<svg", b"<!DOCTYPE")):
        if _SVG.search(head):
            return "svg"
        if b"<html" in head.lower():
            return "html"
        return "xml" if head.startswith(b"<?xml") else ""
    return "pdf" if b"%PDF-" in octets[:_PDF_OCTETS] else ""


_CHECKS: tuple[Callable[[bytes], str], ...] = (_program, _container, _markup)
