"""Messages and custodies for the spool's tests."""

import itertools
from dataclasses import replace

import pytest

from gateway.clock import FakeClock
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.trace_id import new_trace_id
from gateway.smtp.address import ForwardPath, Mailbox, ReversePath
from gateway.spool.custody import Custody
from gateway.spool.message import MessageStamps, Origin, SpoolMessage, SpoolRecipient
from gateway.spool.shard import ShardSettings
from gateway.storage import Migration, insert_into

RECORD = insert_into("record", ("note",))
RECORDS = (Migration(1, "records", lambda schema: schema.execute("CREATE TABLE record (note TEXT)")),)


class Witness:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.adopted: list[tuple[str, int]] = []
        self.failed: list[tuple[str, str, str]] = []

    def shard_adopted(self, shard: str, queued: int) -> None:
        self.adopted.append((shard, queued))

    def storage_failed(self, store: str, operation: str, error: str) -> None:
        self.failed.append((store, operation, error))


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def witness():
    return Witness()


@pytest.fixture
def record():
    """A statement of another room whose rows share the shard."""
    return RECORD


@pytest.fixture
def settings(tmp_path, clock):
    return ShardSettings(data=tmp_path, clock=clock, companions=RECORDS)


@pytest.fixture
def open_custody(settings, witness):
    """Return a function that opens the custody of a worker; all are closed at the end."""
    opened = []

    def open_one(worker=0, workers=1, **changes):
        custody = Custody.open(replace(settings, **changes), worker=worker, workers=workers, witness=witness)
        opened.append(custody)
        return custody

    yield open_one
    for custody in opened:
        custody.close_now()


@pytest.fixture
def custody(open_custody):
    return open_custody()


@pytest.fixture
def make_message(clock):
    """Return a function that makes a message to the given addresses."""
    numbers = itertools.count()

    def make(*addresses, content=b"Subject: x\r\n\r\nbody\r\n", route="smtp://next", **copies):
        now = clock.stamp()
        number = next(numbers)
        trace_id = new_trace_id(now.utc + number / 1000, lambda n: number.to_bytes(n, "big"))
        kept = content if isinstance(content, Content) else Content(content)
        return SpoolMessage(
            trace_id=trace_id,
            origin=Origin.SMTP,
            envelope=Envelope(reverse_path=ReversePath(mailbox("sender@example.org"))),
            recipients=tuple(
                SpoolRecipient(
                    number=n,
                    recipient=Recipient(path=ForwardPath(mailbox(address))),
                    route=route,
                    customer="example",
                    **{"due": now.utc, **copies},
                )
                for n, address in enumerate(addresses or ("user@example.com",))
            ),
            stamps=MessageStamps(connected=now, enveloped=now, received=now, filtered=now),
            content=kept,
            octets=kept.size,
        )

    return make


def mailbox(wire):
    local, _, domain = wire.rpartition("@")
    return Mailbox(local, domain.lower(), wire)
