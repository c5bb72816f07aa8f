"""The contract watched for the supervisor's life: heartbeat, probes, daily summaries, terms on record, alarms.

Beside the mail: nothing here runs in a worker. Records and summaries are written in threads; one store, one writer. A
bug in one of the loops is one event, and the loop goes on.
"""

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from gateway.clock import Clock
from gateway.config.models import Listen
from gateway.config.snapshot import Snapshot
from gateway.journal.events import (
    ClockJumped,
    DeadlineNeared,
    EventSink,
    FaultChanged,
    InternalError,
    ServiceNeared,
    StorageFailed,
)
from gateway.mail.connection import Role
from gateway.policy.domain_policy import DomainPolicy, NextHop
from gateway.servicelevel.alarm import MISSED, NEAR, standing
from gateway.servicelevel.book import Book, Writer
from gateway.servicelevel.conditions import Bearing
from gateway.servicelevel.deadline import DeadlineState
from gateway.servicelevel.fault import Fault
from gateway.servicelevel.heartbeat import BEAT_SECONDS, Beat, Heartbeat
from gateway.servicelevel.month import MINUTE, Month
from gateway.servicelevel.observing import Finding, not_running, observed, record_faults, record_missed
from gateway.servicelevel.probing import Door, probe_door, probe_greeting
from gateway.servicelevel.reading import judge
from gateway.servicelevel.records import Records
from gateway.servicelevel.rollup import Roller
from gateway.servicelevel.sample import RECEIVE, SEND
from gateway.servicelevel.store import StoreReader, open_store, pruned_before
from gateway.storage import Database, StorageError

BY = "tidegate"
# Summaries lag by so much at most; a reader adds what they lack.
ROLL_SECONDS = 10.0
# Between two steps of many, so that the machine is the mail's.
STEP_PAUSE_SECONDS = 0.2
ALARM_SECONDS = 900.0
PRUNE_SECONDS = 3600.0
FIRST_ALARM_SECONDS = 60.0
AFTER_A_BUG_SECONDS = 30.0
# One session asks for so many customers: some hundred commands.
DOMAINS_A_SESSION = 50
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what to ask instead

Addresses = Sequence[tuple[Listen, tuple[str, int]]]
"""Each listener with the address it is bound to."""


class ServiceWatch:
    """Watches from ``run`` until it is cancelled; ``serving`` says whether some worker serves."""

    def __init__(
        self, snapshot: Callable[[], Snapshot], *, serving: Callable[[], bool], clock: Clock, events: EventSink
    ) -> None:
        self._snapshot, self._serving, self._clock, self._events = snapshot, serving, clock, events
        self._data = snapshot().config.data
        self._records = Records(self._data)
        self._heart = Heartbeat(self._data, clock)
        self._bearing: tuple[int, Bearing, Roller] | None = None
        self._told: dict[tuple[str, ...], str] = {}
        self._digest = ""
        self._pruned_at = 0.0
        self._failing: set[tuple[str, str]] = set()

    async def run(self, addresses: Addresses) -> None:
        """Watch until cancelled."""
        try:
            store = await asyncio.to_thread(open_store, self._data)
        except StorageError as error:
            self._failed("open", error)
            return
        try:
            await asyncio.gather(
                self._every(BEAT_SECONDS, "service heartbeat", lambda: self.beat(store)),
                self._every(
                    self._snapshot().config.service.probe_every, "service probe", lambda: self.probe(store, addresses)
                ),
                self._every(ROLL_SECONDS, "service summaries", lambda: self.roll(store)),
                self._every(ALARM_SECONDS, "service alarms", self.alarm, FIRST_ALARM_SECONDS),
            )
        finally:
            await store.close()

    async def _every(
        self, seconds: float, where: str, work: Callable[[], Coroutine[Any, Any, None]], first: float = 0.0
    ) -> None:
        await asyncio.sleep(first)
        while True:
            pause = seconds
            try:
                await work()
            except (StorageError, OSError) as error:
                self._failed(where, error)
            except Exception as error:  # noqa: BLE001 - the watch must survive a bug in one of its works
                pause = max(seconds, AFTER_A_BUG_SECONDS)
                self._events.emit(
                    InternalError(
                        at=self._now(),
                        where=where,
                        error=f"{type(error).__name__}: {error}",
                        traceback="".join(traceback.format_exception(error)),
                    )
                )
            await asyncio.sleep(pause)

    # Heartbeat, terms

    async def beat(self, store: Database) -> None:
        """Note that the gateway serves, and what was missed before; nothing while no worker serves."""
        if not self._serving():
            return
        if self._digest != self._snapshot().digest:
            await asyncio.to_thread(self._record_terms)
        beat = await asyncio.to_thread(self._heart.beat)
        if beat.jump is not None or beat.missed is not None:
            writes = await asyncio.to_thread(self._missed, beat)
            if writes:
                await store.commit(writes)

    def _missed(self, beat: Beat) -> list[Any]:
        writer = self._writer()
        if beat.jump is not None:
            writer.jump(beat.jump)
            self._events.emit(ClockJumped(at=self._now(), seconds=beat.jump.by))
        if beat.missed is None:
            return []
        self._tell(record_missed(writer, beat.missed), ("opened", "closed"))
        return not_running(self._customers(), beat.missed)

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

    async def probe(self, store: Database, addresses: Addresses) -> None:
        """Try the doors and the next hops, and note this minute for every customer."""
        if not self._serving() or not self._customers():
            return
        begun = self._now()
        findings = await self._findings(addresses)
        with StoreReader(self._data) as reader:
            writes = observed(reader, findings, int(begun // MINUTE))
        if writes:
            await store.commit(writes)
        # One failure may be chance, and is a minute down; the second in a row is a fault, since the first.
        failing = {place for place, finding in findings.items() if finding.reason}
        certain = {
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
        return [*record_faults(writer, book, failing, since), *record_faults(writer, book, well, now)]

    async def _findings(self, addresses: Addresses) -> dict[tuple[str, str], Finding]:
        domains = {customer: self._policies(customer)[0].domains[0] for customer in self._customers()}
        inward = [pair for pair in addresses if pair[0].role is Role.MX]
        outward = [pair for pair in addresses if pair[0].role is not Role.MX]
        doors = await self._doors(inward, list(domains.values()))
        relay = await self._greeting_of_any(outward)
        found = {}
        for customer, domain in domains.items():
            at_door = Finding(doors.get(domain, ""))
            found[customer, RECEIVE] = at_door if at_door.reason else await self._next_hops(customer)
            found[customer, SEND] = Finding(relay)
        return found

    async def _doors(self, listeners: Addresses, domains: list[str]) -> dict[str, str]:
        """Return why each domain's mail is taken at no door, "" when one takes it or there is none."""
        reasons: dict[str, str] = {}
        name = self._snapshot().config.hostname
        for listen, address in listeners:
            door = _door(listen, address)
            for begin in range(0, len(domains), DOMAINS_A_SESSION):
                part = domains[begin : begin + DOMAINS_A_SESSION]
                for domain, reason in (await probe_door(door, name, part)).items():
                    reasons[domain] = reason and reasons.get(domain, reason)
        return reasons

    async def _greeting_of_any(self, listeners: Addresses) -> str:
        """Return why no relay greets; "" without one, since then no customer sends through here."""
        reason = ""
        for listen, address in listeners:
            door = _door(listen, address)
            reason = await probe_greeting(door.host, door.port) if not (door.implicit_tls or door.preface) else ""
            if not reason:
                break
        return reason

    async def _next_hops(self, customer: str) -> Finding:
        """Return why one of a customer's policies has no next hop that greets."""
        for policy in self._policies(customer):
            hops = [hop for hop in policy.next_hop if hop.scheme in {"smtp", "lmtp"}]
            reasons = [await self._hop(hop) for hop in hops] if len(hops) == len(policy.next_hop) else []
            if reasons and all(reasons):
                return Finding(f"next hop {hops[0].url}: {reasons[0]}", policy.next_hop_owner)
        return Finding("")

    async def _hop(self, hop: NextHop) -> str:
        return await probe_greeting(hop.host, hop.port)

    # Summaries

    async def roll(self, store: Database) -> None:
        """Count what ended since the last time, in steps."""
        more = True
        while more:
            roller = (await asyncio.to_thread(self._current))[1]
            writes, done = await asyncio.to_thread(roller.step)
            if writes:
                await store.commit(writes)
            if done.replaced:
                text = f"{done.replaced} is another file than was counted; counting goes on with what ended later"
                self._failed("count", OSError(text))
            more = done.more
            if more:
                await asyncio.sleep(STEP_PAUSE_SECONDS)
        now = self._now()
        if now - self._pruned_at > PRUNE_SECONDS:
            self._pruned_at = now
            await store.commit([pruned_before(int((now - self._snapshot().config.retention.ledger) // MINUTE))])

    def _current(self) -> tuple[Bearing, Roller]:
        size = self._records.size()
        if self._bearing is None or self._bearing[0] != size:
            bearing = Bearing(self._book(), self._now())
            self._bearing = size, bearing, Roller(self._data, bearing)
        return self._bearing[1], self._bearing[2]

    # Alarms

    async def alarm(self) -> None:
        """Tell what came near its limit, or over it, since the last time."""
        for customer in self._customers():
            with suppress(KeyError):
                await asyncio.to_thread(self._alarm_of, customer)
        await asyncio.to_thread(self._alarm_deadlines)

    def _alarm_of(self, customer: str) -> None:
        now = self._now()
        zone = self._snapshot().config.service.terms_of(customer).zone
        evaluation = judge(self._data, customer, Month.at(now, zone), now)
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


def _door(listen: Listen, address: tuple[str, int]) -> Door:
    host, port = address
    host = _WILDCARDS.get(host, host)
    proxied = any(ip_address(host) in network for network in listen.proxy_protocol_from)
    return Door(
        host=host,
        port=port,
        implicit_tls=listen.tls is not None and listen.tls.implicit,
        preface="PROXY UNKNOWN" if proxied else "",
    )
