"""Zip archives by every local header (PKWARE's APPNOTE 4.3), not by the directory at the end alone.

Readers differ. Most take the directory that stands last; some read on from the first header, and what unpacks itself
does as it likes. Two zips one behind the other, an entry that no directory names, a name that header and directory
give differently: each shows one reader a file that another never sees. So every local header outside another entry's
data is an entry here; those that the last directory does not know are ``hidden``.

Where an entry ends is counted by unpacking it, not taken from a size that somebody wrote.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from struct import Struct
from typing import Any

from gateway.antivirus.archive.budget import Budget, LimitReachedError
from gateway.antivirus.archive.member import Member
from gateway.antivirus.archive.names import decode_name

_LOCAL = Struct("<4sHHHHHIIIHH")
_CENTRAL = Struct("<4sHHHHHHIIIHHHHHII")
_END = Struct("<4sHHHHIIH")
_LOCAL_MARK, _CENTRAL_MARK, _END_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_DESCRIPTOR_MARK, _ZIP64_END_MARK = b"PK\x07\x08", b"PK\x06\x06"
_IN_ZIP64 = 0xFFFFFFFF
_ENCRYPTED, _END_MARKED, _DESCRIPTOR, _UTF8 = 0x0001, 0x0002, 0x0008, 0x0800
# Info-ZIP's Unicode Path: version, CRC of the header's name, then the name in UTF-8.
_UNICODE_PATH, _ZIP64 = 0x7075, 0x0001
_UNICODE_PATH_HEAD = 5
# Versions and methods that were ever assigned; what says otherwise only looks like a header.
_MAX_VERSION, _MAX_METHOD = 99, 99
_STORED, _LZMA = 0, 14
# APPNOTE 4.4.5: stored, deflated, deflate64, bzip2, LZMA, Zstandard, XZ, PPMd; 99 is WinZip's AES.
_USED_METHODS = frozenset({_STORED, 8, 9, 12, _LZMA, 93, 95, 98, 99})
_READ_OCTETS = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One local header as written; ``data`` is where its entry's octets begin."""

    offset: int
    data: int
    flags: int
    method: int
    packed: int
    size: int
    raw_name: bytes
    name: str

    @property
    def encrypted(self) -> bool:
        """Whether bit 0 says so."""
        return bool(self.flags & _ENCRYPTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One entry of the directory."""

    raw_name: bytes
    packed: int
    size: int
    flags: int
    method: int

    def contradicts(self, header: Header) -> bool:
        """Whether a reader that takes its word makes other octets of the entry than one that takes the header's."""
        if (self.method, self.flags & _ENCRYPTED) != (header.method, header.flags & _ENCRYPTED):
            return True
        # APPNOTE 4.4.4, bit 3: the header leaves the sizes to a descriptor behind the data.
        left_open = header.flags & _DESCRIPTOR and not header.packed
        return self.packed != header.packed and not left_open


def read_zip(octets: bytes, budget: Budget) -> Iterator[Member]:
    """Yield every entry, each by its local header; encrypted ones and unknown methods without octets."""
    directory = read_directory(octets)
    visited = set()
    for header, member in _entries(octets, directory, budget):
        visited.add(header.offset)
        listed = directory.get(header.offset)
        if listed is None:
            # Without any directory (a zip that was cut short) nothing hides from one.
            yield replace(member, hidden=bool(directory), opaque=True)
        elif listed.raw_name != header.raw_name:
            yield replace(member, ambiguous="zip-names", opaque=True)
        else:
            yield from _readings(octets, header, member, listed, budget)
    # What the directory names where no entry is, or within another's data: so do bombs that overlap.
    if any(offset not in visited for offset in directory):
        raise LimitReachedError("overlap")


def _readings(octets: bytes, header: Header, member: Member, listed: Listed, budget: Budget) -> Iterator[Member]:
    """Yield an entry as its header has it, and as the directory does where that is another."""
    if not listed.contradicts(header):
        yield member
        return
    told = replace(header, method=listed.method, flags=listed.flags, packed=listed.packed, size=listed.size)
    for one in (header, told):
        reading, _ = _read_entry(octets, one, None, budget)
        yield replace(reading, ambiguous="zip-headers", opaque=True)


def read_embedded(octets: bytes, budget: Budget) -> Iterator[Member]:
    """Yield the entries in octets that are no zip (a program, a document): what can be read, and what is encrypted."""
    for header, member in _entries(octets, {}, budget):
        if member.octets or (member.encrypted and _is_likely(header)):
            yield replace(member, opaque=True)


def _is_likely(header: Header) -> bool:
    """Tell whether octets that look like a header are one: an entry with a name, packed as programs do."""
    return bool(header.raw_name) and header.name.isprintable() and header.method in _USED_METHODS


def _entries(octets: bytes, directory: Mapping[int, "Listed"], budget: Budget) -> Iterator[tuple["Header", Member]]:
    at = 0
    while (found := octets.find(_LOCAL_MARK, at)) >= 0:
        budget.entry()
        header = read_header(octets, found)
        if header is None:
            at = found + len(_LOCAL_MARK)
            continue
        member, at = _read_entry(octets, header, directory.get(found), budget)
        yield header, member


def read_header(octets: bytes, at: int) -> Header | None:
    """Return the local header at an offset; None when it only looks like one."""
    if at + _LOCAL.size > len(octets):
        return None
    _, version, flags, method, _, _, _, packed, size, name_octets, extra_octets = _LOCAL.unpack_from(octets, at)
    name_at = at + _LOCAL.size
    data = name_at + name_octets + extra_octets
    if version & 0xFF > _MAX_VERSION or method > _MAX_METHOD or data > len(octets):
        return None
    raw_name = octets[name_at : name_at + name_octets]
    extra = dict(_extra_fields(octets[name_at + name_octets : data]))
    size, packed = _wide(extra.get(_ZIP64, b""), size, packed)
    unicode_name = extra.get(_UNICODE_PATH, b"")[_UNICODE_PATH_HEAD:]
    name = decode_name(unicode_name or raw_name, utf8=bool(unicode_name) or bool(flags & _UTF8))
    return Header(
        offset=at, data=data, flags=flags, method=method, packed=packed, size=size, raw_name=raw_name, name=name
    )


def _extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(extra):
        kind, size = (int.from_bytes(extra[n : n + 2], "little") for n in (at, at + 2))
        yield kind, extra[at + 4 : at + 4 + size]
        at += 4 + size


def read_directory(octets: bytes) -> dict[int, Listed]:
    """Return the entries that the last directory names, by the offset of their local header."""
    end = octets.rfind(_END_MARK)
    if end < 0 or end + _END.size > len(octets):
        return {}
    *_, size, start, _ = _END.unpack_from(octets, end)
    # Whatever stands in front of the zip moves all its offsets.
    at, shift = end - size, end - size - start
    if _IN_ZIP64 in (size, start):
        # APPNOTE 4.3.14: the zip64 end record has the offset; what moves a zip64 is not undone.
        record = octets.rfind(_ZIP64_END_MARK, 0, end)
        at, shift = (int.from_bytes(octets[record + 48 : record + 56], "little"), 0) if record >= 0 else (-1, 0)
    found: dict[int, Listed] = {}
    while at >= 0 and at + _CENTRAL.size <= end and octets.startswith(_CENTRAL_MARK, at):
        fields = _CENTRAL.unpack_from(octets, at)
        packed, size, name_octets, extra_octets, comment_octets, offset = (*fields[8:13], fields[16])
        name_at = at + _CENTRAL.size
        extra_at = name_at + name_octets
        extra = dict(_extra_fields(octets[extra_at : extra_at + extra_octets]))
        size, packed, offset = _wide(extra.get(_ZIP64, b""), size, packed, offset)
        found[offset + shift] = Listed(
            raw_name=octets[name_at:extra_at], packed=packed, size=size, flags=fields[3], method=fields[4]
        )
        at = extra_at + extra_octets + comment_octets
    return found


def _wide(zip64: bytes, *narrow: int) -> Iterator[int]:
    """Yield numbers of 32 bits, or, where one says so, that of 64 bits in their place (APPNOTE 4.5.3)."""
    at = 0
    for number in narrow:
        if number == _IN_ZIP64 and at + 8 <= len(zip64):
            yield int.from_bytes(zip64[at : at + 8], "little")
            at += 8
        else:
            yield number


def _read_entry(octets: bytes, header: Header, listed: Listed | None, budget: Budget) -> tuple[Member, int]:
    """Return the entry and where it ends."""
    sizes = [n for n in (header.packed, listed.packed if listed else 0) if n and n != _IN_ZIP64]
    end = min(header.data + min(sizes), len(octets)) if sizes else _next_mark(octets, header)
    if header.encrypted:
        return Member(name=header.name, encrypted=True), end
    if header.method == _STORED:
        budget.unpacked(end - header.data)
        return Member(name=header.name, octets=octets[header.data : end]), end
    if header.method not in _METHODS:
        return Member(name=header.name, damaged=f"compression method {header.method}"), end
    try:
        content, end = _unpack(octets, header, budget)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, RuntimeError) as error:
        return Member(name=header.name, damaged=type(error).__name__), max(end, header.data)
    return Member(name=header.name, octets=content), end


def _next_mark(octets: bytes, header: Header) -> int:
    """Return where an entry ends whose size nobody wrote: an empty one at once, a streamed one at the next mark."""
    if not header.flags & _DESCRIPTOR:
        return header.data
    marks = (_DESCRIPTOR_MARK, _LOCAL_MARK, _CENTRAL_MARK, _END_MARK)
    return min((at for mark in marks if (at := octets.find(mark, header.data)) >= 0), default=len(octets))


# How each method that the standard library knows is undone.
_METHODS: dict[int, Callable[[], Any]] = {
    8: lambda: zlib.decompressobj(-zlib.MAX_WBITS),
    12: bz2.BZ2Decompressor,
    _LZMA: lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE),
    95: lzma.LZMADecompressor,
}


def _unpack(octets: bytes, header: Header, budget: Budget) -> tuple[bytes, int]:
    """Return what an entry unpacks to, and where it ends."""
    decoder = _METHODS[header.method]()
    made: list[bytes] = []
    whole = memoryview(octets)
    at, before = header.data, b""
    if header.method == _LZMA:
        at, before = _lzma_head(octets, header)
        decoder.decompress(before, 0)
    while not decoder.eof:
        piece = whole[at : at + _READ_OCTETS]
        if not piece:
            raise EOFError
        at += len(piece)
        for part in _parts(decoder, piece):
            budget.unpacked(len(part))
            made.append(part)
    return b"".join(made), at - len(decoder.unused_data)


def _lzma_head(octets: bytes, header: Header) -> tuple[int, bytes]:
    """Return where the data begin, and the head that an .lzma file has (APPNOTE 5.8.8: version, size, properties)."""
    begins = header.data + 4
    data = begins + int.from_bytes(octets[begins - 2 : begins], "little")
    # With bit 1 an end mark stands in the data, without it the size ends them.
    size = b"\xff" * 8 if header.flags & _END_MARKED else header.size.to_bytes(8, "little")
    return data, octets[begins:data] + size


def _parts(decoder: Any, piece: memoryview) -> Iterator[bytes]:
    """Yield what comes out of one piece, a bounded part at a time."""
    part = decoder.decompress(piece, _READ_OCTETS)
    yield part
    while not decoder.eof:
        # zlib keeps what it has not looked at outside itself, the others within; a full part may have more behind it.
        rest = getattr(decoder, "unconsumed_tail", None)
        if decoder.needs_input if rest is None else not rest and len(part) < _READ_OCTETS:
            return
        part = decoder.decompress(rest or b"", _READ_OCTETS)
        yield part
