"""Patterns without fixed text compiled by hyperscan, beside the mail: until it is done, and where it is not, RE2 alone.

The compiler runs in a child with a limit of time and of memory (``gateway.rules.prefilter_child``), one after the
other; the loop only waits for its frames, and a thread makes databases of them.
"""

import asyncio
import json
import signal
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.rules.expression import expression
from gateway.rules.group import RuleGroup
from gateway.rules.patterns import Pattern
from gateway.rules.prefilter import MAX_OCTETS, Compiled, Prefilter

# Of processor time, for the patterns of one file and subject: a thousand take 10 s, and so did one hostile one.
MAX_CPU_SECONDS = 60
# For all rules of a configuration, on a machine that has better things to do: the mail goes first.
LIMIT_SECONDS = 300
# RE2 takes 0.01 ms for a pattern over 8 KB; for fewer a database and a process to make it are not worth having.
MIN_PATTERNS = 10
# A database of a thousand has 5 MiB; what says more is not our compiler.
_MAX_FRAME = 256 * 1024**2
_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerated:
    """Of ``asked`` patterns ``taken`` were compiled; ``reasons`` why others stay with RE2, each once."""

    asked: int = 0
    taken: int = 0
    seconds: float = 0.0
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = f"hyperscan: {self.taken} of {self.asked} patterns without fixed text, in {self.seconds:.1f} s"
        return said + (f"; the others stay with RE2: {'; '.join(self.reasons)}" if self.reasons else "")


async def accelerate(
    groups: Iterable[RuleGroup], *, at_least: int = MIN_PATTERNS, seconds: float = LIMIT_SECONDS
) -> Accelerated:
    """Compile what groups judge for every message, and have them use it; cancelled, it leaves nothing running."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    asked = taken = 0
    reasons: dict[str, None] = {}
    for group in groups:
        found: dict[str, Prefilter] = {}
        for subject, sources in group.without_text().items():
            asked += len(sources)
            if len(sources) < at_least:
                reasons[f"fewer than {at_least} of one file and subject"] = None
                continue
            wanted = await asyncio.to_thread(_expressions, sources)
            if len(wanted) < len(sources):
                reasons["they tell no texts apart, or are too long"] = None
            left = began + seconds - loop.time()
            compiled = await _compiled(list(wanted.items()), left, reasons)
            if compiled:
                found[subject] = await asyncio.to_thread(Prefilter, compiled)
                taken += len(found[subject].sources)
        if found:
            await asyncio.to_thread(group.use, found)
    return Accelerated(asked=asked, taken=taken, seconds=loop.time() - began, reasons=tuple(reasons))


def _expressions(sources: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in sorted(sources):
        whole = Pattern(source).compiled().reach >= MAX_OCTETS
        written = expression(source, edges=whole)
        if written is not None:
            found[source] = written
    return found


async def _compiled(wanted: Sequence[tuple[str, str]], seconds: float, reasons: dict[str, None]) -> list[Compiled]:
    found: list[Compiled] = []
    late = f"not compiled within {LIMIT_SECONDS} s"
    if seconds <= 0:
        reasons[late] = None
    if seconds <= 0 or not wanted:
        return found
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.rules.prefilter_child", str(MAX_CPU_SECONDS)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(seconds):
            await _converse(child, wanted, found, reasons)
            if status := await child.wait():
                reasons[_ended(status)] = None
    except TimeoutError:
        reasons[late] = None
    finally:
        await _end(child)
    return found


def _ended(status: int) -> str:
    if status == -signal.SIGXCPU:
        return f"not compiled within {MAX_CPU_SECONDS} s of processor time"
    return f"the compiler ended with status {status}"


async def _converse(
    child: asyncio.subprocess.Process,
    wanted: Sequence[tuple[str, str]],
    found: list[Compiled],
    reasons: dict[str, None],
) -> None:
    if child.stdin is None or child.stdout is None:
        raise RuntimeError("a process was started without pipes")
    try:
        child.stdin.write(json.dumps([written for _, written in wanted]).encode())
        await child.stdin.drain()
        child.stdin.close()
        while True:
            (length,) = _LENGTH.unpack(await child.stdout.readexactly(_LENGTH.size))
            head = json.loads(await child.stdout.readexactly(min(length, _MAX_FRAME)))
            octets = await child.stdout.readexactly(min(head["octets"], _MAX_FRAME))
            if octets:
                found.append(Compiled(octets, {number: wanted[number][0] for number in head["taken"]}))
            else:
                reasons[f"refused, {head['reason']}"] = None
    except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionResetError):
        # Its end; the status says whether it was a good one.
        return


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.kill()
        await child.wait()
