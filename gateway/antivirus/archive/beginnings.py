"""Where archives begin within other octets: in a program that unpacks itself, behind a picture or another archive.

WinRAR and 7-Zip look for a mark in whatever they are given, and read on from there. What stands behind the mark tells
an archive from a program that only knows the mark.
"""

import zlib
from collections.abc import Iterator

# What begins within other octets, by its mark: by kind, what programs look for.
MARKS = {"embedded-rar": b"Rar!\x1a\x07", "embedded-7z": b"7z\xbc\xaf\x27\x1c"}
# RAR's types of blocks: those of version 4, that of an archive's header first; those of version 5.
_RAR4_MAIN, _RAR4_TYPES, _RAR5_TYPES = 0x73, range(0x72, 0x7C), range(1, 6)
# RAR 5's numbers are groups of seven bits, three at most for the size of a block; zeros on top change nothing.
_RAR5_SIZE_OCTETS, _RAR5_NUMBER_OCTETS, _MORE = 3, 10, 0x80
# 7z's signature header, and what of it has a sum.
_SEVEN_ZIP_HEAD, _SEVEN_ZIP_SUMMED = 32, 12


def beginnings(octets: bytes, kind: str) -> Iterator[int]:
    """Yield where an archive of an "embedded-…" kind begins, as the programs for it would find it."""
    mark = MARKS[kind]
    begins = _rar_begins if kind == "embedded-rar" else _seven_zip_begins
    at = octets.find(mark, 1)
    while at >= 0:
        if begins(octets, at):
            yield at
        at = octets.find(mark, at + len(mark))


def may_go_on(octets: bytes, at: int) -> bool:
    """Tell whether what stands at an offset may be another block of a RAR archive that ended, or seemed to, before."""
    return _rar4_type(octets, at) in _RAR4_TYPES or _is_rar5_block(octets, at)


def _rar_begins(octets: bytes, at: int) -> bool:
    """Tell whether a block stands behind the mark; its sum does not count, since it may be read all the same."""
    if octets[at + 6 : at + 8] == b"\x01\x00":
        return _rar5_type(octets, at + 8) in _RAR5_TYPES
    return octets[at + 6 : at + 7] == b"\x00" and _rar4_type(octets, at + 7) == _RAR4_MAIN


def _rar4_type(octets: bytes, at: int) -> int:
    """Return the type of a block: behind a sum of two octets."""
    return int.from_bytes(octets[at + 2 : at + 3])


def _rar5_type(octets: bytes, at: int) -> int:
    """Return the type of a block: behind a sum of four octets and the size."""
    behind, _ = _rar5_number(octets, at + 4, _RAR5_SIZE_OCTETS)
    return _rar5_number(octets, behind, _RAR5_NUMBER_OCTETS)[1]


def _rar5_number(octets: bytes, at: int, most: int) -> tuple[int, int]:
    """Return where a number of so many octets at most ends, and the number."""
    number = 0
    for n, octet in enumerate(octets[at : at + most]):
        number |= (octet & ~_MORE) << 7 * n
        if not octet & _MORE:
            return at + n + 1, number
    return at + most, number


def _is_rar5_block(octets: bytes, at: int) -> bool:
    behind, size = _rar5_number(octets, at + 4, _RAR5_SIZE_OCTETS)
    return size > 0 and zlib.crc32(octets[at + 4 : behind + size]) == int.from_bytes(octets[at : at + 4], "little")


def _seven_zip_begins(octets: bytes, at: int) -> bool:
    head = octets[at : at + _SEVEN_ZIP_HEAD]
    return zlib.crc32(head[_SEVEN_ZIP_SUMMED:]) == int.from_bytes(head[8:_SEVEN_ZIP_SUMMED], "little")
