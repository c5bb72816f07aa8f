"""Events as log lines on standard error, without ever holding up the mail.

``emit`` keeps the event; a timer renders what came since and hands it to one thread, the only place that may block
on the descriptor. When nobody reads (a full pipe, a stopped terminal) lines wait in memory up to
MAX_WAITING_OCTETS; beyond that they are dropped and counted, and the first line written afterwards says how many.
Dropping is right here because the log is a view: the journal and the ledger have every event.

A non-blocking descriptor would need no thread, but the flag belongs to the open file and would change it for every
process that shares the terminal. structlog was measured at 12 µs a line, more than the whole budget of 8 µs;
``lines`` renders in about half of that.
"""

import asyncio
import os
import select
from collections.abc import Callable
from queue import SimpleQueue
from threading import Condition, Thread
from time import time
from typing import Any

from gateway.admin.level import Level
from gateway.admin.lines import Line, describe, printable, render_json, render_text
from gateway.journal.events import Event

# Ten seconds of a gateway under full load: some 2,000 lines a second of 200 octets.
MAX_WAITING_OCTETS = 4 * 1024**2
# Long enough to gather lines into one write, short enough to read along.
FLUSH_SECONDS = 0.05
# How long the end of the process waits for a reader.
CLOSE_SECONDS = 1.0


class LineWriter:
    """Writes octets to a descriptor from its own thread; ``write`` never blocks."""

    def __init__(self, descriptor: int, *, max_waiting_octets: int = MAX_WAITING_OCTETS) -> None:
        self._descriptor = descriptor
        self._max = max_waiting_octets
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._waiting = 0
        self._written = Condition()
        self._thread = Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, octets: bytes) -> bool:
        """Take octets to write; False when there is no room for them."""
        with self._written:
            if self._waiting + len(octets) > self._max:
                return False
            self._waiting += len(octets)
        self._queue.put(octets)
        return True

    def drain(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Wait until everything taken is written, for at most ``seconds``; False when it is not."""
        with self._written:
            return self._written.wait_for(lambda: not self._waiting, seconds)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what waits, for at most ``seconds``."""
        self._queue.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        while (octets := self._queue.get()) is not None:
            self._write_all(octets)
            with self._written:
                self._waiting -= len(octets)
                self._written.notify_all()

    def _write_all(self, octets: bytes) -> None:
        view = memoryview(octets)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                # Whoever shares the terminal made it non-blocking; wait here as a blocking write would.
                select.select([], [self._descriptor], [], 1.0)
            except OSError:
                # The reader is gone for good (EPIPE, EIO): there is nowhere to say so.
                return


class Log:
    """The event sink; one a process."""

    def __init__(self, writer: LineWriter, *, level: str = "info", format: str = "text") -> None:  # noqa: A002 - the configuration's word
        self._writer = writer
        self._least = Level[level.upper()]
        self._render: Callable[[Line], str] = render_json if format == "json" else render_text
        self._pending: list[Event] = []
        self._timer: asyncio.TimerHandle | None = None
        self._unsaid = 0
        self.dropped = 0

    def emit(self, event: Event) -> None:
        """Take one event; rendered within FLUSH_SECONDS, or at once where no loop runs (another thread, the start)."""
        self._pending.append(event)
        if self._timer is None:
            self._arm()

    def say(self, level: str, what: str, fields: dict[str, Any], text: str = "") -> None:
        """Write a line that is no event, such as where the gateway listens; ``level`` is the configuration's word."""
        self.flush()
        self._write([Line(Level[level.upper()], time(), printable(what), fields, text)])

    def flush(self) -> None:
        """Render what is pending and hand it to the writer."""
        self._timer = None
        pending, self._pending = self._pending, []
        if pending:
            self._write([describe(event) for event in pending])

    def close(self) -> None:
        """Write everything that waits, for at most CLOSE_SECONDS."""
        if self._timer is not None:
            self._timer.cancel()
        self.flush()
        self._writer.close()

    def _arm(self) -> None:
        try:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        except RuntimeError:
            self.flush()

    def _write(self, lines: list[Line]) -> None:
        rendered = [self._render(line) for line in lines if line.level >= self._least]
        if not rendered:
            return
        if self._unsaid:
            rendered.insert(0, self._render(Line(Level.WARNING, time(), "log_dropped", {"lines": self._unsaid})))
        if self._writer.write(("\n".join(rendered) + "\n").encode("utf-8", "backslashreplace")):
            self._unsaid = 0
            return
        lost = len(rendered) - (1 if self._unsaid else 0)
        self._unsaid += lost
        self.dropped += lost
