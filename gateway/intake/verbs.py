"""The commands that move no mail: EHLO, HELO, RSET, NOOP, VRFY, HELP, QUIT (RFC 5321 §4.1.1), STARTTLS, XCLIENT.

A command is a method ``smtp_VERB`` that takes the argument's octets; aiosmtpd's dispatch finds it by its name. What
is refused raises ``CommandError`` with a named reply.
"""
# ruff: noqa: N802, N815, ARG002 - the methods' names and their one parameter are aiosmtpd's dispatch

from dataclasses import replace
from typing import Any

from gateway.intake.arrival import ArrivingSession
from gateway.intake.input import SessionEnd
from gateway.intake.xclient import ClientFacts, parse_xclient
from gateway.smtp import replies
from gateway.smtp.command import CommandError
from gateway.smtp.limits import MAX_DOMAIN_OCTETS
from gateway.smtp.reply import Reply

# aiosmtpd declares its methods for text, with None for nothing; ours take octets.
Argument = Any

_OK = replies.OK.wire()


def refuse_argument(argument: bytes) -> None:
    """Raise ``CommandError`` when a command that takes no argument has one (RFC 5321 §4.1.1)."""
    if argument:
        raise CommandError(replies.NO_ARGUMENTS_ALLOWED)


class CommandingSession(ArrivingSession):
    """A session that can talk."""

    async def smtp_EHLO(self, hostname: Argument) -> None:
        """RFC 5321 §4.1.1.1: greet, say what is offered, forget any transaction."""
        self._greeted(hostname, extended=True)
        self._out.append(self._settings.ehlo[self._connection.tls is not None, self._peer.xclient])
        if self._input.pending:
            # RFC 2920 §3.1: EHLO is the last of a group, since its reply says whether there may be groups.
            self._note_improper_pipelining()

    async def smtp_HELO(self, hostname: Argument) -> None:
        """RFC 5321 §4.1.1.1: greet a client that knows no extensions."""
        self._greeted(hostname, extended=False)
        self._out.append(self._settings.helo)

    def _greeted(self, argument: bytes, *, extended: bool) -> None:
        if not argument:
            raise CommandError(replies.HELLO_NAME_MISSING)
        if len(argument) > MAX_DOMAIN_OCTETS:
            raise CommandError(replies.HELLO_NAME_BAD)
        self._forget_transaction()
        self._take_new_snapshot()
        record = self._record
        record.host_name = argument.decode("ascii")
        record.extended_smtp = extended
        said = self._said_by_proxy
        self._connection = replace(
            self._connection,
            helo=record.host_name if said.helo is None else said.helo,
            esmtp=extended if said.esmtp is None else said.esmtp,
        )

    _said_by_proxy = ClientFacts()

    def _forget_transaction(self) -> None:
        """RFC 5321 §4.1.1.5: nothing of a mail transaction stays."""

    def _take_new_snapshot(self) -> None:
        self._gate = self._listener.gate()
        self._settings = self._listener.settings(self._gate)

    async def smtp_RSET(self, arg: Argument) -> None:
        """RFC 5321 §4.1.1.5."""
        refuse_argument(arg)
        self._forget_transaction()
        self._out.append(_OK)

    async def smtp_NOOP(self, arg: Argument) -> None:
        """RFC 5321 §4.1.1.9: an argument is ignored."""
        self._out.append(_OK)

    async def smtp_VRFY(self, arg: Argument) -> None:
        """RFC 5321 §3.5.3, §7.3: whether a mailbox exists is told at RCPT only."""
        if not arg:
            raise CommandError(replies.BAD_ARGUMENTS)
        self.say(replies.VRFY_CANNOT)

    async def smtp_HELP(self, arg: Argument) -> None:
        """RFC 5321 §4.1.1.8."""
        self.say(replies.HELP)

    async def _not_implemented(self, arg: Argument) -> None:
        raise CommandError(replies.NOT_IMPLEMENTED)

    # RFC 5321 §4.1.1.7 and RFC 1985 (queues of others are theirs to start); RFC 821's commands that RFC 5321 appendix
    # F retires. AUTH: no listener authenticates yet, so it is neither offered nor taken (aiosmtpd would).
    smtp_EXPN = smtp_ETRN = smtp_TURN = smtp_SEND = smtp_SOML = smtp_SAML = smtp_AUTH = _not_implemented

    async def smtp_QUIT(self, arg: Argument) -> None:
        """RFC 5321 §4.1.1.10."""
        refuse_argument(arg)
        raise SessionEnd("quit", replies.GOODBYE)

    async def smtp_PROXY(self, arg: Argument) -> None:
        """Refuse to hear from a stranger who the client is."""
        self._refuse_claim("PROXY header from an address that is not listed")

    def _refuse_claim(self, reason: str) -> None:
        raise SessionEnd("refused", replies.CONNECTION_REFUSED, reason)

    # --- STARTTLS

    async def smtp_STARTTLS(self, arg: Argument) -> None:
        """RFC 3207 §4: begin TLS, then everything said before is forgotten."""
        refuse_argument(arg)
        self._require_starttls()
        self.say(replies.READY_FOR_TLS)
        self.flush()
        await self._secure()
        # RFC 3207 §4.2: the client's EHLO and transaction in clear text do not count.
        self._start_over()

    def _require_starttls(self) -> None:
        if self._connection.tls is not None:
            raise CommandError(replies.TLS_ALREADY_ACTIVE)
        if self._listener.certificate is None:
            raise CommandError(replies.TLS_NOT_OFFERED)
        if self._input.pending:
            # CVE-2011-0411: octets sent in clear behind STARTTLS are somebody else's.
            self._note_improper_pipelining()
            raise SessionEnd("errors", replies.CLEARTEXT_AFTER_STARTTLS)

    def _start_over(self) -> None:
        self._forget_transaction()
        self._record.host_name = None
        self._record.extended_smtp = False
        self._connection = replace(self._connection, helo="", esmtp=False)

    # --- XCLIENT

    async def smtp_XCLIENT(self, arg: Argument) -> None:
        """Postfix's XCLIENT_README: take the client's facts from a listed proxy and greet anew."""
        if not self._peer.xclient:
            raise CommandError(replies.XCLIENT_DENIED)
        if self._in_transaction():
            raise CommandError(replies.TRANSACTION_OPEN)
        facts = parse_xclient(arg)
        refusal = self._impersonate(facts)
        if refusal is not None:
            raise SessionEnd("refused", refusal, refusal.text)
        self._start_over()
        self._said_by_proxy = facts
        self._connection = replace(self._connection, helo=facts.helo or "", esmtp=bool(facts.esmtp))
        await self._ask_gate()
        self._out.append(self._settings.banner)

    def _impersonate(self, facts: ClientFacts) -> Reply | None:
        connection = self._connection
        if facts.name is not None:
            connection = replace(connection, client_name=facts.name)
        if facts.port is not None:
            connection = replace(connection, client_port=facts.port)
        refusal = None
        if facts.address is not None:
            client = self._listener.peer_of(facts.address)
            connection = replace(connection, client_address=client.address, trusted=client.trusted, via=self._peer.text)
            refusal = self._hold(self._listener.guard.enter(client.address))
        self._connection = connection
        return refusal
