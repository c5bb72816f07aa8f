"""One shard: a database file and its folder of large contents, served by exactly one process."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal

from gateway.clock import Clock, Stamp
from gateway.mail.content import Content
from gateway.spool import codec, schema
from gateway.spool.contents import MAX_ROW_OCTETS, ContentFiles
from gateway.spool.message import QueueCounts, RecipientState, RouteSummary, SpoolMessage
from gateway.spool.selection import Condition, trace_ids_json
from gateway.spool.states import TERMINAL, check_initial
from gateway.storage import Database, DurableFiles, Migration, Row, StorageError, Write

_MESSAGE = ", ".join(schema.MESSAGE_COLUMNS[:-2])
_COPY = ", ".join(schema.RECIPIENT_COLUMNS)
_MESSAGES_SQL = f"SELECT {_MESSAGE} FROM message WHERE trace_id IN (SELECT value FROM json_each(?))"  # noqa: S608 - constants
_ROUTES_SQL = "SELECT route, count(*), min(due) FROM recipient WHERE state = 'queued' GROUP BY route"
_DUE_SQL = (
    "SELECT trace_id, number FROM recipient WHERE state = 'queued' AND route = ? AND due <= ? ORDER BY due LIMIT ?"
)
_NEXT_DUE_SQL = "SELECT min(due) FROM recipient WHERE state = 'queued' AND route = ? AND due > ?"

# "+": the messages are known, so the key finds them; the index by route would list everything due.
_DUE_COPIES_SQL = (
    f"SELECT {_COPY} FROM recipient WHERE trace_id IN (SELECT value FROM json_each(?)) "  # noqa: S608 - constants
    "AND state = 'queued' AND +route = ? AND due <= ? ORDER BY trace_id, number"
)


def shard_path(data: Path, name: str) -> Path:
    """Return the database file of shard ``name`` ("0", "1", …)."""
    return data / "spool" / f"shard-{name}.sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSettings:
    """What all shards of a process share; ``companions`` are migrations of rooms with rows in the file (the ledger)."""

    data: Path
    clock: Clock
    companions: Sequence[Migration] = ()
    writer: Literal["thread", "process"] = "thread"
    files: DurableFiles = field(default_factory=DurableFiles)


def is_large(message: SpoolMessage) -> bool:
    """Whether the content becomes a file."""
    content = message.content
    return content is not None and (content.octets is None or content.size > MAX_ROW_OCTETS)


class Shard:
    """An open shard; construction blocks and raises StorageError (StorageLocked, StorageCorrupt …)."""

    def __init__(self, name: str, settings: ShardSettings, on_trouble: Callable[[str, StorageError], None]) -> None:
        self.name = name
        self._clock = settings.clock
        self.contents = ContentFiles(settings.data / "spool", name, settings.files)
        self.database = Database(
            shard_path(settings.data, name),
            (*schema.MIGRATIONS, *settings.companions),
            # FULL: with NORMAL the log is not synced at commit, and a power failure would lose acknowledged mail.
            synchronous="FULL",
            writer=settings.writer,
            on_trouble=lambda error: on_trouble(name, error),
        )
        try:
            self.contents.prepare()
            self.filed = {row[0] for row in self.database.read_now("SELECT trace_id FROM message WHERE filed = 1")}
            self.cleaned = self.contents.clean(self.filed)
            self.queued = sum(row[1] for row in self.database.read_now(_ROUTES_SQL))
        except BaseException:
            self.close_now()
            raise

    async def prepare(self, message: SpoolMessage, stamp: Stamp) -> tuple[SpoolMessage, list[Write]]:
        """Make a large content durable; return the message as it will be stored and the writes that store it."""
        live = [copy for copy in message.recipients if copy.state not in TERMINAL]
        for copy in message.recipients:
            check_initial(copy.state)
        if not live:
            return message, []
        content = message.content
        if content is None:
            raise ValueError(f"{message.trace_id} has no content to store")
        filed = is_large(message)
        if filed:
            content = await self.contents.keep(message.trace_id, content)
            self.filed.add(message.trace_id)
            message = replace(message, content=content)
        row = codec.message_row(message, stamp, self._clock.boot_id, None if filed else content.octets, filed=filed)
        writes: list[Write] = [(schema.INSERT_MESSAGE, row)]
        writes += [(schema.INSERT_RECIPIENT, codec.recipient_row(message.trace_id, copy)) for copy in live]
        return message, writes

    async def sweep_files(self, trace_ids: Iterable[str]) -> None:
        """Remove the content files of those of ``trace_ids`` whose message is gone; what cannot be told now stays.

        The next start removes it. What is durable by now must not be taken for failed, and written again.
        """
        filed = sorted(self.filed.intersection(trace_ids))
        if not filed:
            return
        try:
            rows = await self.database.read(_MESSAGES_SQL, (trace_ids_json((t,) for t in filed),))
        except StorageError:
            return
        gone = set(filed) - {row[0] for row in rows}
        self.filed -= gone
        await self.contents.remove(gone)

    async def routes(self) -> list[RouteSummary]:
        """Return what is queued, by route."""
        rows = await self.database.read(_ROUTES_SQL)
        return [RouteSummary(route=route, queued=count, next_due=due) for route, count, due in rows]

    async def due(
        self, route: str, before_utc: float, limit: int, exclude: frozenset[tuple[str, int]]
    ) -> list[SpoolMessage]:
        """Return messages with their due copies for ``route``, earliest first (see Custody.due)."""
        keys = await self.database.read(_DUE_SQL, (route, before_utc, limit + len(exclude)))
        chosen = [key for key in keys if key not in exclude][:limit]
        copies = await self.database.read(
            _DUE_COPIES_SQL,
            (trace_ids_json(chosen), route, before_utc),
        )
        messages = await self._messages([row for row in copies if (row[0], row[1]) not in exclude])
        order = {trace_id: place for place, (trace_id, _) in reversed(list(enumerate(chosen)))}
        return sorted(messages, key=lambda m: order[m.trace_id])

    async def next_due(self, route: str, after_utc: float) -> float | None:
        """Return the earliest instant after ``after_utc`` at which a copy for ``route`` is due."""
        rows = await self.database.read(_NEXT_DUE_SQL, (route, after_utc))
        return None if rows[0][0] is None else float(rows[0][0])

    async def counts(self) -> QueueCounts:
        """Return how much is in this shard."""
        by_state = await self.database.read(
            "SELECT state, count(*), min(CASE state WHEN 'queued' THEN trace_id END) FROM recipient GROUP BY state"
        )
        # Trace ids sort by time, so the smallest queued one is the oldest message.
        oldest = next((row[2] for row in by_state if row[0] == RecipientState.QUEUED), None)
        rows = await self.database.read(
            "SELECT (SELECT count(*) FROM message), (SELECT received_at FROM message WHERE trace_id = ?)", (oldest,)
        )
        messages, received_at = rows[0]
        return QueueCounts(
            recipients={RecipientState(state): count for state, count, _ in by_state},
            messages=messages,
            oldest_queued_at=received_at or 0.0,
        )

    async def select(self, where: Condition, limit: int) -> list[SpoolMessage]:
        """Return messages with the copies that fulfil a condition, oldest first; at most ``limit`` copies (-1: all)."""
        text, values = where
        sql = f"SELECT {_COPY} FROM recipient WHERE {text} ORDER BY trace_id, number LIMIT ?"  # noqa: S608 - see selection
        return await self._messages(await self.database.read(sql, (*values, limit)))

    async def keys(self, where: Condition) -> list[Row]:
        """Return (trace id, number) of the copies that fulfil a condition."""
        text, values = where
        return await self.database.read(f"SELECT trace_id, number FROM recipient WHERE {text}", values)  # noqa: S608 - as above

    async def load(self, trace_id: str) -> SpoolMessage | None:
        """Return a message with all its live copies and its content, or None."""
        copies = await self.database.read(
            f"SELECT {_COPY} FROM recipient WHERE trace_id = ? ORDER BY number",  # noqa: S608 - constants
            (trace_id,),
        )
        found = await self._messages(copies)
        return replace(found[0], content=await self.content(trace_id)) if found else None

    async def content(self, trace_id: str) -> Content:
        """Return a stored content; KeyError when the message is not here."""
        rows = await self.database.read("SELECT filed, content FROM message WHERE trace_id = ?", (trace_id,))
        if not rows:
            raise KeyError(trace_id)
        filed, octets = rows[0]
        if not filed:
            return Content(octets)
        return await self.contents.stored(trace_id)

    async def _messages(self, copies: Sequence[Row]) -> list[SpoolMessage]:
        if not copies:
            return []
        rows = await self.database.read(_MESSAGES_SQL, (trace_ids_json(copies),))
        by_id = {row[0]: row for row in rows}
        return [
            codec.decode_message(
                by_id[trace_id], [codec.decode_recipient(row) for row in group], None, self.name, self._clock
            )
            for trace_id, group in groupby(copies, itemgetter(0))
            # A message settled between the two reads is gone.
            if trace_id in by_id
        ]

    def close_now(self) -> None:
        """Commit what is pending and let go of the shard; blocks."""
        self.database.close_now()
        self.contents.close()
