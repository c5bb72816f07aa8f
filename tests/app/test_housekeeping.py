"""Retention removes what is too old and nothing else, and leaves a record of what it removed."""

from dataclasses import replace

import pytest

from gateway.admin.dropped import dropped_rows
from gateway.app import housekeeping
from gateway.app.housekeeping import RETENTION, Housekeeping
from gateway.clock import FakeClock
from gateway.config.models import GatewayConfig
from gateway.journal.events import QueueChanged
from gateway.journal.sinks import Recorded
from gateway.ledger import MIGRATIONS, Ledger
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.smtp.address import NULL_REVERSE_PATH, ForwardPath, Mailbox
from gateway.spool.custody import Custody
from gateway.spool.message import MessageStamps, Origin, QueueQuery, RecipientState, SpoolMessage, SpoolRecipient
from gateway.spool.opening import SilentWitness
from gateway.spool.shard import ShardSettings

DAY = 86_400.0


def message(number: int, clock: FakeClock, *states: str) -> SpoolMessage:
    now = clock.stamp()
    content = Content(b"Subject: x\r\n\r\nbody\r\n")
    copies = tuple(
        SpoolRecipient(
            number=place,
            recipient=Recipient(path=ForwardPath(Mailbox("b", "ours.test", "b@ours.test"))),
            route="smtp://192.0.2.25",
            customer="ours",
            state=RecipientState(state),
        )
        for place, state in enumerate(states)
    )
    return SpoolMessage(
        trace_id=f"01M3250V00{number:016d}",
        origin=Origin.SMTP,
        envelope=Envelope(reverse_path=NULL_REVERSE_PATH),
        recipients=copies,
        stamps=MessageStamps(connected=now, enveloped=now, received=now, filtered=now),
        content=content,
        octets=content.size,
    )


@pytest.fixture
async def custody(tmp_path):
    clock = FakeClock()
    settings = ShardSettings(data=tmp_path, clock=clock, companions=MIGRATIONS)
    custody = Custody.open(settings, worker=0, workers=1, witness=SilentWitness())
    yield custody, clock
    custody.close_now()


async def test_quarantine_is_emptied_of_what_is_too_old_on_record_and_of_nothing_else(custody, tmp_path, monkeypatch):
    monkeypatch.setattr(housekeeping, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(housekeeping, "QUARANTINED_COPIES", 2)
    kept, clock = custody
    for number in range(1, 6):
        await kept.store(message(number, clock, "quarantined", "queued"))
    clock.advance(29 * DAY)
    await kept.store(message(9, clock, "quarantined"))
    clock.advance(2 * DAY)
    events = Recorded()
    config = GatewayConfig.model_validate({"hostname": "mx.ours.test", "listen": [{"address": "127.0.0.1:0"}]})
    config = config.model_copy(update={"data": tmp_path})
    house = Housekeeping(config=lambda: config, custody=kept, records=dropped_rows(clock), clock=clock, events=events)
    await house.round()
    left = await kept.select(replace(QueueQuery(), limit=100))
    assert {(m.trace_id[-2:], c.state.value) for m in left for c in m.recipients} == {
        *((f"0{number}", "queued") for number in range(1, 6)),
        ("09", "quarantined"),
    }
    removed = [event for event in events.events if isinstance(event, QueueChanged)]
    assert [event.trace_id[-2:] for event in removed] == ["01", "02", "03", "04", "05"]
    assert {(event.operation, event.operator, event.recipients) for event in removed} == {
        ("drop", RETENTION, ("b@ours.test",))
    }
    rows = Ledger(tmp_path).of_message(removed[0].trace_id)
    assert [(row.number, row.status) for row in rows] == [(0, "dropped")]
