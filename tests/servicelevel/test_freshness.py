"""How old virus signatures grew in a month, from the history that the scanners' watch wrote (contract.md §5)."""

import pytest

from gateway.antivirus.history import SignatureHistory
from gateway.clock import FakeClock
from gateway.config.service_level import ServiceTerms
from gateway.servicelevel.book import Writer
from gateway.servicelevel.freshness import signatures
from gateway.servicelevel.month import Month, parse_instant
from gateway.servicelevel.reading import judge
from gateway.servicelevel.records import Records
from gateway.servicelevel.result import Credit, Outcome

MONTH = Month(2026, 11, "Asia/Shanghai")
DAY = 86_400.0


def at(text: str) -> float:
    return parse_instant(text, MONTH.zone)


class Seen:
    """A history written as the days pass."""

    def __init__(self, data) -> None:
        self.clock = FakeClock(at("2026-10-01T00:00"))
        (data / "antivirus").mkdir()
        self.history = SignatureHistory(data / "antivirus", self.clock)

    async def note(self, when: str, version: str, scanner: str = "one") -> None:
        self.clock.advance(at(when) - self.clock.stamp().utc)
        await self.history.note(scanner, f"ClamAV 1.4.3/{version}/Mon Nov  2 08:00:00 2026")


@pytest.fixture
async def seen(tmp_path):
    made = Seen(tmp_path)
    yield made
    await made.history.close()


def days(tmp_path, until: str = "2026-12-01T00:00") -> float:
    return signatures(tmp_path, (MONTH.span[0], min(at(until), MONTH.span[1]))).longest_seconds / DAY


async def test_the_report_judges_the_longest_time_without_new_signatures(tmp_path, seen):
    writer = Writer(Records(tmp_path), at("2026-10-01T00:00"), "x")
    writer.set_terms("example", ServiceTerms(), {"example.test": "operator"})
    for day in (1, 5, 9, 12, 19, 26, 30):
        await seen.note(f"2026-11-{day:02}T12:00", str(day))
    found = {line.measure: line for line in judge(tmp_path, "example", MONTH, at("2026-12-02T00:00")).results}
    fresh = found["signature-days"]
    assert (fresh.value, fresh.samples, fresh.outcome) == (7.0, 7, Outcome.KEPT)
    await seen.note("2026-12-01T12:00", "31")
    later = judge(tmp_path, "example", Month(2026, 11, MONTH.zone), at("2026-12-20T00:00"))
    assert {line.measure: line for line in later.results}["signature-days"] == fresh


async def test_a_week_and_more_without_new_ones_makes_the_month_free(tmp_path, seen):
    writer = Writer(Records(tmp_path), at("2026-10-01T00:00"), "x")
    writer.set_terms("example", ServiceTerms(), {"example.test": "operator"})
    for day in (1, 10, 16, 22, 28):
        await seen.note(f"2026-11-{day:02}T12:00", str(day))
    found = {line.measure: line for line in judge(tmp_path, "example", MONTH, at("2026-12-02T00:00")).results}
    fresh = found["signature-days"]
    assert (fresh.value, fresh.outcome, fresh.credit) == (9.0, Outcome.MISSED, Credit.MONTH_FREE)


async def test_signatures_of_before_the_month_count_with_their_age(tmp_path, seen):
    await seen.note("2026-10-28T00:00", "1")
    await seen.note("2026-11-03T00:00", "2")
    assert days(tmp_path, "2026-11-05T00:00") == 6.0


async def test_while_no_scanner_answers_its_signatures_grow_old(tmp_path, seen):
    await seen.note("2026-11-01T00:00", "1")
    assert days(tmp_path, "2026-11-20T00:00") == 19.0


async def test_a_scanner_out_of_service_counts_until_it_was_last_seen(tmp_path, seen):
    await seen.note("2026-11-01T00:00", "1", "old")
    await seen.note("2026-11-03T00:00", "1", "old")
    for day in range(2, 30, 3):
        await seen.note(f"2026-11-{max(day, 3):02}T01:00", str(day), "new")
    assert days(tmp_path, "2026-11-30T00:00") == pytest.approx(3.0)


def test_where_no_scanner_was_ever_heard_of_there_are_no_data(tmp_path):
    assert signatures(tmp_path, MONTH.span) is None
