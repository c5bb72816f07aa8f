"""What a walk found, as values; and its limits, each with its reason."""

from dataclasses import dataclass, field, replace
from typing import Any

from gateway.antivirus.framing import Octets


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """Bounds of one walk; reaching one ends it, and the name in parentheses stands in ``ArchiveReport.limit``."""

    # ("depth") clamd goes 17 deep by default; mail that people write ends at three. Below clamd's, so that whatever
    # clamd passes unseen we have called too deep before.
    depth: int = 12
    # ("entries") clamd's MaxFiles is 10,000; the source of a large program has some thousands.
    entries: int = 8_000
    # ("octets") What all entries unpack to; clamd's MaxScanSize is 400 MiB.
    octets: int = 256 * 1024 * 1024
    # ("entry") One entry; clamd's MaxFileSize is 100 MiB, and what is larger it passes unseen.
    entry_octets: int = 100 * 1024 * 1024
    # ("ratio") Unpacked by packed, counted beyond the first 16 MiB: logs and tables reach 100, deflate ends at 1,032.
    ratio: int = 250
    # ("seconds") Unpacking 256 MiB takes some three seconds; a client waits ten minutes, our budget is two.
    seconds: float = 10.0
    # ("memory") The input, what is unpacked, and the interpreter.
    memory_octets: int = 1024 * 1024 * 1024
    # ("carried") What goes back to be scanned because a scanner may not see it in the archive.
    carried_octets: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveEntry:
    """One entry: ``path`` are the names from the outermost archive inwards, shown, never used as paths.

    ``kind``, ``risks`` and ``macros`` are what ``mail.filetype`` says of content and name, as of any attachment.
    ``hidden`` entries are in no directory of their archive; ``octets`` are there when a scanner might not see them
    inside the archive, or stops at what is encrypted; ``apart`` tells that they were handed over.
    """

    path: tuple[str, ...]
    size: int = 0
    kind: str = ""
    risks: tuple[str, ...] = ()
    macros: bool = False
    encrypted: bool = False
    unlocked: bool = False
    hidden: bool = False
    apart: bool = False
    octets: Octets | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveReport:
    """What is inside.

    ``limit`` is the limit that was reached, or "crashed" (the child did not survive this archive), "busy" or
    "unavailable" (nobody has looked); "" when the walk went to its end. ``damaged`` says what could not be read,
    ``ambiguous`` what two readers would take differently.
    """

    kinds: tuple[str, ...] = ()
    entries: tuple[ArchiveEntry, ...] = ()
    limit: str = ""
    damaged: str = ""
    ambiguous: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def encrypted(self) -> bool:
        """Whether something inside stays unread for want of a password."""
        return any(entry.encrypted and not entry.unlocked for entry in self.entries)

    @property
    def carried(self) -> tuple[Octets, ...]:
        """The octets of entries that are to be scanned by themselves."""
        return tuple(entry.octets for entry in self.entries if entry.octets)

    def without_octets(self) -> "ArchiveReport":
        """Return the report alone, once what it carried has gone where it is scanned."""
        return replace(self, entries=tuple(replace(e, octets=None) if e.octets else e for e in self.entries))

    @property
    def opened(self) -> bool:
        """Whether all that was encrypted inside was opened with a password, and everything inside handed over.

        With HeuristicScanPrecedence clamd says "encrypted" and looks no further, so that it says nothing of the rest.
        """
        everything = all(entry.apart or not entry.size for entry in self.entries)
        return self.complete and everything and any(entry.unlocked for entry in self.entries)

    @property
    def complete(self) -> bool:
        """Whether everything inside was seen."""
        return not self.limit and not self.damaged and not self.encrypted


# What names these words in the journal; the ones that speak about us, not about the archive.
NOBODY_LOOKED = frozenset({"busy", "unavailable"})


def as_plain(report: ArchiveReport) -> dict[str, Any]:
    """Return a report without its octets, for the wire; ``carried`` lists (entry, size) of those that follow it."""
    return {
        "kinds": report.kinds,
        "entries": [[list(e.path), e.size, e.kind, e.risks, _flags(e)] for e in report.entries],
        "carried": [[n, len(e.octets)] for n, e in enumerate(report.entries) if e.octets is not None],
        "limit": report.limit,
        "damaged": report.damaged,
        "ambiguous": report.ambiguous,
        "seconds": report.seconds,
    }


_FLAGS = ("macros", "encrypted", "unlocked", "hidden", "apart")


def _flags(entry: ArchiveEntry) -> str:
    return " ".join(name for name in _FLAGS if getattr(entry, name))


def from_plain(plain: dict[str, Any], octets: memoryview) -> ArchiveReport:
    """Return the report that a child sent; ValueError, KeyError or TypeError when it is none."""
    carried: dict[int, memoryview] = {}
    at = 0
    for number, size in plain["carried"]:
        carried[int(number)] = octets[at : at + int(size)]
        at += int(size)
    if at != len(octets):
        raise ValueError("other octets than the report says")
    return ArchiveReport(
        kinds=tuple(map(str, plain["kinds"])),
        entries=tuple(_entry(entry, carried.get(number)) for number, entry in enumerate(plain["entries"])),
        limit=str(plain["limit"]),
        damaged=str(plain["damaged"]),
        ambiguous=tuple(map(str, plain["ambiguous"])),
        seconds=float(plain["seconds"]),
    )


def _entry(plain: list[Any], octets: memoryview | None) -> ArchiveEntry:
    path, size, kind, risks, words = plain
    flags = {name: name in str(words).split() for name in _FLAGS}
    return ArchiveEntry(
        path=tuple(map(str, path)),
        size=int(size),
        kind=str(kind),
        risks=tuple(map(str, risks)),
        octets=octets,
        **flags,
    )
