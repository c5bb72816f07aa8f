"""One source read: octets → text → entries, whatever its format; nothing in it raises.

A format is declared, or found by the file's name and its first lines (``detect``). UTF-8 is tried first, then GB18030,
in which lists from Chinese associations come; a byte order mark decides for itself. A gzip-compressed source is read
as what it holds.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType

from gateway.blocklist.local import rbldnsd
from gateway.blocklist.local.collected import Collected
from gateway.blocklist.local.fields import ENTRY, USUAL_FIELDS, Fields
from gateway.blocklist.local.lines import read_lines
from gateway.blocklist.local.records import read_csv, read_json_lines
from gateway.blocklist.local.rpz import read_rpz

# Ten million lines; a wrong file (a device, an archive) must not fill the memory.
MAX_OCTETS = 256 * 1024**2
# Enough to see past a long head of comments.
_SAMPLE_CHARACTERS = 64 * 1024
_SAMPLE_LINES = 50
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31

_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".rpz": "rpz",
    ".rbl": rbldnsd.MIXED,
    ".zone": "",
}
_RPZ_LINE = re.compile(r"(?:^|\s)(?:SOA|CNAME)\s+\S", re.IGNORECASE)
_ZONE_LINE = re.compile(
    r"^[#;:]?\$(?:SOA|NS|TTL|DATASET|TIMESTAMP|MAXRANGE[46]|=|\d)\b|^:[\d.]+:|^:\d+$", re.IGNORECASE
)
_COMMENTS = ("#", ";", "//")

Reader = Callable[[str, Collected, Fields], None]


def _zone(kind: str) -> Reader:
    return lambda text, into, _: rbldnsd.read_zone(text, into, kind)


FORMATS: Mapping[str, Reader] = MappingProxyType(
    {
        "lines": lambda text, into, _: read_lines(text, into),
        "csv": read_csv,
        "jsonl": read_json_lines,
        "rpz": lambda text, into, _: read_rpz(text, into),
        **{kind: _zone(kind) for kind in (*rbldnsd.TYPES, rbldnsd.COMBINED)},
    }
)
AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Octets with the name that problems call them by, and how they are to be read."""

    name: str
    octets: bytes
    format: str = AUTO
    fields: Fields = USUAL_FIELDS


def read_source(source: Source, now: float) -> Collected:
    """Return everything that could be read of a source, and the lines that could not; never raises."""
    into = Collected(file=source.name, now=now)
    octets = source.octets
    if octets.startswith(_GZIP):
        unpacked = _unpacked(octets)
        if unpacked is None:
            into.bad(1, "compressed with gzip, and damaged or larger than 256 MiB inside")
            return into
        octets = unpacked
    text = decode(octets)
    kind = source.format if source.format != AUTO else detect(source.name, text)
    FORMATS[kind](text, into, source.fields)
    return into


def decode(octets: bytes) -> str:
    """Return the text; what is not UTF-8 is GB18030, and what is neither is read octet by octet."""
    for mark, encoding in _MARKS:
        if octets.startswith(mark):
            return octets.decode(encoding, "replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            return octets.decode(encoding)
        except UnicodeDecodeError:
            continue
    return octets.decode("latin-1")


def detect(name: str, text: str) -> str:
    """Return the format of a text, by the file's name where that says it, else by its first lines."""
    suffix = PurePath(name.removesuffix(".gz")).suffix.lower()
    if _SUFFIXES.get(suffix):
        return _SUFFIXES[suffix]
    lines = (line.strip() for line in text[:_SAMPLE_CHARACTERS].split("\n"))
    sample = [line for line in lines if line and (not line.startswith(_COMMENTS) or _ZONE_LINE.search(line))]
    return _detected(sample[:_SAMPLE_LINES]) if sample else "lines"


def _detected(sample: list[str]) -> str:
    if sample[0].startswith(("{", "[{")):
        return "jsonl"
    if any(line.upper().startswith("$DATASET") for line in sample):
        return rbldnsd.COMBINED
    # "$TTL" is a line of both kinds of zone file; a record of DNS is one of RPZ only.
    if any(_RPZ_LINE.search(line) and not line.startswith("$SOA") for line in sample):
        return "rpz"
    if any(_ZONE_LINE.search(line) for line in sample):
        return _zone_type(sample)
    return "csv" if _names_columns(sample[0]) else "lines"


def _zone_type(sample: list[str]) -> str:
    entries = [line.lstrip("!") for line in sample if not line.startswith((":", "$", "#", ";"))]
    if entries and all(entry[:1].isdigit() and ":" not in entry.split(None, 1)[0] for entry in entries):
        return "ip4set"
    return rbldnsd.MIXED


def _names_columns(line: str) -> bool:
    separator = next((s for s in ",;\t|" if s in line), "")
    if not separator:
        return False
    return ENTRY in USUAL_FIELDS.assigned(tuple(cell.strip().strip('"') for cell in line.split(separator)))


def _unpacked(octets: bytes) -> bytes | None:
    machine = zlib.decompressobj(_GZIP_WINDOW)
    try:
        out = machine.decompress(octets, MAX_OCTETS)
    except zlib.error:
        return None
    return out if machine.eof else None
