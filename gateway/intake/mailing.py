"""The mail transaction (RFC 5321 §3.3, §4.1.1.2 to §4.1.1.4; RFC 3030): MAIL, RCPT, DATA, BDAT.

A transaction keeps the gate, and so the configuration, that it began with. ``smtp_DATA`` and ``smtp_BDAT`` read as
the list of what happens: receive, judge, store, reply. A content that is cut short is never delivered. While a
content comes, a refusal waits for its end, so that no octet of it is ever taken for a command; only one that has no
end in sight (twice what SIZE announces) is cut off.
"""
# ruff: noqa: N802 - the methods' names are aiosmtpd's dispatch

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from functools import partial

from gateway.clock import Stamp
from gateway.intake.acceptance import aborted, judged, store
from gateway.intake.content import ContentWriter
from gateway.intake.framing import DotFramer
from gateway.intake.input import SessionEnd
from gateway.intake.pace import Pace
from gateway.intake.ports import Gate
from gateway.intake.verbs import Argument, CommandingSession, refuse_argument
from gateway.journal.events import RecipientRefused
from gateway.mail.content import EMPTY_CONTENT, Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.transaction import Transaction
from gateway.policy.verdict import Verdict
from gateway.smtp import replies
from gateway.smtp.command import CommandError, after_keyword
from gateway.smtp.limits import MAX_CHUNK_SIZE_DIGITS, MAX_PATH_OCTETS
from gateway.smtp.parameters import NO_MAIL_PARAMETERS, NO_RCPT_PARAMETERS, parse_mail, parse_rcpt_parameters
from gateway.smtp.path import parse_forward_path
from gateway.smtp.reply import RefusalError, Reply

_SENDER_OK = replies.SENDER_OK.wire()
_RECIPIENT_OK = replies.RECIPIENT_OK.wire()
_START = replies.START_MAIL_INPUT.wire()

# RFC 3030 §2: bdat-cmd = "BDAT" SP chunk-size [SP end-marker].
_CHUNK = re.compile(rb"([0-9]{1,%d})(?: +([Ll][Aa][Ss][Tt]))?" % MAX_CHUNK_SIZE_DIGITS)
# Recipients beyond the most, in one transaction, before each counts as an error (Postfix:
# smtpd_recipient_overshoot_limit).
OVERSHOOT = 1000
# Refusals by these are for clients that are on a list; only they are held back.
LISTING_FILTERS = frozenset(["blocklist", "dnsbl", "rhsbl"])
# One piece of a chunk, as large as the pieces of a spilled content.
PIECE_OCTETS = 256 * 1024


@dataclass(slots=True, kw_only=True)
class OpenTransaction:
    """What has been said since MAIL; the one mutable record, gone with RSET."""

    trace_id: str
    gate: Gate
    envelope: Envelope
    enveloped: Stamp
    recipients: list[Recipient] = field(default_factory=list)
    addresses: set[tuple[str, str]] = field(default_factory=set)
    overshoot: int = 0
    any_refused: bool = False
    writer: ContentWriter | None = None
    chunk_refused: bool = False


class SmtpSession(CommandingSession):
    """The whole session."""

    _tx: OpenTransaction | None = None

    def _in_transaction(self) -> bool:
        return self._tx is not None

    # --- MAIL

    async def smtp_MAIL(self, arg: Argument) -> None:
        """RFC 5321 §4.1.1.2."""
        if self._tx is not None:
            raise CommandError(replies.NESTED_MAIL)
        self._require_hello()
        self._take_new_snapshot()
        envelope = self._envelope(arg)
        self._require_means(envelope.declared_octets or 0)
        now = self._clock.stamp()
        self._tx = OpenTransaction(
            trace_id=self._next_id(now),
            gate=self._gate,
            envelope=envelope,
            enveloped=now,
        )
        self._out.append(_SENDER_OK)

    def _require_hello(self) -> None:
        if not self._record.host_name:
            raise CommandError(replies.HELLO_FIRST)

    def _envelope(self, argument: bytes) -> Envelope:
        path, said = parse_mail(after_keyword(argument, b"FROM:"))
        if said is NO_MAIL_PARAMETERS:
            return Envelope(reverse_path=path)
        if not self._record.extended_smtp:
            raise CommandError(replies.EHLO_FOR_EXTENSIONS)
        return Envelope(
            reverse_path=path,
            body=said.body,
            smtputf8=said.smtputf8,
            declared_octets=said.size,
            ret=said.ret,
            envid=said.envid,
        )

    def _require_means(self, octets: int) -> None:
        """Raise ``CommandError`` when a message of the declared size cannot be taken, now or ever."""
        settings = self._settings
        if octets > settings.content.max_octets:
            # RFC 1870 §6.1
            raise CommandError(replies.MESSAGE_TOO_BIG)
        if 0 < settings.limits.messages_per_session <= self._transactions:
            raise SessionEnd("limits", replies.TOO_MANY_MESSAGES)
        if self._held is not None and (refusal := self._listener.guard.count_message(self._held)):
            raise CommandError(refusal)
        if not self._listener.has_room(settings, octets):
            # RFC 1870 §6.2
            raise CommandError(replies.INSUFFICIENT_STORAGE)

    def _next_id(self, now: Stamp) -> str:
        self._transactions += 1
        # The session and its first transaction share an id: most sessions bring one message, and one name tells its
        # whole story.
        return self._session_id() if self._transactions == 1 else self._listener.new_id(now.utc)

    # --- RCPT

    async def smtp_RCPT(self, arg: Argument) -> None:
        """RFC 5321 §4.1.1.3."""
        tx = self._tx
        if tx is None:
            raise CommandError(replies.MAIL_FIRST)
        if tx.writer is not None:
            # RFC 3030 §2: the envelope is complete once the first chunk has come.
            raise CommandError(replies.BAD_SEQUENCE)
        try:
            recipient = self._recipient(tx, after_keyword(arg, b"TO:"))
        except RefusalError as refusal:
            self._refuse_recipient(
                tx, arg[3 : 3 + MAX_PATH_OCTETS].decode("utf-8", "replace").strip(" <>"), refusal.reply
            )
            return
        reply = await tx.gate.judge_recipient(self._connection, tx.envelope, recipient, tx.recipients, tx.trace_id)
        self._note_name(tx.gate)
        if not reply.is_success:
            await self._hold_back(reply)
            self._refuse_recipient(tx, recipient.path.wire, reply)
        else:
            self._accept_recipient(tx, recipient)

    def _note_name(self, gate: Gate) -> None:
        # Found out beside the dialogue, for the trace field and the journal.
        if not self._connection.client_name and (name := gate.client_name(self._connection)):
            self._connection = replace(self._connection, client_name=name)

    async def _hold_back(self, reply: Reply) -> None:
        """Let a listed client wait for its refusal, unless so many wait already."""
        seconds = self._settings.config.smtp.tarpit
        if not seconds or reply.filter not in LISTING_FILTERS:
            return
        if self._listener.tarpitted >= self._settings.limits.tarpits:
            return
        self._listener.tarpitted += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._listener.tarpitted -= 1

    def _recipient(self, tx: OpenTransaction, text: bytes) -> Recipient:
        path, rest = parse_forward_path(text, smtputf8=tx.envelope.smtputf8)
        said = parse_rcpt_parameters(rest)
        if said is not NO_RCPT_PARAMETERS and not self._record.extended_smtp:
            raise CommandError(replies.EHLO_FOR_EXTENSIONS)
        if len(tx.recipients) >= self._settings.limits.recipients_per_message:
            self._count_overshoot(tx)
            raise CommandError(replies.TOO_MANY_RECIPIENTS)
        if self._held is not None and (refusal := self._listener.guard.count_recipient(self._held)):
            raise CommandError(refusal)
        return Recipient(path=path, notify=said.notify, orcpt=said.orcpt)

    def _count_overshoot(self, tx: OpenTransaction) -> None:
        # RFC 5321 §4.5.3.1.10: the client sends the rest in another transaction, so a 452 is no error of its.
        tx.overshoot += 1
        if tx.overshoot > OVERSHOOT:
            self._count_error()

    def _accept_recipient(self, tx: OpenTransaction, recipient: Recipient) -> None:
        # Said twice, delivered once; the local part's case may matter to its mailbox server, so only equal ones are
        # the same.
        mailbox = recipient.path.mailbox
        if (mailbox.local_part, mailbox.domain) not in tx.addresses:
            tx.addresses.add((mailbox.local_part, mailbox.domain))
            tx.recipients.append(recipient)
        self._out.append(_RECIPIENT_OK)

    def _refuse_recipient(self, tx: OpenTransaction, recipient: str, reply: Reply) -> None:
        tx.any_refused = True
        self._listener.events.emit(
            RecipientRefused(
                at=self._clock.stamp().utc,
                trace_id=tx.trace_id,
                client=self._connection.client,
                helo=self._connection.helo,
                reverse_path=tx.envelope.reverse_path.wire,
                recipient=recipient,
                reply=str(reply),
                reason=reply.cause or reply.text,
                filter=reply.filter,
                grounds=reply.grounds,
            ),
        )
        self.refuse(reply, tx.trace_id)

    # --- DATA

    async def smtp_DATA(self, arg: Argument) -> None:
        """RFC 5321 §4.1.1.4."""
        refuse_argument(arg)
        tx = self._ready_transaction()
        if tx.writer is not None:
            raise CommandError(replies.BDAT_MIXED_WITH_DATA)
        if self._input.pending:
            # Text before 354 would be taken for commands, so this is the end of the session.
            self._note_improper_pipelining()
            raise SessionEnd("errors", replies.TEXT_BEFORE_354)
        self._out.append(_START)
        tx.writer = writer = self._new_writer(tx)
        await self._receive(self._until_dot(writer))
        await self._conclude(tx, writer)

    def _ready_transaction(self) -> OpenTransaction:
        if self._tx is None:
            raise CommandError(replies.MAIL_FIRST)
        if not self._tx.recipients:
            # RFC 5321 §3.3: 554 when there were recipients, but none was accepted.
            raise CommandError(replies.NO_VALID_RECIPIENTS if self._tx.any_refused else replies.RCPT_FIRST)
        return self._tx

    def _new_writer(self, tx: OpenTransaction) -> ContentWriter:
        spill_path = partial(self._listener.custody.spill_path, tx.trace_id)
        return ContentWriter(self._settings.content, self._listener.reserve, spill_path)

    async def _receive(self, transfer: Coroutine[object, object, None]) -> None:
        """Run one transfer with the timeouts of content; tell of one that is cut short."""
        self._in_content = True
        try:
            await self._paced(transfer)
        except SessionEnd as end:
            self._close_transaction(end.reply, end.end)
            raise
        self._in_content = False

    async def _paced(self, transfer: Coroutine[object, object, None]) -> None:
        self._patience = self._settings.block_seconds
        self._pace = Pace()
        try:
            await transfer
        finally:
            self._patience = self._settings.command_seconds
            self._pace = None

    async def _until_dot(self, writer: ContentWriter) -> None:
        framer = DotFramer()
        while framer.rest is None:
            data = await self._input.some()
            self._note_arrival(len(data))
            writer.write(framer.feed(data))
            await self._care_for(writer)
        self._input.unread(framer.rest)

    async def _chunk_octets(self, writer: ContentWriter, octets: int) -> None:
        while octets:
            data = await self._input.at_most(min(octets, PIECE_OCTETS))
            octets -= len(data)
            self._note_arrival(len(data))
            writer.write(data)
            await self._care_for(writer)

    def _note_arrival(self, octets: int) -> None:
        if self._pace is not None:
            self._pace.arrived(octets, self._clock.monotonic())

    async def _care_for(self, writer: ContentWriter) -> None:
        if writer.wants_flush:
            await writer.flush()
        if writer.refusal is not None and writer.octets > self._most_skipped():
            raise SessionEnd("errors", writer.refusal)

    def _most_skipped(self) -> int:
        # A refused content is read to its end, for the reply has its place there; what has no end in sight is cut off.
        return 2 * self._settings.content.max_octets

    # --- BDAT

    async def smtp_BDAT(self, arg: Argument) -> None:
        """RFC 3030 §2: a chunk's octets follow at once, so they are consumed whatever the reply."""
        octets, last = _chunk(arg)
        try:
            tx = self._chunk_transaction()
        except CommandError:
            await self._skip(octets)
            raise
        writer = tx.writer = tx.writer or self._new_writer(tx)
        if writer.octets + octets > self._most_skipped():
            self._close_transaction(replies.MESSAGE_TOO_BIG, "errors")
            raise SessionEnd("errors", replies.MESSAGE_TOO_BIG)
        await self._receive(self._chunk_octets(writer, octets))
        if last:
            await self._conclude(tx, writer)
        elif writer.refusal is not None:
            self._chunk_refused(tx, writer, writer.refusal)
        else:
            self.say(replies.chunk_received(octets))

    def _chunk_transaction(self) -> OpenTransaction:
        if self._record.host_name and not self._record.extended_smtp:
            raise CommandError(replies.EHLO_FOR_EXTENSIONS)
        tx = self._ready_transaction()
        if tx.chunk_refused:
            # RFC 3030 §2: after a refused chunk the transaction is indeterminate until RSET.
            raise CommandError(replies.BDAT_TRANSACTION_FAILED)
        return tx

    def _chunk_refused(self, tx: OpenTransaction, writer: ContentWriter, reply: Reply) -> None:
        tx.chunk_refused = True
        self._emit_aborted(tx, reply, reply.text)
        writer.discard()
        self.refuse(reply, tx.trace_id)

    async def _skip(self, octets: int) -> None:
        if octets > self._most_skipped():
            raise SessionEnd("errors", replies.MESSAGE_TOO_BIG)
        self._in_content = True
        await self._paced(self._drop(octets))
        self._in_content = False

    async def _drop(self, octets: int) -> None:
        while octets:
            data = await self._input.at_most(min(octets, PIECE_OCTETS))
            octets -= len(data)
            self._note_arrival(len(data))

    # --- the final dot

    async def _conclude(self, tx: OpenTransaction, writer: ContentWriter) -> None:
        """RFC 5321 §4.1.1.4: one reply, and the transaction is over whatever it is."""
        received = self._clock.stamp()
        content = await writer.finish()
        if isinstance(content, Reply):
            self._close_transaction(content, content.text)
            self.refuse(content, tx.trace_id)
            return
        # From here the content belongs to this call: neither RSET nor the session's end lets go of it.
        self._tx = None
        kept = False
        try:
            reply = await self._answer(tx, self._whole(tx, content, received))
            kept = reply is replies.ACCEPTED
        finally:
            if kept:
                writer.release()
            else:
                writer.discard()
        self.say(reply, tx.trace_id)

    def _whole(
        self, tx: OpenTransaction, content: Content = EMPTY_CONTENT, received: Stamp | None = None
    ) -> Transaction:
        return Transaction(
            trace_id=tx.trace_id,
            connection=self._connection,
            envelope=tx.envelope,
            recipients=tuple(tx.recipients),
            content=content,
            enveloped=tx.enveloped,
            received=received,
        )

    async def _answer(self, tx: OpenTransaction, whole: Transaction) -> Reply:
        """Judge, store, and return the one reply; the event is written before it is given."""
        verdict = await self._judge(tx, whole)
        if isinstance(verdict, Reply):
            self._emit_aborted(tx, verdict, verdict.cause, whole.content.size)
            return verdict
        filtered = self._clock.stamp()
        self._listener.on_judged(whole, verdict)
        emit = self._listener.events.emit
        if verdict.reply is not None:
            emit(judged(whole, verdict, verdict.reply, filtered, None))
            return verdict.reply
        self._committing = True
        try:
            stored = await store(self._listener, tx.gate, whole, verdict, filtered)
        finally:
            self._committing = False
        if isinstance(stored, Reply):
            emit(judged(whole, verdict, stored, filtered, None))
            self._emit_aborted(tx, stored, "not stored", whole.content.size)
            return stored
        emit(judged(whole, verdict, replies.ACCEPTED, filtered, stored.stamps.durable))
        self._note_accepted()
        return replies.ACCEPTED

    async def _judge(self, tx: OpenTransaction, whole: Transaction) -> Verdict | Reply:
        """Return the verdict, or the 4yz that our own fault or the time budget makes of it (invariant 7)."""
        self._deadline = self._clock.monotonic() + self._settings.reply_budget_seconds
        self._judging = True
        try:
            return await tx.gate.judge_content(whole)
        except asyncio.CancelledError:
            if not self._out_of_time:
                self._emit_aborted(tx, replies.SHUTTING_DOWN, "shutdown", whole.content.size)
                raise
            self._out_of_time = False
            if self._handler_coroutine is not None:
                self._handler_coroutine.uncancel()
            return replies.INTERNAL_ERROR.because("data_reply_budget spent")
        except Exception as error:  # noqa: BLE001 - our own fault is a 4yz to the client, whatever it was
            self._listener.internal_error("judge", error, tx.trace_id)
            return replies.INTERNAL_ERROR.because("internal error")
        finally:
            self._judging = False

    def _note_accepted(self) -> None:
        self._messages += 1
        # Postfix counts errors and junk "without delivering mail"; so do we.
        self._strikes = self._junk = 0

    # --- contents that come to nothing

    async def _abandon(self, over: SessionEnd) -> None:
        self._close_transaction(over.reply, over.end)

    def _forget_transaction(self) -> None:
        self._close_transaction(None, "reset")

    def _close_transaction(self, reply: Reply | None, reason: str) -> None:
        tx, self._tx = self._tx, None
        if tx is None or tx.writer is None:
            return
        if not tx.chunk_refused:
            self._emit_aborted(tx, reply, reason)
        tx.writer.discard()

    def _emit_aborted(self, tx: OpenTransaction, reply: Reply | None, reason: str, octets: int | None = None) -> None:
        if octets is None:
            octets = tx.writer.octets if tx.writer else 0
        if tx.writer is not None and tx.writer.fault is not None:
            self._listener.storage_failed("spill", tx.writer.fault, tx.trace_id)
        self._listener.events.emit(aborted(self._whole(tx), octets, reply, reason, self._clock.stamp().utc))


def _chunk(argument: bytes) -> tuple[int, bool]:
    """Return a chunk's size and whether it is the last; raise ``SessionEnd``."""
    match = _CHUNK.fullmatch(argument)
    if match is None:
        # Without a size nobody knows where the next command begins.
        raise SessionEnd("errors", replies.BDAT_BAD_SIZE)
    return int(match[1]), match[2] is not None
