"""The watch beside the mail: what it puts on record, whom it warns, and what it does when evidence disagrees."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.app.next_hops import NextHops, maildir_reason
from gateway.app.probe_mailbox import ProbeMailbox, with_probe_mailbox
from gateway.app.service import ServiceWatch
from gateway.clock import FakeClock
from gateway.config.loader import load
from gateway.dns.zone import ZoneResolver
from gateway.filters import catalogue
from gateway.ledger import MIGRATIONS, rows
from gateway.servicelevel.book import Book, Writer
from gateway.servicelevel.clocks import new_deadline
from gateway.servicelevel.deadline import KINDS
from gateway.servicelevel.exclusion import Clause, ExclusionClass
from gateway.servicelevel.minutes import IDLE
from gateway.servicelevel.observing import Finding, close_faults_of_nobody, record_faults
from gateway.servicelevel.probing import Door, probe_message
from gateway.servicelevel.records import Records
from gateway.servicelevel.store import StoreReader, open_store
from gateway.storage import Database, StorageFull
from tests.ledger.test_ledger import RECORD
from tests.servicelevel.test_clocks import CALENDAR, at

HOP = 'domains = ["example.test"]\ncustomer = "example"\nnext_hop = ["{url}"]\n'
START = at("2026-11-20T10:00")
PLACES = (("example", "receive"), ("example", "send"))


class Told(list):
    """Events by kind, as they come."""

    def emit(self, event):
        self.append(event)

    def of(self, kind):
        return [event for event in self if event.kind == kind]


@pytest.fixture
def snapshot(tmp_path):
    def make(url: str = "maildir:mail", more: str = ""):
        (tmp_path / "policies").mkdir(exist_ok=True)
        (tmp_path / "blocklists").mkdir(exist_ok=True)
        (tmp_path / "policies/example.toml").write_text(HOP.format(url=url) + more, encoding="utf-8")
        (tmp_path / "tidegate.toml").write_text(
            'hostname = "mx.example.test"\ndata = "data"\n[[listen]]\naddress = "127.0.0.1:0"\n', encoding="utf-8"
        )
        return load(tmp_path / "tidegate.toml", catalogue())

    return make


class Watched:
    """A watch on a fake clock, and what belongs to it."""

    def __init__(self, snapshot) -> None:
        self.clock, self.events = FakeClock(START), Told()
        self.snapshot, self.data = snapshot, snapshot.config.data
        self.serving = True
        self.watch = ServiceWatch(
            lambda: self.snapshot,
            serving=lambda: self.serving,
            settled=lambda: asyncio.sleep(0),
            mailbox=ProbeMailbox.new(self.data, bytes),
            clock=self.clock,
            events=self.events,
        )
        self.store = open_store(self.data)
        self.shard = Database(self.data / "spool/shard-0.sqlite", MIGRATIONS, synchronous="NORMAL")

    async def close(self) -> None:
        await self.store.close()
        await self.shard.close()

    async def received(self, utc: float, delay: float = 0.5) -> None:
        one = replace(
            RECORD,
            trace_id=f"{utc:.3f}",
            customer="example",
            domain="example.test",
            received_at=utc,
            transfer_started_at=utc + delay,
            accepted_at=utc + delay,
            send_delay_seconds=delay,
            receive_delay_seconds=delay,
            finished_at=utc + delay,
        )
        await self.shard.commit(rows(one))

    def book(self) -> Book:
        return Book.of(Records(self.data).read())


@pytest.fixture
async def watched(snapshot):
    made = Watched(snapshot())
    yield made
    await made.close()


async def test_a_gap_between_heartbeats_is_a_fault_of_all_customers(watched):
    await watched.watch.beat(watched.store)
    watched.clock.advance(180.0)
    await watched.watch.beat(watched.store)
    [fault] = watched.book().faults.values()
    assert (fault.cause, fault.customer, fault.start, fault.end) == ("gateway", "", START, START + 180.0)
    with StoreReader(watched.data) as store:
        runs = store.observed("example", 0, int(START // 60) + 10)
    assert {(run.direction, run.last - run.first + 1) for run in runs} == {("send", 3), ("receive", 3)}
    assert watched.events.of("service_doubted") == []


async def test_an_outage_that_cannot_be_put_on_record_is_when_it_can(watched, monkeypatch):
    """Else a disk that was full as the gateway came back makes its absence unseen; and no beat is left out for it."""
    await watched.watch.beat(watched.store)
    watched.clock.advance(180.0)
    with monkeypatch.context() as patch:
        patch.setattr(Records, "append", no_disk)
        with pytest.raises(OSError, match="gone"):
            await watched.watch.beat(watched.store)
    watched.clock.advance(5.0)
    with monkeypatch.context() as patch:
        patch.setattr(watched.store, "commit", full)
        with pytest.raises(StorageFull):
            await watched.watch.beat(watched.store)
    watched.clock.advance(5.0)
    await watched.watch.beat(watched.store)
    assert {(fault.start, fault.end) for fault in watched.book().faults.values()} == {(START, START + 180.0)}
    assert watched.book().open_faults() == []
    with StoreReader(watched.data) as store:
        runs = store.observed("example", 0, int(START // 60) + 10)
    assert {(run.direction, run.last - run.first + 1) for run in runs} == {("send", 3), ("receive", 3)}


def no_disk(*_, **__):
    raise OSError("gone")


async def test_a_store_that_cannot_be_opened_is_opened_when_it_can(watched, monkeypatch):
    """Else nothing is watched for the gateway's life: no heartbeat, no probes, no alarms."""
    beaten, failures = asyncio.Event(), iter([StorageFull("the disk is full")])

    class Opened:
        async def close(self):
            pass

    def opening(_data):
        for failure in failures:
            raise failure
        return Opened()

    async def beat(_store):
        beaten.set()

    monkeypatch.setattr("gateway.app.service.open_store", opening)
    monkeypatch.setattr("gateway.app.service.AFTER_A_BUG_SECONDS", 0.0)
    monkeypatch.setattr(watched.watch, "beat", beat)
    watching = asyncio.create_task(watched.watch.run(()))
    async with asyncio.timeout(30):
        await beaten.wait()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert [event.operation for event in watched.events.of("storage_failed")][:1] == ["open"]


async def test_mail_that_was_taken_shows_that_a_late_heartbeat_is_no_outage(watched):
    await watched.watch.beat(watched.store)
    for second in range(5, 120, 5):
        await watched.received(START + second)
    watched.clock.advance(180.0)
    await watched.watch.beat(watched.store)
    [fault] = watched.book().faults.values()
    assert (fault.start, fault.end) == (START + 115.0, START + 180.0)
    assert [event.about for event in watched.events.of("service_doubted")] == ["heartbeat"]


async def test_nothing_beats_while_no_worker_serves(watched):
    await watched.watch.beat(watched.store)
    watched.serving = False
    watched.clock.advance(60.0)
    await watched.watch.beat(watched.store)
    watched.serving = True
    watched.clock.advance(60.0)
    await watched.watch.beat(watched.store)
    assert [fault.end - fault.start for fault in watched.book().faults.values()] == [120.0]


async def test_an_average_or_a_count_that_nears_its_limit_is_told_once_and_again_when_it_is_missed(watched):
    await watched.watch.beat(watched.store)
    await watched.received(START - 5000, 50.0)
    await watched.received(START - 5001, 50.0)
    for _ in range(2):
        await watched.watch.alarm()
    near = [(e.customer, e.measure, e.value, e.state) for e in watched.events.of("service_neared")]
    assert near == [("example", "receive-average", 50.0, "near")]
    for number in range(2):
        await watched.received(START - 4900 - number, 3700.0)
    await watched.watch.alarm()
    told = {(e.measure, e.state) for e in watched.events.of("service_neared")[1:]}
    assert told == {("receive-average", "missed"), ("receive-over-maximum", "near")}


async def test_a_clock_is_told_before_it_is_missed_and_when_it_is(watched):
    await watched.watch.beat(watched.store)
    deadline = new_deadline(KINDS["association-list"], "list of November", "", START, CALENDAR)
    Writer(Records(watched.data), START, "lists").open_deadline(deadline)
    states = []
    for seconds in (3600.0, (deadline.due - START) * 0.75, 1.0, deadline.due - START):
        watched.clock.advance(seconds)
        await watched.watch.alarm()
        states.append([(e.deadline, e.subject, e.state) for e in watched.events.of("deadline_neared")])
    near = ("association-list", "list of November", "near")
    assert states[0] == []
    assert states[1] == states[2] == [near]
    assert states[3] == [near, (*near[:2], "overdue")]


async def test_a_damaged_shard_is_told_once_and_the_others_are_counted(watched):
    await watched.watch.beat(watched.store)
    (watched.data / "spool/shard-1.sqlite").write_bytes(b"no database" * 1000)
    await watched.received(START)
    for _ in range(3):
        await watched.watch.roll(watched.store)
    [failed] = watched.events.of("storage_failed")
    assert "shard-1.sqlite" in failed.error
    with StoreReader(watched.data) as store:
        [day] = store.days("example", ["2026-11-01", "2026-11-30"])
    assert day.summary.copies == 1


async def test_a_day_that_could_not_be_written_anew_is_made_anew_by_the_next_round(watched, monkeypatch):
    await watched.watch.beat(watched.store)
    await watched.received(START, 50.0)
    await watched.watch.roll(watched.store)
    span = (START + 10.0, START + 40.0)
    writer = Writer(Records(watched.data), START, "ops")
    writer.exclude(Clause.DELAY, ExclusionClass.CARRIER, span, customer="example", reason="line cut")
    with monkeypatch.context() as patch:
        patch.setattr(watched.store, "commit", full)
        with pytest.raises(StorageFull):
            await watched.watch.roll(watched.store)
    await watched.watch.roll(watched.store)
    with StoreReader(watched.data) as store:
        [day] = store.days("example", ["2026-11-01", "2026-11-30"])
    assert day.summary.before.sum_us - day.summary.after.sum_us == 30_000_000


def full(_writes):
    raise StorageFull("the disk is full")


class Rounds:
    """Probes whose findings are given."""

    def __init__(self, *reasons: str) -> None:
        self._reasons = iter(reasons)

    async def findings(self, _addresses):
        return {PLACES[0]: Finding(next(self._reasons)), PLACES[1]: Finding("", remark=IDLE)}


async def test_one_failure_is_a_minute_down_and_two_in_a_row_are_a_fault_since_the_first(watched):
    await watched.watch.beat(watched.store)
    rounds = Rounds("", "refused", "", "refused", "refused", "")
    begun = []
    for _ in range(6):
        begun.append(watched.clock.stamp().utc)
        await watched.watch.probe(watched.store, rounds, ())
        watched.clock.advance(60.0)
    [fault] = watched.book().faults.values()
    assert (fault.customer, fault.cause, fault.reason) == ("example", "receive", "refused")
    assert (fault.start, fault.end) == (begun[3], begun[5])
    with StoreReader(watched.data) as store:
        runs = store.observed("example", 0, int(START // 60) + 10)
    down = [(run.first - int(START // 60), run.last - run.first + 1) for run in runs if run.state == "down"]
    assert down == [(1, 1), (3, 2)]
    assert {run.reason for run in runs if run.direction == "send"} == {IDLE}


def test_a_fault_ends_where_it_is_no_longer_the_operators(tmp_path):
    writer = Writer(Records(tmp_path), START, "x")

    def book() -> Book:
        return Book.of(writer.records.read())

    record_faults(writer, book(), {PLACES[0]: Finding("down"), PLACES[1]: Finding("down")}, START)
    assert len(book().open_faults()) == 2
    record_faults(writer, book(), {PLACES[0]: Finding("down", "customer")}, START + 60)
    assert [fault.cause for fault in book().open_faults()] == ["send"]
    by_hand = writer.open_fault("operator", "cooling", START).number
    closed = close_faults_of_nobody(writer, book(), {"another"})
    assert [fault.cause for fault in closed] == ["send"]
    assert [fault.number for fault in book().open_faults()] == [by_hand]


# What is asked --------------------------------------------------------------------------------------------------------


async def scripted(*replies: str):
    """Serve one client after the other these replies, the greeting first; return the server and its port."""

    async def serve(reader, writer):
        for reply in replies:
            writer.write(f"{reply}\r\n".encode())
            line = await reader.readline()
            while reply.startswith("354") and line not in {b".\r\n", b""}:
                line = await reader.readline()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


TRACE = "01ABCDEFGHJKMNPQRSTVWXYZ01"
DIALOGUE = ("220 hi", "250 hi", "250 ok", "250 ok", "354 go")


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ((*DIALOGUE, f"250 2.0.0 [{TRACE}] accepted", "221 bye"), (TRACE, "", False)),
        ((*DIALOGUE, f"451 4.3.0 [{TRACE}] scanner", "221 bye"), ("", f"451 4.3.0 [{TRACE}] scanner", False)),
        ((*DIALOGUE, "554 5.6.0 no", "221 bye"), ("", "554 5.6.0 no", True)),
        (("220 hi", "250 hi", "250 ok", "450 4.2.0 later", "221 bye"), ("", "450 4.2.0 later", False)),
        (("421 busy", "221 bye"), ("", "421 busy", False)),
        ((*DIALOGUE,), ("", "the connection was closed", False)),
    ],
)
async def test_a_probe_message_tells_how_far_it_came(replies, expected):
    server, port = await scripted(*replies)
    async with server:
        sent = await probe_message(Door(host="127.0.0.1", port=port), "me.test", "p@x.test", b"A: b\r\n\r\nc\r\n", 5.0)
    assert (sent.trace_id, sent.reason, sent.judged) == expected


class Zones(ZoneResolver):
    """Made-up zones in the place of the configured servers."""

    def use(self, _settings) -> None:
        """Stay."""


async def reached(snapshot, resolver: Zones | None = None) -> Finding:
    hops = NextHops(lambda: snapshot, FakeClock(START), resolver or Zones())
    found = await hops.findings([file.policy for file in snapshot.policies.files], 20.0)
    return found["example"]


@pytest.mark.parametrize("scheme", ["smtp", "lmtp"])
async def test_a_next_hop_is_reached_when_it_answers_as_delivery_needs_it(snapshot, scheme):
    server, port = await scripted("220 hi", "250 hi", "221 bye")
    async with server:
        assert await reached(snapshot(f"{scheme}://127.0.0.1:{port}?tls=none")) == Finding("")
        unsecured = await reached(snapshot(f"{scheme}://127.0.0.1:{port}?tls=verify"))
    assert "starttls" in unsecured.reason
    gone = await reached(snapshot(f"{scheme}://127.0.0.1:{port}?tls=none"))
    assert gone.reason.startswith(f"next hop {scheme}://127.0.0.1:{port}")
    assert gone.owner == "operator"


async def test_a_next_hop_that_puts_the_gateway_off_is_not_reached(snapshot):
    server, port = await scripted("421 4.3.2 maintenance", "221 bye")
    async with server:
        assert "421" in (await reached(snapshot(f"smtp://127.0.0.1:{port}?tls=none"))).reason


async def test_an_mx_is_looked_up_and_only_what_was_spoken_to_is_its_owners(snapshot):
    own = snapshot("mx:", 'next_hop_owner = "customer"\n')
    # Nobody listens at that address of this machine.
    found = await reached(own, Zones("example.test MX 10 mail.example.test\nmail.example.test A 127.77.77.77"))
    assert found.reason.startswith("next hop mx:example.test: connect")
    assert found.owner == "customer"
    silent = await reached(own, Zones("example.test MX !SERVFAIL"))
    assert silent.reason.startswith("next hop mx:example.test: lookup")
    assert silent.owner == "operator"


async def test_a_maildir_is_reached_when_it_can_be_written(snapshot, tmp_path):
    assert await reached(snapshot()) == Finding("")
    (tmp_path / "mail").write_text("no folder")
    assert "cannot be written" in (await reached(snapshot())).reason
    assert maildir_reason(tmp_path / "new/folder/below") == ""
    assert "cannot be written" in maildir_reason(Path("/proc/self/mail"))


def test_the_probe_mailbox_changes_nothing_for_anybody_else(snapshot):
    plain = snapshot()
    probed = with_probe_mailbox(plain, "abc.probe.invalid")
    assert with_probe_mailbox(plain, "") is plain
    assert probed.policies.files == plain.policies.files
    assert probed.policies.default is plain.policies.default
    policy = probed.policies.for_domain("abc.probe.invalid")
    assert policy.customer == ""
    assert policy.rules == ()
    assert [hop.scheme for hop in policy.next_hop] == ["maildir"]
    assert set(policy.filters) <= set(plain.policies.default.filters)
    assert "header-sanity" not in policy.filters
