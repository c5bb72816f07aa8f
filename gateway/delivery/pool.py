"""One next hop: what waits for it, its connections and how many of them, and which of its hosts are well.

Work flows without a task a message: a channel that ends a transfer takes the next job in the same turn. Fresh mail goes
before what comes from the spool, which gets every fourth turn, so that neither waits for the other's queue.

A channel that the next hop closed while it was idle is noticed at the next transfer (``stale``), and the job goes to
another connection without counting an attempt. A host that turns a job away before any content (421, lost connection)
is rested, and the job goes to the next host.
"""

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.clock import Clock, Stamp
from gateway.delivery import causes
from gateway.delivery.client import ClientSettings
from gateway.delivery.connector import Connector
from gateway.delivery.report import Job, Report
from gateway.delivery.route import Route, Router
from gateway.delivery.transfer import Channel, Failure, Outcome, Target, Transfer, TransferResult
from gateway.delivery.window import LIMIT_REST_SECONDS, HostHealth, Window
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope
from gateway.smtp.address import NULL_REVERSE_PATH
from gateway.spool.message import SpoolMessage

# One in four: a backlog moves on under a stream of new mail, and costs new mail a quarter of the connections at most.
BACKLOG_TURN = 4

# RFC 5321 §4.5.3.1.10: 452 means too many recipients; the rest follows in another transaction at once.
_TOO_MANY_RECIPIENTS = 452


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSettings:
    """What a lane is told of the configuration of the moment."""

    client: ClientSettings
    connect_seconds: float
    start: int
    most: int


class LaneOwner(Protocol):
    """What a lane needs of the runner."""

    clock: Clock
    router: Router
    connector: Connector

    @property
    def settings(self) -> LaneSettings:
        """The settings of the moment."""
        ...

    async def content(self, message: SpoolMessage) -> Content | None:
        """Return a queued message's content, None when it cannot be read now."""
        ...

    def report(self, report: Report) -> None:
        """Take the end of an attempt."""
        ...

    def tell(self, bug: Exception) -> None:
        """Hear of a bug in opening a connection."""
        ...

    def lane_quiet(self, lane: "Lane") -> None:
        """Learn that a lane has nothing left to do and no connection."""
        ...


class Lane:
    """The queue of one route."""

    def __init__(self, route: Route, owner: LaneOwner) -> None:
        self.route = route
        self.window = Window(owner.settings.start, owner.settings.most)
        self.health = HostHealth()
        self.busy = 0
        self.opening = 0
        self.held_octets = 0
        """Contents in memory on the account of this lane's jobs."""
        self._owner = owner
        self._fresh: deque[Job] = deque()
        self._backlog: deque[Job] = deque()
        self._idle: list[Channel] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._targets: tuple[Target, ...] = ()
        self._turn = 0
        self._no_more_until = 0.0
        self._stopped = False
        self._why_dead = ""

    # What waits -------------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Jobs that no connection has taken."""
        return len(self._fresh) + len(self._backlog)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits, runs or stands open."""
        return not (self.busy or self.opening or self._idle or self._fresh or self._backlog)

    def is_dead(self) -> bool:
        """Tell whether jobs would be deferred untried."""
        return self.window.is_dead(self._owner.clock.monotonic())

    def remembers(self) -> bool:
        """Tell whether the lane knows something of its hosts that the next job should not find out again."""
        now = self._owner.clock.monotonic()
        return self.window.remembers(now) or self.health.remembers(now)

    def push_fresh(self, job: Job) -> None:
        """Queue a job straight from intake; start it when there is room."""
        self.held_octets += job.octets
        self._fresh.append(job)
        self.pump()

    def push_backlog(self, job: Job) -> None:
        """Queue a job that was in the spool."""
        self._backlog.append(job)
        self.pump()

    def pump(self) -> None:
        """Start what can be started."""
        if self._stopped:
            return
        if self.window.dead_until and self.is_dead():
            self._suspend_all()
            return
        while self._fresh or self._backlog:
            if self._idle:
                channel = self._idle.pop()
                if channel.is_usable:
                    self.busy += 1
                    self._start(channel)
                else:
                    channel.quit()
            elif self._may_open():
                self.opening += 1
                self._spawn(self._open())
            else:
                return

    def revive(self) -> None:
        """Try the next hop and all its hosts again, although they failed lately."""
        self.window.revive()
        self.health.forget()

    def withdraw(self, trace_ids: Collection[str]) -> list[Job]:
        """Take what waits of these messages out of the queue and return it; what runs goes on."""
        withdrawn = [job for job in (*self._fresh, *self._backlog) if job.message.trace_id in trace_ids]
        if withdrawn:
            for queue in (self._fresh, self._backlog):
                left = [job for job in queue if job.message.trace_id not in trace_ids]
                queue.clear()
                queue.extend(left)
            self.held_octets -= sum(job.octets for job in withdrawn)
            self._check_quiet()
        return withdrawn

    def stop(self) -> None:
        """Take no further job from the queue; what runs ends, idle connections close."""
        self._stopped = True
        self._fresh.clear()
        self._backlog.clear()
        idle, self._idle = self._idle, []
        for channel in idle:
            channel.quit()

    def abandon(self) -> None:
        """Cancel what is still being opened."""
        for task in self._tasks:
            task.cancel()

    def _may_open(self) -> bool:
        if self.busy + self.opening >= self.window.size or self.opening >= self.waiting:
            return False
        return not (self.busy and self._owner.clock.monotonic() < self._no_more_until)

    def _next_job(self) -> Job | None:
        self._turn = (self._turn + 1) % BACKLOG_TURN
        first, second = (self._backlog, self._fresh) if self._turn == 0 else (self._fresh, self._backlog)
        if first:
            return first.popleft()
        return second.popleft() if second else None

    # Connections ------------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        begun = self._owner.clock.monotonic()
        try:
            opened = await self._any_host()
        except Exception as bug:  # noqa: BLE001 - what waits would stay in hand, neither sent nor ever expired
            self._owner.tell(bug)
            opened = Failure(phase="connect", reply=causes.INTERNAL_ERROR, own_fault=True)
        finally:
            self.opening -= 1
        if isinstance(opened, Failure):
            self._not_opened(opened, self._owner.clock.monotonic() - begun)
        elif self._stopped:
            opened.quit()
        else:
            # Look-up and hosts that failed before belong to the set-up that the first transfer waited for.
            opened.setup_seconds = self._owner.clock.monotonic() - begun
            self.busy += 1
            self._start(opened)
        self._check_quiet()

    async def _any_host(self) -> Channel | Failure:
        targets = await self._owner.router.targets(self.route.hops)
        if isinstance(targets, Failure):
            return targets
        self._targets = targets
        now = self._owner.clock.monotonic()
        # Stable: the order of preference stands within each half.
        ordered = sorted(targets, key=lambda target: self.health.is_resting(target.name, now))
        failure = Failure(phase="lookup", reply=causes.NO_NEXT_HOP, own_fault=True)
        for target in ordered:
            self.health.claim(target.name, self._owner.clock.monotonic())
            settings = self._owner.settings
            opened = await self._owner.connector.open(target, settings.client, settings.connect_seconds)
            if not isinstance(opened, Failure):
                self.health.succeeded(target.name)
                return opened
            self.health.failed(target.name, self._owner.clock.monotonic())
            failure = opened
        return failure

    def _not_opened(self, failure: Failure, seconds: float) -> None:
        now = self._owner.clock.monotonic()
        if self._stopped:
            return
        if self.busy:
            # Others stand: a limit over there is the likely reason, and no mail is to blame.
            self.window.limit(self.busy)
            self._no_more_until = now + LIMIT_REST_SECONDS
            return
        job = self._next_job()
        if failure.permanent:
            # What DNS says of the domain holds for all that waits for it.
            while job is not None:
                self._report_failure(job, failure, seconds)
                job = self._next_job()
            return
        self.window.failed(now)
        self._why_dead = failure.reply.text
        if job is not None:
            self._report_failure(job, failure, seconds)
        self.pump()

    # Transfers --------------------------------------------------------------------------------------------------------

    def _start(self, channel: Channel) -> None:
        """Give ``channel``, counted as busy, its next job, or let it rest."""
        job = None if self._stopped else self._next_job()
        if job is None:
            self.busy -= 1
            self._rest(channel)
            return
        job = self._fitting(job, channel)
        if job.message.content is None:
            self._spawn(self._fetch(channel, job))
        else:
            self._begin(channel, job, job.message.content)

    def _fitting(self, job: Job, channel: Channel) -> Job:
        """Return as much of ``job`` as one transaction takes; the rest goes back to the head of the queue."""
        most = channel.most_recipients
        if len(job.recipients) <= most:
            return job
        self._fresh.appendleft(replace(job, recipients=job.recipients[most:], octets=0))
        return replace(job, recipients=job.recipients[:most])

    async def _fetch(self, channel: Channel, job: Job) -> None:
        content = await self._owner.content(job.message)
        if content is not None:
            self._begin(channel, job, content)
            return
        now = self._owner.clock.stamp()
        outcome = Outcome(phase="content", reply=causes.CONTENT_UNREADABLE, at=now, own_fault=True)
        self._report(job, outcome, "none", 0.0)
        self._start(channel)

    def _begin(self, channel: Channel, job: Job, content: Content) -> None:
        message = job.message
        rendition = message.renditions[job.recipients[0].rendition]
        transfer = Transfer(
            trace_id=message.trace_id,
            envelope=_notices(message.envelope)
            if message.hostile and rendition.replaces(content)
            else message.envelope,
            recipients=tuple([r.recipient for r in job.recipients]),
            content=content,
            rendition=rendition,
        )
        channel.begin(transfer, lambda result: self._ended(channel, job, result))

    def _ended(self, channel: Channel, job: Job, result: TransferResult) -> None:
        if result.stale and not self._stopped:
            self._again(channel, job)
            return
        if result.refused_by_host:
            now = self._owner.clock.monotonic()
            self.health.failed(channel.target.name, now)
            if self._other_host(job, now):
                self._again(channel, replace(job, failovers=job.failovers + 1))
                return
            self.window.failed(now)
            self._why_dead = result.outcomes[0].reply.text
        elif any(o.reply.is_transient and not causes.is_remote(o.reply) for o in result.outcomes):
            # Silence, a lost connection, nonsense or a full disk, and nothing that the next hop said.
            self.window.failed(self._owner.clock.monotonic())
            self._why_dead = result.outcomes[0].reply.text
        else:
            self.window.succeeded()
        self._settle(channel, job, result)
        channel.setup_seconds = 0.0
        if channel.is_usable:
            self._start(channel)
        else:
            # Broken, or used as often as allowed and still open.
            channel.quit()
            self.busy -= 1
        self.pump()
        self._check_quiet()

    def _settle(self, channel: Channel, job: Job, result: TransferResult) -> None:
        job, result = self._without_surplus(job, result)
        self.held_octets -= job.octets
        success = "delivered" if channel.final_delivery else "relayed"
        self._owner.report(
            Report(
                job=job,
                outcomes=result.outcomes,
                next_hop=self.route.key,
                relay=channel.relay,
                begun=result.begun,
                started=result.started,
                setup_seconds=channel.setup_seconds,
                # RFC 3461 §5.2.1: a next hop with DSN has taken the request over with the mail.
                success="" if result.passes_dsn_on else success,
            )
        )

    def _without_surplus(self, job: Job, result: TransferResult) -> tuple[Job, TransferResult]:
        """Send recipients that were one too many again at once, provided that others were taken."""
        outcomes = result.outcomes
        if len(outcomes) == 1 or self._stopped:
            return job, result
        surplus = [o.phase == "rcpt" and o.reply.code == _TOO_MANY_RECIPIENTS for o in outcomes]
        if not any(surplus) or not any(o.reply.is_success for o in outcomes):
            return job, result
        pairs = list(zip(job.recipients, outcomes, surplus, strict=True))
        self._fresh.appendleft(replace(job, recipients=tuple(r for r, _, again in pairs if again), octets=0))
        kept = replace(job, recipients=tuple(r for r, _, again in pairs if not again))
        return kept, replace(result, outcomes=tuple(o for _, o, again in pairs if not again))

    def _again(self, channel: Channel, job: Job) -> None:
        channel.quit()
        self.busy -= 1
        self._fresh.appendleft(job)
        self.pump()

    def _other_host(self, job: Job, now: float) -> bool:
        well = [target for target in self._targets if not self.health.is_resting(target.name, now)]
        return bool(well) and job.failovers < len(self._targets) and not self._stopped

    def _rest(self, channel: Channel) -> None:
        if self._stopped or not channel.is_usable:
            channel.quit()
            self._check_quiet()
            return
        self._idle.append(channel)
        channel.release(self._closed)

    def _closed(self, channel: Channel) -> None:
        if channel in self._idle:
            self._idle.remove(channel)
        self._check_quiet()

    def _check_quiet(self) -> None:
        if self.is_quiet:
            self._owner.lane_quiet(self)

    # Failures without a transfer --------------------------------------------------------------------------------------

    def _suspend_all(self) -> None:
        reply = causes.SUSPENDED.saying(f"{causes.SUSPENDED.text}: {self._why_dead}")
        jobs = [*self._fresh, *self._backlog]
        self._fresh.clear()
        self._backlog.clear()
        for job in jobs:
            self._report(job, Outcome(phase="connect", reply=reply, at=self._owner.clock.stamp()), "none", 0.0)

    def _report_failure(self, job: Job, failure: Failure, seconds: float) -> None:
        reply = failure.reply
        if reply.is_permanent and not failure.permanent:
            reply = causes.HOST_REFUSES.saying(f"{failure.relay} refused to talk: {reply}")
        now = self._owner.clock.stamp()
        outcome = Outcome(phase=failure.phase, reply=reply, at=now, own_fault=failure.own_fault)
        self._report(job, outcome, failure.relay, seconds)

    def _report(self, job: Job, outcome: Outcome, relay: str, seconds: float) -> None:
        now = outcome.at
        self.held_octets -= job.octets
        self._owner.report(
            Report(
                job=job,
                outcomes=(outcome,) * len(job.recipients),
                next_hop=self.route.key,
                relay=relay or "none",
                begun=now,
                setup_seconds=seconds,
                not_before=self._not_before(now),
            )
        )

    def _not_before(self, now: Stamp) -> float:
        rest = self.window.dead_until - now.monotonic
        return now.utc + rest if rest > 0 else 0.0

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _notices(envelope: Envelope) -> Envelope:
    """Return the envelope of a notice in the place of a mail: whoever wrote that, or was forged, hears nothing of it.

    RFC 5321 §4.5.5: with the null reverse-path the next hop has nobody to send a notification to.
    """
    return replace(envelope, reverse_path=NULL_REVERSE_PATH, body=None, declared_octets=None, ret=None, envid=None)
