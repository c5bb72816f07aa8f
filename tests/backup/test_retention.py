"""What breaks if these fail: a backup that the contract wants kept is gone, or none is made when one is owed."""

import os
from datetime import UTC, datetime, time

import pytest

from gateway.backup.obligations import due
from gateway.backup.repository import Run
from gateway.backup.retention import LOCKED_SECONDS, KeptAccount, keep_account, kept_accounts, prune, removable
from gateway.backup.schedule import DAY_SECONDS, RETRY_SECONDS, History, Plan, due_at, kind_at, overdue_at
from tests.backup.conftest import Place

MONTH = 31 * DAY_SECONDS


def month_of_runs() -> dict[Run, float]:
    """Return 45 days of what the plan makes: a chain every third day, a full run and two increments."""
    return {Run(f"chain-{day // 3:02d}", day % 3): day * DAY_SECONDS for day in range(45)}


def locked(day: float) -> KeptAccount:
    at = day * DAY_SECONDS
    return KeptAccount(account="anna@box.test", locked_at=at, until=at + LOCKED_SECONDS, reason="spam", who="operator")


def test_what_is_within_the_month_stays_with_all_it_needs():
    now = 44.5 * DAY_SECONDS
    gone = {removal.chain for removal in removable(month_of_runs(), [], now, MONTH)}
    # The chain of days 12 to 14 has its last run 30.5 days ago: all of it stays, its full run of day 12 too.
    assert gone == {f"chain-{number:02d}" for number in range(4)}


def test_the_newest_chain_never_goes():
    assert removable({Run("chain-00", 0): 0.0}, [], 1000 * DAY_SECONDS, MONTH) == []


def test_a_removal_says_why():
    (removal,) = removable({Run("chain-00", 0): 0.0, Run("chain-01", 0): 39 * DAY_SECONDS}, [], 40 * DAY_SECONDS, MONTH)
    assert removal.why == "its last run is 40.0 days old, 31 are kept"


def test_the_runs_around_a_lock_stay_for_ninety_days():
    """contract.md §7: an account's data as they were at the lock are in the last run before it and the first after."""
    runs, now = month_of_runs(), 44.5 * DAY_SECONDS
    gone = {removal.chain for removal in removable(runs, [locked(2.5)], now, MONTH)}
    # Day 2 is the last run of the first chain, day 3 the first of the second.
    assert gone == {"chain-02", "chain-03"}
    later = 2.5 * DAY_SECONDS + LOCKED_SECONDS
    gone_then = {removal.chain for removal in removable(runs, [locked(2.5)], later, MONTH)}
    assert {"chain-00", "chain-01"} <= gone_then


def test_a_chain_is_removed_from_the_disk_and_the_account_remembered(place: Place):
    first = place.backup("full")
    place.clock.advance(40 * DAY_SECONDS)
    second = place.backup("full")
    now = place.clock.stamp().utc
    keep_account(place.repository, locked(first.started_at / DAY_SECONDS))
    assert prune(place.repository, now, MONTH) == []
    (kept,) = kept_accounts(place.repository)
    assert kept.account == "anna@box.test"
    (removal,) = prune(place.repository, now + LOCKED_SECONDS, MONTH)
    assert removal.chain == first.chain
    assert place.repository.chains() == [second.chain]


def test_an_account_that_is_locked_again_is_kept_as_it_was_at_both_locks(place: Place):
    """Mail that was deleted between them is in the runs around the first alone."""
    keep_account(place.repository, locked(10.5))
    keep_account(place.repository, locked(2.5))
    keep_account(place.repository, locked(2.5))
    kept = kept_accounts(place.repository)
    assert [each.locked_at / DAY_SECONDS for each in kept] == [10.5, 2.5]
    gone = {removal.chain for removal in removable(month_of_runs(), kept, 44.5 * DAY_SECONDS, MONTH)}
    assert gone == {"chain-02"}


def test_an_account_that_is_locked_while_a_run_works_is_kept(place: Place):
    """A run takes minutes or hours; whoever suspends an account meanwhile must not be told to come back."""
    with place.repository.writing():
        keep_account(place.repository, locked(10))
    assert [kept.account for kept in kept_accounts(place.repository)] == ["anna@box.test"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_notes_the_gateway_can_go_on_with(place: Place):
    os.chown(place.repository.folder, 65534, 65534)
    keep_account(place.repository, locked(10))
    assert (place.repository.folder / "kept.json").stat().st_uid == 65534


# The schedule ---------------------------------------------------------------------------------------------------------


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


PLAN = Plan(at=time(3, 0))


def test_a_gateway_without_a_backup_makes_one_now_and_a_full_one():
    now = at("2026-11-22T15:00")
    assert due_at(PLAN, History(), now) == now
    assert kind_at(PLAN, History(), now) == "full"


@pytest.mark.parametrize(
    ("last", "wanted"),
    [
        ("2026-11-22T03:00", "2026-11-23T03:00"),
        # Minutes late yesterday is no reason to be a day late today.
        ("2026-11-22T03:20", "2026-11-23T03:00"),
        ("2026-11-22T14:00", "2026-11-23T03:00"),
        # One by hand in the evening: without the night's the calendar's day would have none.
        ("2026-11-22T23:00", "2026-11-23T03:00"),
        ("2026-11-22T02:59", "2026-11-23T03:00"),
    ],
)
def test_increments_come_at_their_hour(last: str, wanted: str):
    assert due_at(PLAN, History(last=at(last), last_full=at(last)), at(last)) == at(wanted)


def test_every_third_day_is_a_full_one():
    full = at("2026-11-22T03:00:40")
    history = History(last=full, last_full=full)
    kinds = [kind_at(PLAN, history, at(f"2026-11-{day}T03:00")) for day in (23, 24, 25)]
    assert kinds == ["increment", "increment", "full"]


def test_hourly_increments_do_not_wait_for_the_night():
    plan = Plan(increment_seconds=3600.0)
    last = at("2026-11-22T15:10")
    assert due_at(plan, History(last=last, last_full=last), last) == last + 3600


def test_a_failed_run_is_tried_again_soon():
    last, failed = at("2026-11-21T03:00"), at("2026-11-22T03:01")
    history = History(last=last, last_full=last, failed=failed)
    assert due_at(PLAN, history, failed) == failed + RETRY_SECONDS


def test_a_day_without_a_backup_is_overdue():
    last = at("2026-11-21T03:00")
    assert overdue_at(PLAN, History(last=last), 0.0) == last + 1.5 * DAY_SECONDS


def test_the_contracts_day_ends_at_midnight():
    """A run that takes a minute longer than yesterday's is none that was missed."""
    assert due(at("2026-11-22T03:05"), DAY_SECONDS) == at("2026-11-24T00:00")
