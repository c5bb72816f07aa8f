"""Keeps lists while the gateway serves: notices changes and due sources, and has a child do the work (``child``).

Runs in the supervisor, which never touches mail. The workers look for themselves whether there is something new
(``LocalLists.refresh``). A child that hangs is ended; what it reported by then counts.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from gateway.blocklist.local.keeping import ListKeeper
from gateway.blocklist.local.lists import FOLDER
from gateway.blocklist.local.manifest import FILE as MANIFEST
from gateway.clock import Clock
from gateway.journal.codec import decode
from gateway.journal.events import Event, EventSink, StorageFailed
from gateway.storage import StorageError

# How soon a changed file is noticed.
LOOK_SECONDS = 5.0
# Lists expire without anybody touching a file, and what the keeper left may be gone.
ROUND_SECONDS = 900.0
# All sources of a round, each with its own time-out, and the compiling.
CHILD_SECONDS = 900.0
_HERE = "here"

# Runs the child with its arguments, ends it when cancelled; its exit status, what it wrote, what it complained of.
RunChild = Callable[..., Awaitable[tuple[int, bytes, bytes]]]
Signature = tuple[tuple[str, int, int], ...]


class ListWatch:
    """``run`` until cancelled; ``folder`` gives where lists are declared, ``data`` is the gateway's data folder."""

    def __init__(
        self, folder: Callable[[], Path], data: Path, *, clock: Clock, events: EventSink, child: RunChild
    ) -> None:
        self._folder, self._data, self._clock, self._events = folder, data, clock, events
        self._child = child
        self._seen: Signature | None = None
        self._last = float("-inf")

    async def begin(self) -> None:
        """Have lists kept before the first mail, where none ever were; else what was kept serves meanwhile."""
        if not (self._data / FOLDER / MANIFEST).exists():
            await self.round(_HERE)

    async def run(self) -> None:
        """Look for changes, and work when there are any."""
        while True:
            try:
                await self.look()
            except (OSError, StorageError) as error:
                self._failed(str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> bool:
        """Have a round done if something changed or is due; return whether it was."""
        seen, due = await asyncio.to_thread(self._situation)
        now = self._clock.stamp()
        if seen == self._seen and now.monotonic < self._last + ROUND_SECONDS and (due is None or now.utc < due):
            return False
        self._last = now.monotonic
        await self.round()
        # Not what a child left, but what it was called for: what changed meanwhile is seen at the next look.
        self._seen = seen
        return True

    async def round(self, *extent: str) -> None:
        """Have a child bring every list up to date, and tell what it did."""
        try:
            async with asyncio.timeout(CHILD_SECONDS):
                status, out, err = await self._child(str(self._folder()), str(self._data), *extent)
        except TimeoutError:
            self._failed(f"not finished within {CHILD_SECONDS:g} s")
            return
        except OSError as error:
            self._failed(str(error))
            return
        for event in _events(out):
            self._events.emit(event)
        if status:
            self._failed(err.decode("utf-8", "replace").strip()[-500:] or f"exit status {status}")

    def _failed(self, why: str) -> None:
        self._events.emit(StorageFailed(at=self._clock.stamp().utc, store=FOLDER, operation="keep", error=why))

    def _situation(self) -> tuple[Signature, float | None]:
        folder = self._folder()
        return signature(folder), ListKeeper(folder, self._data, clock=self._clock).next_due()


def signature(folder: Path) -> Signature:
    """Return what changes when a file of the folder does."""
    found = [(str(folder), 0, 0)]
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((path.name, status.st_mtime_ns, status.st_size))
    return tuple(found)


def _events(out: bytes) -> Iterator[Event]:
    for line in out.decode("utf-8", "replace").splitlines():
        try:
            kind, at, data = json.loads(line)
        except ValueError:
            continue
        event = decode(kind, at, "", data)
        if event is not None:
            yield event
