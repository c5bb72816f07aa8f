"""Where a wrong figure would hide: customers who come and go within a month, clocks that are changed, last digits."""

from dataclasses import replace

import pytest

from gateway.blocklist.local.declaration import Calendar
from gateway.blocklist.local.workdays import WorkingCalendar
from gateway.config.service_level import ServiceTerms
from gateway.reports.document import number
from gateway.servicelevel.book import Book, Writer
from gateway.servicelevel.clocks import new_deadline
from gateway.servicelevel.conditions import SETTLING_SECONDS, Bearing
from gateway.servicelevel.deadline import KINDS, Deadline
from gateway.servicelevel.evaluation import evaluate
from gateway.servicelevel.evidence import Evidence
from gateway.servicelevel.minutes import UP
from gateway.servicelevel.month import Month, parse_instant
from gateway.servicelevel.records import Records
from gateway.servicelevel.result import Outcome
from gateway.servicelevel.store import Observed

MONTH = Month(2026, 11, "Asia/Shanghai")
OWNERS = {"example.com": "operator"}


def at(text: str) -> float:
    return parse_instant(text, MONTH.zone)


def up(direction: str, first: int, last: int) -> Observed:
    return Observed(customer="example", direction=direction, state=UP, first=first, last=last, reason="")


class Recorded:
    """A book written day by day."""

    def __init__(self, folder) -> None:
        self._records = Records(folder)

    def terms(self, when: str, customer: str, owners: dict[str, str]) -> None:
        Writer(self._records, at(when), "x").set_terms(customer, ServiceTerms(), owners)

    def opened(self, deadline: Deadline) -> None:
        Writer(self._records, deadline.start, "x").open_deadline(deadline)

    @property
    def book(self) -> Book:
        return Book.of(self._records.read())

    def judged(self, now: str, *seen: tuple[str, str], month: Month = MONTH):
        """Judge ``example``; everything was up in the spans ``seen``."""
        runs = [
            Observed(
                customer="example", direction=way, state=UP, first=int(at(a) // 60), last=int(at(b) // 60), reason=""
            )
            for a, b in seen
            for way in ("receive", "send")
        ]
        evidence = Evidence(customer="example", month=month, now=at(now), book=self.book, days={}, observed=runs)
        return {line.measure: line for line in evaluate(evidence).results}


@pytest.fixture
def recorded(tmp_path):
    return Recorded(tmp_path)


def test_who_came_in_the_middle_of_a_month_was_not_unreachable_before(recorded):
    recorded.terms("2026-09-01T00:00", "another", {"another.example": "operator"})
    recorded.terms("2026-11-20T12:00", "example", OWNERS)
    lines = recorded.judged("2026-12-05T00:00", ("2026-11-20T12:00", "2026-11-30T23:59"))
    assert lines["unreachable-minutes"].value == 0
    assert lines["unreachable-minutes"].samples == 10.5 * 1440
    assert lines["fault-minutes"].samples == 10.5 * 1440


def test_who_left_in_the_middle_of_a_month_is_not_unreachable_ever_after(recorded):
    recorded.terms("2026-10-01T00:00", "example", OWNERS)
    recorded.terms("2026-11-10T12:00", "example", {})
    lines = recorded.judged("2026-12-05T00:00", ("2026-11-01T00:00", "2026-11-10T11:59"))
    assert lines["unreachable-minutes"].value == 0
    assert lines["availability"].outcome is Outcome.KEPT
    assert lines["unreachable-minutes"].samples == 9.5 * 1440
    # And of the month after there is nothing to say.
    december = recorded.judged("2027-01-05T00:00", month=MONTH.following)
    assert {december[name].outcome for name in ("availability", "fault-minutes")} == {Outcome.NO_DATA}


def test_who_came_back_is_judged_again(recorded):
    recorded.terms("2026-10-01T00:00", "example", OWNERS)
    recorded.terms("2026-10-10T00:00", "example", {})
    recorded.terms("2026-10-20T00:00", "example", OWNERS)
    assert recorded.judged("2026-12-05T00:00", ("2026-11-01T00:00", "2026-11-30T23:59"))["availability"].value == 100.0


def test_mail_to_a_domain_that_was_foreign_then_is_no_customers_delay(recorded):
    recorded.terms("2026-09-01T00:00", "another", {"another.example": "operator"})
    recorded.terms("2026-11-20T12:00", "example", OWNERS)
    came = at("2026-11-20T12:00")
    for more in ((), (("2026-11-25T00:00", "example", {**OWNERS, "more.example": "operator"}),)):
        for entry in more:
            recorded.terms(*entry)
        owner_of = Bearing(recorded.book, at("2026-12-01T00:00")).owner_of
        assert owner_of("example.com", came - 3600) is None
        # Taken between the reload and the heartbeat that put the terms on record.
        assert owner_of("example.com", came - SETTLING_SECONDS / 2) == ("example", "operator")
        # Nor does that minute become two when the terms change later.
        assert owner_of("example.com", came - SETTLING_SECONDS - 1) is None
        assert owner_of("example.com", came + 1) == ("example", "operator")
    assert owner_of("more.example", at("2026-11-24T23:00")) is None
    assert owner_of("more.example", at("2026-11-25T00:00") - 5) == ("example", "operator")
    # Who was on record when records began may have mail of before that.
    assert owner_of("another.example", at("2026-08-01T00:00")) == ("another", "operator")


def test_a_domain_that_changed_hands_belongs_to_each_in_its_time(recorded):
    recorded.terms("2026-09-01T00:00", "another", OWNERS)
    recorded.terms("2026-11-10T00:00", "another", {})
    recorded.terms("2026-11-10T00:00", "example", OWNERS)
    owner_of = Bearing(recorded.book, at("2026-12-01T00:00")).owner_of
    assert owner_of("example.com", at("2026-11-09T23:00")) == ("another", "operator")
    assert owner_of("example.com", at("2026-11-10T01:00")) == ("example", "operator")


@pytest.mark.parametrize("text", ["2026-10-25T02:30", "2026-03-29T02:30"])
def test_a_time_that_a_zone_has_twice_or_not_at_all_names_its_offset(text):
    with pytest.raises(ValueError, match="name the offset"):
        parse_instant(text, "Europe/Berlin")
    assert parse_instant(f"{text}+01:00", "Europe/Berlin") == parse_instant(f"{text}:00+01:00", "UTC")
    assert parse_instant(text, "Asia/Shanghai") > 0


def test_a_share_reads_as_what_it_is_and_never_better():
    for hundredths in range(9000, 10_001):
        limit = hundredths / 100
        assert float(number(limit, "percent")) == limit
        assert float(number(limit - 0.00001, "percent")) < limit


def deadline(kind: str, customer: str, due: str) -> Deadline:
    return replace(
        new_deadline(KINDS[kind], "x", customer, at(due) - 60, WorkingCalendar(Calendar())), due=at(due), official=True
    )


def test_everybodys_clocks_count_while_one_is_served_and_ones_own_before_and_after_too(recorded):
    recorded.terms("2026-09-01T00:00", "another", {"another.example": "operator"})
    recorded.terms("2026-11-10T00:00", "example", OWNERS)
    recorded.terms("2026-11-20T00:00", "example", {})
    for customer in ("", "example", "another"):
        for due in ("2026-11-09T12:00", "2026-11-15T12:00", "2026-11-21T12:00"):
            recorded.opened(deadline("ticket-outcome", customer, due))
    line = recorded.judged("2026-12-05T00:00")["deadline-ticket-outcome"]
    assert (line.samples, line.value) == (1 + 3, 4)
    # An order of before there were terms: its month is judged, too.
    recorded.opened(deadline("provisioning", "example", "2026-10-30T12:00"))
    october = recorded.judged("2026-12-05T00:00", month=Month(2026, 10, MONTH.zone))["deadline-provisioning"]
    assert (october.samples, october.outcome, october.credit) == (1, Outcome.MISSED, "month-free")
