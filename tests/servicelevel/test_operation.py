"""Clause 3: what stops in a planned change is an adjustment; what was only called one afterwards is a fault."""

import pytest

from gateway.config.service_level import ServiceTerms
from gateway.servicelevel.book import Book, Writer
from gateway.servicelevel.evidence import Evidence
from gateway.servicelevel.month import Month, parse_instant
from gateway.servicelevel.operation import operation
from gateway.servicelevel.records import Records

MONTH = Month(2026, 11, "Asia/Shanghai")
SERVED_FROM = "2026-10-01T00:00"


def at(text: str) -> float:
    return parse_instant(text, MONTH.zone)


@pytest.fixture
def writer(tmp_path):
    def writing(when: str) -> Writer:
        return Writer(Records(tmp_path), at(when), "anna")

    writing(SERVED_FROM).set_terms("example", ServiceTerms(), {"example.com": "operator"})
    return writing


def fault(writer, start: str, end: str, customer: str = "") -> None:
    record = writer(end).open_fault("gateway", "did not run", at(start), customer=customer)
    writer(end).close_fault(record.number, at(end))


def adjust(writer, recorded: str, start: str, end: str, customer: str = "") -> None:
    writer(recorded).adjust((at(start), at(end)), customer=customer, what="new kernel", agreed_with="Ms Li")


def judged(writer, now: str = "2026-12-05T00:00", month: Month = MONTH):
    book = Book.of(writer(now).records.read())
    evidence = Evidence(customer="example", month=month, now=at(now), book=book, days={}, observed=())
    return {line.measure: line for line in operation(evidence)}


def test_a_stop_in_a_planned_adjustment_is_no_fault_and_counts_there_alone(writer):
    adjust(writer, "2026-11-01T00:00", "2026-11-21T02:00", "2026-11-21T02:30")
    # It took ten minutes longer than was agreed.
    fault(writer, "2026-11-21T02:05", "2026-11-21T02:40")
    lines = judged(writer)
    assert lines["fault-minutes"].value == pytest.approx(10.0)
    assert lines["fault-minutes"].note == "planned:25"
    assert lines["adjustment-minutes"].value == 30.0
    assert lines["operation-availability"].value == pytest.approx(100 * (1 - 10 / 43_200))
    assert lines["fault-free-days"].value == 364


def test_a_day_with_nothing_but_a_planned_stop_is_free_of_faults(writer):
    adjust(writer, "2026-11-01T00:00", "2026-11-21T02:00", "2026-11-21T02:30")
    fault(writer, "2026-11-21T02:00", "2026-11-21T02:30")
    lines = judged(writer)
    assert lines["fault-minutes"].value == 0
    assert lines["fault-free-days"].value == 365


def test_an_adjustment_written_down_afterwards_takes_no_fault_back(writer):
    fault(writer, "2026-11-21T02:00", "2026-11-21T02:30")
    adjust(writer, "2026-11-21T03:00", "2026-11-21T02:00", "2026-11-21T02:30")
    lines = judged(writer)
    assert lines["fault-minutes"].value == 30.0
    assert lines["adjustment-minutes"].value == 30.0
    assert lines["fault-minutes"].note == ""


def test_what_was_agreed_with_another_customer_excuses_nothing_here(writer):
    adjust(writer, "2026-11-01T00:00", "2026-11-21T02:00", "2026-11-21T02:30", customer="another")
    fault(writer, "2026-11-21T02:00", "2026-11-21T02:30")
    lines = judged(writer)
    assert lines["fault-minutes"].value == 30.0
    assert lines["adjustment-minutes"].value == 0


@pytest.mark.parametrize(("what", "agreed_with"), [("", "Ms Li"), ("new kernel", " ")])
def test_a_planned_change_says_what_and_with_whom(writer, what, agreed_with):
    with pytest.raises(ValueError, match="with whom"):
        writer("2026-11-01T00:00").adjust((1.0, 2.0), customer="", what=what, agreed_with=agreed_with)


def test_an_outage_over_midnight_of_the_months_end_is_shared_between_them(writer):
    # 23:50 to 00:20 in Shanghai; in UTC both months' parts lie in November.
    fault(writer, "2026-11-30T23:50", "2026-12-01T00:20")
    november, december = judged(writer, "2027-01-05T00:00"), judged(writer, "2027-01-05T00:00", MONTH.following)
    assert november["fault-minutes"].value == pytest.approx(10.0)
    assert december["fault-minutes"].value == pytest.approx(20.0)
    assert november["fault-free-days"].value == 364
    assert december["fault-free-days"].value == 363
