"""The final dot: judge, store, reply (invariants 1, 4 and 7). One outcome for each content, told once.

A refusal is the verdict's reply. What is accepted is durable before ``ACCEPTED`` is returned, and only then handed to
delivery; once the commit has begun nothing stops it, so a client that leaves gets its mail delivered all the same.
Every fault of ours is a 4yz: a full disk 452 4.3.1, other storage 451 4.3.0, a bug 451 4.3.0 with an
``InternalError`` event.

Exactly one ``MessageJudged`` tells of every verdict, and one ``TransactionAborted`` of every content that came to
nothing without one or in spite of it.
"""

from gateway.clock import Stamp
from gateway.intake.listener import Listener
from gateway.intake.ports import Gate
from gateway.journal.events import MessageJudged, TransactionAborted
from gateway.mail.transaction import Transaction
from gateway.policy.verdict import Disposition, Verdict
from gateway.smtp import replies
from gateway.smtp.reply import Reply
from gateway.spool.message import SpoolMessage
from gateway.storage import StorageError, StorageFull

# What a journal row keeps of a header field that anybody can write.
MOST_FIELD_CHARACTERS = 998


async def store(
    listener: Listener, gate: Gate, tx: Transaction, verdict: Verdict, filtered: Stamp
) -> SpoolMessage | Reply:
    """Make an accepted transaction durable and return the message, or the reply that says why not."""
    try:
        message = await listener.custody.store(await gate.signed(tx, gate.entry(tx, verdict, filtered)))
    except StorageError as error:
        listener.storage_failed("store", error, tx.trace_id)
        return replies.INSUFFICIENT_STORAGE if isinstance(error, StorageFull) else replies.INTERNAL_ERROR
    except Exception as error:  # noqa: BLE001 - our own fault is a 4yz to the client, whatever it was
        listener.internal_error("store", error, tx.trace_id)
        return replies.INTERNAL_ERROR
    try:
        listener.on_stored(message)
    except Exception as error:  # noqa: BLE001 - the message is in custody: it is accepted, and delivery will find it there
        listener.internal_error("on-stored", error, tx.trace_id)
    return message


def judged(tx: Transaction, verdict: Verdict, reply: Reply, filtered: Stamp, durable: Stamp | None) -> MessageJudged:
    """Return the event of one answered final dot; ``durable`` is None when nothing was stored."""
    connection, content = tx.connection, tx.content
    received = tx.received or filtered
    enveloped = tx.enveloped or received
    return MessageJudged(
        at=filtered.utc,
        trace_id=tx.trace_id,
        session_id=connection.session_id,
        client=connection.client,
        client_name=connection.client_name,
        helo=connection.helo,
        role=str(connection.role),
        tls=connection.tls.version if connection.tls else "",
        reverse_path=tx.envelope.reverse_path.wire,
        message_id=_field(tx, "message-id"),
        subject=_field(tx, "subject"),
        octets=content.size,
        dispositions=tuple([_told(d) for d in verdict.dispositions]),
        findings=tuple([(f.filter, f.result, f.reason) for f in verdict.findings]),
        filter_seconds=verdict.filter_seconds,
        reply=str(reply),
        connected_at=connection.connected.utc,
        enveloped_at=enveloped.utc,
        received_at=received.utc,
        filtered_seconds=received.until(filtered),
        durable_at=durable.utc if durable else 0.0,
        durable_seconds=filtered.until(durable) if durable else 0.0,
        judgements=tuple([told for d in verdict.dispositions if d.judgements for told in _judgements(d)]),
        grounds=tuple([(d.recipient.path.wire, g.value) for d in verdict.dispositions for g in d.grounds]),
        dmarc=verdict.dmarc,
        origin=verdict.origin,
    )


def _field(tx: Transaction, name: str) -> str:
    field = tx.content.header.first(name)
    return field.text[:MOST_FIELD_CHARACTERS] if field else ""


def _told(disposition: Disposition) -> tuple[str, str, float, str, str]:
    decisive = disposition.decisive.finding.filter if disposition.decisive else ""
    return disposition.recipient.path.wire, disposition.action.word, disposition.score, decisive, disposition.reason


def _judgements(disposition: Disposition) -> list[tuple[str, str, str, float, str]]:
    """Return what the recipient's policy made of the findings, where it made something of them."""
    address = disposition.recipient.path.wire
    return [
        (address, j.finding.filter, j.finding.result, j.score, j.action.word if j.action is not None else "")
        for j in disposition.judgements
        if j.score or j.action is not None
    ]


def aborted(tx: Transaction, octets: int, reply: Reply | None, reason: str, at: float) -> TransactionAborted:
    """Return the event of a content that came to nothing; ``reply`` is None when nobody was left to hear one."""
    return TransactionAborted(
        at=at,
        trace_id=tx.trace_id,
        client=tx.connection.client,
        reverse_path=tx.envelope.reverse_path.wire,
        recipients=tuple([r.path.wire for r in tx.recipients]),
        octets=octets,
        reply=str(reply) if reply else "",
        reason=reason,
    )
