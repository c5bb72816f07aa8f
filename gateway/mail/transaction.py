"""One mail transaction as the filters see it (RFC 5321 §3.3), from MAIL to the final dot."""

from dataclasses import field

from gateway.clock import Stamp
from gateway.mail.connection import Connection
from gateway.mail.content import EMPTY_CONTENT, Content
from gateway.mail.envelope import EMPTY_ENVELOPE, Envelope, Recipient
from gateway.value import value


@value(kw_only=True)
class Transaction:
    """Everything known so far.

    At CONNECT only ``connection`` says something; at ENVELOPE ``recipients`` is the one recipient asked about; at
    DATA everything is set. ``received`` is the final dot (contract.md §2: complete receipt), None before it;
    ``enveloped`` the instant MAIL was accepted.
    """

    trace_id: str
    connection: Connection
    envelope: Envelope = EMPTY_ENVELOPE
    recipients: tuple[Recipient, ...] = ()
    content: Content = field(default=EMPTY_CONTENT)
    enveloped: Stamp | None = None
    received: Stamp | None = None
