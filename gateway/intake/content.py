"""One content while it arrives: newline policy, size, memory budget, and the move into a file beyond a threshold.

``ContentWriter`` takes the octets that framing found. It keeps them in memory up to ``spill_octets``, then in the
spool's spill file in pieces of 256 KiB, so that a connection's memory is constant whatever the content's size. It
refuses nothing at once: the first fault is remembered as ``refusal``, what was kept is let go, and the rest is
counted and dropped, so that the client's transfer is read to its end and answered in its place (RFC 5321 §4.2.5
leaves no reply before the final dot).

Files are written in the executor: a write into the page cache is quick until the kernel makes writers wait for the
disk, and then it would stop every session of the worker. One hop costs about 50 µs a piece, and only contents that
are large pay it.
"""

import asyncio
import errno
import io
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gateway.mail.content import CHUNK_OCTETS, Content
from gateway.smtp import replies
from gateway.smtp.reply import Reply

# Normalising: a run of CR with the LF behind it is one line end, so that CR CR LF does not become an empty line.
_ANY_LINE_END = re.compile(rb"\r+\n?|\n")

_LineEnds = io.IncrementalNewlineDecoder
# What it has seen when no CR or LF is bare.
_CLEAN = (None, "\r\n")

Reserve = Callable[[int], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRules:
    """``max_octets`` as announced by SIZE, ``spill_octets`` at most in memory, bare newlines normalised or rejected."""

    max_octets: int
    spill_octets: int
    normalise_newlines: bool


class Reservation:
    """Octets of one content that count against the memory budget; ``reserve(n)`` takes n, a negative n gives back."""

    __slots__ = ("_reserve", "octets")

    def __init__(self, reserve: Reserve) -> None:
        self._reserve = reserve
        self.octets = 0

    def take(self, octets: int) -> bool:
        """Return whether ``octets`` more fit into the budget."""
        if not self._reserve(octets):
            return False
        self.octets += octets
        return True

    def release(self) -> None:
        """Give everything back."""
        if self.octets:
            self._reserve(-self.octets)
            self.octets = 0


class ContentWriter:
    """Takes one content's octets; ``refusal`` says what is wrong with it so far."""

    __slots__ = (
        "_carry",
        "_file",
        "_line_ends",
        "_memory",
        "_path",
        "_pieces",
        "_reservation",
        "_rules",
        "_writing",
        "fault",
        "octets",
        "refusal",
        "size",
    )

    def __init__(self, rules: ContentRules, reserve: Reserve, spill_path: Callable[[], Path]) -> None:
        self._rules = rules
        self._reservation = Reservation(reserve)
        self._path = spill_path
        self._pieces: list[bytes] = []
        self._memory = 0
        self._carry = b""
        # The standard library's universal newlines tell which line ends there are in one pass, twice as fast as
        # counting.
        self._line_ends = _LineEnds(None, translate=False)
        self._file: IO[bytes] | None = None
        self._writing: asyncio.Future[None] | None = None
        self.octets = 0
        """Octets received, those dropped after a refusal included."""
        self.size = 0
        """Octets of the content as kept."""
        self.refusal: Reply | None = None
        self.fault: OSError | None = None
        """The disk's error behind a refusal, for the journal."""

    @property
    def wants_flush(self) -> bool:
        """Whether so much is in memory that ``flush`` should be awaited before more is read."""
        return self._memory > (CHUNK_OCTETS if self._file else self._rules.spill_octets)

    def write(self, piece: bytes) -> None:
        """Take octets; a CR at their end waits for what follows."""
        self.octets += len(piece)
        if self.refusal is not None:
            return
        if self._carry:
            piece, self._carry = self._carry + piece, b""
        if piece.endswith(b"\r"):
            piece, self._carry = self._cut_carriage_return(piece)
        if not piece:
            return
        self._line_ends.decode(piece.decode("latin-1"))
        if self._line_ends.newlines in _CLEAN:
            self._keep(piece)
        else:
            self._keep_normalised(piece)

    def _cut_carriage_return(self, piece: bytes) -> tuple[bytes, bytes]:
        # A run of CR counts once when newlines are normalised, so one octet is all that need be carried.
        if self._rules.normalise_newlines:
            return piece.rstrip(b"\r"), b"\r"
        return piece[:-1], b"\r"

    def _keep_normalised(self, piece: bytes) -> None:
        if self._rules.normalise_newlines:
            self._line_ends = _LineEnds(None, translate=False)
            self._keep(_ANY_LINE_END.sub(b"\r\n", piece))
        else:
            # RFC 5321 §2.3.8: CR and LF never stand alone.
            self.refuse(replies.BARE_NEWLINE)

    def _keep(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self._rules.max_octets:
            # RFC 1870 §6.3: a content that turns out too big is refused after its end.
            self.refuse(replies.MESSAGE_TOO_BIG)
        elif not self._reservation.take(len(piece)):
            self.refuse(replies.OUT_OF_MEMORY_BUDGET)
        else:
            self._pieces.append(piece)
            self._memory += len(piece)

    def refuse(self, reply: Reply) -> None:
        """Let go of what was kept; the first refusal stands."""
        if self.refusal is None:
            self.refusal = reply
        self._drop_memory()

    def _drop_memory(self) -> None:
        self._pieces = []
        self._memory = 0
        self._reservation.release()

    async def flush(self) -> None:
        """Move what is in memory into the file."""
        pieces, self._pieces = self._pieces, []
        loop = asyncio.get_running_loop()
        try:
            self._writing = loop.run_in_executor(None, self._write_out, pieces)
            # A cancelled session must not close the file under the writing thread; ``discard`` waits for it.
            await asyncio.shield(self._writing)
        except OSError as error:
            self.fault = error
            # EDQUOT and ENOSPC: for the moment (RFC 3463 §3.4, X.3.1); anything else is our own fault.
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            self.refuse(replies.INSUFFICIENT_STORAGE if full else replies.INTERNAL_ERROR)
        self._drop_memory()

    def _write_out(self, pieces: list[bytes]) -> None:
        if self._file is None:
            self._file = self._path().open("wb", buffering=0)
        # Unbuffered writes may be short; the last of a full disk is, before the next raises.
        octets = memoryview(b"".join(pieces))
        while octets:
            octets = octets[self._file.write(octets) :]

    async def finish(self) -> Content | Reply:
        """Return the whole content, or the refusal."""
        if self._carry:
            carry, self._carry = self._carry, b""
            self._keep_normalised(carry)
        if self.refusal is None and self._file is not None and self._pieces:
            await self.flush()
        if self.refusal is not None:
            return self.refusal
        if self._file is None:
            return Content(self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))
        self._file.close()
        return Content(path=self._path(), size=self.size)

    @property
    def spilled(self) -> bool:
        """Whether there is a file."""
        return self._file is not None

    def release(self) -> None:
        """Give the memory back to the budget; the content has found its keeper."""
        self._drop_memory()

    def discard(self) -> None:
        """Let go of everything, the file included; nothing of it will be delivered."""
        self._drop_memory()
        if self._writing is not None and not self._writing.done():
            self._writing.add_done_callback(lambda _: self._remove_file())
        else:
            self._remove_file()

    def _remove_file(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            asyncio.get_running_loop().run_in_executor(None, _remove, file, self._path())


def _remove(file: IO[bytes], path: Path) -> None:
    file.close()
    # What cannot be removed is unreferenced, and the spool clears such files when it starts.
    with suppress(OSError):
        path.unlink(missing_ok=True)
