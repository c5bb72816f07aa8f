"""What is on record stays as it was written, and says so when it does not."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.config.service_level import CustomerTerms, ServiceLevel, ServiceTerms
from gateway.servicelevel.book import Book, Writer
from gateway.servicelevel.exclusion import Clause, ExclusionClass
from gateway.servicelevel.records import Records, RecordsBrokenError

DELAY, CARRIER = Clause.DELAY, ExclusionClass.CARRIER


@pytest.fixture
def records(tmp_path) -> Records:
    return Records(tmp_path)


@pytest.fixture
def writer(records) -> Writer:
    return Writer(records, 1_000.0, "anna")


def book(records: Records) -> Book:
    return Book.of(records.read())


def test_a_withdrawal_is_a_further_entry_and_ends_the_exclusion(records, writer):
    number = writer.exclude(DELAY, CARRIER, (10.0, 20.0), customer="example", reason="line cut").number
    assert book(records).excluding(DELAY, "example", (0.0, 30.0))
    writer.withdraw(number, "entered twice")
    assert book(records).excluding(DELAY, "example", (0.0, 30.0)) == ()
    assert book(records).exclusions[number].reason == "line cut"
    assert len(records.read()) == 2
    with pytest.raises(ValueError, match="still counts"):
        writer.withdraw(number, "again")


def test_an_exclusion_is_for_its_clause_customer_and_time(records, writer):
    writer.exclude(DELAY, CARRIER, (10.0, 20.0), customer="example", reason="r")
    known = book(records)
    assert known.excluding(Clause.CONNECTIVITY, "example", (0.0, 30.0)) == ()
    assert known.excluding(DELAY, "other", (0.0, 30.0)) == ()
    assert known.excluding(DELAY, "example", (20.0, 30.0)) == ()


@pytest.mark.parametrize(
    ("span", "reason"), [((20.0, 20.0), "r"), ((20.0, 10.0), "r"), ((float("nan"), 10.0), "r"), ((1.0, 2.0), " ")]
)
def test_an_exclusion_of_nothing_or_without_a_reason_is_refused(records, writer, span, reason):
    with pytest.raises(ValueError, match="exclusion"):
        writer.exclude(DELAY, CARRIER, span, reason=reason)
    assert records.read() == []


def test_an_altered_line_is_found_out(records, writer):
    writer.exclude(DELAY, CARRIER, (10.0, 20.0), reason="an hour")
    writer.exclude(DELAY, CARRIER, (30.0, 40.0), reason="another")
    records.path.write_text(records.path.read_text().replace("an hour", "a day!!"))
    with pytest.raises(RecordsBrokenError, match="jsonl:2"):
        records.read()


def test_a_removed_line_is_found_out(records, writer):
    for reason in ("one", "two", "three"):
        writer.exclude(DELAY, CARRIER, (10.0, 20.0), reason=reason)
    lines = records.path.read_text().splitlines(keepends=True)
    records.path.write_text(lines[0] + lines[2])
    with pytest.raises(RecordsBrokenError, match="jsonl:2"):
        records.read()


def test_what_a_power_failure_left_unfinished_does_no_harm(records, writer):
    writer.exclude(DELAY, CARRIER, (10.0, 20.0), reason="one")
    with records.path.open("a") as file:
        file.write('{"number": 2, "at"')
    assert len(records.read()) == 1
    writer.exclude(DELAY, CARRIER, (30.0, 40.0), reason="two")
    assert [record.number for record in records.read()] == [1, 2]


def test_many_writers_at_once_make_one_chain(records):
    def write(number: int) -> None:
        Writer(records, float(number), f"w{number}").bill("2026-11", 100, number % 7)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(100)))
    assert [record.number for record in records.read()] == list(range(1, 101))


def test_a_reason_may_be_anything_that_can_be_typed(records, writer):
    hostile = 'quote " newline \n 中文 \ud800 \x00'
    number = writer.exclude(DELAY, CARRIER, (1.0, 2.0), reason=hostile).number
    assert len(records.path.read_bytes().splitlines()) == 1
    assert book(records).exclusions[number].reason == hostile


def test_a_month_is_judged_by_the_terms_that_held(records):
    Writer(records, 100.0, "x").set_terms("example", ServiceTerms(maximum_delay=60.0), {"a.test": "operator"})
    Writer(records, 200.0, "x").set_terms("example", ServiceTerms(maximum_delay=10.0), {"a.test": "customer"})
    known = book(records)
    assert known.terms_at("example", 50.0).terms.maximum_delay == 60.0
    assert known.terms_at("example", 199.0).owners == {"a.test": "operator"}
    assert known.terms_at("example", 200.0).owners == {"a.test": "customer"}
    assert known.terms_at("other", 200.0) is None


def test_a_customers_own_terms_stand_before_those_of_all():
    service = ServiceLevel(maximum_delay=600.0, customer=(CustomerTerms(name="example", zone="Europe/Berlin"),))
    assert service.terms_of("example").zone == "Europe/Berlin"
    assert service.terms_of("example").maximum_delay == 600.0
    assert service.terms_of("other").zone == "Asia/Shanghai"
    assert json.loads(json.dumps(service.terms_of("other").model_dump(mode="json")))["maximum_delay"] == "10m"


def test_an_entry_that_a_full_disk_took_a_part_of_is_none(records, writer, monkeypatch):
    """write(2) says how much it took, and no error: who was told that it is on record would not find it."""
    writer.exclude(DELAY, CARRIER, (10.0, 20.0), reason="an hour")
    write, before = os.write, records.path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("gateway.servicelevel.records.os.write", lambda to, octets: write(to, octets[: len(octets) // 2]))
        with pytest.raises(OSError, match="no room"):
            writer.exclude(DELAY, CARRIER, (30.0, 40.0), reason="another")
    assert records.path.read_bytes() == before
    assert writer.exclude(DELAY, CARRIER, (30.0, 40.0), reason="another").number == 2
