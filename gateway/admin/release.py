"""What speaks for and against letting a mail out of quarantine: it is scanned again before it goes.

Signatures are newer than when it was kept, so a virus may be known now that was not then. Only what a scanner has
looked at to its end goes out without being forced (invariant 8); so does what was kept for anything but a virus where
this gateway has no scanner at all.
"""

import asyncio
from dataclasses import dataclass

from gateway.antivirus.desk import Antivirus
from gateway.antivirus.message import MessageScan
from gateway.antivirus.result import Outcome
from gateway.mail.content import Content

# Below what a worker's answer may take (gateway.app.workers); a scan that takes longer is better asked for again.
SCAN_SECONDS = 20.0
# Looked at to its end; what else was found is the policy's business, and the operator has decided about it.
_LOOKED_AT = frozenset({Outcome.CLEAN, Outcome.MACROS, Outcome.ENCRYPTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A scan on the way out: ``outcome`` "" and ``status`` "" where nothing scans.

    ``objection`` says why it must not go out unless forced; ``status`` is the value of X-Virus-Status.
    """

    outcome: str = ""
    status: str = ""
    version: str = ""
    objection: str = ""


async def review(antivirus: Antivirus, content: Content) -> Review:
    """Return what a scan of ``content`` says now; raises OSError when it cannot be read."""
    if not antivirus.is_configured:
        return Review()
    try:
        async with asyncio.timeout(SCAN_SECONDS):
            scan = await antivirus.messages.scan(content)
    except TimeoutError:
        return _unknown(f"not scanned within {SCAN_SECONDS:g} seconds")
    return _reviewed(scan)


def _reviewed(scan: MessageScan) -> Review:
    result = scan.result
    version = result.version or scan.whole.version
    if result.outcome in _LOOKED_AT:
        status = "Clean" if result.outcome is not Outcome.ENCRYPTED else f"Unscanned ({result.reason})"
        return Review(outcome=result.outcome.value, status=status, version=version)
    if result.outcome is Outcome.INFECTED:
        return Review(
            outcome=result.outcome.value,
            status=f"Infected ({result.name})",
            version=version,
            objection=f"infected: {result.name}",
        )
    return _unknown(result.reason or result.outcome.value, result.outcome)


def _unknown(why: str, outcome: Outcome = Outcome.TEMPERROR) -> Review:
    return Review(outcome=outcome.value, status=f"Unscanned ({why})", objection=f"not known to be clean: {why}")
