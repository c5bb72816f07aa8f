"""How far a scanner looks that does not tell where it stops, and what of an archive it therefore calls clean unseen.

With AlertExceedsMax off, which is clamd's default, what lies beyond MaxFileSize, MaxScanSize, MaxRecursion or MaxFiles
is called clean. What clamd sets them to by itself lies above our own limits, what Debian's ``clamd.conf`` says (25M,
100M) below, so they are found out (``measuring``); what lies further away in a mail has not been looked at.
"""

from collections.abc import Sequence

from gateway.antivirus.archive.report import ArchiveLimits, ArchiveReport
from gateway.antivirus.result import Cause, Outcome, ScanResult, temperror
from gateway.value import value

_MIB = 1024 * 1024
_LIMITS = ArchiveLimits()


@value(kw_only=True)
class Reach:
    """What is looked at: a file of ``file_octets``, an archive that is and unpacks to ``archive_octets`` altogether.

    Archives in archives ``depth`` deep, ``entries`` in one. ``measured`` is False while these are an assumption.
    """

    file_octets: int
    archive_octets: int
    depth: int
    entries: int
    measured: bool = True

    @property
    def stream_octets(self) -> int:
        """What is looked at of a stream that is no archive; assumed where it looks into none, and that is not told."""
        return self.file_octets if self.depth else ASSUMED.file_octets

    def __str__(self) -> str:
        return (
            f"files of {self.file_octets} octets, archives that unpack to {self.archive_octets}, {self.depth} deep and"
            f" with {self.entries} entries" + ("" if self.measured else ", as is assumed")
        )

    def beyond(self, what: str) -> ScanResult:
        """Return the result of something that was not looked at; before it is measured, nobody knows."""
        reason = f"{what} than the scanner looks at"
        if not self.measured:
            return temperror(Cause.BUSY, f"{reason} for certain: that is being found out")
        return ScanResult(outcome=Outcome.UNSCANNABLE, name="Scanner.Limit", reason=f"{reason}, which does not say so")

    def overlooked(self, report: ArchiveReport, size: int) -> tuple[ScanResult, ...]:
        """Return what to say of an archive of ``size`` octets in which something may not have been looked at.

        What is handed over is scanned by itself; it takes its share of what is looked at of the archive all the same.
        """
        left = [entry for entry in report.entries if not entry.apart]
        if not left:
            return ()
        if any(entry.size > self.file_octets for entry in left):
            return (self.beyond("a larger file in an archive"),)
        if size + sum(entry.size for entry in report.entries) > self.archive_octets:
            return (self.beyond("an archive that unpacks to more"),)
        if any(len(entry.path) > self.depth for entry in left):
            return (self.beyond("archives in archives deeper"),)
        return (self.beyond("an archive of more files"),) if len(report.entries) > self.entries else ()


# What is believed of a scanner that nobody watches: the least that clamd is shipped with (Debian's clamd.conf).
ASSUMED = Reach(
    file_octets=25 * _MIB, archive_octets=50 * _MIB, depth=_LIMITS.depth, entries=_LIMITS.entries, measured=False
)

# What is believed of one that has just come: less than anybody sets it to, so that what is larger waits until that is
# known.
UNKNOWN = Reach(file_octets=_MIB, archive_octets=2 * _MIB, depth=1, entries=100, measured=False)


def least(reaches: Sequence[Reach]) -> Reach | None:
    """Return what all of several scanners look at; None for none."""
    if len(reaches) < 2:  # noqa: PLR2004 - of one there is nothing to compare
        return reaches[0] if reaches else None
    return Reach(
        file_octets=min(reach.file_octets for reach in reaches),
        archive_octets=min(reach.archive_octets for reach in reaches),
        depth=min(reach.depth for reach in reaches),
        entries=min(reach.entries for reach in reaches),
        measured=all(reach.measured for reach in reaches),
    )
