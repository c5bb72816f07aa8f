"""Values the tests of this room share."""

import pytest

from gateway.clock import FakeClock
from gateway.journal.events import DeliveryAttempted, MessageJudged
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.smtp.address import ForwardPath, Mailbox, ReversePath
from gateway.spool.message import MessageStamps, Origin, RecipientState, SpoolMessage, SpoolRecipient

TRACE = "01JD9Q4Z5X0000000000000001"
SESSION = "01JD9Q4Z5W0000000000000001"


@pytest.fixture
def judged():
    def make(**changes):
        values = {
            "at": 1_790_000_000.25, "trace_id": TRACE, "session_id": SESSION, "client": "192.0.2.1", "client_name": "",
            "helo": "mail.example.org", "role": "mx", "tls": "", "reverse_path": "a@example.org",
            "message_id": "<m1@example.org>", "subject": "s", "octets": 8192,
            "dispositions": (("b@example.com", "accept", 0.0, "", ""),), "findings": (),
            "filter_seconds": (("helo", 0.001),), "reply": "250 2.0.0 accepted", "connected_at": 1_790_000_000.0,
            "enveloped_at": 1_790_000_000.1, "received_at": 1_790_000_000.2, "filtered_seconds": 0.01,
            "durable_at": 1_790_000_000.24, "durable_seconds": 0.02,
        }  # fmt: skip
        return MessageJudged(**(values | changes))

    return make


@pytest.fixture
def attempted():
    def make(**changes):
        values = {
            "at": 1_790_000_001.0, "trace_id": TRACE, "recipient": "b@example.com", "reverse_path": "a@example.org",
            "next_hop": "smtp://10.1.0.5:25", "relay": "mx.example.com[10.1.0.5]:25", "phase": "end-of-data",
            "reply": "250 2.0.0 queued", "status": "sent", "delay_seconds": 0.75, "delays": (0.2, 0.0, 0.05, 0.5),
            "attempt": 1,
        }  # fmt: skip
        return DeliveryAttempted(**(values | changes))

    return make


@pytest.fixture
def trace_ids():
    return [f"01M3250V00{number:016d}" for number in range(100)]


@pytest.fixture
def spooled(trace_ids):
    """Return a maker of messages for the spool: number, recipients with their states."""

    def make(number, copies, due=0.0):
        now = FakeClock().stamp()
        content = Content(b"Subject: hello\r\nMessage-ID: <m1@example.org>\r\n\r\nbody\r\n")
        return SpoolMessage(
            trace_id=trace_ids[number],
            origin=Origin.SMTP,
            envelope=Envelope(reverse_path=ReversePath(mailbox("a@example.org"))),
            recipients=tuple(
                SpoolRecipient(
                    number=place,
                    recipient=Recipient(path=ForwardPath(mailbox(address))),
                    route="smtp://10.1.0.5:25",
                    customer="example",
                    state=RecipientState(state),
                    due=due,
                    held_since=now.utc if state != "queued" else 0.0,
                )
                for place, (address, state) in enumerate(copies)
            ),
            stamps=MessageStamps(connected=now, enveloped=now, received=now, filtered=now),
            content=content,
            octets=content.size,
            client="192.0.2.1",
            helo="mail.example.org",
            message_id="<m1@example.org>",
        )

    return make


def mailbox(address):
    local_part, _, domain = address.rpartition("@")
    return Mailbox(local_part, domain, address)
