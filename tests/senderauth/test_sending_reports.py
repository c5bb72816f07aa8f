"""Sending reports: only to who wants them, each once, within the limits; what DNS did not tell is asked again."""

from dataclasses import replace
from datetime import time
from pathlib import Path

import pytest

from gateway.app.dmarc_reports import DmarcReportSchedule, due_day
from gateway.clock import FakeClock
from gateway.config.dmarc_reports import DmarcReports
from gateway.config.models import GatewayConfig
from gateway.dns.zone import ZoneResolver
from gateway.journal.sinks import Recorded
from gateway.senderauth.dmarc.aggregate import Day, Row
from gateway.senderauth.dmarc.destinations import destinations
from gateway.senderauth.dmarc.facts import DmarcFacts
from gateway.senderauth.dmarc.record import report_addresses
from gateway.senderauth.dmarc.report import Reporter
from gateway.senderauth.dmarc.sending import NotTaken, ReportLimits, ReportRun
from gateway.senderauth.dmarc.sent import DayDone, SentReports, State, read_day_done, read_latest

ZONE = """
_dmarc.example.com TXT "v=DMARC1; p=none"
_dmarc.example.net TXT "v=DMARC1; p=none"
example.com._report._dmarc.reports.example.net TXT "v=DMARC1"
*._report._dmarc.all.example TXT "v=DMARC1;"
example.com._report._dmarc.moved.example TXT "v=DMARC1; rua=mailto:new@moved.example!1m"
example.com._report._dmarc.loop.example TXT "v=DMARC1; rua=mailto:a@victim.example"
example.com._report._dmarc.odd.example TXT "v=DMARC1; rua=https://odd.example/r"
example.com._report._dmarc.wrong.example TXT "v=spf1 -all"
example.com._report._dmarc.silent.example TXT !SERVFAIL
_dmarc.mail.broken.com TXT !SERVFAIL
"""


@pytest.mark.parametrize(
    ("rua", "addresses", "refused", "unknown"),
    [
        # RFC 9990 §4: the same organisational domain needs no word from anybody.
        ("mailto:d@example.com", ["d@example.com"], "", ""),
        ("mailto:d@mail.example.com!10m", ["d@mail.example.com"], "", ""),
        # Its own example: blue.example.com and red.example.net.
        ("mailto:d@reports.example.net", ["d@reports.example.net"], "", ""),
        ("mailto:d@all.example", ["d@all.example"], "", ""),
        ("mailto:old@moved.example", ["new@moved.example"], "", ""),
        ("mailto:d@example.net", ["d@example.net"], "does not say", ""),
        ("mailto:d@victim.example", ["d@victim.example"], "does not say", ""),
        ("mailto:d@wrong.example", ["d@wrong.example"], "does not say", ""),
        ("mailto:d@loop.example", ["d@loop.example"], "outside loop.example", ""),
        ("mailto:d@odd.example", ["d@odd.example"], "outside odd.example", ""),
        (f"mailto:d@{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}.example", None, "too long", ""),
        ("mailto:d@silent.example", ["d@silent.example"], "", "SERVFAIL"),
        ("mailto:d@mail.broken.com", ["d@mail.broken.com"], "", "SERVFAIL"),
        ("mailto:d@com", ["d@com"], "does not say", ""),
        ("mailto:d@example.com,mailto:D@example.com", ["d@example.com"], "", ""),
        ("https://example.com/r", [], "", ""),
        ("mailto:d@exam..com", ["d@exam..com"], "no domain", ""),
    ],
)
async def test_who_may_be_sent_reports(rua, addresses, refused, unknown):
    found = await destinations(ZoneResolver(ZONE), "example.com", report_addresses(f"v=DMARC1; p=none; rua={rua}"))
    if addresses is not None:
        assert [one.address for one in found] == addresses
    assert all(refused in one.refused and bool(refused) == bool(one.refused) for one in found), found
    assert all(unknown in one.unknown and bool(unknown) == bool(one.unknown) for one in found), found


async def test_a_mailbox_that_two_name_is_written_to_when_one_of_them_may():
    text = "v=DMARC1; rua=mailto:d@victim.example,mailto:old@moved.example,mailto:new@moved.example"
    found = await destinations(ZoneResolver(ZONE), "example.com", report_addresses(text))
    assert [(one.address, bool(one.refused), one.max_octets) for one in found] == [
        ("d@victim.example", True, None),
        ("new@moved.example", False, 1024**2),
    ]


def test_sizes_are_read_with_their_units():
    text = "v=DMARC1; rua=mailto:a@x.example!10m,mailto:b@x.example!50,mailto:c@x.example,mailto:a@x.example!1k"
    assert [(one.address, one.max_octets) for one in report_addresses(text)] == [
        ("a@x.example", 10 * 1024**2),
        ("b@x.example", 50),
        ("c@x.example", None),
    ]


BEGIN = 1_699_920_000
REPORTER = Reporter(host="mx.ours.example", organisation="Ours", email="d@ours.example", generator="Tidegate 0")
LIMITS = ReportLimits(most=100, per_minute=60, max_octets=10_000)


def day(domain: str, rua: str, messages: int = 1) -> Day:
    facts = DmarcFacts(
        policy_domain=domain,
        record=f"v=DMARC1; p=none; rua={rua}",
        author=domain,
        envelope_domain=domain,
        spf="pass",
        aligned_spf="pass",
        aligned_dkim="fail",
        result="pass",
        policy="none",
        signatures="",
    )
    made = Day()
    for _ in range(messages):
        made.count(Row("192.0.2.1", "pass", "", facts), BEGIN)
    return made


class Office:
    """Takes mails, or says why not; notes the pauses between them."""

    def __init__(self) -> None:
        self.mails = []
        self.pauses = []
        self.refusal = ""

    async def submit(self, mail):
        if self.refusal:
            return NotTaken(self.refusal)
        self.mails.append(mail)
        return f"ID{len(self.mails)}"

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def run(self, zone: str = ZONE, limits: ReportLimits = LIMITS) -> ReportRun:
        return ReportRun(
            resolver=ZoneResolver(zone),
            reporter=REPORTER,
            limits=limits,
            submit=self.submit,
            clock=FakeClock(BEGIN + 90_000.0),
            pause=self.pause,
        )

    @property
    def written_to(self) -> list[str]:
        return [address for mail in self.mails for address in mail.recipients]


@pytest.fixture
async def record(tmp_path):
    made = SentReports(tmp_path)
    yield made
    await made.close()


async def test_each_report_leaves_once_however_often_the_day_is_gone_through(record, tmp_path):
    office = Office()
    days = {"example.com": day("example.com", "mailto:a@example.com,mailto:d@victim.example")}
    done = await office.run().day(days, BEGIN, record)
    assert (done.domains, done.sent, done.withheld, done.failed) == (1, 1, 1, 0)
    again = await office.run().day(days, BEGIN, record)
    assert (again.sent, again.withheld) == (1, 1)
    assert office.written_to == ["a@example.com"]
    # The next day is another report.
    await office.run().day(days, BEGIN + 86_400, record)
    assert office.written_to == ["a@example.com"] * 2
    rows = read_latest(tmp_path, 10)
    assert [(row.begin - BEGIN, row.address, row.state.value, row.trace_id) for row in rows] == [
        (86_400, "a@example.com", "sent", "ID2"),
        (86_400, "d@victim.example", "withheld", ""),
        (0, "a@example.com", "sent", "ID1"),
        (0, "d@victim.example", "withheld", ""),
    ]
    assert read_day_done(tmp_path, BEGIN) == again


async def test_what_failed_is_tried_again_and_what_was_sent_is_not(record):
    office = Office()
    days = {"example.com": day("example.com", "mailto:a@example.com,mailto:d@silent.example")}
    first = await office.run().day(days, BEGIN, record)
    assert (first.sent, first.failed) == (1, 1)
    answered = ZONE.replace("silent.example TXT !SERVFAIL", 'silent.example TXT "v=DMARC1"')
    second = await office.run(answered).day(days, BEGIN, record)
    assert (second.sent, second.failed) == (2, 0)
    assert office.written_to == ["a@example.com", "d@silent.example"]


async def test_what_the_gateway_does_not_take_is_told_and_tried_again(record):
    office = Office()
    office.refusal = "no worker takes mail now, try again"
    days = {"example.com": day("example.com", "mailto:a@example.com")}
    assert (await office.run().day(days, BEGIN, record)).failed == 1
    assert record.of_day(BEGIN)[0].reason == office.refusal
    office.refusal = ""
    assert (await office.run().day(days, BEGIN, record)).sent == 1


async def test_sizes_are_kept_to(record):
    office = Office()
    days = {"example.com": day("example.com", "mailto:a@example.com!1k,mailto:b@example.com!10k")}
    await office.run().day(days, BEGIN, record)
    assert office.written_to == ["b@example.com"]
    [small, _] = record.of_day(BEGIN)
    assert (small.state, small.reason.endswith("1024 are taken there")) == (State.WITHHELD, True)
    tight = replace(LIMITS, max_octets=100)
    await office.run(limits=tight).day(days, BEGIN + 86_400, record)
    assert {row.state for row in record.of_day(BEGIN + 86_400)} == {State.WITHHELD}


async def test_no_more_reports_than_allowed_a_day_nor_faster(record):
    office = Office()
    zone = "\n".join(f'_dmarc.d{n}.example TXT "v=DMARC1; p=none"' for n in range(5))
    days = {f"d{n}.example": day(f"d{n}.example", f"mailto:a@d{n}.example") for n in range(5)}
    limits = replace(LIMITS, most=3, per_minute=30)
    done = await office.run(zone, limits).day(days, BEGIN, record)
    assert (done.sent, done.withheld) == (3, 2)
    assert office.written_to == ["a@d0.example", "a@d1.example", "a@d2.example"]
    assert office.pauses == [2.0] * 3
    # Going through it again adds none.
    assert (await office.run(zone, limits).day(days, BEGIN, record)).sent == 3


async def test_a_preview_sends_nothing(tmp_path):
    office = Office()
    rows = await office.run().preview({"example.com": day("example.com", "mailto:a@example.com")}, BEGIN)
    assert [(row.address, row.state.value, row.messages) for row in rows] == [("a@example.com", "sent", 1)]
    assert office.mails == []
    assert not list(tmp_path.iterdir())


# The schedule ---------------------------------------------------------------------------------------------------------


def config(tmp_path: Path, **settings) -> GatewayConfig:
    return GatewayConfig(hostname="mx.ours.example", data=tmp_path, dmarc_reports=DmarcReports(**settings))


def test_yesterday_is_due_once_the_hour_has_come(tmp_path):
    node = config(tmp_path, at=time(1, 30))
    midnight = BEGIN + 86_400
    assert due_day(midnight + 5_399, node) is None
    assert due_day(midnight + 5_400, node) == BEGIN
    assert due_day(midnight + 86_399, node) == BEGIN


class Scheduled(DmarcReportSchedule):
    """The schedule with the command's place taken: ``commands`` are those asked for, ``outcome`` what it leaves."""

    def __init__(self, node: GatewayConfig, clock: FakeClock, outcome: DayDone | None) -> None:
        self.recorded, self.commands, self.outcome, self.data = Recorded(), [], outcome, node.data
        snapshot = type("Snapshot", (), {"config": node})()
        self.is_serving = True
        super().__init__(
            lambda: snapshot,
            Path("tidegate.toml"),
            serving=lambda: self.is_serving,
            clock=clock,
            events=self.recorded,
        )
        self._commands = self

    async def run(self, *arguments: str) -> str:
        self.commands.append(arguments)
        if self.outcome is not None:
            store = SentReports(self.data)
            await store.keep_day(self.outcome)
            await store.close()
        return "the gateway was busy (exit status 75)"


DONE = DayDone(begin=BEGIN, at=BEGIN + 90_001.0, domains=2, sent=3, withheld=1, failed=0)
ON = {"send": True, "author": "d@ours.example"}


async def test_the_schedule_sends_a_day_once_and_tells(tmp_path):
    clock = FakeClock(BEGIN + 86_400 + 4_000.0)
    schedule = Scheduled(config(tmp_path, **ON), clock, DONE)
    schedule.is_serving = False
    await schedule.look()
    assert schedule.commands == []
    schedule.is_serving = True
    for _ in range(3):
        await schedule.look()
    clock.advance(2 * 3600.0)
    await schedule.look()
    assert schedule.commands == [("dmarc", "send", "--date", "2023-11-14")]
    [told] = schedule.recorded.events
    assert (told.day, told.domains, told.sent, told.withheld, told.failed, told.reason) == (
        "2023-11-14",
        2,
        3,
        1,
        0,
        "",
    )


@pytest.mark.parametrize("outcome", [None, replace(DONE, failed=1)])
async def test_what_did_not_come_off_is_tried_again_an_hour_later(tmp_path, outcome):
    clock = FakeClock(BEGIN + 86_400 + 4_000.0)
    schedule = Scheduled(config(tmp_path, **ON), clock, outcome)
    await schedule.look()
    await schedule.look()
    assert len(schedule.commands) == 1
    clock.advance(3601.0)
    await schedule.look()
    assert len(schedule.commands) == 2
    told = schedule.recorded.events[0]
    assert ("exit status 75" in told.reason, told.failed) == ((True, 0) if outcome is None else (False, 1))


async def test_nothing_is_sent_by_the_clock_unless_asked_for(tmp_path):
    schedule = Scheduled(config(tmp_path), FakeClock(BEGIN + 86_400 + 4_000.0), DONE)
    await schedule.look()
    assert schedule.commands == []
