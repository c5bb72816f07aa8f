"""Mail that the gateway writes itself enters the queue: addressed, signed, stored, then delivered.

The worker's end of the control socket's ``own-mail``. What is answered with a trace id is durable; whoever hears no
answer may hand the mail over again, and then it may leave twice, with one Message-ID.
"""

from collections.abc import Callable
from typing import Any

from gateway.admin.protocol import RefusedError
from gateway.clock import Clock, Stamp
from gateway.config.snapshot import Snapshot
from gateway.delivery.route import policy_of, route_of
from gateway.journal.events import EventSink, NoticeQueued
from gateway.mail.connection import Role
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.own_mail import OwnMail
from gateway.mail.trace_id import new_trace_id
from gateway.pipeline.gate import Gate
from gateway.smtp.path import parse_forward_path, parse_reverse_path
from gateway.smtp.reply import RefusalError
from gateway.spool.custody import Custody
from gateway.spool.message import MessageStamps, Origin, SpoolMessage, SpoolRecipient


class OwnMailDesk:
    """Takes such mails for one worker; ``on_stored`` tells delivery."""

    def __init__(
        self,
        *,
        gate: Callable[[], Gate],
        custody: Custody,
        clock: Clock,
        events: EventSink,
        on_stored: Callable[[SpoolMessage], None],
        random_octets: Callable[[int], bytes],
    ) -> None:
        self._gate, self._custody, self._clock, self._events = gate, custody, clock, events
        self._on_stored, self._random_octets = on_stored, random_octets

    async def take(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Store one mail and return its trace id; RefusedError says what is wrong with it, StorageError of the disk."""
        try:
            mail = OwnMail.read(arguments)
            message = self._message(mail, self._gate().snapshot, self._clock.stamp())
        except RefusalError as refusal:
            raise RefusedError(f"no address: {refusal.reply.cause or refusal.reply.text}") from refusal
        except ValueError as error:
            raise RefusedError(str(error)) from error
        stored = await self._custody.store(await self._gate().signed_own(message))
        self._on_stored(stored)
        for copy in stored.recipients:
            self._events.emit(
                NoticeQueued(
                    at=stored.stamps.received.utc,
                    trace_id=stored.trace_id,
                    about="",
                    notice=mail.purpose,
                    recipient=copy.recipient.path.wire,
                )
            )
        return {"trace_id": stored.trace_id}

    def _message(self, mail: OwnMail, snapshot: Snapshot, now: Stamp) -> SpoolMessage:
        if len(mail.octets) > snapshot.config.max_message:
            raise ValueError("the mail is larger than max_message")
        content = Content(mail.octets)
        utf8 = not all(address.isascii() for address in (mail.sender, *mail.recipients))
        # RFC 6152: what goes out in 8 bits says so.
        is_8bit = utf8 or not mail.octets.isascii()
        reverse_path, _ = parse_reverse_path(f"<{mail.sender}>".encode(), smtputf8=True)
        message_id = content.header.first("message-id")
        return SpoolMessage(
            trace_id=new_trace_id(now.utc, self._random_octets),
            origin=Origin.NOTICE,
            envelope=Envelope(reverse_path=reverse_path, smtputf8=utf8, body="8BITMIME" if is_8bit else None),
            recipients=tuple(
                _addressed(number, address, mail, snapshot, now) for number, address in enumerate(mail.recipients)
            ),
            stamps=MessageStamps(connected=now, enveloped=now, received=now, filtered=now),
            content=content,
            octets=content.size,
            role=Role.RELAY.value,
            message_id=message_id.text if message_id else "",
        )


def _addressed(number: int, address: str, mail: OwnMail, snapshot: Snapshot, now: Stamp) -> SpoolRecipient:
    path, _ = parse_forward_path(f"<{address}>".encode(), smtputf8=True)
    route = route_of(policy_of(snapshot, path.mailbox), path.mailbox.domain)
    recipient = Recipient(path=path, notify=mail.notify)
    return SpoolRecipient(number=number, recipient=recipient, route=route.key, customer=route.customer, due=now.utc)
