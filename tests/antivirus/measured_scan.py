"""Scans mails of one large attachment, so many at once, and prints by how many octets the process grew at its peak.

Run as a program: what a test process has had in memory before would hide what a scan takes.
"""

import asyncio
import sys
from pathlib import Path

from gateway.antivirus.address import ScannerAddress
from gateway.antivirus.archive.report import ArchiveLimits
from gateway.antivirus.archive.walker import ArchiveWalker
from gateway.antivirus.cache import ResultCache
from gateway.antivirus.memory import give_back_large_blocks
from gateway.antivirus.message import MessageScanner
from gateway.antivirus.result import Outcome
from gateway.antivirus.scanner import Scanner, ScannerLimits
from gateway.antivirus.scanners import Scanners
from gateway.clock import FakeClock
from gateway.mail.content import Content


def peak_octets() -> int:
    """Return the process's highest resident size (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


async def main(socket_path: str, contents: list[Content]) -> None:
    walker = ArchiveWalker(ArchiveLimits())
    clamd = Scanner(ScannerAddress(path=socket_path), ScannerLimits())
    # As of one that tells its limits: how far this one looks is not what is measured.
    clamd.alerts_limits = True
    scanner = MessageScanner(Scanners([clamd], ResultCache(FakeClock())), walker)
    await scanner.scan(Content(b"From: a@b.test\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n"))
    before = peak_octets()
    scans = await asyncio.gather(*map(scanner.scan, contents))
    walker.close()
    assert all(part.result.outcome is Outcome.CLEAN for scan in scans for part in scan.parts), scans
    print(peak_octets() - before)


if __name__ == "__main__":
    # As a worker does when it begins.
    give_back_large_blocks()
    mails = [Path(path) for path in sys.argv[3:] for _ in range(int(sys.argv[2]))]
    asyncio.run(main(sys.argv[1], [Content(path=mail, size=mail.stat().st_size) for mail in mails]))
