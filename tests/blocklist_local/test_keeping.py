"""Editions: recorded, in force in time or an alarm, held back when they jump, rolled back. If these fail, the record
that the contract wants (§4 d) is wrong, or a broken export empties a list that protects people.
"""

import os

import pytest

from gateway.blocklist.local.building import Builder
from gateway.blocklist.local.editions import Addition, State
from gateway.blocklist.local.fetching import Failed, Fetched
from gateway.blocklist.local.keeping import KEPT_EDITIONS, Asking, ListKeeper, RefusedError
from gateway.journal.guard_events import ListApplied, ListOverdue, ListWithheld

ASSOCIATION = '[[list]]\nname = "association"\nsource = "association"\n'
FEED = '[[list]]\nname = "feed"\nurl = "https://lists.example/feed"\nevery = "1h"\n'
LOCAL = '[[list]]\nname = "local"\nfile = "local.txt"\n'
HOUR, DAY = 3600.0, 86_400.0


def hosts(count: int, start: int = 0) -> str:
    return "".join(f"10.0.{n // 250}.{n % 250}\n" for n in range(start, start + count))


def newest(place, name: str = "association"):
    return place.keeper.store.editions(name)[0]


def addition(entry: str, **given) -> Addition:
    usual = {"list": "association", "excluded": False, "reason": "wave", "owner": "desk", "who": "anna", "since": 0.0}
    return Addition(**(usual | given | {"entry": entry}))


# The record -----------------------------------------------------------------------------------------------------------


def test_an_edition_is_recorded_with_everything_the_contract_asks_for(place):
    place.declare(ASSOCIATION)
    published = place.now - 2 * HOUR
    (event,) = place.bring("association", "192.0.2.7\n192.0.2.8\n", published=published)
    found = newest(place)
    assert (found.number, found.state, found.how, found.who) == (1, State.APPLIED, "import", "anna")
    assert (found.published, found.fetched, found.applied) == (published, place.now, place.now)
    assert (found.entries, found.added, found.removed) == (2, 2, 0)
    assert found.deadline == published + 3 * DAY  # Friday to Monday
    assert found.met(place.now) == "met"
    assert isinstance(event, ListApplied)
    assert (event.edition, event.deadline, event.operator) == (1, "met", "anna")


def test_added_and_removed_are_counted_between_editions_however_entries_are_written(place):
    place.declare(ASSOCIATION)
    place.bring("association", "192.0.2.7\n192.0.2.8\n192.0.2.0/25\nbad.example\n")
    place.bring("association", "ip,reason\n192.0.2.8/32,x\n192.0.2.0-192.0.2.127,\nBAD.example.,\n192.0.2.9,\n")
    assert (newest(place).added, newest(place).removed) == (1, 1)


def test_an_edition_applied_late_is_on_record_as_missed(place):
    place.declare(ASSOCIATION)
    (event,) = place.bring("association", "192.0.2.7\n", published=place.now - 5 * DAY)
    assert newest(place).met(place.now) == "missed"
    assert event.deadline == "missed"


def test_a_year_not_announced_is_marked(place):
    place.clock.advance(40 * 365 * DAY)
    place.declare(ASSOCIATION)
    place.bring("association", "192.0.2.7\n")
    assert not newest(place).deadline_official


def test_an_edition_that_is_not_applied_in_time_is_told_once(place):
    place.declare(ASSOCIATION + 'on_bad_line = "refuse"\n')
    place.bring("association", "no entry at all\n")
    assert not [e for e in place.update() if isinstance(e, ListOverdue)]
    place.clock.advance(4 * DAY)
    (event,) = [e for e in place.update() if isinstance(e, ListOverdue)]
    assert (event.list, event.edition, event.deadline_at) == ("association", 1, newest(place).deadline)
    assert newest(place).met(place.now) == "missed"
    assert not [e for e in place.update() if isinstance(e, ListOverdue)]


def test_lists_without_a_deadline_have_none(place):
    place.declare('[[list]]\nname = "own"\n')
    place.bring("own", "192.0.2.7\n", published=place.now - 30 * DAY)
    assert newest(place, "own").deadline is None
    assert newest(place, "own").met(place.now) == ""


# Held back, refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(200, 90), (100, 301)])
def test_a_list_that_jumps_is_held_back_with_an_alarm_and_the_old_one_serves(place, before: int, after: int):
    place.declare(ASSOCIATION)
    place.bring("association", hosts(before))
    (event,) = place.bring("association", hosts(after, start=1000))
    assert isinstance(event, ListWithheld)
    assert event.state == "held"
    assert newest(place).state is State.HELD
    assert place.entries("10.0.0.1") == [("association", "10.0.0.1")]
    assert place.lists.served[0].state == "held"
    assert place.update() == []

    place.keeper.accept("association", "bert")
    place.lists.refresh()
    assert place.entries("10.0.0.1") == []
    assert (newest(place).state, newest(place).who) == (State.APPLIED, "bert")


@pytest.mark.parametrize(("before", "after"), [(200, 101), (200, 599), (20, 60), (60, 20), (0, 500)])
def test_a_list_that_changes_within_its_factors_is_applied(place, before: int, after: int):
    place.declare(ASSOCIATION)
    place.bring("association", hosts(before) or "# none yet\n")
    place.bring("association", hosts(after))
    assert newest(place).state is State.APPLIED


def test_the_factors_are_the_lists_own(place):
    place.declare(ASSOCIATION + "shrink = 0.0\ngrow = 1000.0\n")
    place.bring("association", hosts(400))
    place.bring("association", hosts(2))
    place.bring("association", hosts(1000))
    assert newest(place).state is State.APPLIED


def test_bad_lines_are_skipped_and_told_or_refuse_the_list_as_declared(place):
    place.declare(ASSOCIATION)
    (event,) = place.bring("association", "192.0.2.7\n999.1.1.1\n")
    assert (event.entries, event.bad_lines) == (1, 1)
    assert event.problems[0].startswith("association.txt:2: ")
    place.declare(ASSOCIATION + 'on_bad_line = "refuse"\n')
    (event,) = place.bring("association", "192.0.2.8\n999.1.1.1\n")
    assert event.state == "refused"
    assert event.problems[0].startswith("association.txt:2: ")
    assert place.entries("192.0.2.7") == [("association", "192.0.2.7")]


def test_a_page_instead_of_a_list_is_refused(place):
    place.declare(ASSOCIATION)
    place.bring("association", "192.0.2.7\n")
    (event,) = place.bring("association", "<html>\n<p>Log in\n</html>\n")
    assert event.state == "refused"
    assert place.entries("192.0.2.7") == [("association", "192.0.2.7")]


def test_an_edition_replaced_before_it_was_applied_shares_its_successors_fate(place):
    place.declare(ASSOCIATION)
    place.bring("association", "192.0.2.7\n")
    place.bring("association", "<html>\n")
    place.bring("association", "192.0.2.8\n")
    newer, replaced, _ = place.keeper.store.editions("association")
    assert (newer.state, replaced.state) == (State.APPLIED, State.SUPERSEDED)
    assert replaced.met(place.now) == "met"


def test_an_edition_published_after_what_serves_is_not_in_force_and_becomes_overdue(place):
    place.declare(ASSOCIATION)
    place.bring("association", hosts(200), published=place.now - 3 * HOUR)
    place.bring("association", hosts(20), published=place.now - HOUR)
    place.bring("association", hosts(205), published=place.now - 2 * HOUR)
    served, later, _ = place.keeper.store.editions("association")
    assert (served.state, later.state) == (State.APPLIED, State.HELD)
    place.clock.advance(4 * DAY)
    (event,) = place.update()
    assert isinstance(event, ListOverdue)
    assert event.edition == later.number


def test_rolling_back_over_an_edition_does_not_put_it_into_force(place):
    place.declare(ASSOCIATION)
    place.bring("association", hosts(200), published=place.now - 3 * HOUR)
    place.bring("association", hosts(20), published=place.now - HOUR)
    place.keeper.roll_back("association", 1, "bert")
    _, held, _ = place.keeper.store.editions("association")
    assert (held.state, held.met(held.deadline + 1)) == (State.HELD, "missed")


def test_rolling_back_to_an_edition_that_was_held_puts_it_into_force(place):
    place.declare(ASSOCIATION)
    place.bring("association", hosts(200), published=place.now - 3 * HOUR)
    place.bring("association", hosts(20), published=place.now - HOUR)
    place.bring("association", hosts(205), published=place.now - 2 * HOUR)
    place.keeper.roll_back("association", 2, "bert")
    _, _, held, _ = place.keeper.store.editions("association")
    assert (held.state, held.met(place.now)) == (State.SUPERSEDED, "met")


@pytest.mark.parametrize("entry", ["0.0.0.0/0", "1.0.0.0-9.255.255.255", "::/0", "2000::/3"])
def test_an_edition_that_lists_half_the_world_waits_for_a_persons_word(place, entry: str):
    place.declare(ASSOCIATION)
    place.bring("association", hosts(200))
    (event,) = place.bring("association", f"{hosts(200)}{entry}\n")
    assert isinstance(event, ListWithheld)
    assert event.state == "held"
    assert place.entries("5.5.5.5") == []
    assert place.entries("2001:db8::1") == []
    place.keeper.accept("association", "anna")
    place.bring("association", f"{hosts(201)}{entry}\n")
    assert newest(place).state is State.APPLIED


def test_a_network_as_wide_as_a_holder_may_have_is_applied(place):
    place.declare(ASSOCIATION)
    place.bring("association", "10.0.0.0/8\n2400::/12\n!0.0.0.0/0\n")
    assert newest(place).state is State.APPLIED


# Rolling back ---------------------------------------------------------------------------------------------------------


def test_an_earlier_edition_serves_again_and_the_record_says_so(place):
    place.declare(ASSOCIATION)
    place.bring("association", hosts(200))
    place.bring("association", hosts(210, start=500))
    place.keeper.roll_back("association", 1, "bert")
    place.lists.refresh()
    assert place.entries("10.0.0.1") == [("association", "10.0.0.1")]
    found = newest(place)
    assert (found.number, found.how, found.who, found.state) == (3, "rollback", "bert", State.APPLIED)
    assert (found.added, found.removed) == (200, 210)


def test_a_rollback_is_not_undone_by_the_same_content_fetched_again(place):
    place.declare(FEED)
    for text in (b"192.0.2.7\n", b"192.0.2.8\n"):
        place.sources.answers["feed"] = Fetched(octets=text, origin="https://lists.example/feed", published=None)
        place.clock.advance(2 * HOUR)
        place.update()
    place.keeper.roll_back("feed", 1, "bert")
    place.clock.advance(2 * HOUR)
    place.update()
    assert place.entries("192.0.2.7") == [("feed", "192.0.2.7")]


def test_what_cannot_be_rolled_back_is_said(place):
    place.declare(ASSOCIATION + LOCAL)
    place.write("local.txt", "192.0.2.7\n")
    place.bring("association", "192.0.2.7\n")
    for name, number in (("association", 7), ("local", 1), ("nobody", 1)):
        with pytest.raises(RefusedError):
            place.keeper.roll_back(name, number, "bert")


def test_contents_are_kept_for_the_last_editions_only(place):
    place.declare(ASSOCIATION)
    for n in range(KEPT_EDITIONS + 3):
        place.bring("association", f"10.0.0.{n}\n")
    kept = list((place.data / "blocklists/editions/association").iterdir())
    assert len(kept) == KEPT_EDITIONS
    assert len(place.keeper.store.editions("association")) == KEPT_EDITIONS + 3
    with pytest.raises(RefusedError, match="not kept"):
        place.keeper.roll_back("association", 1, "bert")


def test_a_feed_that_is_refused_for_weeks_neither_fills_the_disk_nor_loses_what_serves(place):
    place.declare(FEED)
    place.sources.answers["feed"] = Fetched(octets=b"192.0.2.7\n", origin="u", published=None)
    place.update()
    for n in range(2 * KEPT_EDITIONS):
        place.sources.answers["feed"] = Fetched(octets=f"<html>{n}".encode(), origin="u", published=None)
        place.clock.advance(2 * HOUR)
        place.update()
    assert place.entries("192.0.2.7") == [("feed", "192.0.2.7")]
    assert len(list((place.data / "blocklists/editions/feed").iterdir())) == KEPT_EDITIONS + 1
    place.sources.answers["feed"] = Fetched(octets=b"192.0.2.8\n", origin="u", published=None)
    place.clock.advance(2 * HOUR)
    place.update()
    assert place.entries("192.0.2.8") == [("feed", "192.0.2.8")]
    assert place.keeper.store.in_state("feed", State.REFUSED) == []


# Additions ------------------------------------------------------------------------------------------------------------


def test_what_an_operator_adds_and_takes_off_goes_before_the_source(place):
    place.declare(ASSOCIATION)
    place.bring("association", "192.0.2.0/24\n")
    place.keeper.add(addition("192.0.2.7", excluded=True, reason="a partner"))
    place.keeper.add(addition("198.51.100.0/24", until=place.now + DAY))
    place.lists.refresh()
    assert place.entries("192.0.2.7") == []
    assert place.entries("192.0.2.8") == [("association", "192.0.2.0/24")]
    (found,) = place.ask("198.51.100.9").listings
    assert (found.entry, found.reason, found.since, found.until) == (
        *("198.51.100.0/24", "wave", 0.0),
        place.now + DAY,
    )
    place.clock.advance(2 * DAY)
    assert place.entries("198.51.100.9") == []


def test_the_latest_word_about_an_entry_holds_and_the_former_stays_on_record(place):
    place.declare(ASSOCIATION)
    place.keeper.add(addition("192.0.2.7"))
    place.keeper.add(addition("192.0.2.7", excluded=True, who="bert"))
    place.lists.refresh()
    assert place.entries("192.0.2.7") == []
    place.keeper.add(addition("192.0.2.7", reason="again"))
    place.lists.refresh()
    assert place.ask("192.0.2.7").listings[0].reason == "again"
    assert place.keeper.withdraw("association", "192.0.2.7", "carl")[0]
    assert not place.keeper.withdraw("association", "192.0.2.7", "carl")[0]
    place.lists.refresh()
    assert place.entries("192.0.2.7") == []
    record = place.keeper.store.additions("association", ended=True)
    assert [each.removed_by for each in record] == ["bert", "anna", "carl"]


def test_an_addition_is_the_same_however_it_is_written(place):
    place.declare(ASSOCIATION)
    place.keeper.add(addition("192.0.2.0/24"))
    place.keeper.add(addition("Bad.Example."))
    assert place.keeper.withdraw("association", "192.0.2.0-192.0.2.255", "carl")[0]
    assert place.keeper.withdraw("association", "bad.example", "carl")[0]


def test_additions_outlive_editions(place):
    place.declare(ASSOCIATION)
    place.keeper.add(addition("192.0.2.7"))
    place.bring("association", "192.0.2.99\n")
    assert place.entries("192.0.2.7") == [("association", "192.0.2.7")]


# Sources --------------------------------------------------------------------------------------------------------------


def test_a_source_is_asked_on_its_schedule_with_what_it_said_last(place):
    place.declare(FEED)
    published = place.now - HOUR
    place.sources.answers["feed"] = Fetched(
        octets=b"192.0.2.7\n", origin="u", published=published, etag='"1"', modified="then"
    )
    assert place.keeper.next_due() <= place.now
    place.update()
    place.update()
    assert len(place.sources.asked) == 1
    assert place.keeper.next_due() == place.now + HOUR
    place.clock.advance(HOUR)
    place.update()
    assert [(state.etag, state.modified) for _, state in place.sources.asked] == [("", ""), ('"1"', "then")]
    assert (newest(place, "feed").published, newest(place, "feed").published_known) == (published, True)
    assert len(place.keeper.store.editions("feed")) == 1


def test_an_operator_asks_every_source_now_and_a_first_start_asks_none(place):
    place.declare(FEED)
    place.keeper.update(Asking.NONE)
    assert place.sources.asked == []
    place.keeper.update(Asking.ALL)
    place.keeper.update(Asking.ALL)
    assert len(place.sources.asked) == 2


def test_the_manifest_says_when_an_edition_that_waits_is_due(place):
    place.declare(ASSOCIATION + 'on_bad_line = "refuse"\n')
    place.bring("association", "192.0.2.7\n")
    assert place.lists.served[0].due is None
    place.bring("association", "no entry at all\n")
    assert place.lists.served[0].due == newest(place).deadline == place.keeper.next_due()
    place.bring("association", "192.0.2.8\n")
    assert place.lists.served[0].due is None
    assert place.keeper.next_due() is None


def test_an_unreachable_source_is_told_once_and_the_list_serves_on(place):
    place.declare(FEED)
    place.sources.answers["feed"] = Fetched(octets=b"192.0.2.7\n", origin="u", published=None)
    place.update()
    place.sources.answers["feed"] = Failed("HTTP 503")
    place.clock.advance(HOUR)
    (event,) = place.update()
    assert (event.state, event.reason) == ("unreachable", "HTTP 503")
    place.clock.advance(HOUR)
    assert place.update() == []
    assert place.entries("192.0.2.7") == [("feed", "192.0.2.7")]
    assert place.lists.served[0].state == "unreachable"
    place.sources.answers["feed"] = Fetched(octets=b"192.0.2.8\n", origin="u", published=None)
    place.clock.advance(HOUR)
    place.update()
    assert place.lists.served[0].state == "ok"


def test_a_source_never_reached_is_no_empty_list(place):
    place.declare(FEED)
    place.sources.answers["feed"] = Failed("no route to host")
    place.update()
    assert place.ask("192.0.2.7").unusable == (("feed", "no route to host"),)


def test_a_list_nothing_was_ever_imported_for_is_an_empty_list(place):
    place.declare(ASSOCIATION)
    place.update()
    assert place.ask("192.0.2.7").unusable == ()


def test_a_file_that_is_gone_is_told_and_what_it_said_serves_on(place):
    place.declare(LOCAL)
    place.write("local.txt", "192.0.2.7\n")
    place.update()
    (place.folder / "local.txt").unlink()
    (event,) = place.update()
    assert event.state == "missing"
    assert place.update() == []
    assert place.entries("192.0.2.7") == [("local", "192.0.2.7")]


def test_a_file_that_was_never_there_cannot_answer(place):
    place.declare(LOCAL)
    (event,) = place.update()
    assert event.state == "missing"
    assert [name for name, _ in place.ask("192.0.2.7").unusable] == ["local"]


def test_declarations_with_a_mistake_change_nothing_and_are_told(place):
    place.declare(LOCAL)
    place.write("local.txt", "192.0.2.7\n")
    place.update()
    place.declare(LOCAL + 'knid = "allow"\n')
    (event,) = place.update()
    assert event.state == "refused"
    assert "lists.toml:4" in event.problems[0]
    assert place.entries("192.0.2.7") == [("local", "192.0.2.7")]


def test_a_file_that_nobody_declared_is_used_for_nothing_and_told_once(place):
    place.write("dropped-here.txt", "192.0.2.7\n")
    (event,) = place.update()
    assert event.state == "undeclared"
    assert place.update() == []
    assert place.entries("192.0.2.7") == []
    assert place.lists.undeclared == ("dropped-here.txt",)


def test_a_change_of_how_a_source_is_read_compiles_it_anew(place):
    place.declare(LOCAL)
    place.write("local.txt", "a,b\n192.0.2.7,192.0.2.8\n")
    place.declare(LOCAL + 'format = "csv"\ncolumns = { entry = "a" }\n')
    place.update()
    assert place.entries("192.0.2.7")
    place.declare(LOCAL + 'format = "csv"\ncolumns = { entry = "b" }\n')
    place.update()
    assert place.entries("192.0.2.8")
    assert not place.entries("192.0.2.7")


# Trouble that is one list's ------------------------------------------------------------------------------------------


def test_a_list_that_breaks_its_reader_is_refused_and_keeps_no_other_from_being_kept(place, monkeypatch):
    place.declare(LOCAL + '[[list]]\nname = "second"\nfile = "second.txt"\n')
    place.write("local.txt", "192.0.2.7\n")
    place.write("second.txt", "192.0.2.8\n")
    judge = Builder.judge

    def breaking(self, declaration, *more):
        if declaration.name == "local":
            raise MemoryError("too much")
        return judge(self, declaration, *more)

    monkeypatch.setattr(Builder, "judge", breaking)
    events = place.update()
    assert [(e.list, e.state, e.reason) for e in events if isinstance(e, ListWithheld)] == [
        ("local", "refused", "MemoryError: too much")
    ]
    assert place.entries("192.0.2.8") == [("second", "192.0.2.8")]
    # Told once.
    assert newest(place, "local").state is State.REFUSED
    assert place.update() == []
    monkeypatch.undo()
    place.write("local.txt", "192.0.2.9\n")
    place.update()
    assert place.entries("192.0.2.9") == [("local", "192.0.2.9")]


def test_a_file_whose_name_is_no_utf_8_keeps_nothing_from_being_served(place):
    """As a zip from a Windows with GBK leaves it."""
    place.declare(LOCAL)
    place.write("local.txt", "192.0.2.7\n")
    place.write(os.fsdecode(b"\xba\xda\xc3\xfb\xb5\xa5.txt"), "192.0.2.8\n")
    assert "undeclared" in [event.state for event in place.update() if isinstance(event, ListWithheld)]
    assert place.entries("192.0.2.7")
    assert place.lists.undeclared == (os.fsdecode(b"\xba\xda\xc3\xfb\xb5\xa5.txt"),)


def test_a_source_that_takes_its_time_holds_up_no_other_keeper(place, monkeypatch):
    """An automatic block is to be in force within a second, whatever server is silent."""
    monkeypatch.setattr("gateway.blocklist.local.keeping._LOCK_SECONDS", 0.0)
    place.declare(FEED)
    other = ListKeeper(place.folder, place.data, clock=place.clock)

    def slow(_declaration, _before):
        other.replace_blocks([addition("192.0.2.7", list="incidents")], [], "keeper")
        return Fetched(octets=b"192.0.2.8\n", origin="u", published=place.now, etag="", modified="")

    place.keeper._fetch = slow
    place.update()
    assert place.entries("192.0.2.7") == [("incidents", "192.0.2.7")]
    assert place.entries("192.0.2.8") == [("feed", "192.0.2.8")]


def test_what_two_keepers_asked_for_is_recorded_once(place):
    place.declare(FEED)
    came = Fetched(octets=b"192.0.2.8\n", origin="u", published=place.now, etag='"1"', modified="")
    other = ListKeeper(place.folder, place.data, clock=place.clock, fetch_list=lambda *_: came)

    def meanwhile(_declaration, _before):
        other.update()
        return Failed("the line was cut")

    place.keeper._fetch = meanwhile
    assert place.update() == []
    assert place.entries("192.0.2.8") == [("feed", "192.0.2.8")]
    assert place.keeper.store.fetches("feed").failing_since is None


def test_a_clock_that_was_ahead_puts_no_source_off_for_years(place):
    place.declare(FEED)
    place.clock.advance(10 * 365 * DAY)
    place.update()
    place.clock.advance(-10 * 365 * DAY)
    assert place.keeper.next_due() <= place.now
    place.update()
    assert len(place.sources.asked) == 2
    assert place.keeper.next_due() == place.now + HOUR
