"""Writes what follows from reports into the spool, and does not give up.

Decisions of some milliseconds go together, one commit for messages of one shard; those with notices go alone, since
the notices enter the spool in the same transaction. A commit that fails (disk full) is tried again until it succeeds:
the next hop has the mail, so forgetting the record would mean sending it twice. Each failure is one event. A decision
that the store refuses for what it says is tried alone, so that it keeps no other from being written.
"""

import asyncio
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from gateway.clock import Clock
from gateway.config.abuse_desk import desk_mailbox
from gateway.config.snapshot import Snapshot
from gateway.delivery.backlog import QueueReader
from gateway.delivery.dsn import NoticeEnvelope, Reporter, notice_message
from gateway.delivery.route import Randomness, policy_of, route_of
from gateway.delivery.settle import Decision, NoticeWanted
from gateway.journal.events import EventSink, InternalError, NoticeQueued, StorageFailed
from gateway.ledger import rows
from gateway.mail.content import EMPTY_CONTENT, Content
from gateway.mail.trace_id import new_trace_id
from gateway.spool.message import Settlement, SpoolMessage
from gateway.storage import StorageError, StorageRefused, Write

# Settlements wait that long for company: a crash within it repeats a delivery, as one between the 250 and any commit
# would. Measured with 8 KB at full load: 20 ms instead of 5 cost a tenth less processor time a message, since fewer
# transactions are synced, fewer tasks run, and workers are interrupted less often; 50 ms no less than 20.
GATHER_SECONDS = 0.02

# One commit's worth; more would hold up the stores that share the group.
MOST_TOGETHER = 64

# For what was delivered just before a drain gave up: a commit takes milliseconds, on a slow and busy disk tenths.
LAST_SECONDS = 1.0

# After a failed commit: soon at first, then at the pace at which an administrator frees a disk.
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Spool(QueueReader, Protocol):
    """The part of ``Custody`` that delivery needs."""

    async def settle(
        self,
        settlements: Sequence[Settlement],
        *,
        notices: Sequence[SpoolMessage] = (),
        records: Sequence[Write] = (),
    ) -> list[SpoolMessage]:
        """Write outcomes, notices and ledger rows in one transaction; return the notices as stored."""
        ...

    async def content(self, message: SpoolMessage) -> Content:
        """Return the content of a message that came without."""
        ...


Written = Callable[[Decision, Iterable[SpoolMessage]], None]


def _nobody(decision: Decision, notices: Iterable[SpoolMessage]) -> None:
    del decision, notices


class Settler:
    """Takes decisions through ``write``; calls ``written`` when one is durable, with the notices that it stored."""

    def __init__(
        self,
        custody: Spool,
        snapshot: Callable[[], Snapshot],
        clock: Clock,
        events: EventSink,
        random: Randomness,
    ) -> None:
        self.written: Written = _nobody
        self._custody = custody
        self._snapshot = snapshot
        self._clock = clock
        self._events = events
        self._random = random
        self._gathered: dict[str, list[Decision]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.open = 0
        """Decisions not yet durable."""

    def write(self, decision: Decision) -> None:
        """Have ``decision`` written soon."""
        self.open += 1
        if decision.notices:
            self._spawn([decision])
            return
        gathered = self._gathered.setdefault(decision.job.message.shard, [])
        gathered.append(decision)
        if len(gathered) >= MOST_TOGETHER:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._flush)

    async def close(self) -> None:
        """Write what came last, and give up what cannot be written; the caller waited as long as it could."""
        self._flush()
        tasks = list(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._gathered = self._gathered, {}
        for decisions in gathered.values():
            self._spawn(decisions)

    def _spawn(self, decisions: list[Decision]) -> None:
        task = asyncio.get_running_loop().create_task(self._settle_or_tell(decisions))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle_or_tell(self, decisions: list[Decision]) -> None:
        try:
            await self._settle(decisions)
        except Exception as error:  # noqa: BLE001 - a bug here must not hold up the drain; the copies stay in hand, unsent
            self.open -= len(decisions)
            self._events.emit(
                InternalError(
                    at=self._clock.stamp().utc,
                    trace_id=decisions[0].job.message.trace_id,
                    where="settle",
                    error=repr(error),
                    traceback=traceback.format_exc(),
                )
            )

    async def _settle(self, decisions: list[Decision]) -> None:
        wanted = [notice for decision in decisions for notice in decision.notices]
        notices = [await self._made(notice) for notice in wanted]
        settlements = [settlement for decision in decisions for settlement in decision.settlements]
        records = [write for decision in decisions for record in decision.records for write in rows(record)]
        try:
            stored = await self._until_written(settlements, notices, records)
        except StorageRefused:
            for decision in decisions:
                self._spawn([decision])
            return
        for notice, message in zip(wanted, stored, strict=True):
            self._tell(notice, message)
        for decision in decisions:
            self.written(decision, stored if decision.notices else ())
        self.open -= len(decisions)

    async def _until_written(
        self, settlements: list[Settlement], notices: list[SpoolMessage], records: list[Write]
    ) -> list[SpoolMessage]:
        """Return the notices as stored; StorageRefused only where several messages are written together."""
        failures = 0
        while True:
            try:
                return await self._custody.settle(settlements, notices=notices, records=records)
            except StorageError as error:
                now = self._clock.stamp().utc
                self._events.emit(StorageFailed(at=now, store="spool", operation="settle", error=str(error)))
                if isinstance(error, StorageRefused) and len({s.trace_id for s in settlements}) > 1:
                    raise
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    async def _made(self, wanted: NoticeWanted) -> SpoolMessage:
        original = wanted.report.job.message
        content = original.content or await self._content(original)
        now = self._clock.stamp()
        snapshot = self._snapshot()
        sender = original.envelope.reverse_path.mailbox
        if sender is None:
            raise ValueError("a null reverse-path is never notified")
        # What we report ourselves comes back to the abuse desk.
        mailbox = desk_mailbox(sender, snapshot.config.hostname) or sender
        route = route_of(policy_of(snapshot, mailbox), mailbox.domain)
        own = NoticeEnvelope(
            trace_id=new_trace_id(now.utc, self._random.randbytes),
            now=now,
            mailbox=mailbox,
            route=route.key,
            customer=route.customer,
        )
        reporter = Reporter(hostname=snapshot.config.hostname, postmaster=snapshot.config.contact.postmaster)
        try:
            # The header section of a large content is read from its file, the rest not at all.
            return notice_message(wanted, content, reporter, own)
        except OSError:
            # The notice matters more than what it returns.
            return notice_message(wanted, EMPTY_CONTENT, reporter, own)

    async def _content(self, message: SpoolMessage) -> Content:
        try:
            return await self._custody.content(message)
        except (StorageError, KeyError):
            return EMPTY_CONTENT

    def _tell(self, notice: NoticeWanted, message: SpoolMessage) -> None:
        self._events.emit(
            NoticeQueued(
                at=message.stamps.received.utc,
                trace_id=message.trace_id,
                about=notice.report.job.message.trace_id,
                notice=notice.kind,
                recipient=message.recipients[0].recipient.path.wire,
            )
        )
