"""The contract watched for the supervisor's life: heartbeat, probes, daily summaries, terms on record, alarms.

Beside the mail: nothing here runs in a worker. Records and summaries are written in threads; one store, one writer. A
bug in one of the loops is one event, and the loop goes on.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway.app.probe_mailbox import ProbeMailbox
from gateway.app.probes import Addresses, Findings, Probes
from gateway.clock import Clock
from gateway.config.snapshot import Snapshot
from gateway.journal.duty_events import ClockJumped, DeadlineNeared, FaultChanged, ServiceDoubted, ServiceNeared
from gateway.journal.events import EventSink, InternalError, StorageFailed
from gateway.ledger.finished import any_received, shards
from gateway.policy.domain_policy import DomainPolicy
from gateway.servicelevel.alarm import MISSED, NEAR, standing
from gateway.servicelevel.book import Book, Writer
from gateway.servicelevel.conditions import Bearing
from gateway.servicelevel.deadline import DeadlineState
from gateway.servicelevel.evaluation import Evaluation
from gateway.servicelevel.fault import ClockJump, Fault
from gateway.servicelevel.heartbeat import BEAT_SECONDS, LATE_SECONDS, Heartbeat
from gateway.servicelevel.interval import Interval
from gateway.servicelevel.month import MINUTE, Month
from gateway.servicelevel.observing import (
    Finding,
    close_faults_of_nobody,
    not_running,
    observed,
    record_faults,
    record_missed,
    unserved,
)
from gateway.servicelevel.reading import judge
from gateway.servicelevel.records import Records
from gateway.servicelevel.rollup import Roller
from gateway.servicelevel.store import StoreReader, open_store
from gateway.storage import Database, StorageError, Write

BY = "tidegate"
# Summaries lag by so much at most; a reader adds what they lack.
ROLL_SECONDS = 10.0
# Between two steps of many, so that the machine is the mail's.
STEP_PAUSE_SECONDS = 0.2
ALARM_SECONDS = 900.0
FIRST_ALARM_SECONDS = 60.0
AFTER_A_BUG_SECONDS = 30.0
# Instants at which mail was taken, of which a few show that the gateway ran.
MOST_INSTANTS = 10_000


class ServiceWatch:
    """Watches from ``run`` until it is cancelled.

    ``serving`` says whether some worker serves; ``settled`` returns when each of them does, or has failed once: until
    then its shard may be damaged, or being recovered.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        *,
        serving: Callable[[], bool],
        settled: Callable[[], Awaitable[None]],
        mailbox: ProbeMailbox,
        clock: Clock,
        events: EventSink,
    ) -> None:
        self._snapshot, self._serving, self._settled = snapshot, serving, settled
        self._mailbox, self._clock, self._events = mailbox, clock, events
        self._data = snapshot().config.data
        self._records = Records(self._data)
        self._heart = Heartbeat(self._data, clock)
        self._bearing: tuple[int, Bearing, Roller] | None = None
        self._told: dict[tuple[str, ...], str] = {}
        self._digest = ""
        self._failing: set[tuple[str, str]] = set()
        # What beats found and no disk has yet.
        self._unrecorded: deque[ClockJump | Interval] = deque()
        self._unwritten: list[Write] = []
        self._unreadable: frozenset[str] = frozenset()

    async def run(self, addresses: Addresses) -> None:
        """Watch until cancelled."""
        store = await self._opened()
        probes = Probes(self._snapshot, mailbox=self._mailbox, clock=self._clock, events=self._events)
        try:
            await asyncio.gather(
                self._every("service heartbeat", lambda: BEAT_SECONDS, lambda: self.beat(store)),
                self._once_settled(store, probes, addresses),
            )
        finally:
            await probes.close()
            await store.close()

    async def _opened(self) -> Database:
        """Open the store of what is observed, as soon as that can be done: a disk that is full has room again."""
        while True:
            try:
                return await asyncio.to_thread(open_store, self._data)
            except (StorageError, OSError) as error:
                self._failed("open", error)
            await asyncio.sleep(AFTER_A_BUG_SECONDS)

    async def _once_settled(self, store: Database, probes: Probes, addresses: Addresses) -> None:
        await self._settled()
        await asyncio.gather(
            self._every("service probe", self._to_next_round, lambda: self.probe(store, probes, addresses)),
            self._every("service summaries", lambda: ROLL_SECONDS, lambda: self.roll(store)),
            self._every("service alarms", lambda: ALARM_SECONDS, self.alarm, FIRST_ALARM_SECONDS),
        )

    def _to_next_round(self) -> float:
        """Return the seconds to the next multiple of ``probe_every``: no minute is left out for a slow round."""
        every = self._snapshot().config.service.probe_every
        return every - self._now() % every

    async def _every(
        self,
        where: str,
        pause: Callable[[], float],
        work: Callable[[], Coroutine[Any, Any, None]],
        first: float = 0.0,
    ) -> None:
        await asyncio.sleep(first)
        while True:
            least = 0.0
            try:
                await work()
            except (StorageError, OSError) as error:
                self._failed(where, error)
            except Exception as error:  # noqa: BLE001 - the watch must survive a bug in one of its works
                least = AFTER_A_BUG_SECONDS
                self._events.emit(InternalError.of(error, where, self._now()))
            await asyncio.sleep(max(pause(), least))

    # Heartbeat, terms

    async def beat(self, store: Database) -> None:
        """Note that the gateway serves, and what was missed before; nothing while no worker serves."""
        if not self._serving():
            return
        if self._digest != self._snapshot().digest:
            await asyncio.to_thread(self._record_terms)
        beat = await asyncio.to_thread(self._heart.look)
        if beat.jump is not None:
            self._unrecorded.append(beat.jump)
        if beat.missed is not None:
            self._unrecorded.extend(await asyncio.to_thread(self._not_served, beat.missed))
        try:
            await self._put_on_record(store)
        finally:
            # Behind it: killed in between, the gateway finds the same again. What fails is kept here and tried with the
            # next beat; without this one it would seem not to run.
            await asyncio.to_thread(self._heart.beat)

    async def _put_on_record(self, store: Database) -> None:
        while self._unrecorded:
            self._unwritten += await asyncio.to_thread(self._recorded, self._unrecorded[0])
            self._unrecorded.popleft()
        if self._unwritten:
            await store.commit(self._unwritten)
            self._unwritten = []

    def _recorded(self, found: ClockJump | Interval) -> list[Write]:
        """Put what a beat found on record; return what the store is to have of it."""
        if isinstance(found, ClockJump):
            self._writer().jump(found)
            self._events.emit(ClockJumped(at=self._now(), seconds=found.by))
            return []
        self._tell(record_missed(self._writer(), found), ("opened", "closed"))
        return not_running(self._customers(), found)

    def _not_served(self, missed: Interval) -> Iterable[Interval]:
        """Return what of a time without heartbeats is left, when the ledger shows mail that was taken in it."""
        taken = [at for shard in shards(self._data) for at in self._taken(shard, missed)]
        left = unserved(missed, taken, LATE_SECONDS)
        if taken:
            detail = f"no heartbeat for {missed[1] - missed[0]:.0f} s, in which mail was taken {len(taken)} times"
            self._events.emit(ServiceDoubted(at=self._now(), customer="", about="heartbeat", detail=detail))
        return left

    @staticmethod
    def _taken(shard: Path, missed: Interval) -> list[float]:
        # A shard that is damaged, or that its worker is recovering, is no evidence for the gateway.
        with suppress(StorageError):
            return any_received(shard, *missed, MOST_INSTANTS)
        return []

    def _record_terms(self) -> None:
        snapshot = self._snapshot()
        book = self._book()
        for customer in self._customers():
            terms = snapshot.config.service.terms_of(customer)
            owners = {domain: policy.next_hop_owner for policy in self._policies(customer) for domain in policy.domains}
            history = book.terms.get(customer)
            if not history or history[-1].terms != terms or dict(history[-1].owners) != owners:
                self._writer().set_terms(customer, terms, owners)
        for customer in book.terms.keys() - set(self._customers()):
            if book.terms[customer][-1].owners:
                # Its domains are nobody's from now on; what was, stays on record.
                self._writer().set_terms(customer, book.terms[customer][-1].terms, {})
        self._digest = snapshot.digest

    # Probes

    async def probe(self, store: Database, probes: Probes, addresses: Addresses) -> None:
        """Try the doors and the next hops, and note this minute for every customer."""
        if not self._serving() or not self._customers():
            return
        begun = self._now()
        findings = await probes.findings(addresses)
        with StoreReader(self._data) as reader:
            writes = observed(reader, findings, int(begun // MINUTE))
        if writes:
            await store.commit(writes)
        # One failure may be chance, and is a minute down; the second in a row is a fault, since the first.
        failing = {place for place, finding in findings.items() if finding.reason}
        certain: Findings = {
            place: finding for place, finding in findings.items() if place in self._failing or place not in failing
        }
        self._failing = failing
        since = begun - self._snapshot().config.service.probe_every
        faults = await asyncio.to_thread(self._record_faults, certain, begun, since)
        for fault in faults:
            self._tell(fault, ("opened",) if fault.end is None else ("closed",))

    def _record_faults(self, findings: dict[tuple[str, str], Finding], now: float, since: float) -> list[Fault]:
        book = self._book()
        failing = {place: finding for place, finding in findings.items() if finding.reason}
        well = {place: finding for place, finding in findings.items() if not finding.reason}
        writer = self._writer()
        return [
            *record_faults(writer, book, failing, since),
            *record_faults(writer, book, well, now),
            *close_faults_of_nobody(writer, book, self._customers()),
        ]

    # Summaries

    async def roll(self, store: Database) -> None:
        """Count what ended since the last time, in steps."""
        more = True
        while more:
            roller = (await asyncio.to_thread(self._current))[1]
            try:
                writes, done = await asyncio.to_thread(roller.step)
                if writes:
                    await store.commit(writes)
            except StorageError:
                # It has crossed off a day that is not made anew: another looks for such days again.
                self._bearing = None
                raise
            self._note_unreadable(done.unreadable)
            if done.replaced:
                text = f"{done.replaced} is another file than was counted; counting goes on with what ended later"
                self._failed("count", OSError(text))
            more = done.more
            if more:
                await asyncio.sleep(STEP_PAUSE_SECONDS)

    def _note_unreadable(self, unreadable: tuple[tuple[str, str], ...]) -> None:
        """Tell of each shard once that it cannot be counted, and again when it has been counted meanwhile."""
        for name, error in unreadable:
            if name not in self._unreadable:
                self._failed("count", OSError(f"{name}: {error}"))
        self._unreadable = frozenset(name for name, _ in unreadable)

    def _current(self) -> tuple[Bearing, Roller]:
        size = self._records.size()
        if self._bearing is None or self._bearing[0] != size:
            bearing = Bearing(self._book(), self._now())
            self._bearing = size, bearing, Roller(self._data, bearing)
        return self._bearing[1], self._bearing[2]

    # Alarms

    async def alarm(self) -> None:
        """Tell what came near its limit, or over it, since the last time."""
        # First what needs no mail: a shard that cannot be read must not keep back the clocks.
        await asyncio.to_thread(self._alarm_deadlines)
        for customer in self._customers():
            with suppress(KeyError):
                await asyncio.to_thread(self._alarm_of, customer)

    def _alarm_of(self, customer: str) -> None:
        now = self._now()
        zone = self._snapshot().config.service.terms_of(customer).zone
        evaluation = judge(self._data, customer, Month.at(now, zone), now)
        self._tell_contradictions(evaluation)
        for result in evaluation.results:
            state = standing(result)
            place = (customer, str(evaluation.month), result.clause, result.measure)
            if state in {NEAR, MISSED} and self._told.get(place) != state:
                self._events.emit(
                    ServiceNeared(
                        at=now,
                        customer=customer,
                        month=str(evaluation.month),
                        clause=result.clause,
                        measure=result.measure,
                        limit=result.limit or 0.0,
                        value=result.value or 0.0,
                        state=state,
                    )
                )
            self._told[place] = state

    def _tell_contradictions(self, evaluation: Evaluation) -> None:
        place = ("contradicted", evaluation.customer, str(evaluation.month))
        count = str(evaluation.minutes.contradicted)
        if self._told.get(place, "0") != count:
            detail = f"in {count} minutes of {evaluation.month} mail passed although a probe failed"
            self._events.emit(
                ServiceDoubted(at=self._now(), customer=evaluation.customer, about="minutes", detail=detail)
            )
        self._told[place] = count

    def _alarm_deadlines(self) -> None:
        now = self._now()
        for deadline in self._book().deadlines.values():
            state = deadline.state(now)
            place = ("deadline", str(deadline.number))
            if state in {DeadlineState.NEAR, DeadlineState.OVERDUE} and self._told.get(place) != state:
                self._events.emit(
                    DeadlineNeared(
                        at=now,
                        number=deadline.number,
                        deadline=deadline.kind,
                        subject=deadline.subject,
                        customer=deadline.customer,
                        due_at=deadline.due,
                        state=state.value,
                    )
                )
            self._told[place] = state

    # Within

    def _customers(self) -> list[str]:
        return sorted({file.policy.customer for file in self._snapshot().policies.files if file.policy.domains})

    def _policies(self, customer: str) -> list[DomainPolicy]:
        return [file.policy for file in self._snapshot().policies.files if file.policy.customer == customer]

    def _book(self) -> Book:
        return Book.of(self._records.read())

    def _writer(self) -> Writer:
        return Writer(self._records, self._now(), BY)

    def _tell(self, fault: Fault, states: Iterable[str]) -> None:
        for state in states:
            self._events.emit(
                FaultChanged(
                    at=self._now(),
                    number=fault.number,
                    customer=fault.customer,
                    cause=fault.cause,
                    reason=fault.reason,
                    started_at=fault.start,
                    ended_at=fault.end or 0.0,
                    state=state,
                )
            )

    def _failed(self, operation: str, error: Exception) -> None:
        self._events.emit(StorageFailed(at=self._now(), store="servicelevel", operation=operation, error=str(error)))

    def _now(self) -> float:
        return self._clock.stamp().utc
