"""Hyperscan's compiler, in a process of its own: ``python -m gateway.rules.prefilter_child SECONDS``.

A single pattern may take it seconds and hundreds of megabytes. Reads a list of expressions as JSON; writes frames, as
each is ready: a length (4 octets), a JSON head of that length, and as many octets of a serialised database as the head
says. A head has the indexes of the expressions ``taken`` into the database, or ``refused`` and the ``reason``.
"""

import json
import os
import resource
import struct
import sys
from collections.abc import Iterator, Sequence

import hyperscan

# A thousand ordinary patterns take 60 MiB; what takes more than this is refused.
MAX_OCTETS = 1024**3
# So many at once: what is ready when the time is up is used, and each database is another pass over the text.
CHUNK = 250
# The mail goes first.
_NICENESS = 10
_FLAGS = hyperscan.HS_FLAG_UTF8 | hyperscan.HS_FLAG_PREFILTER | hyperscan.HS_FLAG_SINGLEMATCH

Frame = tuple[dict[str, object], bytes]


def bound(seconds: int) -> None:
    """Have this process end at its limits, whoever watches it."""
    for which, wanted in ((resource.RLIMIT_AS, MAX_OCTETS), (resource.RLIMIT_CPU, seconds)):
        _, hard = resource.getrlimit(which)
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(which, (most, hard))
    os.nice(_NICENESS)


def compiled(expressions: Sequence[str], indexes: Sequence[int]) -> Iterator[Frame]:
    """Yield databases of these expressions and what was refused: half by half, where some of them are."""
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(
            expressions=[expressions[index].encode() for index in indexes],
            ids=list(indexes),
            elements=len(indexes),
            flags=[_FLAGS] * len(indexes),
        )
    except (hyperscan.error, MemoryError) as error:
        if len(indexes) == 1:
            reason = str(error) or type(error).__name__
            yield {"refused": list(indexes), "reason": reason, "octets": 0}, b""
            return
        half = len(indexes) // 2
        yield from compiled(expressions, indexes[:half])
        yield from compiled(expressions, indexes[half:])
        return
    octets = hyperscan.dumpb(database)
    yield {"taken": list(indexes), "octets": len(octets)}, octets


def main(seconds: str) -> None:
    """Compile standard input to standard output."""
    bound(int(seconds))
    expressions: list[str] = json.load(sys.stdin)
    # The longest last: one of them may take all the time there is.
    order = sorted(range(len(expressions)), key=lambda index: len(expressions[index]))
    for start in range(0, len(order), CHUNK):
        for head, octets in compiled(expressions, order[start : start + CHUNK]):
            written = json.dumps(head).encode()
            sys.stdout.buffer.write(struct.pack("!I", len(written)) + written + octets)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
