"""Which kinds of archive some reader would take octets for; by content alone, whatever the name.

A zip archive is found by its end, so it may follow anything else: a picture, a program that unpacks itself, another
archive. Programs for RAR and 7z look for where one begins, in whatever stands before it. Octets can therefore be
archives of several kinds: "embedded-…" are those that begin within them.
"""

import re

from gateway.antivirus.archive.beginnings import MARKS
from gateway.antivirus.framing import Octets
from gateway.mail.filetype import FileFacts

_PREFIXES = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"PK\x07\x08PK\x03\x04", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    # RFC 1952 §2.3.1: deflate is the one method there is.
    (b"\x1f\x8b\x08", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"LZIP", "lzip"),
    (b"\x89LZO\x00\r\n\x1a\n", "lzop"),
    (b"MSCF\x00\x00\x00\x00", "cab"),
    (b"!<arch>\n", "ar"),
    (b"xar!", "xar"),
    (b"070701", "cpio"),
    (b"070702", "cpio"),
    (b"070707", "cpio"),
    (b"\x78\x9f\x3e\x22", "tnef"),
)
# A block's or the stream's end mark behind the head; code widths 9 to 16 of compress(1); LHA's methods.
_PATTERNS = (
    (re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), "bzip2"),
    (re.compile(rb"\x1f\x9d[\x09-\x10\x89-\x90]"), "compress"),
    # The older .lzma: properties as every program writes them, a dictionary, and a size or none.
    (re.compile(rb"\x5d\x00\x00..(?:\xff{8}|.{5}\x00{3})", re.DOTALL), "lzma"),
    (re.compile(rb"..-(?:lh[0-9d]|lz[s45])-", re.DOTALL), "lha"),
)
# A mail kept as a file: a header section that says MIME, and a body (RFC 2045 §3).
_FIELD = re.compile(rb"(?:From [^\r\n]*\r?\n)?[A-Za-z][A-Za-z0-9-]{0,76}[ \t]*:")
_MIME_FIELD = re.compile(rb"(?:^|\n)(?:MIME-Version|Content-(?:Type|Transfer-Encoding))[ \t]*:", re.IGNORECASE)
_END_OF_HEADER = re.compile(rb"\n\r?\n(?=[^\r\n])")
_HEADER_OCTETS = 64 * 1024
_TAR_SUM = re.compile(rb" *([0-7]{1,7})[\x00 ]+")
# One compressed file, not an archive with names; a tar may be inside.
STREAMS = frozenset({"gzip", "bzip2", "xz", "zstd", "lz4", "lzip", "compress", "lzop", "lzma"})
# What clamd looks into by itself. Debian's has no unrar, and the others it does not know.
KNOWN_TO_CLAMD = frozenset({"zip", "7z", "gzip", "bzip2", "xz", "tar", "cab", "iso", "cpio"})

# Documents that are walked when they are encrypted, for a password may open them (``documents``).
SHUT_DOCUMENTS = frozenset({"ooxml-encrypted", "doc", "xls", "ppt", "pdf"})

_END_OF_DIRECTORY = b"PK\x05\x06"
_LOCAL_HEADER = b"PK\x03\x04"
_END_OCTETS = 22
# An end record's comment has 65,535 octets at most (APPNOTE 4.3.16).
_TAIL_OCTETS = _END_OCTETS + 65_535
_LONGEST_PREFIX = 32


def kinds_of(octets: Octets) -> tuple[str, ...]:
    """Return the kinds, the one that the first octets tell first; () for what is no archive."""
    whole = octets if isinstance(octets, bytes) else bytes(octets)
    first = _by_prefix(whole)
    kinds = [first] if first else []
    if first != "zip":
        if _zip_at_the_end(whole, strict=bool(first)):
            kinds.append("zip")
        elif not first and whole.find(_LOCAL_HEADER) >= 0:
            # Within a program or a document: nothing opens it as a zip, but what unpacks itself does.
            kinds.append("embedded-zip")
    # Text has no mark's last octet, and a single octet is looked for at a tenth of the cost.
    kinds += (kind for kind, mark in MARKS.items() if mark[-1:] in whole and whole.find(mark, 1) >= 0)
    return tuple(kinds)


def is_shut_document(facts: FileFacts) -> bool:
    """Tell whether it is a document of which a walk finds out whether a password opens it."""
    return facts.encrypted and facts.kind in SHUT_DOCUMENTS


def _by_prefix(octets: bytes) -> str:
    head = octets[:_LONGEST_PREFIX]
    for prefix, kind in _PREFIXES:
        if head.startswith(prefix):
            return kind
    if octets[257:262] == b"ustar" or _is_old_tar(octets):
        return "tar"
    # ISO 9660 §6.2.1: 16 sectors of system area, then a descriptor with this mark.
    if octets[32_769:32_774] == b"CD001":
        return "iso"
    if (kind := next((kind for pattern, kind in _PATTERNS if pattern.match(head)), "")) or not _FIELD.match(octets):
        return kind
    return "mail" if _is_mail(octets[:_HEADER_OCTETS]) else ""


def _is_mail(head: bytes) -> bool:
    end = _END_OF_HEADER.search(head)
    return end is not None and _MIME_FIELD.search(head, 0, end.start() + 1) is not None


def _is_old_tar(octets: bytes) -> bool:
    """Tell a tar from before POSIX by its header's sum, as tar itself does: with blanks where the sum stands."""
    stated = _TAR_SUM.fullmatch(octets[148:156])
    if stated is None:
        return False
    return int(stated[1], 8) == sum(octets[:148]) + sum(octets[156:512]) + 8 * ord(" ")


def _zip_at_the_end(octets: bytes, *, strict: bool) -> bool:
    tail = octets[-_TAIL_OCTETS:]
    at = tail.rfind(_END_OF_DIRECTORY)
    if at < 0 or len(tail) - at < _END_OCTETS:
        return False
    comment = int.from_bytes(tail[at + 20 : at + 22], "little")
    return not strict or at + _END_OCTETS + comment == len(tail)
