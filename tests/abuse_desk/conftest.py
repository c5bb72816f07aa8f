"""A desk on a data folder of its own, mails as delivery leaves them in its folder, and a journal that knows a mail."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.abuse.complaints.desk import ComplaintDesk
from gateway.abuse.complaints.ticket import Ticket, Tickets
from gateway.abuse.post import content
from gateway.clock import FakeClock
from gateway.config.abuse_desk import DESK_DOMAIN, DESK_FOLDER
from gateway.config.loader import load
from gateway.config.snapshot import Snapshot
from gateway.filters import catalogue
from gateway.incidents import IncidentBook, IncidentReader
from gateway.journal.events import Event, MessageJudged
from gateway.journal.sinks import Recorded
from gateway.journal.store import Journal
from gateway.mail.trace_id import new_trace_id

HOSTNAME = "mx.ours.test"
# A Monday, 2026-11-23 02:00 UTC: 10:00 in Shanghai.
MONDAY = 1_795_399_200.0
SPAM = (
    b"Received: from bulk.spam.test (unknown [203.0.113.9])\r\n\tby mx.ours.test with ESMTP id 01; Mon, 23 Nov 2026\r\n"
    b"X-Tidegate-Id: %s\r\nFrom: Cheap <offers@spam.test>\r\nTo: anna@ours.test\r\n"
    b"Subject: =?utf-8?B?5Luj5byA5Y+R56Wo?=\r\nMessage-ID: <offer.1@spam.test>\r\n\r\nBuy now.\r\n"
)


@dataclass
class Desk:
    """Everything a test of the desk has in hand."""

    folder: Path
    snapshot: Snapshot
    clock: FakeClock
    events: Recorded
    book: IncidentBook
    desk: ComplaintDesk
    numbers: list[int] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.snapshot.config.data

    def receive(self, mail: bytes, *, sender: str = "kim@isp.test", to: str = "abuse=ours.test") -> str:
        """Put a mail where delivery leaves it; return its trace id."""
        self.numbers.append(len(self.numbers))
        number = len(self.numbers)
        trace_id = new_trace_id(self.clock.stamp().utc, lambda n: number.to_bytes(n, "big"))
        new = self.data / DESK_FOLDER / DESK_DOMAIN / to.partition("+")[0] / "new"
        new.mkdir(parents=True, exist_ok=True)
        delivered = to if "@" in to else f"{to}@{DESK_DOMAIN}"
        head = f"Return-Path: <{sender}>\r\nDelivered-To: {delivered}\r\nX-Tidegate-Id: {trace_id}\r\n"
        (new / f"{trace_id}.00000000.tidegate").write_bytes(head.encode() + mail)
        return trace_id

    def round(self) -> dict[str, int]:
        done = dict(self.desk.round())
        assert self.events.events == []
        return done

    def read(self, mail: bytes, **how: str) -> str:
        """Receive one mail and read it; return what it was."""
        self.receive(mail, **how)
        [(what, count)] = self.round().items()
        assert count == 1
        return what

    def ticket(self, number: int = 1) -> Ticket:
        with Tickets(self.data) as tickets:
            found = tickets.one(number)
        assert found is not None
        return found

    def tickets(self) -> list[Ticket]:
        with Tickets(self.data) as tickets:
            return tickets.find()

    def mails(self) -> list[bytes]:
        """Return every mail that the desk has written, as it leaves."""
        with IncidentReader(self.data) as reader:
            return [content(row[0]) for row in reader.rows("SELECT content FROM desk_mail ORDER BY id")]

    def rows(self, sql: str) -> list[tuple]:
        with IncidentReader(self.data) as reader:
            return reader.rows(sql)

    async def know(self, trace_id: str, message_id: str = "<offer.1@spam.test>", **given: object) -> None:
        """Have the journal tell of a mail that was taken."""
        await self.journal(judged(trace_id, message_id, self.clock.stamp().utc, **given))

    async def journal(self, *events: Event) -> None:
        journal = Journal(self.data / "journal", 0, clock=self.clock, failures=self.events)
        for event in events:
            journal.emit(event)
        await journal.flush()
        await journal.close()


def judged(trace_id: str, message_id: str, at: float, **given: object) -> MessageJudged:
    facts = {
        "session_id": trace_id,
        "client": "203.0.113.9",
        "client_name": "",
        "helo": "bulk.spam.test",
        "role": "mx",
        "tls": "",
        "reverse_path": "offers@spam.test",
        "subject": "offer",
        "octets": 400,
        "dispositions": (("anna@ours.test", "accept", 0.0, "", ""),),
        "findings": (),
        "filter_seconds": (),
        "reply": "250 2.0.0 accepted",
        "connected_at": at,
        "enveloped_at": at,
        "received_at": at,
        "filtered_seconds": 0.0,
        "durable_at": at,
        "durable_seconds": 0.0,
    }
    return MessageJudged(at=at, trace_id=trace_id, message_id=message_id, **facts | given)


CONFIGURATION = f"""
hostname = "{HOSTNAME}"
data = "data"
[contact]
abuse = "abuse@ours.test"
telephone = "+86 10 1234 5678"
[[listen]]
address = "127.0.0.1:0"
"""


@pytest.fixture
def desk(tmp_path: Path) -> Callable[..., Desk]:
    def make(more: str = "") -> Desk:
        (tmp_path / "policies").mkdir()
        (tmp_path / "blocklists").mkdir()
        (tmp_path / "policies/ours.toml").write_text('domains = ["ours.test"]\nnext_hop = "maildir:maildir"\n')
        (tmp_path / "tidegate.toml").write_text(CONFIGURATION + more, encoding="utf-8")
        snapshot = load(tmp_path / "tidegate.toml", catalogue())
        clock, events = FakeClock(MONDAY), Recorded()
        book = IncidentBook(snapshot.config.data, clock=clock)
        room = ComplaintDesk(lambda: snapshot, book, clock=clock, events=events)
        return Desk(tmp_path, snapshot, clock, events, book, room)

    return make


def arf(original: bytes, *fields: str, head: str = "From: Kim <kim@isp.test>\r\nSubject: abuse report\r\n") -> bytes:
    """Return a feedback report as RFC 5965 has it."""
    report = "\r\n".join(fields or ("Feedback-Type: abuse", "User-Agent: Reporter/1.0", "Version: 1"))
    return (
        (
            f"{head}Message-ID: <report.1@isp.test>\r\nMIME-Version: 1.0\r\n"
            'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
            "--b\r\nContent-Type: text/plain\r\n\r\nThis is an email abuse report.\r\n"
            f"--b\r\nContent-Type: message/feedback-report\r\n\r\n{report}\r\n\r\n"
            "--b\r\nContent-Type: message/rfc822\r\n\r\n"
        ).encode()
        + original
        + b"\r\n--b--\r\n"
    )
