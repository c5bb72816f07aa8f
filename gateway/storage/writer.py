"""A writer in a thread: for stores that are seldom written, and for commands that open a store for a moment.

Beside a busy loop every SQLite call costs two hand-overs of the interpreter's lock; the store of the mail path is
written by a process (``gateway.storage.process``).
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

from gateway.storage.committer import Committer
from gateway.storage.errors import StorageError
from gateway.storage.promptness import shorten_timer_slack
from gateway.storage.statement import Write

Submission = tuple[asyncio.Future[None], Sequence[Write]]
Group = list[Submission]
Ended = tuple[Group, list[StorageError | None]]
Done = Callable[[Group, list[StorageError | None]], None]


class ThreadWriter:
    """One thread, one connection; ``done`` is called in the loop of a group's futures when the group has ended."""

    def __init__(self, committer: Committer, name: str, done: Done) -> None:
        self._committer = committer
        self._done = done
        self._queue: SimpleQueue[Group | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"writer {name}", daemon=True)
        self._thread.start()

    def submit(self, group: Group) -> None:
        """Queue one group; never blocks."""
        self._queue.put(group)

    def detach(self) -> None:
        """Prepare for ``close``; a thread needs nothing of the loop."""

    def close(self) -> list[Ended]:
        """Commit everything queued, checkpoint, end the thread; blocks until done. Outcomes go through ``done``."""
        self._queue.put(None)
        self._thread.join()
        return []

    def _run(self) -> None:
        shorten_timer_slack()
        while True:
            try:
                group = self._queue.get(timeout=self._committer.patience_seconds)
            except Empty:
                self._committer.idle()
                continue
            if group is None:
                break
            outcomes = self._committer.commit([writes for _, writes in group])
            # RuntimeError: the loop is closed, nobody waits any more.
            with suppress(RuntimeError):
                group[0][0].get_loop().call_soon_threadsafe(self._done, group, outcomes)
            self._committer.keep_up()
        self._committer.close()
