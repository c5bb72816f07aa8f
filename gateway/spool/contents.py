"""Where contents lie: small ones in the message's row, large ones as one fsynced file each.

    spool/content/N/XX/TRACEID     large contents of shard N, XX the last two characters of the id (random, so folders
    fill evenly) spool/incoming/N/TRACEID       what worker N is receiving; nothing here was acknowledged

A folder per shard lets whoever holds the shard's lock clean up without asking what other workers are about to refer to.

The threshold is measured: at 90 KB a row costs 132 µs of CPU and one fsync shared by the whole group, a file 160 µs and
two fsyncs of its own beside its row; above 128 KiB copying twice (log and checkpoint) outweighs the file's calls.
"""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.mail.content import Content
from gateway.storage import DurableFiles
from gateway.storage.durable import make_folder, remove

MAX_ROW_OCTETS = 128 * 1024
# fsyncs overlap in the disk's queue; more threads would only hold more large contents in memory.
_FILE_THREADS = 4


class ContentFiles:
    """The large contents of one shard."""

    def __init__(self, spool: Path, name: str, files: DurableFiles) -> None:
        self.folder = spool / "content" / name
        self.incoming = spool / "incoming" / name
        self._files = files
        self._executor = ThreadPoolExecutor(_FILE_THREADS, thread_name_prefix=f"content {name}")

    def path(self, trace_id: str) -> Path:
        """Return where the content of ``trace_id`` lies if it is a file."""
        return self.folder / trace_id[-2:] / trace_id

    async def keep(self, trace_id: str, content: Content) -> Content:
        """Make a large content durable; return it as it now is. A second time changes nothing."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._keep, trace_id, content)

    def _keep(self, trace_id: str, content: Content) -> Content:
        path = self.path(trace_id)
        if content.path is None:
            self._files.write(path, content.chunks())
            return content
        if content.path != path and (content.path.exists() or not path.exists()):
            self._files.adopt(content.path, path)
        return Content(path=path, size=content.size)

    async def stored(self, trace_id: str) -> Content:
        """Return the content that is in a file; raises StorageUnavailable when it cannot be read."""
        path = self.path(trace_id)
        size = await asyncio.get_running_loop().run_in_executor(self._executor, self._files.size, path)
        return Content(path=path, size=size)

    async def remove(self, trace_ids: Iterable[str]) -> None:
        """Remove the files of these ids."""
        loop = asyncio.get_running_loop()
        for trace_id in trace_ids:
            await loop.run_in_executor(self._executor, remove, self.path(trace_id))

    def prepare(self) -> None:
        """Make the folders; what is in ``incoming`` from an earlier process was never acknowledged and goes."""
        make_folder(self.folder)
        make_folder(self.incoming)
        for path in self.incoming.iterdir():
            remove(path)

    def clean(self, referenced: set[str]) -> int:
        """Remove files that no row refers to (a crash came between the two); return how many."""
        stale = [path for path in self.folder.glob("*/*") if path.name not in referenced]
        for path in stale:
            remove(path)
        return len(stale)

    def close(self) -> None:
        """Wait for running file operations."""
        self._executor.shutdown()
