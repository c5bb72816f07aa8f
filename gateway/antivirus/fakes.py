"""An antivirus without clamd, for tests and case files: it finds what it is told to find, exactly where it stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.antivirus.archive.report import ArchiveLimits
from gateway.antivirus.archive.walker import ArchiveWalker
from gateway.antivirus.desk import Antivirus, AntivirusSettings
from gateway.antivirus.framing import FileSpan, Piece
from gateway.antivirus.message import MessageScan, MessageScanner
from gateway.antivirus.reach import Reach
from gateway.antivirus.result import CLEAN, Cause, ScanResult, found, temperror
from gateway.clock import Clock
from gateway.journal.sinks import Recorded
from gateway.mail.content import Content

SCANNER, VERSION = "unix:/fake", "Fake 1"


@dataclass(kw_only=True)
class ScriptedScanners:
    """``signatures`` maps text in the octets to the name that clamd would give; ``cause`` makes every scan fail."""

    signatures: Mapping[str, str] = field(default_factory=dict)
    cause: Cause = Cause.NONE
    limit: int = 0
    reach: Reach | None = None

    @property
    def stream_limit(self) -> int:
        """The octets that a stream may have, 0 for any number."""
        return self.limit

    async def found_reach(self) -> Reach | None:
        """Return ``reach``: nothing else will be found out."""
        return self.reach

    async def scan(self, pieces: Sequence[Piece]) -> tuple[ScanResult, ...]:
        """Return each piece's result."""
        return tuple(self._result(piece).by(SCANNER, VERSION) for piece in pieces)

    def _result(self, piece: Piece) -> ScanResult:
        if self.cause:
            return temperror(self.cause, self.cause.value)
        if isinstance(piece.octets, FileSpan):
            raise TypeError("this scanner reads memory only")
        octets = bytes(piece.octets)
        return next((found(name) for text, name in self.signatures.items() if text.encode() in octets), CLEAN)


class ScriptedAntivirus(Antivirus):
    """The service that filters ask, with scripted scanners behind it."""

    def __init__(self, scanners: ScriptedScanners, clock: Clock) -> None:
        super().__init__(AntivirusSettings(), clock=clock, events=Recorded())
        self._archives = ArchiveWalker(ArchiveLimits())
        self._scripted = MessageScanner(scanners, self._archives)

    @property
    def is_configured(self) -> bool:
        """Always."""
        return True

    @property
    def messages(self) -> MessageScanner:
        """The scanner of whole messages."""
        return self._scripted

    def close(self) -> None:
        """End the archive walker's children."""
        self._archives.close()

    async def scan(self, trace_id: str, content: Content) -> MessageScan:  # noqa: ARG002 - as the real one
        """Scan at once."""
        return await self._scripted.scan(content)
