"""A data folder with mail in it, made by the rooms that write them; a backup folder beside it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.backup.capture import capture
from gateway.backup.manifest import Kind, Manifest
from gateway.backup.repository import Repository
from gateway.backup.saving import Job
from gateway.backup.sources import Source, Sources
from gateway.clock import FakeClock
from gateway.journal.events import MessageJudged
from gateway.journal.sinks import Recorded
from gateway.journal.store import Journal
from gateway.ledger import MIGRATIONS as LEDGER
from gateway.ledger import DelayRecord, rows
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.smtp.address import ForwardPath, Mailbox, ReversePath
from gateway.spool.custody import Custody
from gateway.spool.message import (
    MessageStamps,
    Origin,
    QueueQuery,
    RecipientState,
    Settlement,
    SpoolMessage,
    SpoolRecipient,
)
from gateway.spool.opening import SilentWitness
from gateway.spool.shard import ShardSettings

KEY = bytes(range(32))


def _text(seed: int, octets: int) -> bytes:
    """Return text that no compression makes small."""
    return random.Random(seed).randbytes(octets // 2).hex().encode() + b"\r\n"  # noqa: S311 - a test's content


def mailbox(address: str) -> Mailbox:
    local, _, domain = address.partition("@")
    return Mailbox(local, domain, address)


@dataclass
class Place:
    """A gateway's data folder without a gateway: what a worker would write is written by its own rooms."""

    folder: Path
    key: bytes | None = None
    clock: FakeClock = field(default_factory=FakeClock)
    number: int = 0

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def repository(self) -> Repository:
        return Repository(self.folder / "backup", self.key)

    def job(self, **changes) -> Job:
        configuration = self.folder / "etc"
        found = tuple(
            Source(f"configuration/{path.name}", path, secret=path.suffix == ".key")
            for path in sorted(configuration.glob("*"))
        )
        sources = Sources(data=self.data, hostname="mx.test", configuration=found)
        return Job(**({"sources": sources, "clock": self.clock} | changes))

    def backup(self, kind: Kind = "increment", **changes) -> Manifest:
        self.clock.advance(10)
        return capture(self.repository, self.job(**changes), kind)

    def custody(self, data: Path | None = None, *, worker: int = 0) -> Custody:
        settings = ShardSettings(data=data or self.data, clock=self.clock, companions=LEDGER)
        return Custody.open(settings, worker=worker, workers=1, witness=SilentWitness())

    async def store(self, custody: Custody, *, octets: int = 500, state: RecipientState = RecipientState.QUEUED) -> str:
        """Take one mail into custody; return its trace id."""
        self.number += 1
        self.clock.advance(1)
        now = self.clock.stamp()
        trace_id = f"01JD{self.number:022d}"
        content = Content(f"Subject: {self.number}\r\n\r\n".encode() + _text(self.number, octets))
        copy = SpoolRecipient(
            number=0,
            recipient=Recipient(path=ForwardPath(mailbox("ben@box.test"))),
            route="smtp://127.0.0.1:1",
            customer="box",
            state=state,
        )
        await custody.store(
            SpoolMessage(
                trace_id=trace_id,
                origin=Origin.SMTP,
                envelope=Envelope(reverse_path=ReversePath(mailbox("anna@senders.test"))),
                recipients=(copy,),
                stamps=MessageStamps(connected=now, enveloped=now, received=now, filtered=now),
                content=content,
                octets=content.size,
                client="192.0.2.1",
            )
        )
        return trace_id

    async def deliver(self, custody: Custody, trace_id: str) -> None:
        """End the custody of a message as a delivery does."""
        (message,) = await custody.select(QueueQuery(trace_ids=frozenset({trace_id})))
        await custody.settle(
            [Settlement(trace_id=trace_id, number=0, state=RecipientState.DELIVERED)],
            records=rows(delay(message, self.clock)),
        )

    async def judged(self, trace_id: str) -> None:
        """Write an event into the journal of the first worker."""
        journal = Journal(self.data / "journal", 0, clock=self.clock, failures=Recorded())
        journal.emit(judgement(trace_id, self.clock.stamp().utc))
        await journal.close()


def judgement(trace_id: str, at: float) -> MessageJudged:
    return MessageJudged(
        at=at,
        trace_id=trace_id,
        session_id=trace_id,
        client="192.0.2.1",
        client_name="",
        helo="client.example",
        role="mx",
        tls="",
        reverse_path="anna@senders.test",
        message_id="",
        subject="",
        octets=1,
        dispositions=(("ben@box.test", "accept", 0.0, "", ""),),
        findings=(),
        filter_seconds=(),
        reply="250 2.0.0 accepted",
        connected_at=at,
        enveloped_at=at,
        received_at=at,
        filtered_seconds=0.0,
        durable_at=at,
        durable_seconds=0.0,
    )


def delay(message: SpoolMessage, clock: FakeClock) -> DelayRecord:
    at = message.stamps.received.utc
    return DelayRecord(
        trace_id=message.trace_id,
        number=0,
        customer="box",
        recipient="ben@box.test",
        domain="box.test",
        reverse_path="anna@senders.test",
        role="mx",
        origin="smtp",
        octets=message.octets,
        action="accept",
        connected_at=at,
        enveloped_at=at,
        received_at=at,
        filtered_seconds=0.0,
        durable_seconds=0.0,
        antivirus_seconds=0.0,
        held_seconds=0.0,
        transfer_started_at=at,
        accepted_at=at,
        send_delay_seconds=0.1,
        receive_delay_seconds=0.2,
        finished_at=clock.stamp().utc,
        status="delivered",
        next_hop="smtp://127.0.0.1:1",
        relay="relay",
        reply="250 ok",
        attempts="[]",
        attempt_count=1,
    )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A data folder, its configuration, and an empty backup folder."""
    return _made(Place(tmp_path))


@pytest.fixture(params=["plain", "encrypted"])
def either(tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    """The same, with and without a key."""
    return _made(Place(tmp_path, KEY if request.param == "encrypted" else None))


@pytest.fixture
def encrypted(tmp_path: Path) -> Place:
    """The same with a key."""
    return _made(Place(tmp_path, KEY))


def _made(place: Place) -> Place:
    (place.folder / "etc").mkdir()
    (place.folder / "etc" / "tidegate.toml").write_text('hostname = "mx.test"\n')
    (place.folder / "etc" / "tls.key").write_text("-----BEGIN PRIVATE KEY-----\n")
    (place.data / "state").mkdir(parents=True)
    (place.data / "state" / "rates.table").write_bytes(bytes(5000))
    Repository.make(place.folder / "backup")
    return place


Silent = Callable[[str, int], None]


def quiet(_: str, __: int) -> None:
    """Tell nobody."""
