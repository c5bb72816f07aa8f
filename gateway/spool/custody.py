"""Custody of messages: durable before the 250, kept until the last recipient's copy has ended.

Promise (invariant 1): when ``store`` returns, the message survives any crash; until then the caller must not
acknowledge it. ``settle`` writes states, notices and ledger rows in one transaction. One ``Custody`` a worker: its own
shard, and those it adopted.

Cancellation: a store whose waiter is cancelled may become durable all the same. Nothing is lost then, since ``due``
finds it, but the client gets no 250 and sends again; so callers shield: ``await
asyncio.shield(custody.store(message))``. Storing one trace id twice keeps one message.

Errors: StorageError from every operation that writes or reads. IllegalTransitionError is a bug of the caller.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from gateway.mail.content import Content
from gateway.mail.rendition import Rendition
from gateway.spool import codec, schema
from gateway.spool.message import (
    QueueCounts,
    QueueQuery,
    RecipientState,
    RouteSummary,
    Settlement,
    SpoolMessage,
    SpoolRecipient,
)
from gateway.spool.opening import SilentWitness, SpoolWitness, adopt, open_free, open_own, shard_names
from gateway.spool.selection import condition
from gateway.spool.shard import Shard, ShardSettings, is_large
from gateway.spool.states import TERMINAL, TRANSITIONS, check_initial, check_transition, sources_of
from gateway.storage import (
    Database,
    Row,
    StorageFull,
    StorageRefused,
    StorageUnavailable,
    Write,
    free_octets,
)

# Operations on many copies commit in pieces, so that a mail waiting behind one waits a few milliseconds.
_OPERATION_COPIES = 200

RecordRows = Callable[[SpoolMessage, SpoolRecipient], Sequence[Write]]


class Custody:
    """The spool of one process; ``open`` for a worker, ``open_stopped`` for the command line while nothing serves."""

    def __init__(self, own: Shard | None, adopted: Sequence[Shard], settings: ShardSettings) -> None:
        self._own = own
        served: list[Shard] = [own, *adopted] if own else list(adopted)
        self._shards: dict[str, Shard] = {shard.name: shard for shard in served}
        self._clock = settings.clock
        self._data = settings.data
        # Where messages of adopted shards are, by trace id, as far as they were read; all others are in the own shard.
        self._elsewhere: dict[str, Shard] = {}
        self._storing: dict[str, asyncio.Task[SpoolMessage]] = {}
        # Those that are being stored: readers may see them before whoever stores them knows that they are durable.
        self._arriving: set[str] = set()

    @classmethod
    def open(cls, settings: ShardSettings, *, worker: int, workers: int, witness: SpoolWitness) -> Self:
        """Open shard ``worker`` and adopt what falls to it; blocks; StorageError when its own cannot be served."""
        own = open_own(str(worker), settings, witness)
        orphans = (n for n in shard_names(settings.data) if int(n) >= workers and int(n) % workers == worker)
        return cls(own, list(adopt(orphans, settings, witness)), settings)

    @classmethod
    def open_stopped(cls, settings: ShardSettings, witness: SpoolWitness | None = None) -> Self:
        """Open every shard that no process holds, to list and change the queue; takes no mail, moves nothing aside."""
        return cls(None, list(open_free(settings, witness or SilentWitness())), settings)

    async def store(self, message: SpoolMessage) -> SpoolMessage:
        """Make a message durable; return it with ``stamps.durable`` and ``shard`` set and its content where it now is.

        Copies that enter as discarded are not kept; a message with no other is not written at all. A spilled content is
        moved from where it lies (``spill_path``), also when storing fails later.
        """
        own = self._own_shard()
        self._arriving.add(message.trace_id)
        try:
            return await self._store(message, own)
        finally:
            self._arriving.discard(message.trace_id)

    async def _store(self, message: SpoolMessage, own: Shard) -> SpoolMessage:
        if is_large(message):
            return await self._store_large(message, own)
        prepared, writes = await own.prepare(message, self._clock.stamp())
        if writes:
            await own.database.commit(writes)
        return self._stored(prepared, own)

    def is_arriving(self, trace_id: str) -> bool:
        """Whether a message is being stored: its caller, who goes on with it at once, does not know the outcome yet."""
        return trace_id in self._arriving

    async def _store_large(self, message: SpoolMessage, own: Shard) -> SpoolMessage:
        """Store a message with a file once for all who ask; in its own task: no cancelled waiter leaves half of it."""
        task = self._storing.get(message.trace_id)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._file_and_store(message, own))
            self._storing[message.trace_id] = task
            task.add_done_callback(lambda _: self._storing.pop(message.trace_id))
        return await asyncio.shield(task)

    async def _file_and_store(self, message: SpoolMessage, own: Shard) -> SpoolMessage:
        prepared, writes = await own.prepare(message, self._clock.stamp())
        await _commit_or_sweep(own, writes, [message.trace_id])
        return self._stored(prepared, own)

    def _own_shard(self) -> Shard:
        if self._own is None:
            raise StorageUnavailable("opened for the queue's operations only: it takes no mail")
        return self._own

    def _stored(self, message: SpoolMessage, shard: Shard) -> SpoolMessage:
        return replace(message, stamps=replace(message.stamps, durable=self._clock.stamp()), shard=shard.name)

    async def settle(
        self,
        settlements: Sequence[Settlement],
        *,
        notices: Sequence[SpoolMessage] = (),
        records: Sequence[Write] = (),
    ) -> list[SpoolMessage]:
        """Write outcomes, new notices and ledger rows in one transaction; return the notices as stored.

        All settlements of one call concern messages of one shard. A terminal state removes the copy, and the message
        with its last copy. ``queued`` reschedules; a copy held meanwhile stays held. ``attempts`` replaces what was
        stored.
        """
        arriving = [notice.trace_id for notice in notices]
        self._arriving.update(arriving)
        try:
            return await self._settle(settlements, notices, records)
        finally:
            self._arriving.difference_update(arriving)

    async def _settle(
        self, settlements: Sequence[Settlement], notices: Sequence[SpoolMessage], records: Sequence[Write]
    ) -> list[SpoolMessage]:
        shard = self._shard_of(settlements[0].trace_id) if settlements else self._own_shard()
        writes: list[Write] = []
        for settlement in settlements:
            writes += _settling(settlement)
        stored = []
        for notice in notices:
            prepared, more = await shard.prepare(notice, self._clock.stamp())
            stored.append(prepared)
            writes += more
        await _commit_or_sweep(shard, [*writes, *records], [notice.trace_id for notice in notices])
        ended = [s.trace_id for s in settlements if s.state in TERMINAL]
        if shard.filed:
            await shard.sweep_files(ended)
        if shard is not self._own:
            self._elsewhere.update((notice.trace_id, shard) for notice in stored)
        return [self._stored(notice, shard) for notice in stored]

    def _shard_of(self, trace_id: str) -> Shard:
        shard = self._elsewhere.get(trace_id, self._own) if self._elsewhere else self._own
        return shard or self._own_shard()

    async def load(self, trace_id: str) -> SpoolMessage | None:
        """Return a message with all its live copies and its content, or None when it is not in custody here."""
        for shard in self._shards.values():
            message = await shard.load(trace_id)
            if message is not None:
                self._remember([message], shard)
                return message
        return None

    async def content(self, message: SpoolMessage) -> Content:
        """Return the content of a message that a listing gave without; KeyError when it is gone."""
        return message.content or await self._shards[message.shard].content(message.trace_id)

    async def routes(self) -> list[RouteSummary]:
        """Return what is queued and when the next is due, by route."""
        merged: dict[str, RouteSummary] = {}
        for shard in self._shards.values():
            for summary in await shard.routes():
                known = merged.get(summary.route)
                merged[summary.route] = summary if known is None else _sum(known, summary)
        return list(merged.values())

    async def due(
        self, route: str, before_utc: float, limit: int, exclude: frozenset[tuple[str, int]] = frozenset()
    ) -> list[SpoolMessage]:
        """Return messages without content whose copies for ``route`` are due, earliest first.

        Each message comes with its due copies for this route only. About ``limit`` copies: a message is never split.
        ``exclude`` are the (trace id, number) pairs already in hand.
        """
        found: list[SpoolMessage] = []
        for shard in self._shards.values():
            messages = await shard.due(route, before_utc, limit, exclude)
            self._remember(messages, shard)
            found += messages
        return found

    async def next_due(self, route: str, after_utc: float) -> float | None:
        """Return the earliest instant after ``after_utc`` at which a copy for ``route`` is due, None when none is."""
        dues = [await shard.next_due(route, after_utc) for shard in self._shards.values()]
        return min((due for due in dues if due is not None), default=None)

    async def select(self, query: QueueQuery) -> list[SpoolMessage]:
        """Return messages without content, each with the live copies selected; ``limit`` counts copies."""
        found: list[SpoolMessage] = []
        left = query.limit
        for shard in self._shards.values():
            where = condition(query, self._clock.stamp().utc, TRANSITIONS)
            messages = await shard.select(where, left)
            self._remember(messages, shard)
            found += messages
            left -= sum(len(m.recipients) for m in messages)
        return found

    def _remember(self, messages: Iterable[SpoolMessage], shard: Shard) -> None:
        if shard is not self._own:
            self._elsewhere.update((message.trace_id, shard) for message in messages)

    async def reschedule(self, query: QueueQuery, due: float) -> int:
        """Make the selected queued copies due at ``due``; return how many. Operations ignore the query's limit."""
        return await self._operate(
            query,
            frozenset({RecipientState.QUEUED}),
            lambda key: [(schema.RESCHEDULE_RECIPIENT, (due, *key))],
        )

    async def hold(self, query: QueueQuery) -> int:
        """Hold the selected queued copies; return how many."""
        now = self._clock.stamp().utc
        return await self._operate(
            query,
            frozenset({RecipientState.QUEUED}),
            lambda key: [(schema.HOLD_RECIPIENT, (now, *key))],
        )

    async def release(self, query: QueueQuery, due: float) -> int:
        """Queue the selected held and quarantined copies, due at ``due``; return how many."""
        now = self._clock.stamp().utc
        return await self._operate(
            query,
            frozenset({RecipientState.HELD, RecipientState.QUARANTINED}),
            lambda key: [(schema.RELEASE_RECIPIENT, (due, now, *key))],
        )

    async def let_out(self, message: SpoolMessage, numbers: frozenset[int], rendition: Rendition, due: float) -> None:
        """Queue quarantined copies of one message, by number, under a rendition that is added to the message's."""
        index = len(message.renditions)
        now = self._clock.stamp().utc
        copies = [(schema.LET_OUT_RECIPIENT, (index, due, now, message.trace_id, number)) for number in sorted(numbers)]
        await self._shards[message.shard].database.commit([_rerendering(message, rendition), *copies])

    async def add(self, message: SpoolMessage, copy: SpoolRecipient, rendition: Rendition) -> None:
        """Put one more copy of a message in custody beside those it has; ``copy.number`` must be new to it."""
        check_initial(copy.state)
        row = codec.recipient_row(message.trace_id, replace(copy, rendition=len(message.renditions)))
        writes = [_rerendering(message, rendition), (schema.ADD_RECIPIENT, (*row, message.trace_id))]
        await self._shards[message.shard].database.commit(writes)

    async def drop(self, query: QueueQuery, records: RecordRows | None = None) -> int:
        """Remove the selected copies undelivered; ``records`` gives the ledger rows of each. Return how many."""
        dropped = 0
        for shard in self._shards.values():
            where = condition(query, self._clock.stamp().utc, sources_of(RecipientState.DROPPED))
            while messages := await shard.select(where, _OPERATION_COPIES):
                writes: list[Write] = []
                for message in messages:
                    for copy in message.recipients:
                        writes += _removing(message.trace_id, copy.number)
                        writes += records(message, copy) if records else ()
                await shard.database.commit(writes)
                await shard.sweep_files(message.trace_id for message in messages)
                dropped += sum(len(message.recipients) for message in messages)
        return dropped

    async def _operate(
        self, query: QueueQuery, states: frozenset[RecipientState], writes_for: Callable[[Row], list[Write]]
    ) -> int:
        changed = 0
        for shard in self._shards.values():
            keys = await shard.keys(condition(query, self._clock.stamp().utc, states))
            for at in range(0, len(keys), _OPERATION_COPIES):
                chunk = keys[at : at + _OPERATION_COPIES]
                await shard.database.commit([write for key in chunk for write in writes_for(key)])
            changed += len(keys)
        return changed

    async def counts(self) -> QueueCounts:
        """Return how much is in custody."""
        copies: Counter[RecipientState] = Counter()
        messages, oldest = 0, 0.0
        for shard in self._shards.values():
            part = await shard.counts()
            copies.update(part.recipients)
            messages += part.messages
            oldest = min(filter(None, (oldest, part.oldest_queued_at)), default=0.0)
        return QueueCounts(recipients=dict(copies), messages=messages, oldest_queued_at=oldest)

    @property
    def shards(self) -> tuple[str, ...]:
        """The names of the shards served."""
        return tuple(self._shards)

    @property
    def databases(self) -> tuple[Database, ...]:
        """The shards' databases, for the upkeep of the rows that share them (``ledger.prune``)."""
        return tuple(shard.database for shard in self._shards.values())

    def spill_path(self, trace_id: str) -> Path:
        """Return where a large content may be written while it is received; ``store`` takes the file over."""
        return self._own_shard().contents.incoming / trace_id

    def free_octets(self) -> int:
        """Return the octets free where the spool lies; StorageUnavailable when unknown."""
        return free_octets(self._data)

    def close_now(self) -> None:
        """Commit what is pending and let go of all shards; blocks."""
        for shard in self._shards.values():
            shard.close_now()


async def _commit_or_sweep(shard: Shard, writes: Sequence[Write], trace_ids: Sequence[str]) -> None:
    """Commit; when that was refused, remove the content files made for these messages: a full disk stays full else.

    After any other failure (the writer died, an I/O error) the rows may be durable all the same, and seen only when the
    file is next opened: the next start removes what no row refers to.
    """
    try:
        await shard.database.commit(writes)
    except (StorageFull, StorageRefused):
        await shard.sweep_files(trace_ids)
        raise


def _settling(settlement: Settlement) -> list[Write]:
    if settlement.state in TERMINAL:
        return _removing(settlement.trace_id, settlement.number)
    check_transition(RecipientState.QUEUED, settlement.state)
    key = (settlement.trace_id, settlement.number)
    attempts = codec.encode_attempts(settlement.attempts)
    return [
        (
            schema.UPDATE_RECIPIENT,
            (
                settlement.state.value,
                settlement.held_since,
                settlement.held_seconds,
                settlement.due,
                attempts,
                settlement.delay_noticed,
                *key,
            ),
        )
    ]


def _rerendering(message: SpoolMessage, rendition: Rendition) -> Write:
    renditions = codec.encode_renditions((*message.renditions, rendition))
    return schema.RERENDER_MESSAGE, (renditions, message.trace_id)


def _removing(trace_id: str, number: int) -> list[Write]:
    return [(schema.DELETE_RECIPIENT, (trace_id, number)), (schema.SWEEP_MESSAGE, (trace_id,))]


def _sum(a: RouteSummary, b: RouteSummary) -> RouteSummary:
    return RouteSummary(route=a.route, queued=a.queued + b.queued, next_due=min(a.next_due, b.next_due))
