"""Values the tests of this room share."""

import pytest

from gateway.journal.events import DeliveryAttempted, MessageJudged

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
