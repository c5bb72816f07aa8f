"""Messages ↔ rows: compact, exact, without JSON for the usual message.

Addresses are kept as received (``wire``) beside their comparison form, and parts that follow from these are not stored.
Stamps are ten doubles (UTC and monotonic of five instants) with the boot they belong to. Attempts, which only a
deferred copy has, are JSON.
"""

import json
import struct
from collections.abc import Sequence

from gateway.clock import Clock, Stamp, restore
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.rendition import AS_RECEIVED, Edit, Rendition
from gateway.smtp.address import NULL_REVERSE_PATH, ForwardPath, Mailbox, ReversePath
from gateway.spool.message import Attempt, MessageStamps, Origin, RecipientState, SpoolMessage, SpoolRecipient
from gateway.storage import Row, to_json

_STAMPS = struct.Struct("<10d")
_COUNT = struct.Struct("<I")
_EDIT = struct.Struct("<QQI")
_USUAL_RENDITIONS = (AS_RECEIVED,)

StoredMailbox = tuple[str, str | None, str | None]


def message_row(
    message: SpoolMessage, durable: Stamp, boot_id: str, content: bytes | None, *, filed: bool
) -> tuple[object, ...]:
    """Return the row of ``message`` in the order of MESSAGE_COLUMNS.

    ``durable`` is the instant the row was handed to the writer: the commit's return cannot be part of what it commits,
    and comes milliseconds later. It serves only messages read back after a restart.
    """
    envelope, stamps = message.envelope, message.stamps
    mailbox = envelope.reverse_path.mailbox
    return (
        message.trace_id,
        message.origin.value,
        *(_NO_MAILBOX if mailbox is None else encode_mailbox(mailbox)),
        envelope.body,
        envelope.smtputf8,
        envelope.declared_octets,
        envelope.ret,
        envelope.envid,
        message.octets,
        message.client,
        storable(message.helo),
        message.role,
        storable(message.message_id),
        message.hostile,
        stamps.received.utc,
        boot_id,
        _encode_stamps(stamps, durable),
        _encode_filter_seconds(stamps.filter_seconds),
        stamps.antivirus_seconds,
        encode_renditions(message.renditions),
        filed,
        content,
    )


def recipient_row(trace_id: str, copy: SpoolRecipient) -> tuple[object, ...]:
    """Return the row of one copy in the order of RECIPIENT_COLUMNS."""
    path, notify = copy.recipient.path, copy.recipient.notify
    return (
        trace_id,
        copy.number,
        *encode_mailbox(path.mailbox),
        path.source_route,
        None if notify is None else ",".join(sorted(notify)),
        copy.recipient.orcpt,
        copy.route,
        copy.customer,
        copy.state.value,
        copy.rendition,
        copy.action,
        copy.score,
        storable(copy.reason),
        copy.due,
        encode_attempts(copy.attempts),
        copy.delay_noticed,
        copy.held_since,
        copy.held_seconds,
        copy.greylisted_seconds,
    )


def decode_message(
    row: Row, recipients: Sequence[SpoolRecipient], content: Content | None, shard: str, clock: Clock
) -> SpoolMessage:
    """Return the message of a row of MESSAGE_COLUMNS without ``filed`` and ``content``."""
    address, wire, local = row[2:5]
    return SpoolMessage(
        trace_id=row[0],
        origin=Origin(row[1]),
        envelope=Envelope(
            reverse_path=NULL_REVERSE_PATH if address is None else ReversePath(decode_mailbox(address, wire, local)),
            body=row[5],
            smtputf8=bool(row[6]),
            declared_octets=row[7],
            ret=row[8],
            envid=row[9],
        ),
        octets=row[10],
        client=row[11],
        helo=row[12],
        role=row[13],
        message_id=row[14],
        hostile=bool(row[15]),
        stamps=_decode_stamps(row[17:21], clock),
        renditions=decode_renditions(row[21]),
        recipients=tuple(recipients),
        content=content,
        shard=shard,
    )


def decode_recipient(row: Row) -> SpoolRecipient:
    """Return the copy of a row of RECIPIENT_COLUMNS."""
    notify = row[6]
    return SpoolRecipient(
        number=row[1],
        recipient=Recipient(
            path=ForwardPath(decode_mailbox(row[2], row[3], row[4]), bool(row[5])),
            notify=None if notify is None else frozenset(filter(None, notify.split(","))),
            orcpt=row[7],
        ),
        route=row[8],
        customer=row[9],
        state=RecipientState(row[10]),
        rendition=row[11],
        action=row[12],
        score=row[13],
        reason=row[14],
        due=row[15],
        attempts=decode_attempts(row[16]),
        delay_noticed=bool(row[17]),
        held_since=row[18],
        held_seconds=row[19],
        greylisted_seconds=row[20],
    )


_NO_MAILBOX: tuple[None, None, None] = (None, None, None)


def encode_mailbox(mailbox: Mailbox) -> StoredMailbox:
    """Return (comparison form, wire or None when equal, local part or None when it is the wire's)."""
    address, wire = mailbox.key, mailbox.wire
    plain = _local_of(wire, mailbox.domain)
    return address, None if wire == address else wire, None if plain == mailbox.local_part else mailbox.local_part


def decode_mailbox(address: str, wire: str | None, local: str | None) -> Mailbox:
    """Return the mailbox that ``encode_mailbox`` took apart."""
    domain = address.rpartition("@")[2] if "@" in address else ""
    as_received = address if wire is None else wire
    return Mailbox(_local_of(as_received, domain) if local is None else local, domain, as_received)


def _local_of(wire: str, domain: str) -> str:
    # RFC 5321 §4.5.1: only the bare postmaster has no domain.
    return wire.rpartition("@")[0] if domain else wire


def storable(text: str) -> str:
    """Return ``text`` with lone surrogates escaped, which SQLite's UTF-8 cannot hold."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def encode_attempts(attempts: tuple[Attempt, ...]) -> str | None:
    """Return attempts as JSON, None when there are none.

    A list of ``[at, next_hop, relay, phase, reply, status, seconds, own_fault, due]``, as in the ledger; ``due`` is
    left out where it is 0.
    """
    if not attempts:
        return None
    return to_json([attempt_values(each) for each in attempts])


def attempt_values(attempt: Attempt) -> list[str | float | bool]:
    """Return an attempt as spool and ledger keep it."""
    values: list[str | float | bool] = [
        attempt.at,
        attempt.next_hop,
        attempt.relay,
        attempt.phase,
        attempt.reply,
        attempt.status,
        attempt.seconds,
        attempt.own_fault,
    ]
    return [*values, attempt.due] if attempt.due else values


def decode_attempts(text: str | None) -> tuple[Attempt, ...]:
    """Return what ``encode_attempts`` wrote."""
    if text is None:
        return ()
    return tuple(
        Attempt(
            at=at,
            next_hop=next_hop,
            relay=relay,
            phase=phase,
            reply=reply,
            status=status,
            seconds=seconds,
            own_fault=own_fault,
            due=due[0] if due else 0.0,
        )
        for at, next_hop, relay, phase, reply, status, seconds, own_fault, *due in json.loads(text)
    )


def encode_renditions(renditions: tuple[Rendition, ...]) -> bytes | None:
    """Return renditions as octets: for each its number of edits; for each edit start, end, length, replacement."""
    if renditions == _USUAL_RENDITIONS:
        return None
    pieces: list[bytes] = []
    for rendition in renditions:
        pieces.append(_COUNT.pack(len(rendition.edits)))
        for edit in rendition.edits:
            pieces.append(_EDIT.pack(edit.start, edit.end, len(edit.replacement)))
            pieces.append(edit.replacement)
    return b"".join(pieces)


def decode_renditions(octets: bytes | None) -> tuple[Rendition, ...]:
    """Return what ``encode_renditions`` wrote."""
    if octets is None:
        return _USUAL_RENDITIONS
    renditions: list[Rendition] = []
    at = 0
    while at < len(octets):
        (count,) = _COUNT.unpack_from(octets, at)
        at += _COUNT.size
        edits: list[Edit] = []
        for _ in range(count):
            start, end, length = _EDIT.unpack_from(octets, at)
            at += _EDIT.size
            edits.append(Edit(start, end, octets[at : at + length]))
            at += length
        renditions.append(Rendition(tuple(edits)))
    return tuple(renditions)


def _encode_stamps(stamps: MessageStamps, durable: Stamp) -> bytes:
    a, b, c, d = stamps.connected, stamps.enveloped, stamps.received, stamps.filtered
    return _STAMPS.pack(
        *(a.utc, a.monotonic, b.utc, b.monotonic, c.utc, c.monotonic, d.utc, d.monotonic),
        *(durable.utc, durable.monotonic),
    )


def _decode_stamps(columns: Row, clock: Clock) -> MessageStamps:
    boot_id, octets, filter_seconds, antivirus_seconds = columns
    n = _STAMPS.unpack(octets)
    connected, enveloped, received, filtered, durable = (
        restore(clock, n[i], n[i + 1], boot_id) for i in range(0, len(n), 2)
    )
    return MessageStamps(
        connected=connected,
        enveloped=enveloped,
        received=received,
        filtered=filtered,
        durable=durable,
        filter_seconds=_decode_filter_seconds(filter_seconds),
        antivirus_seconds=antivirus_seconds,
    )


def _encode_filter_seconds(shares: tuple[tuple[str, float], ...]) -> str | None:
    return "\n".join([f"{name} {seconds!r}" for name, seconds in shares]) if shares else None


def _decode_filter_seconds(text: str | None) -> tuple[tuple[str, float], ...]:
    if text is None:
        return ()
    pairs = (line.rpartition(" ") for line in text.split("\n"))
    return tuple((name, float(seconds)) for name, _, seconds in pairs)
