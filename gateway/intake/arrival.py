"""From accept to the greeting (RFC 5321 §3.1, §4.3.1), what is cheapest and says the last word first.

Who the client is (PROXY header); whether every policy refuses it by what is known at once, local lists and having
spoken already; its limits and rates; implicit TLS; the banner's delay, for those who speak early; admission, from
where on DNS is asked. Refused by a list, a client hears so whatever its rate, since it need not come again; one that is
over its limits too is not waited for. A refusal costs the client's rates as much as one later would.
"""

import fcntl
import sys
import termios
from dataclasses import replace

from gateway.intake.guard import Admission
from gateway.intake.input import SessionEnd
from gateway.intake.proxy_protocol import Endpoints, Incomplete, Malformed, ProxyHeader, parse_proxy_header
from gateway.intake.session import Session
from gateway.intake.tls import start_tls, start_tls_behind, tls_facts
from gateway.smtp import replies
from gateway.smtp.command import CommandError
from gateway.smtp.reply import Reply

# HAProxy sends its header with the connection; its specification §2 asks receivers to wait 3 seconds at least.
PROXY_HEADER_SECONDS = 5.0
# What a client that was refused at the door may still say before it must be gone (RFC 5321 §3.1: it is waited for
# QUIT).
REFUSED_SECONDS = 30.0
REFUSED_COMMANDS = 20


class ArrivingSession(Session):
    """A session that can begin."""

    async def _arrive(self) -> None:
        listener = self._listener
        if listener.draining:
            raise SessionEnd("refused", replies.SHUTTING_DOWN, "shutting down")
        limit = await self._know_client()
        refusal = self._at_first_sight()
        if limit is None:
            limit = self._take_place()
        if listener.config.tls is not None and listener.config.tls.implicit:
            await self._secure()
        if refusal is not None:
            await self._turn_away(refusal, limit)
        if limit is not None:
            raise SessionEnd("refused", limit, limit.text)
        await self._watch_for_early_talk()
        await self._ask_gate()
        self._out.append(self._settings.banner)

    async def _know_client(self) -> Reply | None:
        """Find out who the client is, of a proxy's; return the refusal when there is no room for the proxy."""
        if not self._peer.proxy and not self._peer.xclient:
            return None
        # The limits are its clients'; it says by PROXY or XCLIENT who they are.
        refusal = self._hold(self._listener.guard.enter_proxy(self._peer.address))
        if self._peer.proxy and (endpoints := await self._read_proxy_header()) is not None:
            self._become(endpoints)
        return refusal

    def _at_first_sight(self) -> Reply | None:
        """Return the refusal of a client that every policy refuses by its address, or for having spoken already."""
        if self._peer.xclient:
            return None
        self._note_early_talk()
        return self._gate.turned_away(self._connection)

    def _take_place(self) -> Reply | None:
        """Count the client in; return why there is no place for it."""
        if self._connection.via or not (self._peer.proxy or self._peer.xclient):
            return self._hold(self._listener.guard.enter(self._connection.client_address))
        # A proxy that speaks for itself holds its place already.
        return None

    def _hold(self, answer: Admission | Reply) -> Reply | None:
        if isinstance(answer, Reply):
            return answer
        if self._held is not None:
            self._listener.guard.leave(self._held)
        self._held = answer
        return None

    # --- PROXY

    async def _read_proxy_header(self) -> Endpoints | None:
        self._patience = PROXY_HEADER_SECONDS
        data = b""
        while True:
            try:
                data += await self._input.some()
            except SessionEnd as end:
                raise SessionEnd("refused", None, f"no PROXY header: {end.end}") from end
            match parse_proxy_header(data):
                case ProxyHeader(length, endpoints):
                    self._input.unread(data[length:])
                    return endpoints
                case Malformed(reason):
                    raise SessionEnd("refused", None, reason)
                case Incomplete():
                    continue

    def _become(self, endpoints: Endpoints) -> None:
        client = self._listener.peer_of(endpoints.source)
        self._connection = replace(
            self._connection,
            client_address=client.address,
            client_port=endpoints.source_port,
            local_address=str(endpoints.destination),
            local_port=endpoints.destination_port,
            trusted=client.trusted,
            via=self._peer.text,
        )

    # --- TLS

    async def _secure(self) -> None:
        """Negotiate TLS over the transport as it is; raise ``SessionEnd`` when that fails."""
        certificate = self._listener.certificate
        if certificate is None:
            raise SessionEnd("tls")
        begun = self._input.take_all()
        seconds = self._settings.config.smtp.tls_handshake_timeout
        try:
            if begun:
                secured = await start_tls_behind(self, self._stream, certificate.context, seconds=seconds, begun=begun)
            else:
                secured = await start_tls(self, self._stream, certificate.context, seconds=seconds)
        except OSError as error:
            # Half a handshake leaves nothing that words could be said over, and nobody who would tell us of the end.
            self._stream.abort()
            self._lost = True
            raise SessionEnd("tls") from error
        self._use(secured)
        session = secured.get_extra_info("ssl_object")
        self._connection = replace(self._connection, tls=tls_facts(session))

    # --- early talkers, admission

    async def _watch_for_early_talk(self) -> None:
        delay = self._settings.config.smtp.greet_delay
        if delay and not self._input.pending and not self._is_known():
            self._patience = delay + REFUSED_SECONDS
            await self._input.more_within(delay)
        elif self._connection.tls is None and not self._peer.xclient:
            # Nothing was waited for since the first look.
            return
        self._note_early_talk()

    def _note_early_talk(self) -> None:
        tls = self._listener.config.tls
        if tls is not None and tls.implicit and self._connection.tls is None:
            # It is the client's part of the handshake.
            return
        # Without a delay it is the kernel that knows whether something came before our banner.
        if self._input.pending or (self._connection.tls is None and self._unread_octets()):
            self._connection = replace(self._connection, early_talker=True)

    def _is_known(self) -> bool:
        return self._connection.trusted or self._listener.guard.is_known_good(self._connection.client_address)

    def _unread_octets(self) -> int:
        try:
            count = fcntl.ioctl(self._stream.get_extra_info("socket").fileno(), termios.FIONREAD, b"\0\0\0\0")
        except (OSError, ValueError):
            # The client is gone; the first read will say so.
            return 0
        return int.from_bytes(count, sys.byteorder)

    async def _ask_gate(self) -> None:
        try:
            refusal = await self._gate.admit(self._connection)
        except Exception as error:
            self._listener.internal_error("admit", error, self._session_id())
            raise SessionEnd("refused", replies.CONNECTION_DEFERRED, "internal error") from error
        if refusal is not None:
            await self._turn_away(refusal)

    async def _turn_away(self, refusal: Reply, limit: Reply | None = None) -> None:
        reason = refusal.cause or refusal.text
        if self._held is not None:
            self._listener.guard.note_failure(self._held)
        if not refusal.is_permanent:
            # RFC 5321 §4.2.2: only 421 says "not now" in place of a greeting.
            raise SessionEnd("refused", replace(refusal, code=replies.CONNECTION_DEFERRED.code), reason)
        # RFC 5321 §3.1: 554 in place of the greeting, then 503 to everything until the client says QUIT.
        code = replies.CONNECTION_REFUSED.code
        refusal = refusal if refusal.code == code else replace(refusal, code=code)
        if limit is not None:
            # Departure: whoever comes in crowds is told, and not waited for.
            raise SessionEnd("refused", refusal, reason)
        self.say(refusal)
        self._patience = REFUSED_SECONDS
        for _ in range(REFUSED_COMMANDS):
            try:
                line = await self._input.line()
            except CommandError:
                line = b""
            except SessionEnd as end:
                raise SessionEnd("refused", None, reason) from end
            if line[:4].upper() == b"QUIT":
                raise SessionEnd("refused", replies.GOODBYE, reason)
            self.say(replies.BAD_SEQUENCE)
        raise SessionEnd("refused", replies.TOO_MANY_ERRORS, reason)
