"""RAR and 7z: is anything in it encrypted, and what are the members called (RAR technote, 7zFormat.txt).

The names of a 7z's members are not read; what unpacks archives finds them.
"""

import lzma
from collections.abc import Iterator

from gateway.mail.filetype.inside import NOTHING, Inside
from gateway.mail.text import charsets

# As of zips.
MAX_BLOCKS = 5000
_MAX_NAME = 512


class _Reader:
    """Numbers one after the other; IndexError at the end."""

    def __init__(self, octets: bytes, at: int = 0) -> None:
        self.octets = octets
        self.at = at

    def octet(self) -> int:
        """Return the next octet."""
        value = self.octets[self.at]
        self.at += 1
        return value

    def vint(self) -> int:
        """Return a RAR 5 number: seven bits an octet, least significant first."""
        value = 0
        for shift in range(0, 70, 7):
            octet = self.octet()
            value |= (octet & 0x7F) << shift
            if octet < 0x80:  # noqa: PLR2004 - no further octet
                break
        return value

    def number(self) -> int:
        """Return a 7z number: the first octet's leading ones count the octets that follow."""
        first = self.octet()
        mask = 0x80
        value = 0
        for shift in range(0, 64, 8):
            if not first & mask:
                return value | (first & (mask - 1)) << shift
            value |= self.octet() << shift
            mask >>= 1
        return value

    def take(self, count: int) -> bytes:
        """Return the next ``count`` octets."""
        piece = self.octets[self.at : self.at + count]
        self.at += count
        return piece


_RAR5 = b"Rar!\x1a\x07\x01\x00"
_RAR4 = b"Rar!\x1a\x07\x00"


def read_rar(octets: bytes) -> Inside:
    """Return what is in a RAR archive."""
    blocks = _rar5(octets) if octets.startswith(_RAR5) else _rar4(octets) if octets.startswith(_RAR4) else iter(())
    names: list[bytes] = []
    encrypted = False
    count = 0
    try:
        for name, is_encrypted in blocks:
            count += 1
            encrypted = encrypted or is_encrypted
            if name:
                names.append(name[:_MAX_NAME].replace(b"\n", b"_"))
    except IndexError:
        pass
    decoded = charsets.decode(b"\n".join(names)).split("\n") if names else []
    return Inside(
        encrypted=encrypted, names=tuple(dict.fromkeys(decoded)), truncated="members" if count >= MAX_BLOCKS else ""
    )


# RAR 4 block types and flags.
_MAIN, _FILE = 0x73, 0x74
_HEADERS_ENCRYPTED, _FILE_ENCRYPTED, _LARGE, _HAS_DATA = 0x0080, 0x0004, 0x0100, 0x8000


def _rar4(octets: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield name and whether it is encrypted of each block that says so."""
    at = len(_RAR4)
    for _ in range(MAX_BLOCKS):
        head = octets[at : at + 7]
        flags = head[3] | head[4] << 8
        size = head[5] | head[6] << 8
        data = int.from_bytes(octets[at + 7 : at + 11], "little") if flags & _HAS_DATA or head[2] == _FILE else 0
        if head[2] == _MAIN and flags & _HEADERS_ENCRYPTED:
            yield b"", True
            return
        if head[2] == _FILE:
            length = int.from_bytes(octets[at + 26 : at + 28], "little")
            start = at + 32 + (8 if flags & _LARGE else 0)
            # With the flag for Unicode, a plain form and a zero stand in front.
            yield octets[start : start + length].partition(b"\0")[0], bool(flags & _FILE_ENCRYPTED)
        if size < len(head):
            return
        at += size + data


# RAR 5 header types, and the record of an encrypted file.
_FILE5, _SERVICE5, _ENCRYPTION5 = 2, 3, 4
_ENCRYPTION_RECORD = 1


def _rar5(octets: bytes) -> Iterator[tuple[bytes, bool]]:
    at = len(_RAR5)
    for _ in range(MAX_BLOCKS):
        # A checksum of four octets stands before the size.
        reader = _Reader(octets, at + 4)
        size = reader.vint()
        end = reader.at + size
        kind, flags = reader.vint(), reader.vint()
        extra = reader.vint() if flags & 1 else 0
        data = reader.vint() if flags & 2 else 0
        if kind == _ENCRYPTION5:
            yield b"", True
            return
        if kind in (_FILE5, _SERVICE5):
            yield _rar5_name(reader) if kind == _FILE5 else b"", _rar5_encrypted(octets, end - extra, end)
        if end <= at:
            return
        at = end + data


def _rar5_name(reader: _Reader) -> bytes:
    flags = reader.vint()
    reader.vint()
    reader.vint()
    reader.take((4 if flags & 2 else 0) + (4 if flags & 4 else 0))
    reader.vint()
    reader.vint()
    return reader.take(reader.vint())


def _rar5_encrypted(octets: bytes, at: int, end: int) -> bool:
    while at < end:
        reader = _Reader(octets, at)
        size = reader.vint()
        start = reader.at
        if reader.vint() == _ENCRYPTION_RECORD:
            return True
        at = max(start + size, at + 1)
    return False


# 7zFormat.txt: property numbers, and the coders that matter here.
_ENCODED_HEADER, _PACK_INFO, _UNPACK_INFO, _FOLDER, _SIZE, _END = 0x17, 0x06, 0x07, 0x0B, 0x09, 0x00
_AES = b"\x06\xf1\x07\x01"
_LZMA = b"\x03\x01\x01"
_SIGNATURE_OCTETS = 32
# A header lists members: 64 octets each. A dictionary is never larger than what it packs.
_MAX_HEADER = 1024 * 1024
_MAX_DICTIONARY = 16 * 1024 * 1024


def read_7z(octets: bytes) -> Inside:
    """Return whether a 7z archive has encrypted members."""
    offset = _SIGNATURE_OCTETS + int.from_bytes(octets[12:20], "little")
    header = octets[offset : offset + min(int.from_bytes(octets[20:28], "little"), _MAX_HEADER)]
    if _AES in header:
        return Inside(encrypted=True)
    if not header.startswith(bytes((_ENCODED_HEADER,))):
        return NOTHING
    try:
        plain = _unpacked_header(octets, _Reader(header, 1))
    except (IndexError, lzma.LZMAError, ValueError, MemoryError):
        return Inside(truncated="header")
    return Inside(encrypted=_AES in plain)


def _unpacked_header(octets: bytes, reader: _Reader) -> bytes:
    """Return a header that is packed with LZMA, as 7-Zip does; IndexError or ValueError for anything else."""
    _expect(reader, _PACK_INFO)
    position = reader.number()
    _expect(reader, 1)
    _expect(reader, _SIZE)
    packed = reader.number()
    _expect(reader, _END)
    _expect(reader, _UNPACK_INFO)
    _expect(reader, _FOLDER)
    _expect(reader, 1)
    _expect(reader, 0)
    _expect(reader, 1)
    # One coder with properties: the low four bits are the length of its name.
    _expect(reader, 0x20 | len(_LZMA))
    if reader.take(len(_LZMA)) != _LZMA:
        raise ValueError("the header is packed by another coder")
    properties = reader.take(reader.number())
    start = _SIGNATURE_OCTETS + position
    return _unlzma(octets[start : start + min(packed, _MAX_HEADER)], properties)


def _expect(reader: _Reader, value: int) -> None:
    if reader.octet() != value:
        raise ValueError("the header has another shape")


def _unlzma(packed: bytes, properties: bytes) -> bytes:
    first = properties[0]
    chain = {
        "id": lzma.FILTER_LZMA1,
        "lc": first % 9,
        "lp": first // 9 % 5,
        "pb": first // 45,
        "dict_size": min(max(int.from_bytes(properties[1:5], "little"), 4096), _MAX_DICTIONARY),
    }
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chain]).decompress(packed, _MAX_HEADER)
