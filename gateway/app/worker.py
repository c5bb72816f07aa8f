"""One worker process: a whole gateway on one core, put together here.

Order of life: load the snapshot that the supervisor serves, open the stores, compile the gate, start delivery, listen,
report ready; then answer the supervisor until SIGTERM or the end of the channel; drain, and close the stores.
"""

import asyncio
import gc
import os
import random
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from setproctitle import setproctitle

from gateway import __version__
from gateway.abuse.sampling import EvidenceSampler
from gateway.admin.dropped import dropped_rows
from gateway.admin.protocol import RefusedError, UnknownCommandError, WorkerStatus
from gateway.antivirus.memory import give_back_large_blocks
from gateway.app.acceleration import RuleAcceleration
from gateway.app.beside import beside_the_mail
from gateway.app.channel import Channel, ChannelClosedError
from gateway.app.desks import Desks
from gateway.app.housekeeping import Housekeeping
from gateway.app.kept import inherited_texts
from gateway.app.knowledge import Knowledge
from gateway.app.probe_mailbox import with_probe_mailbox
from gateway.app.process import WorkerOrder
from gateway.app.resolving import CurrentResolver
from gateway.app.stores import Stores
from gateway.clock import SystemClock
from gateway.config.loader import load
from gateway.config.models import GatewayConfig
from gateway.config.problem import ConfigError
from gateway.config.snapshot import Snapshot
from gateway.config.source import Disk, Files, Kept
from gateway.config.suffixes import suffixes_of
from gateway.delivery.runner import DeliveryRunner
from gateway.filters import catalogue
from gateway.incidents.evidence import Inbox
from gateway.intake.guard import DoorGuard, Past
from gateway.intake.server import IntakeServer
from gateway.journal.events import InternalError, WorkerChanged
from gateway.mail.text import hosts
from gateway.pipeline.gate import Gate
from gateway.storage import StorageError

# Running transactions may take the clients' ten minutes (RFC 5321 §4.5.3.2.6); a service manager that waits less kills
# us, and nothing acknowledged is lost by that.
DRAIN_SECONDS = 600.0
# Without its supervisor a worker only keeps the next gateway from its shard: nearly every transaction ends in this
# time, and a client that is cut off comes back.
ORPHAN_SECONDS = 3.0
# Whatever clients used up, transfers under way may end, and be recorded, within the time of a usual one.
DELIVERY_SECONDS = 5.0
# sysexits.h: the stores cannot be opened now; the configuration does not load.
_TRY_AGAIN, _CONFIG = 75, 78


class Worker:
    """One worker between start and drain."""

    def __init__(self, order: WorkerOrder, snapshot: Snapshot) -> None:
        config = snapshot.config
        self.order = order
        self.snapshot = snapshot
        self.clock = SystemClock()
        self.started = self.clock.stamp()
        hosts.use(suffixes_of(snapshot))
        self.state = "starting"
        self.stores = Stores(config, order.index, order.workers, self.clock)
        self.events = self.stores.events
        self.resolver = CurrentResolver(config.dns, self.clock)
        self.runner = DeliveryRunner(
            custody=self.stores.custody,
            snapshot=lambda: self.gate.snapshot,
            resolver=self.resolver,
            clock=self.clock,
            events=self.events,
            random=random.SystemRandom(),
        )
        self.knowledge = Knowledge(
            order.index, self.stores, self.resolver, snapshot=lambda: self.snapshot, clock=self.clock
        )
        self.sampler = EvidenceSampler(
            Inbox(config.data),
            lambda: self.snapshot.config.incidents,
            clock=self.clock,
            digest=lambda: self.snapshot.digest,
        )
        self.gate = self._compile(snapshot)
        self.guard = self._guard()
        self.servers = [self._server(listen) for listen in config.listen]
        self.desks = Desks(self.stores, self.runner, self.knowledge.antivirus, gate=lambda: self.gate, clock=self.clock)
        self.housekeeping = Housekeeping(
            config=self._config,
            custody=self.stores.custody,
            records=dropped_rows(self.clock),
            clock=self.clock,
            events=self.events,
        )
        self.acceleration = RuleAcceleration(self.order.index, self.clock, self.events)
        self._prepared: tuple[Snapshot, Gate] | None = None
        self._sockets: list[socket.socket] = []

    def _config(self) -> GatewayConfig:
        return self.snapshot.config

    def _compile(self, snapshot: Snapshot) -> Gate:
        return Gate(
            with_probe_mailbox(snapshot, self.order.probe),
            filters=catalogue(),
            resolver=self.resolver,
            clock=self.clock,
            verifier=self.runner.verifier,
            events=self.events,
            services=self.knowledge.services,
        )

    def _guard(self) -> DoorGuard:
        memories = self.stores.memories
        past = Past(rates=memories.rates, standings=memories.reputation, allowed=self.knowledge.is_allowed)
        return DoorGuard(self.snapshot.config.limits, self.stores.counters, self.clock, past)

    def _server(self, listen: Any) -> IntakeServer:
        return IntakeServer(
            listen,
            gate=lambda: self.gate,
            custody=self.stores.custody,
            clock=self.clock,
            events=self.events,
            on_stored=self.runner.accept,
            guard=self.guard,
            random_octets=os.urandom,
            on_judged=self.sampler.consider,
        )

    async def start(self) -> None:
        """Begin to deliver, look at the scanners, then listen."""
        await self.runner.start()
        await self.knowledge.antivirus.start()
        self._accelerate()
        for server, descriptor in zip(self.servers, self.order.listeners, strict=True):
            sock = socket.socket(fileno=descriptor)
            self._sockets.append(sock)
            await server.start(sock)
        self._say("serving")

    async def drain(self, seconds: float) -> None:
        """Take nothing new, finish what runs, close the stores; cut what still runs after about ``seconds``."""
        self._say("draining")
        until = self.clock.monotonic() + seconds
        await asyncio.gather(*(server.drain(seconds) for server in self.servers))
        await self.runner.drain(max(DELIVERY_SECONDS, until - self.clock.monotonic()))
        await self.knowledge.antivirus.stop()
        await self.sampler.settled()
        await self.acceleration.stop()
        await self.resolver.close()
        self._say("stopped")
        await self.stores.close()

    def _accelerate(self) -> None:
        self.acceleration.use(self.gate.rule_groups if self.snapshot.config.rules.hyperscan else ())

    def _say(self, state: str) -> None:
        self.state = state
        self.events.emit(WorkerChanged(at=self.clock.stamp().utc, worker=self.order.index, state=state))

    # The supervisor's questions ---------------------------------------------------------------------------------------

    async def answer(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Answer one question; errors are values."""
        try:
            if (answer := _ANSWERS.get(name)) is not None:
                return await answer(self, arguments)
            return await self.desks.handle(name, arguments)
        except RefusedError as refusal:
            return {"refused": str(refusal)}
        except UnknownCommandError:
            return {"refused": f"{name} is no command of this gateway"}
        except StorageError as error:
            return {"refused": f"the store failed: {error}"}
        except Exception as bug:  # noqa: BLE001 - the channel must survive a bug in any answer
            self.events.emit(InternalError.of(bug, f"answer {name}", self.clock.stamp().utc))
            return {"refused": f"{type(bug).__name__}: {bug}"}

    async def prepare(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """First phase of a reload: load and compile; nothing changes yet."""
        try:
            with beside_the_mail():
                snapshot, gate = await asyncio.to_thread(self._load_and_compile)
        except ConfigError as error:
            return {"refused": str(error)}
        if snapshot.digest != arguments["digest"]:
            return {"refused": "the files changed while they were read; reload again"}
        self._prepared = snapshot, gate
        return {"digest": snapshot.digest}

    def _load_and_compile(self) -> tuple[Snapshot, Gate]:
        snapshot = _load(self.order, Disk())
        # Parsed here, and remembered until the switch.
        suffixes_of(snapshot)
        return snapshot, self._compile(snapshot)

    async def switch(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Second phase: new transactions use the prepared snapshot."""
        if self._prepared is None and self.snapshot.digest != arguments["digest"]:
            # Started with the old snapshot while the others prepared the new one.
            answer = await self.prepare(arguments)
            if "refused" in answer:
                return answer
        if self._prepared is not None:
            self.snapshot, self.gate = self._prepared
            hosts.use(suffixes_of(self.snapshot))
            self._prepared = None
        self.guard.limits = self.snapshot.config.limits
        self.resolver.use(self.snapshot.config.dns)
        await self.knowledge.follow()
        self._accelerate()
        self.runner.wake()
        return {"digest": self.snapshot.digest, "refused": self._reload_certificates()}

    def _reload_certificates(self) -> str:
        refused = []
        for server in self.servers:
            try:
                server.reload_tls()
            except OSError as error:
                refused.append(f"the certificate cannot be read, the old one stays in use: {error}")
        return "; ".join(refused)

    async def status(self, _: dict[str, Any]) -> dict[str, Any]:
        """Return this worker's part of ``tidegate status``."""
        now = self.clock.stamp().utc
        reason = self.stores.health.failing(now)
        answer: WorkerStatus = {
            "worker": self.order.index,
            "pid": os.getpid(),
            "state": "failing" if reason and self.state == "serving" else self.state,
            "reason": reason,
            "version": __version__,
            "digest": self.snapshot.digest,
            "started_at": self.started.utc,
            "sessions": sum(server.sessions for server in self.servers),
            "rates": self.stores.rates.rates(now),
        }
        return dict(answer)

    async def families(self, _: dict[str, Any]) -> dict[str, Any]:
        """Return this worker's metrics."""
        self.stores.metrics.mail.observe_sessions(sum(server.sessions for server in self.servers))
        self.stores.metrics.observe_dropped(journal=self.stores.journal.dropped, log=self.stores.log.dropped)
        sampler = self.sampler
        self.stores.metrics.duties.observe_evidence(kept=sampler.kept, over=sampler.over, failed=sampler.failed)
        self.stores.metrics.mail.observe_antivirus(
            under_way=self.knowledge.antivirus.under_way,
            scanners=Counter(scanner.health.name.lower() for scanner in self.knowledge.antivirus.scanners),
            signatures_age_seconds=self.knowledge.antivirus.signatures_age_seconds,
        )
        return {"families": self.stores.metrics.snapshot()}


_ANSWERS = {
    "prepare": Worker.prepare,
    "switch": Worker.switch,
    "status": Worker.status,
    "metrics": Worker.families,
}


def _load(order: WorkerOrder, files: Files) -> Snapshot:
    return load(Path(order.configuration) if order.configuration else None, catalogue(), files)


async def serve(order: WorkerOrder) -> int:
    """Run one worker; return its exit status."""
    try:
        snapshot = _load(order, Kept(inherited_texts(order.kept)))
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - there is no log before there is a configuration
        return _CONFIG
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    try:
        worker = Worker(order, snapshot)
    except (StorageError, OSError) as error:
        print(f"tidegate worker {order.index}: {error}", file=sys.stderr)  # noqa: T201 - as above
        return _TRY_AGAIN
    channel = await Channel.open(socket.socket(fileno=order.control), worker.answer)
    served = asyncio.create_task(channel.run())
    # The supervisor is gone when its end closes: nobody would start or stop us any more.
    served.add_done_callback(lambda _: stop.set())
    await worker.start()
    _collect_seldom()
    beside = [asyncio.create_task(each) for each in (worker.housekeeping.run(), *worker.knowledge.loops())]
    try:
        await channel.call("ready")
        await stop.wait()
    except ChannelClosedError:
        pass
    for task in beside:
        task.cancel()
    await worker.drain(ORPHAN_SECONDS if served.done() else DRAIN_SECONDS)
    channel.close()
    await asyncio.gather(served, *beside, return_exceptions=True)
    return 0


def _collect_seldom() -> None:
    """Leave what start-up made out of garbage collection, and collect the rest seldom.

    The mail path makes no reference cycles (its tests look for them), so collecting finds next to nothing: at the
    default thresholds it took 5 % of the processor.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def begin(arguments: Sequence[str], descriptors: Sequence[int]) -> int:
    """Be a worker in a process that was forked for it, with its order; return the exit status."""
    order = WorkerOrder.read(arguments[0], descriptors)
    setproctitle(f"tidegate: worker {order.index} {order.configuration}".rstrip())
    # Ctrl-C on the terminal is the supervisor's.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    give_back_large_blocks()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(serve(order))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return uvloop's loop, or plain asyncio's where it is not installed or ``TIDEGATE_LOOP=asyncio`` asks for it."""
    if os.environ.get("TIDEGATE_LOOP") != "asyncio":
        try:
            import uvloop  # noqa: PLC0415 - optional
        except ImportError:
            pass
        else:
            return uvloop.new_event_loop
    return asyncio.new_event_loop
