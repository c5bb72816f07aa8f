"""``IntakeServer``: one listener's life, from a bound socket to the last session's end.

It accepts, sweeps once a second (timeouts, minimum rates, replies that are overdue), reloads the certificate, and
drains: no new connections, idle sessions are told 421 4.3.2, running transactions finish, commits are always waited
for.
"""

import asyncio
import socket
from collections.abc import Iterable
from contextlib import suppress

from gateway.clock import Clock
from gateway.config.models import Listen
from gateway.intake.guard import DoorGuard
from gateway.intake.listener import Collaborators, Listener
from gateway.intake.mailing import SmtpSession
from gateway.intake.ports import Custody, GateSource, OnJudged, OnStored, RandomOctets
from gateway.intake.session import LINGER_SECONDS, Session, discover_verbs
from gateway.journal.events import EventSink
from gateway.mail.transaction import Transaction
from gateway.policy.verdict import Verdict

# How often sessions look at the clock: no timeout of RFC 5321 §4.5.3.2 is finer than minutes.
SWEEP_SECONDS = 1.0
# Connections that wait to be accepted; as the kernel usually allows (net.core.somaxconn). Who finds no place believes
# to be connected and waits for a greeting that never comes, so it is better to be late: two seconds of an attack.
BACKLOG = 4096
# Turns of the loop in which connections are still accepted: poll, accept, begin, on either event loop.
ACCEPTING_TURNS = 5
# A commit that has begun when time is up is a disk's flush away from its end.
COMMIT_GRACE_SECONDS = 10.0


def _nobody(_: Transaction, __: Verdict) -> None:
    """Show verdicts to nobody."""


class IntakeServer:
    """Serves one ``[[listen]]`` table; ``gate`` is asked anew at each session's and each transaction's beginning."""

    def __init__(  # noqa: PLR0913 - the room's one composition point: everything the door works with, named
        self,
        config: Listen,
        *,
        gate: GateSource,
        custody: Custody,
        clock: Clock,
        events: EventSink,
        on_stored: OnStored,
        guard: DoorGuard,
        random_octets: RandomOctets,
        on_judged: OnJudged = _nobody,
    ) -> None:
        """Load the certificate, if there is one; raise ``OSError`` when it cannot be used."""
        self._listener = Listener(
            config,
            Collaborators(
                gate=gate,
                custody=custody,
                clock=clock,
                events=events,
                on_stored=on_stored,
                on_judged=on_judged,
                guard=guard,
                random_octets=random_octets,
            ),
        )
        self._verbs = discover_verbs(SmtpSession)
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return len(self._listener.sessions)

    async def start(self, sock: socket.socket) -> None:
        """Serve a socket that is bound already."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SmtpSession(self._listener, self._verbs), sock=sock, backlog=BACKLOG
        )
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep_again, loop)

    def _sweep_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep_again, loop)
        self.sweep()

    def sweep(self) -> None:
        """Let every session look at the clock."""
        now = self._listener.clock.monotonic()
        for session in list(self._listener.sessions):
            session.tick(now)

    def reload_tls(self) -> None:
        """Serve the certificate that the files hold now; raise ``OSError`` and keep the old one when it is unusable."""
        if self._listener.certificate is not None:
            self._listener.certificate.reload()

    async def drain(self, seconds: float) -> None:
        """Stop: see the module; return when no session is left, at the latest shortly after ``seconds``."""
        self._listener.draining = True
        # What the kernel has accepted for us would be reset with the socket. A few turns of the loop take it in
        # first, and it is told 421.
        for _ in range(ACCEPTING_TURNS):
            await asyncio.sleep(0)
        if self._server is not None:
            self._server.close()
        for session in self._sessions():
            session.leave()
        await self._ended(seconds)
        for session in self._sessions():
            session.cut()
        await self._ended(COMMIT_GRACE_SECONDS)
        await self._gone(LINGER_SECONDS)
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _sessions(self) -> list[Session]:
        return [session for session in self._listener.sessions if isinstance(session, Session)]

    async def _ended(self, seconds: float) -> None:
        tasks = _running(session.task for session in self._sessions())
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    async def _gone(self, seconds: float) -> None:
        """Wait until the last clients have read their last words."""
        self._listener.empty.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if self._listener.sessions:
                    await self._listener.empty.wait()
        for session in self._sessions():
            session.cut()


def _running(tasks: "Iterable[asyncio.Task[None] | None]") -> list["asyncio.Task[None]"]:
    return [task for task in tasks if task is not None and not task.done()]
