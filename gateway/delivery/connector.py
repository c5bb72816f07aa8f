"""Opening a channel to one target: addresses raced (RFC 8305), greeting, EHLO, STARTTLS as its policy says (RFC 3207).

``tls=may``: a host that offers STARTTLS gets it; when the handshake fails, one fresh connection goes on in clear text
(RFC 7435). ``tls=verify``: without STARTTLS, or with a certificate that is not the host's, the host is not used; the
mail waits.
"""

import asyncio
import errno
import os
from asyncio import get_running_loop as running_loop
from collections.abc import Sequence
from dataclasses import replace

from gateway.clock import Clock
from gateway.delivery import causes
from gateway.delivery.client import ClientSettings, SmtpConnection
from gateway.delivery.maildir import MaildirChannel
from gateway.delivery.route import Router
from gateway.delivery.tls import TlsContexts
from gateway.delivery.transfer import Channel, Failure, Target

# RFC 8305 §5: the next address is tried after 250 ms without an answer, the former stays in the race.
STAGGER_SECONDS = 0.25

# Descriptors, memory or ports that are used up here say nothing about the next hop (contract.md §2: not its delay).
_OWN_FAULTS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})


class Connector:
    """Opens channels; ``settings`` and ``connect_seconds`` are the configuration's of the moment."""

    def __init__(self, router: Router, clock: Clock, contexts: TlsContexts) -> None:
        self._router = router
        self._clock = clock
        self._contexts = contexts

    async def open(self, target: Target, settings: ClientSettings, connect_seconds: float) -> Channel | Failure:
        """Return a channel that is ready for a transfer, or why there is none."""
        if target.scheme == "maildir":
            return MaildirChannel(target, self._clock)
        return await self.open_smtp(target, settings, connect_seconds)

    async def open_smtp(
        self, target: Target, settings: ClientSettings, connect_seconds: float
    ) -> SmtpConnection | Failure:
        """Return a connection after EHLO and, where the policy says so, TLS."""
        begun = self._clock.monotonic()
        opened = await self._secured(target, settings, connect_seconds)
        if isinstance(opened, Failure) and opened.phase == "starttls" and target.tls == "may":
            opened = await self._secured(replace(target, tls="none"), settings, connect_seconds)
        if isinstance(opened, SmtpConnection):
            opened.target = target
            opened.setup_seconds = self._clock.monotonic() - begun
        return opened

    async def _secured(
        self, target: Target, settings: ClientSettings, connect_seconds: float
    ) -> SmtpConnection | Failure:
        connection = await self._connected(target, settings, connect_seconds)
        if isinstance(connection, Failure):
            return connection
        try:
            failure = await connection.greet()
            # Local sockets: nothing to protect.
            if failure is None and target.tls != "none" and not target.path:
                failure = await self._start_tls(connection, target)
        except asyncio.CancelledError:
            connection.quit()
            raise
        return failure or connection

    async def _start_tls(self, connection: SmtpConnection, target: Target) -> Failure | None:
        if not connection.extensions.starttls:
            if target.tls == "may":
                return None
            connection.quit()
            return Failure(phase="starttls", reply=causes.TLS_NOT_OFFERED, relay=connection.relay)
        failure = await connection.start_tls(self._contexts.context(target.tls), target.host)
        # RFC 3207 §4.2: what was learnt in clear text is forgotten.
        return failure or await connection.hello()

    async def _connected(
        self, target: Target, settings: ClientSettings, connect_seconds: float
    ) -> SmtpConnection | Failure:
        if target.path:
            attempts = [_Attempt(target, "", settings, self._clock)]
        else:
            found = await self._router.addresses(target)
            if isinstance(found, Failure):
                return found
            attempts = [_Attempt(target, address, settings, self._clock) for address in found]
        try:
            async with asyncio.timeout(connect_seconds):
                return await _first(attempts, target)
        except TimeoutError:
            reply = causes.CANNOT_CONNECT.saying(f"connect to {_shown(target, attempts[0].address)}: timed out")
            return Failure(phase="connect", reply=reply, relay=_shown(target, attempts[0].address))


class _Attempt:
    """One address in the race."""

    def __init__(self, target: Target, address: str, settings: ClientSettings, clock: Clock) -> None:
        self.address = address
        self._target = target
        self._settings = settings
        self._clock = clock

    async def connect(self) -> SmtpConnection:
        """Return the connection; OSError when it is refused."""
        loop = running_loop()
        connection = SmtpConnection(self._target, self._settings, self._clock)
        connection.relay = _shown(self._target, self.address)
        if self._target.path:
            await loop.create_unix_connection(lambda: connection, self._target.path)
        else:
            await loop.create_connection(lambda: connection, self.address, self._target.port)
        return connection


async def _first(attempts: Sequence[_Attempt], target: Target) -> SmtpConnection | Failure:
    """Return the first connection made; attempts start staggered, a refusal starts the next at once."""
    if len(attempts) == 1:
        return await _alone(attempts[0], target)
    waiting = list(attempts)
    running: set[asyncio.Task[SmtpConnection | Failure]] = set()
    failure = Failure(phase="connect", reply=causes.CANNOT_CONNECT, relay=target.name)
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_alone(waiting.pop(0), target)))
            done, running = await asyncio.wait(
                running, timeout=STAGGER_SECONDS if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                result = task.result()
                if not isinstance(result, Failure):
                    return result
                failure = result
        return failure
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_quit_loser)


async def _alone(attempt: _Attempt, target: Target) -> SmtpConnection | Failure:
    try:
        return await attempt.connect()
    except OSError as error:
        relay = _shown(target, attempt.address)
        # asyncio writes its own words into strerror; the system's are the ones administrators know.
        why = os.strerror(error.errno) if error.errno else str(error)
        reply = causes.CANNOT_CONNECT.saying(f"connect to {relay}: {why}")
        return Failure(phase="connect", reply=reply, relay=relay, own_fault=error.errno in _OWN_FAULTS)


def _quit_loser(task: asyncio.Task[SmtpConnection | Failure]) -> None:
    """Close a connection that was made just as another had won."""
    if not task.cancelled() and isinstance(winner := task.result(), SmtpConnection):
        winner.quit()


def _shown(target: Target, address: str) -> str:
    """Return the relay as log lines show it, ``host[address]:port``."""
    return f"{target.host}[{address}]:{target.port}" if address else target.path
