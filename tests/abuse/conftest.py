"""A data folder as workers leave it: journals of events, samples of evidence; and a keeper over it on a fake clock."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.abuse.keeper import Keeper, Round
from gateway.abuse.local_senders import LocalWatch
from gateway.abuse.protection import Protection
from gateway.blocklist.local.keeping import ListKeeper
from gateway.blocklist.local.lists import LocalLists
from gateway.clock import FakeClock
from gateway.config.loader import load
from gateway.config.snapshot import Snapshot
from gateway.filters import catalogue
from gateway.incidents import Incident, IncidentBook, IncidentReader, State
from gateway.incidents.reader import IncidentQuery
from gateway.journal.events import Event, MessageJudged, RecipientRefused
from gateway.journal.sinks import Recorded
from gateway.journal.store import Journal
from gateway.mail.trace_id import new_trace_id
from gateway.state.table import SharedTable

# Friday 2026-11-20, 02:00 UTC.
BEGIN = 1_795_140_000.0
CONFIGURATION = """\
hostname = "mx.gate.test"
[[listen]]
address = "127.0.0.1:2525"
[[listen]]
address = "127.0.0.1:2526"
role = "relay"
networks = ["10.0.0.0/8"]
"""
POLICY = """\
domains = ["box.test"]
next_hop = ["smtp://192.0.2.25:25"]
[incidents]
confirm = 3
confirm_virus = 1
window = "1h"
block = true
"""
OTHER = """\
domains = ["other.test"]
next_hop = ["smtp://192.0.2.26:25"]
"""


class World:
    """One gateway's data folder; ``keeper`` may be thrown away and made again, as a kill does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        self.clock = FakeClock(utc=BEGIN)
        self.snapshot = self._snapshot()
        self._ids = 0
        self.keepers: list[Keeper] = []
        self._table = SharedTable(self.data / "known.table", places=1024, clock=self.clock)
        self.keeper = self.new_keeper()

    def _snapshot(self) -> Snapshot:
        (self.folder / "policies").mkdir()
        (self.folder / "blocklists").mkdir()
        (self.folder / "tidegate.toml").write_text(CONFIGURATION + '[incidents]\nprotected = ["198.51.100.99/32"]\n')
        (self.folder / "policies/box.toml").write_text(POLICY, encoding="utf-8")
        (self.folder / "policies/other.toml").write_text(OTHER, encoding="utf-8")
        found = load(self.folder / "tidegate.toml", catalogue())
        return replace(found, config=found.config.model_copy(update={"data": self.data}))

    def set(self, **settings: object) -> None:
        """Change ``[incidents]`` and have the keeper follow."""
        incidents = self.snapshot.config.incidents.model_copy(update=settings)
        config = self.snapshot.config.model_copy(update={"incidents": incidents})
        self.snapshot = replace(self.snapshot, config=config)
        self.keeper.use(self.snapshot, self.protection())

    def protection(self) -> Protection:
        return Protection(self.snapshot, LocalLists(self.data), {"mx.gate.test": ("203.0.113.25",)})

    @property
    def now(self) -> float:
        return self.clock.stamp().utc

    @property
    def book(self) -> IncidentBook:
        return IncidentBook(self.data, clock=self.clock)

    def new_keeper(self, gather_seconds: float = 0.0) -> Keeper:
        keeper = Keeper(
            self.data,
            clock=self.clock,
            book=self.book,
            local=LocalWatch(self._table),
            gather_seconds=gather_seconds,
        )
        keeper.use(self.snapshot, self.protection())
        self.keepers.append(keeper)
        self.keeper = keeper
        return keeper

    # What workers write

    def journal(self, events: Sequence[Event], worker: int = 0) -> None:
        asyncio.run(self._journal(events, worker))

    async def _journal(self, events: Sequence[Event], worker: int) -> None:
        journal = Journal(self.data / "journal", worker, clock=self.clock, failures=Recorded())
        for event in events:
            journal.emit(event)
        await journal.close()

    def trace(self) -> str:
        self._ids += 1
        return new_trace_id(self.now, lambda octets: self._ids.to_bytes(octets, "big"))

    def mail(self, client: str = "198.51.100.7", to: str = "me@box.test", **facts: object) -> MessageJudged:
        """A verdict: spam refused for its advertising, unless ``facts`` say otherwise."""
        return MessageJudged(
            **{
                "at": self.now,
                "trace_id": self.trace(),
                "session_id": "S",
                "client": client,
                "client_name": "",
                "helo": "bad.test",
                "role": "mx",
                "tls": "",
                "reverse_path": "x@bad.test",
                "message_id": "<1@bad.test>",
                "subject": "cheap",
                "octets": 100,
                "dispositions": ((to, "reject", 20.0, "rule", "rule cheap"),),
                "findings": (("rule", "cheap", "cheap: subject"),),
                "filter_seconds": (),
                "reply": "550 5.7.1 no",
                "connected_at": self.now,
                "enveloped_at": self.now,
                "received_at": self.now,
                "filtered_seconds": 0.0,
                "durable_at": 0.0,
                "durable_seconds": 0.0,
                "grounds": ((to, "advertising"),),
                **facts,
            }
        )

    def ham(self, client: str = "198.51.100.7", to: str = "me@box.test", **facts: object) -> MessageJudged:
        plain = {"dispositions": ((to, "accept", 0.0, "", ""),), "findings": (), "grounds": (), "reply": "250 2.0.0 ok"}
        return self.mail(client, to, **{**plain, **facts})

    def refused(self, client: str = "198.51.100.7", **facts: object) -> RecipientRefused:
        return RecipientRefused(
            **{
                "at": self.now,
                "trace_id": self.trace(),
                "client": client,
                "helo": "bad.test",
                "reverse_path": "x@bad.test",
                "recipient": "me@box.test",
                "reply": "550 5.7.1 no",
                "reason": "spf fail",
                "filter": "spf",
                "grounds": ("false-source",),
                **facts,
            }
        )

    # What is found

    def rounds(self) -> list[Round]:
        """Let the keeper work until there is nothing more to do."""
        done = [self.keeper.round()]
        while done[-1].sightings:
            done.append(self.keeper.round())
        return done

    def spam(self, count: int, client: str = "198.51.100.7", **facts: object) -> None:
        """Have a client send spam, and the keeper take note."""
        self.journal([self.mail(client, **facts) for _ in range(count)])
        self.rounds()

    def confirm(self, number: int = 1) -> None:
        """Confirm an incident by hand."""
        with self.book.change("anna", "incident confirm") as change:
            change.move(number, State.CONFIRMED, "three customers complained")

    def reader(self) -> IncidentReader:
        return IncidentReader(self.data)

    def incidents(self) -> list[Incident]:
        with self.reader() as reader:
            return sorted(reader.find(IncidentQuery()), key=lambda incident: incident.id)

    def incident(self, number: int = 1) -> Incident:
        with self.reader() as reader:
            found = reader.incident(number)
        assert found is not None
        return found

    def listed(self, address: str) -> list[str]:
        """The reasons on the local list of blocked sources, as a worker reads them."""
        from gateway.blocklist.local.question import ask_anything  # noqa: PLC0415

        lists = LocalLists(self.data)
        lists.refresh()
        question = ask_anything(address)
        assert question is not None
        return [each.reason for each in lists.look_up([question], self.now).blocked]

    def lists(self) -> ListKeeper:
        return ListKeeper(self.folder / "blocklists", self.data, clock=self.clock)

    def close(self) -> None:
        for keeper in self.keepers:
            keeper.close()
        self._table.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()
