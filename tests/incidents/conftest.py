"""A small record with something of every kind in it."""

import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.incidents import IncidentBook, IncidentReader, Resolution, Sighting, Source, State
from gateway.incidents.evidence import EvidenceStore
from gateway.incidents.retention import Keeping, Pruned, Pruner
from gateway.incidents.schema import database_path
from gateway.incidents.verification import Verification, verify
from gateway.mail.trace_id import new_trace_id

NOW = 1_790_000_000.0
DAY = 86_400.0
MESSAGE = (
    b"From: Promo <promo@bulk.example>\r\nTo: Zhang San <zhang@corp.test>\r\n"
    b"Subject: =?utf-8?B?5Luj5byA5Y+R56Wo?=\r\nMessage-ID: <1@bulk.example>\r\n\r\nDear zhang@corp.test, buy.\r\n"
)


def trace(number: int) -> str:
    """Return a trace id that belongs to a number."""
    return new_trace_id(NOW + number, lambda octets: number.to_bytes(octets, "big"))


def sighting(number: int, address: str = "192.0.2.7", **changes) -> Sighting:
    """Return a sighting of a spam source."""
    values = {
        "trace_id": trace(number),
        "at": NOW + number,
        "source": Source.at(address),
        "client": address,
        "helo": "mail.bulk.example",
        "reverse_path": "promo@bulk.example",
        "recipients": ("zhang@corp.test",),
        "recipient_domain": "corp.test",
        "message_id": f"<{number}@bulk.example>",
        "subject": "代开发票 Invoice",
        "grounds": ("advertising", "no-opt-out"),
        "findings": ("rules invoice: 代开发票",),
        "action": "reject",
        "octets": 2000,
    }
    return Sighting(**values | changes)


@dataclass
class Desk:
    """A data folder with its record, and a clock to move."""

    data: Path
    clock: FakeClock
    book: IncidentBook
    store: EvidenceStore

    def fold(self, sightings: Iterable[Sighting]):
        with self.book.change("keeper", "fold") as change:
            return change.fold(list(sightings))

    def move(self, number: int, *states: State, resolution: Resolution | None = None) -> None:
        with self.book.change("li", "incident move", "tty1") as change:
            for state in states:
                change.move(number, state, "because", resolution if state is State.CLOSED else None)

    def keep(self, number: int, incident: int, content: bytes = MESSAGE) -> None:
        facts = {
            "connection": {"client": "192.0.2.7", "helo": "mail.bulk.example"},
            "envelope": {"reverse_path": "promo@bulk.example", "recipients": ["zhang@corp.test"]},
            "tls": "TLSv1.3",
            "findings": [["rules", "invoice", "代开发票"]],
            "policy": "ab12",
        }
        self.store.inbox.put(trace(number), NOW + number, facts, [content])
        with self.book.change("keeper", "adopt") as change:
            assert self.store.adopt(change, incident, trace(number)) is not None

    def reader(self) -> IncidentReader:
        return IncidentReader(self.data)

    def verified(self, **given) -> Verification:
        return verify(self.data, **given)

    def wrong(self, **given) -> str:
        """Return everything that is found wrong."""
        return "\n".join(map(str, self.verified(**given).flaws))

    def tamper(self, *statements: str) -> None:
        """Change the database behind the gateway's back."""
        with closing(sqlite3.connect(database_path(self.data))) as connection:
            connection.executescript(";".join(statements))

    def prune(self, **keeping: float) -> Pruned:
        """Prune until nothing is left to remove; return how much went in all."""
        pruner, steps = Pruner(self.book, self.store, Keeping(**keeping)), []
        while not steps or steps[-1].more:
            steps.append(pruner.step())
        return Pruned(
            sightings=sum(step.sightings for step in steps),
            messages=sum(step.messages for step in steps),
            incidents=sum(step.incidents for step in steps),
        )


def desk_at(data: Path) -> Desk:
    """Return the record under a folder."""
    clock = FakeClock(NOW)
    return Desk(data, clock, IncidentBook(data, clock=clock), EvidenceStore(data))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Return an empty record."""
    return desk_at(tmp_path)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a record to be copied, three incidents, of which the first has a history."""
    desk = desk_at(tmp_path_factory.mktemp("filled"))
    desk.fold(sighting(n) for n in range(1, 6))
    desk.fold([sighting(6, "198.51.100.9", virus="Eicar", grounds=("harmful",)), sighting(7, "2001:db8::1")])
    desk.keep(1, 1)
    desk.keep(2, 1, MESSAGE + b"two\r\n")
    desk.move(1, State.CONFIRMED, State.REPORTED, State.BLOCKED)
    with desk.book.change("li", "incident note") as change:
        change.note(1, "called the operator, 已电话联系")
        change.note(2, "a second note")
    return desk.data


@pytest.fixture
def full(desk: Desk, filled: Path) -> Desk:
    """Return a record with something of every kind in it, for this test alone."""
    shutil.copytree(filled, desk.data, dirs_exist_ok=True)
    return desk
