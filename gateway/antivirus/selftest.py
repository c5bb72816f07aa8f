"""Whether a scanner finds what every scanner must find, and tells of what it did not look into.

The EICAR test file (eicar.org) is harmless and every scanner's signatures know it. One that calls it clean is no
scanner, whatever it answers to mail. It is put together here from two halves, so that this file is no find itself.

The second question is AlertExceedsMax: an archive nested deeper than clamd's MaxRecursion must be reported, and not
passed as clean. By default clamd passes it; then it is found out how far it looks (``measuring``).
"""

import io
import zipfile
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from gateway.antivirus.framing import Piece
from gateway.antivirus.result import Cause, Outcome, ScanResult
from gateway.antivirus.scanner import Scanner

TEST_FILE = b"".join((b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$", b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"))
# clamd's MaxRecursion is 17 by default and 100 at most.
_NESTED = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """``passed``: EICAR was found. ``alerts_limits``: what exceeds the scanner's limits is reported by it."""

    passed: bool
    alerts_limits: bool
    reason: str = ""
    # NONE when the scanner answered, so that a failure is about its signatures and not about its connection.
    cause: Cause = Cause.NONE


def piece_of(octets: bytes) -> Piece:
    """Return octets as a piece to scan."""
    return Piece(octets=octets, digest=sha256(octets).hexdigest())


@cache
def eicar() -> Piece:
    """Return the EICAR test file."""
    return piece_of(TEST_FILE)


@cache
def nested() -> Piece:
    """Return an empty text file in more zip archives than clamd goes into."""
    octets = b"nothing\r\n"
    for depth in range(_NESTED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            # A fixed name and date: the same octets each time.
            archive.writestr(zipfile.ZipInfo(f"{depth}.zip" if depth else "a.txt"), octets)
        octets = buffer.getvalue()
    return piece_of(octets)


async def run_self_test(scanner: Scanner) -> SelfTest:
    """Ask one scanner, in one session, past the cache."""
    session = await scanner.scan([eicar(), nested()])
    known, deep = session.results
    return SelfTest(
        passed=known.outcome is Outcome.INFECTED,
        alerts_limits=not deep.clean and deep.outcome is not Outcome.TEMPERROR,
        reason="" if known.outcome is Outcome.INFECTED else _told(known),
        cause=known.cause,
    )


def _told(result: ScanResult) -> str:
    if result.clean:
        return "the EICAR test file was called clean: this scanner has no usable signatures"
    return f"the EICAR test file was not found: {result.reason}"
