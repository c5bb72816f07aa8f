"""Retention: old journal files, ledger rows and quarantined copies go, in small steps beside the mail."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from gateway.clock import Clock
from gateway.config.models import GatewayConfig
from gateway.journal.events import EventSink, InternalError, QueueChanged, StorageFailed
from gateway.journal.files import prune as prune_journal
from gateway.ledger import prune as prune_ledger
from gateway.spool.custody import Custody, RecordRows
from gateway.spool.message import QueueQuery, RecipientState
from gateway.storage import StorageError

# Retention is counted in days; an hour late does no harm.
ROUND_SECONDS = 3600.0
# The first round comes when the start's own work is done.
FIRST_ROUND_SECONDS = 60.0
# Between two small deletions, so that mail waits for one of them at most.
PAUSE_SECONDS = 0.2
JOURNAL_FILES = 10
QUARANTINED_COPIES = 200
# Who dropped it, in the audit trail, where it was not a person.
RETENTION = "retention"


class Housekeeping:
    """Runs rounds until cancelled."""

    def __init__(
        self,
        *,
        config: Callable[[], GatewayConfig],
        custody: Custody,
        records: RecordRows,
        clock: Clock,
        events: EventSink,
    ) -> None:
        self._config, self._custody, self._records, self._clock, self._events = config, custody, records, clock, events

    async def run(self) -> None:
        """Keep house for the process's life."""
        await asyncio.sleep(FIRST_ROUND_SECONDS)
        while True:
            try:
                await self.round()
            except StorageError as error:
                now = self._clock.stamp().utc
                self._events.emit(StorageFailed(at=now, store="retention", operation="prune", error=str(error)))
            except Exception as error:  # noqa: BLE001 - the loop must survive; retention resumes at the next round
                self._events.emit(InternalError.of(error, "housekeeping", self._clock.stamp().utc))
            await asyncio.sleep(ROUND_SECONDS)

    async def round(self) -> None:
        """Remove everything that is older than its retention."""
        config = self._config()
        now = self._clock.stamp().utc
        journal = config.data / "journal"
        await self._in_steps(partial(_prune_journal, journal, now - config.retention.journal))
        for database in self._custody.databases:
            await self._in_steps(partial(prune_ledger, database, now - config.retention.ledger))
        await self._empty_quarantine(config.retention.quarantine)

    async def _empty_quarantine(self, seconds: float) -> None:
        """Remove what was received longer ago, each copy with its ledger row and an event for each message."""
        expired = QueueQuery(
            states=frozenset({RecipientState.QUARANTINED}), older_than=seconds, limit=QUARANTINED_COPIES
        )
        while page := await self._custody.select(expired):
            ids = frozenset(message.trace_id for message in page)
            await self._custody.drop(replace(expired, trace_ids=ids), self._records)
            for message in page:
                recipients = tuple(copy.recipient.path.wire for copy in message.recipients)
                self._events.emit(
                    QueueChanged(
                        at=self._clock.stamp().utc,
                        trace_id=message.trace_id,
                        operation="drop",
                        recipients=recipients,
                        operator=RETENTION,
                    )
                )
            await asyncio.sleep(PAUSE_SECONDS)

    async def _in_steps(self, step: Callable[[], Awaitable[bool]]) -> None:
        """Take steps, with pauses, as long as each says that more is left."""
        more = await step()
        while more:
            await asyncio.sleep(PAUSE_SECONDS)
            more = await step()


async def _prune_journal(folder: Path, before: float) -> bool:
    return await asyncio.to_thread(prune_journal, folder, before, JOURNAL_FILES) == JOURNAL_FILES
