"""The report says what was judged, in both languages, word for word as approved; and nothing hostile gets out."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gateway.config.service_level import ServiceTerms
from gateway.ledger.finished import FinishedCopy
from gateway.reports.document import document, length, number
from gateway.reports.page import page
from gateway.reports.plain import as_csv, as_json, text
from gateway.reports.words import EN, ZH
from gateway.servicelevel.book import Book, Writer
from gateway.servicelevel.conditions import Bearing
from gateway.servicelevel.deadline import KINDS, Deadline
from gateway.servicelevel.evaluation import Evaluation, evaluate
from gateway.servicelevel.evidence import Evidence
from gateway.servicelevel.exclusion import Clause, ExclusionClass
from gateway.servicelevel.figures import Figures
from gateway.servicelevel.month import Month, parse_instant
from gateway.servicelevel.records import Records
from gateway.servicelevel.result import Outcome
from gateway.servicelevel.rollup import summed
from gateway.servicelevel.store import Observed
from gateway.servicelevel.summary import STATIONS

GOLDEN = Path(__file__).parent / "golden"
ZONE = "Asia/Shanghai"
HOSTILE = "<script>alert(1)</script> =1+1 \x1b[2J"


def at(said: str) -> float:
    return parse_instant(said, ZONE)


def copy(number: int, received: str, seconds: float, **changes) -> FinishedCopy:
    start = at(received)
    plain = FinishedCopy(
        id=number,
        trace_id=f"{number:026}",
        number=0,
        customer="example",
        domain="example.com",
        reverse_path="a@elsewhere.example",
        role="mx",
        origin="smtp",
        action="accept",
        received_at=start,
        filtered_seconds=0.02,
        durable_seconds=0.004,
        antivirus_seconds=0.01,
        held_seconds=0.0,
        greylisted_seconds=0.0,
        transfer_started_at=start + seconds - 0.5,
        accepted_at=start + seconds,
        send_delay_seconds=seconds - 0.5,
        receive_delay_seconds=seconds,
        finished_at=start + seconds,
        status="delivered",
        next_hop="smtp://10.1.0.5:25",
        relay="10.1.0.5[10.1.0.5]:25",
        attempts="",
    )
    return plain._replace(**changes)


def _evidence(folder: Path) -> Evidence:
    records = Records(folder)
    writer = Writer(records, at("2026-10-30T09:00"), "anna")
    writer.set_terms("example", ServiceTerms(), {"example.com": "customer"})
    writer.exclude(
        Clause.CONNECTIVITY,
        ExclusionClass.CARRIER,
        (at("2026-11-05T10:00"), at("2026-11-05T11:00")),
        customer="example",
        reason=f"line cut {HOSTILE}",
    )
    wrong = writer.exclude(
        Clause.DELAY, ExclusionClass.MAINTENANCE, (at("2026-11-06T00:00"), at("2026-11-07T00:00")), reason="mistake"
    )
    writer.withdraw(wrong.number, "entered for the wrong month")
    closed = writer.open_fault("receive", "next hop refuses", at("2026-11-05T10:00"), customer="example")
    writer.close_fault(closed.number, at("2026-11-05T12:00"))
    writer.adjust((at("2026-11-21T02:00"), at("2026-11-21T02:30")), customer="", what="new kernel", agreed_with="Ms Li")
    writer.bill("2026-11", 40_000, 1)
    ticket = Deadline(
        number=0,
        kind="ticket-response",
        clause=KINDS["ticket-response"].clause,
        subject="T-1",
        customer="example",
        start=at("2026-11-03T09:00"),
        due=at("2026-11-04T09:00"),
        official=True,
        by="",
    )
    writer.meet_deadline(writer.open_deadline(ticket).number, at("2026-11-04T10:00"))
    book = Book.of(records.read())
    put_off = (
        '[[%f, "h", "10.1.0.5[10.1.0.5]:25", "rcpt", "451 4.2.1 %s", "deferred", 0.2, false], '
        '[%f, "h", "10.1.0.5[10.1.0.5]:25", "end-of-data", "250 ok", "sent", 0.5, false]]'
    )
    start = at("2026-11-10T08:00")
    copies = [
        *(copy(n, f"2026-11-{1 + n % 28:02}T12:00", 1.5 + n % 7) for n in range(200)),
        copy(900, "2026-11-10T08:00", 7200.0, attempts=put_off % (start + 1, "mailbox busy", start + 7199.0)),
        copy(901, "2026-11-12T08:00", 4000.0),
    ]
    bearing = Bearing(book, at("2026-12-05T00:00"))
    days = {(direction, key.day): day for (key, direction), day in summed(copies, bearing).items()}
    first, after = (int(edge // 60) for edge in Month(2026, 11, ZONE).span)
    down = int(at("2026-11-05T10:00") // 60)
    observed = [
        Observed(customer="example", direction="send", state="up", first=first, last=after - 1, reason=""),
        Observed(customer="example", direction="receive", state="up", first=first, last=down - 1, reason=""),
        Observed(customer="example", direction="receive", state="down", first=down, last=down + 119, reason="refused"),
        Observed(customer="example", direction="receive", state="up", first=down + 120, last=after - 6, reason=""),
    ]
    return Evidence(
        customer="example",
        month=Month(2026, 11, ZONE),
        now=at("2026-12-05T00:00"),
        book=book,
        days=days,
        observed=observed,
    )


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory) -> Evaluation:
    return evaluate(_evidence(tmp_path_factory.mktemp("records")))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_report_is_the_approved_one(evaluation, language):
    """A changed figure, word or rule shows here; write the golden file anew only after reading what changed."""
    golden = GOLDEN / f"report.{language}.txt"
    assert text(document(evaluation, language)) == golden.read_text(encoding="utf-8")


def test_the_clauses_are_judged_as_the_contract_says(evaluation):
    found = {result.measure: result for result in evaluation.results}
    # Two hours down, one of them excluded, and five minutes of which nothing is known.
    assert found["unreachable-minutes"].before == 125
    assert found["unreachable-minutes"].value == 65
    assert found["availability"].outcome is Outcome.MISSED
    assert found["availability"].credit == "double-service-time"
    # The customer's own server put the one copy off; the other was ours, and once is allowed.
    assert found["receive-over-maximum"].before == 2
    assert found["receive-over-maximum"].value == 1
    assert found["receive-over-maximum"].outcome is Outcome.KEPT
    assert found["receive-average"].value == pytest.approx(
        (200 * 1.5 + sum(n % 7 for n in range(200)) + 2 + 4000) / 202
    )
    assert found["deadline-ticket-response"].outcome is Outcome.MISSED
    assert found["page-seconds"].outcome is Outcome.NO_DATA
    assert found["send-average"].outcome is Outcome.NO_DATA
    assert found["send-average"].value is None, "no figure is made of nothing"


def test_no_clause_is_passed_over_and_no_gap_is_filled(evaluation):
    """Every clause of the guarantee has its line; what was not measured has no figure, in tables either."""
    assert sorted({result.clause for result in evaluation.results}) == list("123456789")
    unscanned = replace(evaluation.delays["receive"], stations=[Figures() for _ in STATIONS])
    delays = {**evaluation.delays, "receive": unscanned}
    apart = document(replace(evaluation, delays=delays), "en").tables[-1]
    [scanner] = [row for row in apart.rows if row[0].startswith("Virus scanner")]
    assert scanner[1:] == ("\N{EN DASH}", "0")


def test_both_languages_have_the_same_words():
    assert EN.keys() == ZH.keys()
    for name, words in EN.items():
        fields = re.findall(r"\{(\w+)", words)
        assert sorted(fields) == sorted(re.findall(r"\{(\w+)", ZH[name])), name


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_is_the_approved_one(evaluation, language):
    """Look at what changed in a browser before writing it anew; tests/reports/out has pictures of it."""
    golden = GOLDEN / f"report.{language}.html"
    assert page(evaluation, document(evaluation, language)) == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("station", "count", "seconds"), [("filters", 202, 0.01), ("antivirus", 202, 0.01), ("store", 202, 0.004)]
)
def test_where_the_time_went_is_told_station_by_station(evaluation, station, count, seconds):
    """Every copy spent 20 ms in filters, 10 of them in the scanner, 4 in the store, and half a second in transfer."""
    [row] = [row for table in document(evaluation, "en").tables for row in table.rows if row[1:2] == (EN[station],)]
    figures = evaluation.delays["receive"].stations[STATIONS.index(station)]
    assert (figures.count, figures.average_seconds, figures.max_seconds) == (count, seconds, seconds)
    assert row[2] == str(count)
    assert sum(each.sum_us for each in evaluation.delays["receive"].stations) == pytest.approx(
        evaluation.delays["receive"].before.sum_us
    )


def test_every_kind_of_clock_and_fault_has_a_name():
    assert {f"kind-{name}" for name in KINDS} == {name for name in EN if name.startswith("kind-")}
    assert {"cause-gateway", "cause-receive", "cause-send", "cause-operator"} <= EN.keys()


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "rect", "line"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert tag in {"rect", "line"} or self.open.pop() == tag


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_is_whole_fetches_nothing_and_runs_nothing(evaluation, language):
    parser = _Tags()
    html = page(evaluation, document(evaluation, language))
    parser.feed(html)
    assert parser.open == []
    assert {tag for tag, _ in parser.tags}.isdisjoint({"script", "link", "img", "iframe", "object"})
    assert not [attrs for _, attrs in parser.tags if {"src", "href"} & attrs.keys()]
    assert "url(" not in html
    assert "&lt;script&gt;" in html
    rects = [attrs for tag, attrs in parser.tags if tag == "rect"]
    assert len(rects) > 60
    assert all(float(attrs["width"]) >= 0 and float(attrs["height"]) >= 0 for attrs in rects)


def test_text_cannot_move_the_cursor_and_csv_is_no_formula(evaluation):
    assert "\x1b" not in text(document(evaluation, "en"))
    hostile = replace(evaluation, customer="=cmd|' /C calc'!A0")
    assert "\r\nCustomer,'=cmd" in "\r\n" + as_csv(document(hostile, "en"))[1:]


def test_json_has_every_line_and_the_error_of_the_estimates(evaluation):
    stored = as_json(evaluation)
    assert len(stored["clauses"]) == len(evaluation.results)
    assert stored["quantile_relative_error"] == 0.01
    assert stored["waiting_excluded"][0]["seconds"] == pytest.approx(7198.0)
    assert stored["digest"] == evaluation.digest


def test_what_nearly_kept_a_limit_does_not_read_as_kept():
    assert number(99.89999, "percent") == "99.8999"
    assert number(99.99, "percent") == "99.99"
    assert number(60.0004, "seconds") == "60.001"
    assert number(0.057, "seconds") == "0.057"
    assert number(100.004, "minutes") == "100.01"
    assert number(3e-5, "share") == "3×10⁻⁵"
    assert number(3.001e-5, "share") == "3.001×10⁻⁵"
    assert length(3661.4) == "1:01:01"
