"""One connection to an SMTP or LMTP next hop, one mail transaction at a time (RFC 5321, RFC 2033).

The promise: every recipient of a ``Transfer`` gets exactly one ``Outcome``, whatever the next hop does; the content
leaves as it is but for dot-stuffing; a connection that answered out of step is never used again. Where PIPELINING is
offered, MAIL, every RCPT and DATA go in one write; else each waits for its reply. Instants are those of contract.md §2:
``started`` when the first octet of content is written, an outcome's ``at`` when its reply came.

Extensions are used when offered: SIZE (RFC 1870; a message over the announced maximum is not sent), 8BITMIME (RFC
6152), SMTPUTF8 (RFC 6531; not offered and needed fails permanently), DSN (RFC 3461), LIMITS (RFC 9422). Departure:
8-bit content is sent to a next hop without 8BITMIME as it is, since conversion would change octets (invariant 5) and
break signatures; Exim does the same.

After the final dot silence is ambiguous: the outcome is then transient and marked ``possible_duplicate``.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat

from gateway.clock import Clock, Stamp
from gateway.delivery import causes
from gateway.delivery.commands import TransferCommands, mail_refusal
from gateway.delivery.outgoing import Stuffer, framed
from gateway.delivery.transfer import Channel, Done, Failure, Outcome, Target, Transfer, TransferResult
from gateway.delivery.wire import Wire
from gateway.smtp.reply import Reply
from gateway.smtp.response import NO_EXTENSIONS, Extensions, ProtocolError, parse_ehlo

# Contents up to this are framed and written in one piece; a larger one leaves in pieces, as fast as the next hop reads.
WHOLE_OCTETS = 1024 * 1024

# RFC 5321 §4.5.3.1.8: every server takes 100 recipients a transaction; more is for those that say so (RFC 9422).
RECIPIENTS_PER_TRANSACTION = 100

_READY = 220
_START_INPUT = 354
_CLOSING = 421


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """What a connection is told of the configuration: our name and the waits of RFC 5321 §4.5.3.2, in seconds."""

    hostname: str
    greeting_seconds: float = 300.0
    command_seconds: float = 300.0
    data_start_seconds: float = 120.0
    data_block_seconds: float = 180.0
    data_end_seconds: float = 600.0
    idle_seconds: float = 5.0
    reuse: int = 100


class _Transaction:
    """The transfer under way, and how far it has come."""

    __slots__ = ("accepted", "begun", "done", "dot_sent", "next_recipient", "outcomes", "phase", "started", "transfer")

    def __init__(self, transfer: Transfer, done: Done, begun: Stamp) -> None:
        self.transfer = transfer
        self.done = done
        self.begun = begun
        self.started: Stamp | None = None
        self.outcomes: list[Outcome | None] = [None] * len(transfer.recipients)
        self.accepted: list[int] = []
        self.next_recipient = 0
        self.phase = "mail"
        self.dot_sent = False

    def settle_rest(self, outcome: Outcome) -> None:
        """Give ``outcome`` to every recipient that has none."""
        self.outcomes = [outcome if known is None else known for known in self.outcomes]


class SmtpConnection(Wire):
    """A ``Channel`` over one socket. ``open`` first, then ``begin`` as often as ``is_usable``."""

    def __init__(self, target: Target, settings: ClientSettings, clock: Clock) -> None:
        super().__init__()
        self.target = target
        self.relay = target.name
        self.transfers = 0
        self.setup_seconds = 0.0
        self.extensions: Extensions = NO_EXTENSIONS
        # RFC 2033: an LMTP server puts the message where it is read; an SMTP server passes it on or may do so.
        self.final_delivery = target.scheme == "lmtp"
        self._lmtp = self.final_delivery
        self._settings = settings
        self._clock = clock
        self._transaction: _Transaction | None = None
        self._result: TransferResult | None = None
        self._needs_reset = False
        self._commands: TransferCommands | None = None
        self._streaming: asyncio.Task[None] | None = None
        self._closed: Callable[[Channel], None] | None = None
        # Awaited from the first: it may arrive before anybody is told of the connection.
        self._greeting = self._future_reply()

    # Transport callbacks ----------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Give each reply to whoever waits for it."""
        try:
            found = self._parser.feed(data)
        except ProtocolError as error:
            self._break(causes.PROTOCOL_ERROR.saying(str(error)))
            return
        for reply in found:
            if self._result is not None or not self._expected:
                # A reply that nobody asked for: the farewell of an idle connection (RFC 5321 §3.8), or a server out
                # of step.
                self._broken = True
                break
            self._expected.popleft()(reply)
        if self._parser.error is not None:
            self._break(causes.PROTOCOL_ERROR.saying(str(self._parser.error)))
        elif self._result is not None:
            self._hand_over()
        elif self._broken:
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Settle what is open."""
        del exc
        self._transport = None
        self._break(causes.LOST_CONNECTION.saying(f"lost connection with {self.relay} while waiting for {self._what}"))

    # Opening ----------------------------------------------------------------------------------------------------------

    async def greet(self) -> Failure | None:
        """Read the greeting and say EHLO or LHLO; None when the connection is ready."""
        if not self._greeting.done():
            self._wait(self._settings.greeting_seconds)
        reply = await self._greeting
        if reply.code != _READY:
            return self._failure("greeting", reply)
        return await self.hello()

    async def hello(self) -> Failure | None:
        """Learn the extensions (RFC 5321 §4.1.1.1); HELO where EHLO is not known (§3.2)."""
        word = "LHLO" if self._lmtp else "EHLO"
        seconds = self._settings.command_seconds
        reply = await self._reply_to(f"{word} {self._settings.hostname}\r\n".encode(), word, seconds)
        self.extensions = parse_ehlo(reply)
        if reply.is_permanent and not self._lmtp and not self._broken:
            reply = await self._reply_to(f"HELO {self._settings.hostname}\r\n".encode(), "HELO", seconds)
        return None if reply.is_success else self._failure("ehlo", reply)

    async def ask(self, commands: bytes, replies: int) -> list[Reply]:
        """Send commands outside any transfer and return their replies; what breaks the connection answers the rest."""
        self._closed = None
        waiting = [self._expect() for _ in range(replies)]
        self._send(commands, "a reply", self._settings.command_seconds)
        return [await future for future in waiting]

    async def start_tls(self, context: ssl.SSLContext, server_name: str) -> Failure | None:
        """Say STARTTLS and shake hands (RFC 3207); the caller says EHLO again."""
        reply = await self._reply_to(b"STARTTLS\r\n", "STARTTLS", self._settings.command_seconds)
        if not reply.is_success:
            return self._failure("starttls", reply)
        # RFC 3207 §6 and CVE-2011-0411: what came in clear text behind the reply must not be taken for part of the
        # TLS session.
        if not self._parser.is_idle or self._broken or self._transport is None:
            return self._failure("starttls", causes.TLS_FAILED.saying("clear text behind the reply to STARTTLS"))
        # start_tls keeps its own time; ours must not fire in between.
        self._wait(2 * self._settings.command_seconds)
        try:
            transport = await self._loop.start_tls(
                self._transport,
                self,
                context,
                server_hostname=server_name,
                ssl_handshake_timeout=self._settings.command_seconds,
            )
        except (OSError, TimeoutError, ValueError) as error:
            # ValueError: a name that TLS cannot carry, which whoever owns the domain chooses.
            return self._failure("starttls", causes.TLS_FAILED.saying(f"TLS failed: {error}"))
        if transport is None:
            return self._failure("starttls", causes.LOST_CONNECTION)
        self._transport = transport
        self.extensions = NO_EXTENSIONS
        return None

    # The channel ------------------------------------------------------------------------------------------------------

    @property
    def is_usable(self) -> bool:
        """Whether another transfer can begin: open, in step, and not used as often as allowed."""
        return self._transport is not None and not self._broken and self.transfers < self._most_transfers

    @property
    def most_recipients(self) -> int:
        """Recipients that one transaction takes."""
        return self.extensions.limits.get("RCPTMAX", RECIPIENTS_PER_TRANSACTION)

    @property
    def _most_transfers(self) -> int:
        return min(self._settings.reuse, self.extensions.limits.get("MAILMAX", self._settings.reuse))

    def begin(self, transfer: Transfer, done: Done) -> None:
        """Carry out ``transfer``."""
        self._closed = None
        self._transaction = transaction = _Transaction(transfer, done, self._clock.stamp())
        if self._broken or self._transport is None:
            # It went while the caller was fetching the content.
            self.transfers += 1
            self._refused_by_host(causes.LOST_CONNECTION.saying(f"lost connection with {self.relay}"))
            self._loop.call_soon(self._hand_over)
            return
        refusal = mail_refusal(transfer, self.extensions)
        if refusal is not None:
            transaction.settle_rest(Outcome(phase="mail", reply=refusal, at=transaction.begun))
            self._finish()
            self._loop.call_soon(self._hand_over)
            return
        self.transfers += 1
        commands = TransferCommands(transfer, self.extensions)
        if not self.extensions.pipelining:
            self._commands = commands
            self._step()
            return
        reset = b""
        if self._needs_reset:
            # RFC 5321 §4.1.1.5: the last transaction ended before its DATA, and may still be open over there.
            reset, self._needs_reset = b"RSET\r\n", False
            self._expected.append(self._on_reset)
        self._expected.append(self._on_mail)
        self._expected.extend(repeat(self._on_rcpt, len(transfer.recipients)))
        self._expected.append(self._on_data)
        # RFC 2920 §3.1: MAIL, RCPT and DATA may go in one group, DATA last.
        self._send(reset + commands.group(), "the reply to MAIL", self._settings.command_seconds)

    def release(self, closed: Callable[[Channel], None]) -> None:
        """Stay open for the idle time."""
        if not self.is_usable:
            self._loop.call_soon(closed, self)
            return
        self._closed = closed
        self._what = "nothing"
        self._wait(self._settings.idle_seconds)

    def quit(self) -> None:
        """Say QUIT and close; the reply is of no interest."""
        self._closed = None
        self._broken = True
        if self._transport is not None:
            self._transport.write(b"QUIT\r\n")
        self._close()

    # The transaction, reply by reply ----------------------------------------------------------------------------------

    def _step(self) -> None:
        """Send the next command of a transaction to a next hop without PIPELINING."""
        transaction, commands = self._transaction, self._commands
        if transaction is None or commands is None:
            return
        if self._needs_reset:
            self._needs_reset = False
            self._expected.append(self._on_reset)
            self._send(b"RSET\r\n", "the reply to RSET", self._settings.command_seconds)
            return
        at = commands.sent
        # Nobody is left to send to: DATA is not asked for at all.
        if at == commands.count - 1 and not transaction.accepted:
            self._needs_reset = True
            self._finish()
            return
        self._expected.append(
            self._on_mail if at == 0 else self._on_data if at == commands.count - 1 else self._on_rcpt
        )
        self._send(commands.next(), f"the reply to {transaction.phase.upper()}", self._settings.command_seconds)

    def _on_reset(self, reply: Reply) -> None:
        if not reply.is_success:
            self._refused_by_host(reply)
            return
        self._go_on("the reply to MAIL")

    def _on_mail(self, reply: Reply) -> None:
        transaction = self._under_way()
        if reply.code == _CLOSING:
            self._refused_by_host(reply)
            return
        if not reply.is_success:
            transaction.settle_rest(Outcome(phase="mail", reply=_refusing(reply), at=self._clock.stamp()))
            if self._commands is not None:
                self._finish()
                return
        transaction.phase = "rcpt"
        self._go_on("the reply to RCPT")

    def _go_on(self, what: str) -> None:
        """Send the next command, or await the next reply to a group: each has its own time (RFC 5321 §4.5.3.2)."""
        if self._commands is None:
            self._what = what
            self._wait(self._settings.command_seconds)
        else:
            self._step()

    def _on_rcpt(self, reply: Reply) -> None:
        transaction = self._under_way()
        if reply.code == _CLOSING:
            self._refused_by_host(reply)
            return
        index = transaction.next_recipient
        transaction.next_recipient += 1
        if transaction.outcomes[index] is None:
            if reply.is_success:
                transaction.accepted.append(index)
            else:
                transaction.outcomes[index] = Outcome(phase="rcpt", reply=_refusing(reply), at=self._clock.stamp())
        if transaction.next_recipient == len(transaction.outcomes):
            transaction.phase = "data"
            self._what = "the reply to DATA"
            self._wait(self._settings.data_start_seconds)
            self._step()
        else:
            self._go_on("the reply to RCPT")

    def _on_data(self, reply: Reply) -> None:
        transaction = self._under_way()
        self._commands = None
        if reply.code == _CLOSING:
            self._refused_by_host(reply)
        elif reply.code == _START_INPUT and transaction.accepted:
            self._send_content(transaction)
        elif reply.code == _START_INPUT and self._lmtp:
            # RFC 2033 §4.2: without recipients DATA must be refused; after it there would be no reply to wait for.
            self._broken = True
            self._finish()
        elif reply.code == _START_INPUT:
            # RFC 2920 §3.1: no recipient was accepted, yet DATA was; a lone dot ends it, and whatever is answered
            # counts for nobody.
            self._expected.append(self._on_void)
            self._send(b".\r\n", "the reply to an empty message", self._settings.data_end_seconds)
        else:
            self._needs_reset = True
            if reply.is_success:
                self._broken = True
            transaction.settle_rest(Outcome(phase="data", reply=_refusing(reply), at=self._clock.stamp()))
            self._finish()

    def _on_void(self, reply: Reply) -> None:
        del reply
        self._finish()

    def _on_end(self, reply: Reply) -> None:
        transaction = self._under_way()
        outcome = Outcome(phase="end-of-data", reply=_refusing(reply, 200), at=self._clock.stamp())
        if not transaction.dot_sent:
            outcome = self._answered_too_early(reply)
        if self._lmtp and transaction.dot_sent:
            # RFC 2033 §4.2: one reply for each recipient accepted, in their order.
            transaction.outcomes[transaction.accepted.pop(0)] = outcome
            if transaction.accepted:
                self._expected.append(self._on_end)
                self._wait(self._settings.data_end_seconds)
                return
        else:
            transaction.settle_rest(outcome)
        if reply.code == _CLOSING:
            self._broken = True
        self._finish()

    def _answered_too_early(self, reply: Reply) -> Outcome:
        # A refusal before the end of data is believed; a 250 for what has not all been sent cannot be.
        self._broken = True
        refused = reply if not reply.is_success else causes.PROTOCOL_ERROR.saying("answered before the end of data")
        return Outcome(phase="content", reply=refused, at=self._clock.stamp())

    # The content ------------------------------------------------------------------------------------------------------

    def _send_content(self, transaction: _Transaction) -> None:
        transfer = transaction.transfer
        transaction.phase = "content"
        self._expected.append(self._on_end)
        if transfer.content.octets is None or transfer.content.size > WHOLE_OCTETS:
            self._what = "the content to be read"
            self._streaming = self._loop.create_task(self._stream(transaction))
            return
        octets = framed(b"".join(transfer.rendition.chunks(transfer.content)))
        transaction.started = self._clock.stamp()
        transaction.dot_sent = True
        transaction.phase = "end-of-data"
        self._send(octets, "the reply to the end of data", self._settings.data_end_seconds)

    async def _stream(self, transaction: _Transaction) -> None:
        stuffer = Stuffer()
        pieces = iter(transaction.transfer.rendition.chunks(transaction.transfer.content))
        try:
            # Files are read off the loop: a cold disk must not hold up the other sessions.
            while (piece := await self._loop.run_in_executor(None, _next_piece, pieces, stuffer)) is not None:
                if self._transaction is not transaction or self._transport is None:
                    return
                transaction.started = transaction.started or self._clock.stamp()
                self._send(piece, "the content to be read", self._settings.data_block_seconds)
                if self._writable is not None:
                    await self._writable
        except OSError as error:
            self._unreadable(transaction, error)
            return
        if self._transaction is transaction:
            transaction.started = transaction.started or self._clock.stamp()
            transaction.dot_sent = True
            transaction.phase = "end-of-data"
            self._send(stuffer.finish(), "the reply to the end of data", self._settings.data_end_seconds)

    def _unreadable(self, transaction: _Transaction, error: OSError) -> None:
        if self._transaction is not transaction:
            return
        # Without the end of data the next hop drops what it has.
        self._broken = True
        reply = causes.CONTENT_UNREADABLE.because(str(error))
        transaction.settle_rest(Outcome(phase="content", reply=reply, at=self._clock.stamp(), own_fault=True))
        self._finish()
        self._hand_over()

    # Ends -------------------------------------------------------------------------------------------------------------

    def _under_way(self) -> _Transaction:
        assert self._transaction is not None  # noqa: S101 - handlers are expected only while one is
        return self._transaction

    def _refused_by_host(self, reply: Reply) -> None:
        """End the transfer: the host closes (421) before any content, and another host may be tried at once."""
        transaction = self._under_way()
        transaction.settle_rest(Outcome(phase=transaction.phase, reply=_refusing(reply), at=self._clock.stamp()))
        self._broken = True
        self._finish(refused_by_host=not any(o and o.reply.is_permanent for o in transaction.outcomes))

    def _finish(self, *, refused_by_host: bool = False) -> None:
        transaction = self._under_way()
        self._result = TransferResult(
            # Every recipient has an outcome here; one without would be a bug, and is then deferred rather than lost.
            outcomes=tuple(o or self._unsettled(transaction) for o in transaction.outcomes),
            begun=transaction.begun,
            started=transaction.started,
            ended=self._clock.stamp(),
            refused_by_host=refused_by_host,
            stale=refused_by_host and self.transfers > 1,
            passes_dsn_on=self.extensions.dsn,
        )

    def _unsettled(self, transaction: _Transaction) -> Outcome:
        return Outcome(phase=transaction.phase, reply=causes.PROTOCOL_ERROR, at=self._clock.stamp())

    def _hand_over(self) -> None:
        """Give the result to the caller, who may begin the next transfer from within."""
        result, transaction = self._result, self._transaction
        if result is None or transaction is None:
            return
        self._result = self._transaction = self._commands = None
        if self._expected or not self._parser.is_idle:
            # Replies are still due: the connection is out of step.
            self._broken = True
            self._expected.clear()
        if self._broken:
            self._cut()
        transaction.done(result)

    def _break(self, reply: Reply) -> None:
        """Give the connection up; whoever waits gets ``reply``."""
        was_idle = self._transaction is None and not self._expected
        self._broken = True
        transaction = self._transaction
        self._cut()
        if transaction is not None:
            self._expected.clear()
            if self._result is None:
                self._end_broken(transaction, reply)
            self._hand_over()
        while self._expected:
            self._expected.popleft()(reply)
        if was_idle and self._closed is not None:
            closed, self._closed = self._closed, None
            closed(self)

    def _end_broken(self, transaction: _Transaction, reply: Reply) -> None:
        ambiguous = transaction.dot_sent
        transaction.settle_rest(
            Outcome(phase=transaction.phase, reply=reply, at=self._clock.stamp(), possible_duplicate=ambiguous)
        )
        decided = any(o is not None and o.reply.is_permanent for o in transaction.outcomes)
        self._finish(refused_by_host=transaction.started is None and not ambiguous and not decided)

    def _failure(self, phase: str, reply: Reply) -> Failure:
        self._close()
        return Failure(phase=phase, reply=reply, relay=self.relay)

    # Time -------------------------------------------------------------------------------------------------------------

    def _on_timer(self) -> None:
        if self._closed is not None and self._transaction is None:
            closed = self._closed
            self.quit()
            closed(self)
            return
        self._break(causes.TIMED_OUT.saying(f"timed out with {self.relay} while waiting for {self._what}"))


def _next_piece(pieces: Iterator[bytes], stuffer: Stuffer) -> bytes | None:
    piece = next(pieces, None)
    return None if piece is None else stuffer.feed(piece)


def _refusing(reply: Reply, meant: int = 0) -> Reply:
    """Return ``reply`` when its place allows it, else a protocol error: a 250 to DATA is neither yes nor no."""
    if reply.is_transient or reply.is_permanent or reply.code // 100 * 100 == meant:
        return reply
    return causes.PROTOCOL_ERROR.saying(f"unexpected reply: {reply}")
