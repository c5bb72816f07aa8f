"""The supervisor: keeps the workers alive, answers the operator, serves the metrics. It never touches mail."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from gateway import __version__
from gateway.admin import quarantine, queue
from gateway.admin.audit import acted
from gateway.admin.control import ControlServer
from gateway.admin.http import TEXT, AdminHttp, Answer
from gateway.admin.log import LineWriter, Log
from gateway.admin.metrics import CONTENT_TYPE, Metrics
from gateway.admin.protocol import QueueStatus, RefusedError, UnknownCommandError, WorkerStatus
from gateway.admin.registry import merge
from gateway.admin.shards import ShardReader
from gateway.admin.status import gateway_status, readiness
from gateway.app import descriptors, lock, nursery, offspring, sockets, systemd
from gateway.app.children import Children, Cradle
from gateway.app.duties import Duties, Surroundings
from gateway.app.kept import KeptTexts
from gateway.app.probes import Addresses
from gateway.app.process import WorkerOrder
from gateway.app.workers import Slot, Workers
from gateway.backup import telling as backup_telling
from gateway.blocklist.local import telling as list_telling
from gateway.clock import SystemClock
from gateway.config.difference import diff, needs_restart
from gateway.config.loader import load
from gateway.config.models import Listen
from gateway.config.problem import ConfigError
from gateway.config.snapshot import Snapshot
from gateway.filters import catalogue
from gateway.journal.events import ConfigurationChanged, WorkerChanged
from gateway.journal.sinks import FanOut
from gateway.journal.store import Journal
from gateway.mail.own_mail import COMMAND as OWN_MAIL

# Workers drain for at most ten minutes and then close their stores (gateway.app.worker).
STOP_SECONDS = 640.0
# A worker loads, recovers its shard and compiles in about a second; a large shard's recovery takes some more.
START_SECONDS = 120.0
# As many as a line has room for; `tidegate policy list` has them all.
_DOMAINS_NAMED = 5
# sysexits.h
_OK, _TRY_AGAIN = 0, 75


class Supervisor:
    """One gateway; ``run`` returns its exit status."""

    def __init__(self, snapshot: Snapshot, configuration: Path | None, cradle: Cradle) -> None:
        config = snapshot.config
        self.snapshot = snapshot
        self.kept = KeptTexts(snapshot)
        self.configuration = configuration
        self.clock = SystemClock()
        self.started = self.clock.stamp()
        self.log = Log(LineWriter(sys.stderr.fileno()), level=config.log.level, format=config.log.format)
        self.metrics = Metrics("")
        # The workers' journals are 0 to count - 1; what concerns the whole gateway has one of its own.
        self.count = config.workers or len(os.sched_getaffinity(0))
        self.journal = Journal(config.data / "journal", self.count, clock=self.clock, failures=self.log)
        self.events = FanOut([self.journal, self.log, self.metrics])
        self.children = Children(cradle, lambda text: self.log.say("error", text, {}))
        self.workers = Workers([])
        around = Surroundings(
            snapshot=lambda: self.snapshot, configuration=configuration, clock=self.clock, events=self.events
        )
        self.duties = Duties(around, self.children, workers=lambda: self.workers, hand=self._own_mail)
        self.http = AdminHttp(config.metrics.address, self.render) if config.metrics.address else None
        self._stop = asyncio.Event()
        self._reloading = asyncio.Lock()
        # The loop alone would let a task that nobody waits for be collected.
        self._reloads: set[asyncio.Task[dict[str, Any]]] = set()
        self._stopping = False

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; drain."""
        config = self.snapshot.config
        bound = [sockets.bind(listen, self.count) for listen in config.listen]
        control = ControlServer(config.data / "control.sock", self.command, clock=self.clock, events=self.events)
        await control.start()
        if self.http is not None:
            await self._start_http(self.http)
        self._handle_signals()
        self.children.begin()
        await self._unless_stopped(self.duties.lists.begin())
        self.workers = Workers(self._slots(bound))
        self.duties.start(_addresses(config.listen, bound))
        keeping = [asyncio.create_task(slot.keep()) for slot in self.workers.slots]
        status = await self._serve(bound)
        # Ours are the same sockets: kept open, they would take connections that no worker accepts any more.
        for socks in bound:
            for sock in socks:
                sock.close()
        self.duties.stop()
        await self._drain(keeping)
        await self.duties.end()
        await control.close()
        if self.http is not None:
            await self.http.close()
        await self.children.close()
        await self.journal.close()
        self.log.close()
        self.kept.close()
        return status

    async def _start_http(self, http: AdminHttp) -> None:
        try:
            await http.start()
        except OSError as error:
            address = self.snapshot.config.metrics.address
            raise sockets.BindError(f"[metrics] address: {sockets.refusal(address, error)}") from error

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload_by_signal)

    def _slots(self, bound: Sequence[Sequence[socket.socket]]) -> list[Slot]:
        return [
            Slot(
                WorkerOrder(
                    index=index,
                    workers=self.count,
                    configuration=str(self.configuration or ""),
                    digest=self.kept.digest,
                    kept=self.kept.descriptor,
                    probe=self.duties.probe_mailbox.domain,
                ),
                [socks[index] for socks in bound],
                children=self.children,
                notice=self._notice,
            )
            for index in range(self.count)
        ]

    async def _serve(self, bound: Sequence[Sequence[socket.socket]]) -> int:
        if not await self._any_ready():
            if self._stop.is_set():
                return _OK
            self.log.say("error", "no worker can start, see above; this gateway ends", {})
            return _TRY_AGAIN
        for line in self._greeting(bound):
            self.log.say("info", line, {})
        systemd.notify("READY=1")
        await self._stop.wait()
        return _OK

    async def _any_ready(self) -> bool:
        """Wait until every worker serves or has failed once; False when none serves, or when we are told to stop."""
        await self._unless_stopped(_all_of([slot.tried.wait() for slot in self.workers.slots]))
        return self.workers.any_ready and not self._stop.is_set()

    async def _unless_stopped(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait for something, until we are told to stop, START_SECONDS at most."""
        stop, waited = asyncio.create_task(self._stop.wait()), asyncio.create_task(waiting)
        await asyncio.wait({stop, waited}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in (stop, waited):
            task.cancel()
        await asyncio.gather(stop, waited, return_exceptions=True)

    def _greeting(self, bound: Sequence[Sequence[socket.socket]]) -> list[str]:
        config = self.snapshot.config
        where = ", ".join(sockets.describe(config.listen, bound))
        workers = f"{self.count} worker{'' if self.count == 1 else 's'}"
        source = self.configuration or "embedded default"
        lines = [
            f"tidegate {__version__} serves {where} with {workers}; data in {config.data}",
            f"configuration {source} ({self.snapshot.digest}), mail for {_few(self.snapshot.policies.domains)}",
            _scanning(config.clamd.address),
        ]
        if self.http is not None:
            metrics = ", ".join(f"http://{sockets.format_address(address)}" for address in self.http.addresses)
            lines.append(f"metrics and health on {metrics}: /metrics /healthz /readyz")
        if self.configuration is None:
            lines.append("to try it: tidegate send FILE --from you@example.org --to me@example.test; Ctrl-C ends it")
        return lines

    async def _drain(self, keeping: Sequence[asyncio.Task[None]]) -> None:
        self._stopping = True
        systemd.notify("STOPPING=1")
        for slot in self.workers.slots:
            slot.stop()
        _, left = await asyncio.wait(keeping, timeout=STOP_SECONDS)
        for slot in self.workers.slots:
            slot.kill()
        for task in left:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)

    def _notice(self, worker: int, state: str, detail: str) -> None:
        self.events.emit(WorkerChanged(at=self.clock.stamp().utc, worker=worker, state=state, detail=detail))

    # The operator's commands ------------------------------------------------------------------------------------------

    async def command(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command of the control socket."""
        if (merge := _MERGED.get(name.partition(".")[0])) is not None:
            return merge(name, arguments, await self._of_all(name, arguments))
        if name == OWN_MAIL:
            return await self._own_mail(arguments)
        if name == "status":
            return await self._status()
        if name == "reload":
            return await self.reload(str(arguments.get("operator", "")))
        if name == "audit":
            self.events.emit(acted(arguments, self.clock.stamp().utc))
            await self.journal.flush()
            return {}
        if (told := _TOLD.get(name)) is not None:
            for event in told(arguments):
                self.events.emit(event)
            await self.journal.flush()
        elif name == "stop":
            self._stop.set()
        else:
            raise UnknownCommandError(name)
        return {}

    async def _of_all(self, name: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        answers = await self.workers.ask_all(name, **arguments)
        given = [answer for answer in answers if answer is not None]
        refusals = [str(answer["refused"]) for answer in given if "refused" in answer]
        if refusals:
            raise RefusedError(refusals[0])
        if len(given) < len(answers):
            raise RefusedError("a worker does not answer; its part of the queue cannot be reached now, try again")
        return given

    async def _own_mail(self, arguments: dict[str, Any]) -> dict[str, Any]:
        answer = await self.workers.ask_any(OWN_MAIL, **arguments)
        if answer is None:
            raise RefusedError("no worker takes mail now, try again")
        if "refused" in answer:
            raise RefusedError(str(answer["refused"]))
        return answer

    async def _status(self) -> dict[str, Any]:
        workers = await self._worker_states()
        now = self.clock.stamp().utc
        answer = gateway_status(
            [worker for worker in workers if worker is not None],
            await asyncio.to_thread(self._queue_status),
            self._readiness(workers),
            now=now,
            started_at=self.started.utc,
        )
        desk = await self.duties.incidents.standing()
        told = {**asdict(desk), "lag_seconds": self.duties.incidents.lag_seconds} if desk is not None else None
        return {**answer, "desk": told}

    async def _worker_states(self) -> list[WorkerStatus | None]:
        return cast("list[WorkerStatus | None]", await self.workers.look("status"))

    def _readiness(self, workers: Sequence[WorkerStatus | None]) -> tuple[bool, str]:
        if self._stopping:
            return False, "draining"
        return readiness([worker["state"] if worker else "gone" for worker in workers])

    def _queue_status(self) -> QueueStatus:
        return ShardReader(self.snapshot.config.data, self.clock).queue()

    def _reload_by_signal(self) -> None:
        self._begin_reload("signal")

    async def reload(self, operator: str) -> dict[str, Any]:
        """Load the files again; switch every worker, or change nothing and say why (invariant 10).

        Once begun it goes to its end, although whoever asked waits no longer: half the workers must not stay behind.
        """
        return await asyncio.shield(self._begin_reload(operator))

    def _begin_reload(self, operator: str) -> "asyncio.Task[dict[str, Any]]":
        task = asyncio.create_task(self._one_reload(operator))
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)
        return task

    async def _one_reload(self, operator: str) -> dict[str, Any]:
        if self._stopping:
            # Nor may a service manager hear READY=1 once more.
            return self._refused(["the gateway is shutting down"])
        async with self._reloading:
            systemd.notify("RELOADING=1")
            answer = await self._reload()
            systemd.notify("READY=1")
        self.events.emit(
            ConfigurationChanged(
                at=self.clock.stamp().utc,
                digest=answer["digest"],
                changed=tuple(answer["changed"]),
                errors=tuple(answer["errors"]),
                operator=operator,
            )
        )
        return answer

    async def _reload(self) -> dict[str, Any]:
        try:
            new = await asyncio.to_thread(load, self.configuration, catalogue())
        except ConfigError as error:
            return self._refused([str(problem) for problem in error.problems])
        if restart := needs_restart(self.snapshot, new):
            return self._refused([f"{key}: a change of this key needs a restart of the gateway" for key in restart])
        if errors := await self.workers.instruct("prepare", digest=new.digest):
            return self._refused(errors)
        changed = diff(self.snapshot, new)
        self._serve_from_now_on(new)
        errors = await self.workers.instruct("switch", digest=new.digest)
        return {"digest": new.digest, "changed": list(changed), "errors": errors}

    def _serve_from_now_on(self, snapshot: Snapshot) -> None:
        """Before any worker switches: one that starts meanwhile must not start with what is over."""
        before, self.kept = self.kept, KeptTexts(snapshot)
        self.snapshot = snapshot
        for slot in self.workers.slots:
            slot.follow(self.kept)
        before.close()

    def _refused(self, errors: Sequence[str]) -> dict[str, Any]:
        return {"digest": self.snapshot.digest, "changed": [], "errors": list(errors)}

    # What monitoring asks ---------------------------------------------------------------------------------------------

    async def render(self, path: str) -> Answer:
        """Answer ``/metrics``, ``/healthz`` and ``/readyz``."""
        if path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE, await self._metrics()
        if path == "/healthz":
            return HTTPStatus.OK, TEXT, b"ok\n"
        ready, reason = self._readiness(await self._worker_states())
        if ready:
            return HTTPStatus.OK, TEXT, b"ready\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, TEXT, f"{reason}\n".encode()

    async def _metrics(self) -> bytes:
        answers = await self.workers.look("metrics")
        self.metrics.mail.observe_queue(await asyncio.to_thread(self._queue_status))
        self.metrics.duties.observe_lists(*await asyncio.to_thread(self.duties.lists.standing))
        self.metrics.duties.observe_keeper(
            folded=self.duties.incidents.folded, lag_seconds=self.duties.incidents.lag_seconds
        )
        if (desk := await self.duties.incidents.standing()) is not None:
            self.metrics.duties.observe_desk(desk)
        return merge([self.metrics.snapshot(), *(a["families"] for a in answers if a and "families" in a)])


# The commands that every worker carries out on its part, by what their answers become.
_MERGED = {"queue": queue.merge_answers, "quarantine": quarantine.merge_answers}


# What commands did beside the gateway, for its journal.
_TOLD = {telling.COMMAND: telling.told for telling in (backup_telling, list_telling)}


def _scanning(scanners: Sequence[str]) -> str:
    if scanners:
        return f"viruses are looked for by {', '.join(scanners)}"
    return "no antivirus is configured: nothing is scanned, mail is marked X-Virus-Status: Unscanned"


def _few(domains: Sequence[str]) -> str:
    more = len(domains) - _DOMAINS_NAMED
    return ", ".join(domains[:_DOMAINS_NAMED]) + (f" and {more} more" if more > 0 else "") or "no domain"


def _addresses(listeners: Sequence[Listen], bound: Sequence[Sequence[socket.socket]]) -> Addresses:
    """Return each listener with the address it got."""
    names = [socks[0].getsockname() for socks in bound]
    return [(listen, (name[0], name[1])) for listen, name in zip(listeners, names, strict=True)]


async def _all_of(waits: Sequence[Coroutine[Any, Any, Any]]) -> None:
    await asyncio.gather(*waits)


def run(snapshot: Snapshot, configuration: Path | None) -> int:
    """Run the gateway; return its exit status. What keeps it from starting is said in one line."""
    data = snapshot.config.data
    try:
        descriptors.fill_standard()
        data.mkdir(parents=True, exist_ok=True, mode=0o750)
        descriptors.raise_limit()
        # Before the lock, which is ours alone, and before there is a thread.
        cradle = nursery.beside_us(offspring.ENTRIES)
        lock.hold(data)
        return asyncio.run(Supervisor(snapshot, configuration, cradle).run())
    except (lock.AlreadyRunningError, sockets.BindError) as error:
        print(f"tidegate: {error}", file=sys.stderr)  # noqa: T201 - said to whoever started it
    except OSError as error:
        text = f"tidegate: {error.filename or data}: {error.strerror or error}"
        print(text, file=sys.stderr)  # noqa: T201 - as above
    return _TRY_AGAIN
