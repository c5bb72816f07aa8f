"""Sightings become incidents: one open case a source, its totals, what is bounded, what comes back."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.incidents import Resolution, Source, SourceKind, State, folding
from gateway.incidents.blocks import begin_block
from gateway.incidents.folding import MAX_RECIPIENTS, MAX_TEXT, MAX_TEXTS, periods
from gateway.incidents.values import GROUNDS, printable
from gateway.storage import StorageError
from tests.incidents.conftest import DAY, NOW, Desk, sighting, trace


def test_sightings_of_one_source_are_one_incident_with_its_totals(desk: Desk):
    first = desk.fold([sighting(5), sighting(1, virus="Eicar", grounds=("harmful",), octets=10)])
    second = desk.fold([sighting(9)])
    assert (first.opened, second.opened, second.incidents) == ((1,), (), (1,))
    incident = desk.reader().incident(1)
    assert (incident.first_seen, incident.last_seen) == (NOW + 1, NOW + 9)
    assert (incident.sightings, incident.viruses, incident.octets) == (3, 1, 4010)
    assert dict(zip(GROUNDS, incident.counts, strict=True)) == {
        "advertising": 2,
        "no-opt-out": 2,
        "hidden-sender": 0,
        "false-source": 0,
        "harmful": 1,
    }
    assert incident.grounds == ("advertising", "no-opt-out", "harmful")


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
    ],
)
def test_a_source_is_an_address_or_a_64(address, key):
    assert Source.at(address) == Source(SourceKind.NETWORK, key)


def test_what_sends_from_the_same_address_in_other_ways_is_another_source(desk: Desk):
    sources = [Source.at("192.0.2.7", kind) for kind in (SourceKind.NETWORK, SourceKind.HOP, SourceKind.CLIENT)]
    sources.append(Source(SourceKind.ACCOUNT, "anna@corp.test"))
    outcome = desk.fold(sighting(n, source=source) for n, source in enumerate(sources))
    assert outcome.opened == (1, 2, 3, 4)
    assert [source.kind.is_ours for source in sources] == [False, False, True, True]


def _fold_and_fail(desk: Desk) -> None:
    with desk.book.change("keeper", "fold") as change:
        change.fold([sighting(1)])
        change.advance("2026-11-22.worker-0", 17)
        change.execute("no statement")


def test_a_batch_and_its_cursor_are_one(desk: Desk):
    with pytest.raises(StorageError):
        _fold_and_fail(desk)
    assert desk.reader().cursors() == {}
    assert desk.reader().incident(1) is None
    with desk.book.change("keeper", "fold") as change:
        assert change.cursor("2026-11-22.worker-0") == 0
        change.fold([sighting(1)])
        change.advance("2026-11-22.worker-0", 17)
    with desk.book.change("keeper", "fold") as change:
        assert change.cursor("2026-11-22.worker-0") == 17
    assert desk.reader().incident(1).sightings == 1


def test_a_quiet_source_that_sends_again_is_where_it_was(desk: Desk):
    desk.fold([sighting(1), sighting(2, "192.0.2.8")])
    desk.move(1, State.CONFIRMED, State.BLOCKED, State.QUIET)
    with desk.book.change("li", "incident block") as change:
        begin_block(change, 1, "192.0.2.7/32", how="hand", reason="spam", until=NOW + 60)
    desk.move(2, State.CONFIRMED, State.QUIET)
    assert desk.fold([sighting(3), sighting(4, "192.0.2.8")]).resumed == (1, 2)
    found = [desk.reader().incident(number) for number in (1, 2)]
    assert [(each.state, each.blocking, each.resumed) for each in found] == [
        (State.BLOCKED, True, 1),
        (State.CONFIRMED, False, 1),
    ]
    assert desk.wrong() == ""


def test_a_lifted_source_that_sends_again_is_open_and_a_closed_one_has_a_new_case(desk: Desk):
    desk.fold([sighting(1), sighting(2, "192.0.2.8")])
    desk.move(1, State.CONFIRMED, State.BLOCKED, State.LIFTED)
    desk.move(2, State.CLOSED, resolution=Resolution.FALSE_POSITIVE)
    outcome = desk.fold([sighting(3), sighting(4, "192.0.2.8")])
    assert (outcome.resumed, outcome.opened) == ((1,), (3,))
    assert desk.reader().incident(1).state is State.OPEN
    assert desk.reader().incident(2).state is State.CLOSED
    assert desk.reader().incident(3).previous == 2
    assert [each.id for each in desk.reader().by_source(Source.at("192.0.2.8"))] == [3, 2]


def test_texts_of_one_incident_are_bounded_in_number_and_length(desk: Desk):
    many = tuple(f"user{n}@corp.test" for n in range(100))
    for start in range(0, 60, 20):
        desk.fold(sighting(n, subject=f"{n} {'x' * 5000}", recipients=many) for n in range(start, start + 20))
    rows = desk.reader().rows("SELECT kind, count(*), max(length(text)) FROM mention GROUP BY kind")
    assert {row[0]: row[1] for row in rows}["subject"] == MAX_TEXTS
    assert max(row[2] for row in rows) <= MAX_TEXT
    assert len(desk.reader().by_trace(trace(1))[0].sighting.recipients) == MAX_RECIPIENTS
    assert desk.reader().incident(1).sightings == 60


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(), max_size=200), octets=st.binary(max_size=60))
def test_whatever_a_client_says_is_stored_found_again_and_sealed(desk: Desk, text: str, octets: bytes):
    hostile = text + octets.decode("utf-8", "surrogateescape") + "\ud800\x00"
    said = sighting(
        1,
        subject=hostile,
        helo=hostile,
        reverse_path=hostile,
        recipients=(hostile,),
        findings=(hostile,),
        virus=hostile,
    )
    desk.fold([said])
    with desk.reader() as reader:
        stored = reader.sightings(1, 1)[0].sighting
        assert stored.subject == printable(hostile)[:MAX_TEXT].replace("\n", " ")
        assert "\x00" not in stored.helo
        reader.search(hostile)
    assert desk.wrong() == ""


def test_a_message_is_found_by_its_trace_and_its_message_id(desk: Desk):
    desk.fold(sighting(n, at=NOW + n * DAY, message_id=f"<{n % 3}@x>") for n in range(9))
    reader = desk.reader()
    assert [each.sighting.trace_id for each in reader.by_trace(trace(4))] == [trace(4)]
    assert [each.id for each in reader.by_message_id("<1@x>")] == [8, 5, 2]
    assert reader.by_message_id("<9@x>") == []


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (0, ("1970-01-01", "1970-W01", "1970-01")),
        # ISO 8601: the week of the year's first Thursday.
        (20_454, ("2026-01-01", "2026-W01", "2026-01")),
        (20_818, ("2026-12-31", "2026-W53", "2026-12")),
        (20_819, ("2027-01-01", "2026-W53", "2027-01")),
    ],
)
def test_periods_are_days_iso_weeks_and_months(day, expected):
    assert periods(day * DAY) == expected
    assert periods((day + 1) * DAY - 0.001) == expected


def test_totals_of_periods_are_those_of_the_sightings(desk: Desk):
    desk.fold(sighting(n, f"192.0.2.{n % 4}", at=NOW + n * 0.4 * DAY, octets=n) for n in range(40))
    reader = desk.reader()
    for length in (10, 8, 7):
        rows = reader.rows(
            "SELECT name, sum(sightings), sum(octets) FROM activity WHERE what = 'source' AND length(period) = ?"
            " GROUP BY name ORDER BY name",
            (length,),
        )
        assert [row[1] for row in rows] == [10, 10, 10, 10]
        assert sum(row[2] for row in rows) == sum(range(40))


def test_an_incident_without_a_sighting_is_opened_by_hand_once(desk: Desk):
    with desk.book.change("li", "complaint") as change:
        first = change.open(Source.at("203.0.113.5"), "a complaint")
        assert change.open(Source.at("203.0.113.5"), "another").id == first.id
    assert (first.sightings, first.state) == (0, State.OPEN)
    desk.fold([sighting(1, "203.0.113.5")])
    assert desk.reader().incident(first.id).sightings == 1
    assert desk.wrong() == ""


def test_a_source_that_makes_up_sender_domains_fills_no_rankings(desk: Desk, monkeypatch):
    monkeypatch.setattr("gateway.incidents.folding.MAX_SENDER_DOMAINS", 5)
    for start in range(0, 30, 10):
        desk.fold(sighting(n, reverse_path=f"x@made-up-{n}.example") for n in range(start, start + 10))
    desk.fold([sighting(31, reverse_path="x@made-up-2.example"), sighting(32, "192.0.2.8")])
    reader = desk.reader()
    assert reader.domains(1, "sender") == [
        ("made-up-2.example", 2),
        *((f"made-up-{n}.example", 1) for n in (0, 1, 3, 4)),
    ]
    ranked = reader.rows("SELECT count(DISTINCT name) FROM activity WHERE what = 'sender-domain'")
    assert ranked == [(6,)], "of this source five, of the other one"
    assert reader.incident(1).sightings == 31


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.sampled_from(("subject", "helo", "trace_id", "message_id", "recipient_domain", "virus", "action")),
    st.text(st.characters(codec=None), max_size=MAX_TEXT + 5),
)
def test_a_look_at_all_texts_finds_whatever_one_by_one_would_be_cleaned(monkeypatch, name, text):
    given = sighting(1, **{name: text}, grounds=("harmful", "advertising"))
    with monkeypatch.context() as patch:
        patch.setattr(folding, "_is_clean", lambda _: False)
        cleaned = folding._cleaned(given)
    assert folding._cleaned(given) == cleaned


def test_numbers_are_sealed_as_they_will_be_read_back():
    clean = folding._cleaned(sighting(1, at=1, octets=True))
    assert (type(clean.at), type(clean.octets)) == (float, int)
    plain = sighting(1)
    assert folding._cleaned(plain) is plain, "nothing is made anew of what is clean"
