"""The journal of one worker: an event sink that writes rows in batches, a file a day.

README.md tells the reasons and what a crash may lose. ``emit`` appends to a list; encoding and writing happen once a
batch, in the loop but away from any mail's reply, and one batch is written at a time. Ordinary events wait up to
BATCH_SECONDS for company; a refusal of mail, a failure or an operator's act is handed over in the same turn of the
loop. Connections turned away at the door wait too: under attack there are thousands a second. The journal never raises
and never holds up the mail: when writing fails it says so once, tries again every RETRY_SECONDS, and beyond
MAX_PENDING_EVENTS lets new events go, counted in ``dropped``.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from gateway.clock import Clock
from gateway.journal.codec import encode
from gateway.journal.events import (
    DeliveryAttempted,
    Event,
    EventSink,
    MessageJudged,
    SessionClosed,
    SessionRefused,
    StorageFailed,
)
from gateway.journal.files import DAY_SECONDS, file_name
from gateway.journal.mentions import pack
from gateway.storage import Database, Migration, Schema, StorageError, StorageRefused, Write, insert_into

# Long enough that a busy worker writes some hundred events at a time, short enough that a trace is up to date.
BATCH_SECONDS = 0.1
# Encoding takes about 8 µs an event: a batch holds the loop for at most 2 ms.
BATCH_EVENTS = 200
RETRY_SECONDS = 1.0
# About 20 MB; twenty seconds of a worker under full load.
MAX_PENDING_EVENTS = 20_000


def _create(schema: Schema) -> None:
    schema.table("event").create(
        {"id": int, "at": float, "kind": str, "trace_id": str, "data": str},
        pk="id",
        not_null={"at", "kind", "trace_id", "data"},
    )
    schema.table("event").create_index(["trace_id"])
    schema.table("mention").create({"first": int, "keys": bytes}, pk="first", not_null={"keys"})


MIGRATIONS: tuple[Migration, ...] = (Migration(1, "journal", _create),)
_INSERT_EVENT = insert_into("event", ("id", "at", "kind", "trace_id", "data"))
_INSERT_MENTION = insert_into("mention", ("first", "keys"))


class Journal:
    """The event sink; ``failures`` hears of writing that fails (the log, never the journal itself)."""

    def __init__(self, folder: Path, worker: int, *, clock: Clock, failures: EventSink) -> None:
        self._folder = folder
        self._worker = worker
        self._clock = clock
        self._failures = failures
        self._pending: list[Event] = []
        self._in_hand: list[Event] = []
        self._timer: asyncio.Handle | None = None
        self._timer_is_prompt = False
        self._busy = False
        # Something that came while a batch was being written cannot wait for company.
        self._urgent = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._database: Database | None = None
        self._day = -1
        self._next_id = 1
        self._closed = False
        self._turning: asyncio.Task[None] | None = None
        self.dropped = 0

    def emit(self, event: Event) -> None:
        """Take one event, in the loop or in another thread."""
        if len(self._pending) >= MAX_PENDING_EVENTS or self._closed:
            self.dropped += 1
            return
        self._pending.append(event)
        if self._timer_is_prompt:
            return
        prompt = len(self._pending) >= BATCH_EVENTS or not _is_ordinary(event)
        if self._busy:
            self._urgent |= prompt
            return
        if prompt or self._timer is None:
            self._arm(prompt=prompt)

    async def flush(self) -> None:
        """Return when everything emitted so far is written, or when writing fails."""
        if self._pending:
            self._urgent = True
            self._arm_prompt()
            self._idle.clear()
        await self._idle.wait()

    async def close(self) -> None:
        """Write what is pending and let go of the file; what cannot be written now is dropped."""
        await self.flush()
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._turning is not None:
            await self._turning
        if self._database is not None:
            await self._database.close()
        self.dropped += len(self._in_hand) + len(self._pending)

    def _arm(self, *, prompt: bool) -> None:
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            # A store's thread tells of a failure. Before the loop has told anything, the event waits for the first.
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._arm_prompt)
            return
        if prompt:
            self._arm_prompt()
        else:
            self._timer = self._loop.call_later(BATCH_SECONDS, self._write)

    def _arm_prompt(self) -> None:
        if self._busy or self._timer_is_prompt:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_is_prompt = True
        self._timer = asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        """Begin to write one batch; ``_written`` goes on."""
        self._timer = None
        self._timer_is_prompt = False
        if self._closed:
            return
        self._busy = True
        self._idle.clear()
        if self._database is None or int(self._clock.stamp().utc // DAY_SECONDS) != self._day:
            self._turning = asyncio.get_running_loop().create_task(self._turn_day(), name="journal-day")
            return
        if not self._in_hand:
            # In place: a store's thread may append to the list at this moment.
            self._in_hand = self._pending[:BATCH_EVENTS]
            del self._pending[: len(self._in_hand)]
        self._database.commit(_writes(self._in_hand, self._next_id)).add_done_callback(self._written)

    def _written(self, future: asyncio.Future[None]) -> None:
        error = future.exception()
        if isinstance(error, StorageRefused):
            # These rows will never be taken; keeping them would keep all that follow from being written.
            self.dropped += len(self._in_hand)
            self._say("write", str(error))
        elif error is not None:
            self._fail("write", error)
            return
        else:
            self._failing = False
            self._next_id += len(self._in_hand)
        self._in_hand = []
        self._busy = False
        prompt, self._urgent = self._urgent or len(self._pending) >= BATCH_EVENTS, False
        if not self._pending:
            self._idle.set()
        elif prompt:
            self._arm_prompt()
        else:
            self._arm(prompt=False)

    def _fail(self, operation: str, error: BaseException) -> None:
        """Say so once and try again later; whoever waits in ``flush`` waits no longer."""
        if not self._failing:
            self._failing = True
            self._say(operation, str(error))
        self._idle.set()
        self._timer = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._write)

    def _say(self, operation: str, error: str) -> None:
        now = self._clock.stamp().utc
        self._failures.emit(StorageFailed(at=now, store="journal", operation=operation, error=error))

    async def _turn_day(self) -> None:
        """Open today's file; yesterday's stays in use when that fails."""
        day = int(self._clock.stamp().utc // DAY_SECONDS)
        path = self._folder / file_name(day, self._worker)
        try:
            database, last_id = await asyncio.to_thread(_open, path)
        except StorageError as error:
            self._fail("open", error)
            return
        before, self._database = self._database, database
        self._day, self._next_id = day, last_id + 1
        if before is not None:
            await before.close()
        self._write()


def _writes(batch: Sequence[Event], first: int) -> list[Write]:
    writes: list[Write] = [
        (_INSERT_EVENT, (first + place, event.at, event.kind, event.trace_id, encode(event)))
        for place, event in enumerate(batch)
    ]
    packed = pack(batch)
    return [*writes, (_INSERT_MENTION, (first, packed))] if packed else writes


def _open(path: Path) -> tuple[Database, int]:
    database = Database(path, MIGRATIONS, synchronous="NORMAL")
    return database, int(database.read_now("SELECT coalesce(max(id), 0) FROM event")[0][0])


def _is_ordinary(event: Event) -> bool:
    """Whether the event may wait for company: mail that is simply taken or delivered, and the sessions it came by."""
    if isinstance(event, MessageJudged):
        return event.reply[:1] == "2" and all(d[1] == "accept" for d in event.dispositions)
    if isinstance(event, DeliveryAttempted):
        return event.status == "sent"
    return isinstance(event, SessionClosed | SessionRefused)
