"""One SMTP session from accept to close (RFC 5321 §3.1, §3.8): command loop, output, timeouts, the end.

``Session`` is aiosmtpd's ``SMTP`` protocol with its input and output replaced. Kept are the dispatch to ``smtp_VERB``
methods, which its constructor discovers (once a listener: it walks every attribute by ``inspect``, 0.3 ms), and its
``Session`` record of what the client said. Replaced, because each was a trap: the client handler (no hook at connect,
cancelled when the client leaves, ``500 Error: (Type) text`` for a bug), the line reader (1001 octets, LF), the timer.

One task a session, and nothing else: no task, timer or wait a command. The task is never cancelled because a client
left or closed its side: it learns of that at its next wait, so that a message whose final dot has come is stored once
and delivered once whatever the client does then. Replies are collected and written when the session waits (RFC 2920
§3.2). The listener's sweep looks at every session once a second; it writes replies that are overdue and ends what has
waited too long.

``verbs.py`` has the commands, ``mailing.py`` those of the mail transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

from aiosmtpd.smtp import SMTP
from aiosmtpd.smtp import Session as ClientRecord

from gateway.intake.guard import Admission
from gateway.intake.input import Input, SessionEnd
from gateway.intake.listener import Listener
from gateway.intake.pace import Pace
from gateway.journal.events import SessionClosed, SessionRefused
from gateway.mail.connection import Connection
from gateway.smtp import replies
from gateway.smtp.command import HTTP_VERBS, CommandError, parse_command
from gateway.smtp.reply import RefusalError, Reply

Verb = Callable[["Session", Any], Awaitable[None]]

# After our last words the client's octets are read and dropped for so long: a close with octets unread would be a
# reset, and a reset can overtake the reply.
LINGER_SECONDS = 5.0
# Commands that move no mail; beyond so many between two mails each counts as an error (Postfix:
# smtpd_junk_command_limit).
JUNK_COMMANDS = 100
_SEEN_TO_ELSEWHERE = frozenset(["QUIT", "BDAT"])
# A pipelined flood must not keep the loop to itself: so many commands take about a millisecond.
COMMANDS_A_TURN = 50
_JUNK = frozenset(["NOOP", "RSET", "VRFY", "EXPN", "ETRN", "HELP", "HELO", "EHLO"])

_FOREVER = float("inf")


class Session(SMTP):
    """The session as far as it is not about mail."""

    def __init__(self, listener: Listener, verbs: dict[str, Verb]) -> None:
        self.loop = asyncio.get_running_loop()
        self._listener = listener
        self._clock = listener.clock
        self._verbs = verbs
        self._input = Input(self.loop, self._before_wait)
        self._out: list[bytes] = []
        self._patience = _FOREVER
        self._deadline = _FOREVER
        self._pace: Pace | None = None
        self._reading_paused = False
        self._blocked: asyncio.Future[None] | None = None
        self._write_blocked = False
        self._lost = False
        self._lingering = False
        self._judging = False
        self._committing = False
        self._out_of_time = False
        self._in_content = False
        self._batched = False
        self._handler_coroutine = None
        self._held: Admission | None = None
        self._exhausted: Reply | None = None
        self._commands = self._errors = self._strikes = self._junk = self._unknown_recipients = 0
        self._transactions = self._messages = 0

    # --- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; TLS is put in between later, without coming here."""
        self._use(cast("asyncio.Transport", transport))
        self._gate = self._listener.gate()
        self._settings = self._listener.settings(self._gate)
        self._connection = self._first_facts()
        if self._listener.is_pressed() and self._is_turned_away():
            return
        self.session = self._record = ClientRecord(self.loop)
        self._listener.sessions.add(self)
        self._handler_coroutine = self.loop.create_task(self._handle_client())

    def _is_turned_away(self) -> bool:
        """Refuse in passing whom every policy refuses at once, when many come.

        Departure from RFC 5321 §3.1, as of Postfix's postscreen: a client that is refused by 554 is not waited for.
        """
        tls = self._listener.config.tls
        if self._peer.proxy or self._peer.xclient or self._listener.draining or (tls is not None and tls.implicit):
            return False
        refusal = self._gate.turned_away(self._connection)
        if refusal is None:
            return False
        self._lingering = True
        self._stream.write(refusal.wire())
        self._stream.close()
        self._emit_end(SessionEnd("refused", refusal, refusal.cause))
        self._input.release()
        return True

    def _first_facts(self) -> Connection:
        now = self._clock.stamp()
        # A client that is gone already has no name any more.
        host, port = (self._stream.get_extra_info("peername") or ("::", 0))[:2]
        local, local_port = (self._stream.get_extra_info("sockname") or ("", 0))[:2]
        self._peer = peer = self._listener.peer(host)
        return Connection(
            session_id=self._listener.new_id(now.utc),
            client_address=peer.address,
            client_port=port,
            local_address=local.removeprefix("::ffff:"),
            local_port=local_port,
            role=self._listener.config.role,
            connected=now,
            hostname=self._settings.hostname,
            trusted=peer.trusted,
        )

    def data_received(self, data: bytes) -> None:
        """Take octets; stop reading when more has come than anybody wants."""
        if self._lingering:
            return
        if self._input.feed(data) and not self._reading_paused:
            self._reading_paused = True
            self._stream.pause_reading()

    def eof_received(self) -> bool | None:
        """Keep our side open, for who closed its own may wait for replies; TLS has no half-close."""
        self._input.feed_eof()
        return not self._lingering and self._connection.tls is None

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Note that nobody listens any more; the session finishes what it has begun."""
        self._lost = True
        self._input.feed_eof()
        self.resume_writing()
        if self._handler_coroutine is None or self._handler_coroutine.done():
            self._listener.forget(self)

    def _use(self, transport: asyncio.Transport) -> None:
        self.transport = self._stream = transport

    # --- output

    def say(self, reply: Reply, trace_id: str = "") -> None:
        """Queue a reply."""
        self._out.append(reply.wire(trace_id))

    def flush(self) -> None:
        """Write the queued replies in one piece."""
        if self._out:
            if not self._lost:
                self._stream.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
            self._out.clear()

    def pause_writing(self) -> None:
        """Note that the client does not read our replies as fast as it causes them."""
        self._blocked = self.loop.create_future()

    def resume_writing(self) -> None:
        """Go on."""
        if self._blocked is not None and not self._blocked.done():
            self._blocked.set_result(None)
        self._blocked = None

    async def _unblock(self, blocked: "asyncio.Future[None]") -> None:
        # A client that reads no replies gets no further commands done; the deadline ends it.
        self._write_blocked = True
        self._deadline = self._clock.monotonic() + self._patience
        try:
            await blocked
        finally:
            self._write_blocked = False

    # --- waiting and its bounds

    def _before_wait(self) -> None:
        self.flush()
        if self._reading_paused:
            self._reading_paused = False
            self._stream.resume_reading()
        if self._listener.draining and not self._in_transaction():
            self._input.fail(SessionEnd("shutdown", replies.SHUTTING_DOWN))
        now = self._clock.monotonic()
        # A line has its time as a whole: an octet of it now and then would hold a place for a week.
        self._deadline = min(self._deadline, now + self._patience) if self._input.goes_on else now + self._patience
        if self._pace is not None:
            self._pace.wait_begins(now)

    def _in_transaction(self) -> bool:
        return False

    def tick(self, now: float) -> None:
        """Look at the clock: write what is overdue, end what has waited too long."""
        self.flush()
        if self._input.waiting:
            if now >= self._deadline:
                self._input.fail(SessionEnd("timeout", replies.TIMEOUT))
            elif self._pace is not None and self._pace.is_too_slow(now, self._settings):
                self._input.fail(SessionEnd("too-slow", replies.TOO_SLOW))
        elif now >= self._deadline:
            self._tick_busy()

    def _tick_busy(self) -> None:
        if self._lingering or self._write_blocked:
            self._stream.abort()
        elif self._judging and self._handler_coroutine is not None:
            self._judging = False
            self._out_of_time = True
            self._handler_coroutine.cancel()

    def leave(self) -> None:
        """End now if nothing is open, else after the running transaction (the listener drains)."""
        if self._input.waiting and not self._in_transaction():
            self._input.fail(SessionEnd("shutdown", replies.SHUTTING_DOWN))

    def cut(self) -> None:
        """End now, unless a commit is under way: that is always waited for."""
        if self._input.waiting or self._write_blocked:
            self._input.fail(SessionEnd("shutdown", replies.SHUTTING_DOWN))
        elif self._handler_coroutine is not None and not self._committing:
            self._handler_coroutine.cancel()
        if self._write_blocked or self._lingering:
            self._stream.abort()

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """The session's task, to be waited for."""
        return self._handler_coroutine

    # --- a life

    async def _handle_client(self) -> None:
        over = SessionEnd("disconnect")
        try:
            await self._arrive()
            self._patience = self._settings.command_seconds
            while True:
                await self._one_command()
        except SessionEnd as end:
            # Its traceback would tie the session's objects into cycles, which only the garbage collector could free.
            over = end.with_traceback(None)
        except asyncio.CancelledError:
            over = SessionEnd("shutdown", replies.SHUTTING_DOWN)
        except Exception as error:  # noqa: BLE001 - a bug in one session must neither end the worker nor reach the client
            self._listener.internal_error("session", error, self._session_id())
            over = SessionEnd("errors", replies.INTERNAL_ERROR)
        await self._finish(over)

    async def _finish(self, over: SessionEnd) -> None:
        await self._abandon(over)
        if over.reply is not None:
            self.say(over.reply)
        self._hang_up(over)
        if self._held is not None:
            self._listener.guard.leave(self._held)
        self._emit_end(over)
        self._input.release()
        if self._lost:
            self._listener.forget(self)

    async def _abandon(self, over: SessionEnd) -> None:
        """Let go of a transaction that is still open."""

    def _hang_up(self, over: SessionEnd) -> None:
        self.flush()
        if self._lost:
            return
        # Whatever the client does now, the sweep ends it: a close alone waits for one that reads no replies.
        self._lingering = True
        self._deadline = self._clock.monotonic() + LINGER_SECONDS
        gone = over.end == "quit" and not self._input.pending
        if gone or self._input.at_end or not self._stream.can_write_eof():
            self._stream.close()
            return
        self._stream.write_eof()
        if self._reading_paused:
            self._stream.resume_reading()

    def _emit_end(self, over: SessionEnd) -> None:
        now = self._clock.stamp()
        client, role = self._connection.client, str(self._listener.config.role)
        if over.end == "refused":
            reply = str(over.reply) if over.reply else ""
            event = SessionRefused(
                at=now.utc, trace_id=self._session_id(), client=client, role=role, reply=reply, reason=over.reason
            )
            self._listener.events.emit(event)
            return
        tls = self._connection.tls
        self._listener.events.emit(
            SessionClosed(
                at=now.utc,
                trace_id=self._session_id(),
                client=client,
                role=role,
                helo=self._connection.helo,
                tls=tls.version if tls else "",
                end=over.end,
                messages=self._messages,
                commands=self._commands,
                errors=self._errors,
                seconds=self._connection.connected.until(now),
            ),
        )

    def _session_id(self) -> str:
        return self._connection.session_id

    async def _arrive(self) -> None:
        """Let the client in and greet it; raise ``SessionEnd``."""
        raise NotImplementedError

    # --- commands

    async def _one_command(self) -> None:
        try:
            line = await self._input.line()
            self._commands += 1
            await self._obey(line)
        except RefusalError as refusal:
            self.refuse(refusal.reply)
        except SessionEnd:
            raise
        except Exception as error:
            # In the middle of a content the next octets are no commands: only the end of the session is safe.
            if self._in_content:
                raise
            self._listener.internal_error("command", error, self._session_id())
            self.say(replies.INTERNAL_ERROR)
        self._batched = self._input.pending
        if self._batched and not self._commands % COMMANDS_A_TURN:
            await asyncio.sleep(0)
        if self._blocked is not None:
            await self._unblock(self._blocked)

    async def _obey(self, line: bytes) -> None:
        if self._exhausted is not None:
            raise SessionEnd("errors", self._exhausted)
        if line[-2:] != b"\r\n":
            raise CommandError(replies.LINE_FEED_ALONE)
        command = parse_command(line[:-2])
        method = self._verbs.get(command.verb)
        if method is None:
            if command.verb in HTTP_VERBS:
                raise SessionEnd("http", replies.HTTP_CUT_OFF)
            raise CommandError(replies.UNRECOGNISED)
        if self._record.host_name and not self._record.extended_smtp:
            self._require_single(command.verb)
        if command.verb in _JUNK:
            self._count_junk()
        await method(self, command.argument)

    def _require_single(self, verb: str) -> None:
        # RFC 2920 §3.1: without PIPELINING, which HELO never offers, each reply is waited for. QUIT behind the last of
        # it does no harm, and BDAT must see to its chunk first.
        if (self._batched or self._input.pending) and verb not in _SEEN_TO_ELSEWHERE:
            self._note_improper_pipelining()
            raise CommandError(replies.PIPELINING_MISUSE)

    def _note_improper_pipelining(self) -> None:
        if not self._connection.improper_pipelining:
            self._connection = replace(self._connection, improper_pipelining=True)

    # --- refusals and their bounds

    def refuse(self, reply: Reply, trace_id: str = "") -> None:
        """Queue a refusal and count it: after one too many the next command gets 421. A 421 closes the connection."""
        if reply.code == replies.TIMEOUT.code:
            raise SessionEnd("limits", reply)
        if reply.is_permanent:
            self._count_refusal(reply)
            if self._held is not None:
                self._listener.guard.note_failure(self._held)
        self.say(reply, trace_id)

    def _count_refusal(self, reply: Reply) -> None:
        if reply.status != replies.USER_UNKNOWN.status:
            self._count_error()
            return
        self._unknown_recipients += 1
        if 0 < self._settings.limits.unknown_recipients_per_session <= self._unknown_recipients:
            self._exhausted = replies.TOO_MANY_UNKNOWN_RECIPIENTS

    def _count_error(self) -> None:
        self._errors += 1
        self._strikes += 1
        if 0 < self._settings.limits.errors_per_session <= self._strikes:
            self._exhausted = replies.TOO_MANY_ERRORS

    def _count_junk(self) -> None:
        self._junk += 1
        if self._junk > JUNK_COMMANDS:
            self._count_error()


def discover_verbs(kind: type[Session]) -> dict[str, Verb]:
    """Return the commands of a session class, as aiosmtpd finds them: every method ``smtp_VERB``."""
    found = kind.__new__(kind)
    SMTP.__init__(found, None, hostname="discovery", loop=asyncio.get_event_loop())
    return {verb: method.__func__ for verb, method in found._smtp_methods.items()}  # noqa: SLF001 - the dispatch table itself
