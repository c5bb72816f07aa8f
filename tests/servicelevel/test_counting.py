"""One copy, one delay: what is excluded, on what evidence, and what never is."""

import json
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.finished import FinishedCopy
from gateway.servicelevel.exclusion import Clause, Exclusion, ExclusionClass
from gateway.servicelevel.fault import ClockJump
from gateway.servicelevel.interval import clipped, minus, overlap, seconds, union
from gateway.servicelevel.sample import RECEIVE, SEND, Conditions, Party, counted, parties
from gateway.servicelevel.sketch import FLOOR_US, RELATIVE_ERROR, Sketch

START = 1_790_000_000.0
HOUR_US = 3_600_000_000
THEIRS = Party("example", RECEIVE, "customer")
OURS = Party("example", RECEIVE, "operator")


def attempt(at: float, phase: str = "rcpt", status: str = "deferred", seconds_: float = 0.0, *, own: bool = False):
    return [START + at, "hop", "relay", phase, "451 4.7.1 later", status, seconds_, own]


def scheduled(at: float, due: float) -> list:
    return [*attempt(at), START + due]


def copy(delay: float, *attempts: list, **changes) -> FinishedCopy:
    values = {
        "id": 1,
        "trace_id": "x",
        "number": 0,
        "customer": "example",
        "domain": "example.test",
        "reverse_path": "a@elsewhere.test",
        "role": "mx",
        "origin": "smtp",
        "action": "accept",
        "received_at": START,
        "filtered_seconds": 0.0,
        "durable_seconds": 0.0,
        "antivirus_seconds": 0.0,
        "held_seconds": 0.0,
        "greylisted_seconds": 0.0,
        "transfer_started_at": START + delay,
        "accepted_at": START + delay,
        "send_delay_seconds": delay,
        "receive_delay_seconds": delay,
        "finished_at": START + delay,
        "status": "delivered",
        "next_hop": "hop",
        "relay": "relay",
        "attempts": json.dumps(attempts) if attempts else "",
    }
    return FinishedCopy(**(values | changes))


def after(found: FinishedCopy, party: Party = THEIRS, **conditions) -> float:
    return counted(found, party, Conditions(limit_us=HOUR_US, **conditions)).after_us / 1e6


def exclusion(start: float, end: float) -> Exclusion:
    return Exclusion(
        number=1,
        clause=Clause.DELAY,
        kind=ExclusionClass.FORCE_MAJEURE,
        start=START + start,
        end=START + end,
        customer="",
        reason="r",
        by="b",
        recorded_at=0.0,
    )


def test_waiting_from_a_refusal_to_the_next_attempt_is_theirs():
    assert after(copy(100.0, attempt(10), attempt(100, status="sent"))) == 10.0


def test_what_the_gateway_was_late_beyond_its_own_schedule_is_not_theirs():
    # Due at 40, tried at 100: the queue was busy.
    assert after(copy(100.0, scheduled(10, 40), attempt(100, status="sent"))) == 70.0
    # Brought forward by an operator: the wait ended there.
    assert after(copy(50.0, scheduled(10, 400), attempt(50, status="sent"))) == 10.0
    # An instant that is theirs by their next refusal counts from that one on.
    assert after(copy(100.0, scheduled(10, 40), scheduled(60, 90), attempt(100, status="sent"))) == 40.0


def test_how_long_a_wait_was_to_last_does_not_change_when_the_clock_is_set():
    # Tried again 30 s late, after the clock had been put 1000 s forward: due stands by the clock as it was.
    found = copy(1100.0, scheduled(10, 70), attempt(1100, status="sent"), receive_delay_seconds=100.0)
    assert after(found, jumps=(ClockJump(START + 1050, 1000.0),)) == 40.0


def test_an_attempt_that_never_reached_a_transaction_began_before_its_stamp():
    assert after(copy(100.0, attempt(40, "connect", seconds_=30.0), attempt(100, status="sent"))) == 10.0


@pytest.mark.parametrize(("phase", "own"), [("lookup", False), ("local", False), ("rcpt", True), ("connect", True)])
def test_what_may_be_our_own_fault_is_not_excluded(phase, own):
    assert after(copy(100.0, attempt(10, phase, own=own), attempt(100, status="sent"))) == 100.0


def test_a_next_hop_of_the_operators_excludes_nothing():
    assert after(copy(100.0, attempt(10), attempt(100, status="sent")), OURS) == 100.0


def test_our_own_failing_attempt_ends_the_waiting_for_them():
    found = copy(100.0, attempt(10), attempt(40, "connect", own=True), attempt(100, status="sent"))
    assert after(found) == 70.0


def test_time_in_which_the_gateway_did_not_run_is_ours():
    found = copy(100.0, attempt(10), attempt(100, status="sent"))
    assert after(found, down=((START + 20, START + 50),)) == 40.0


def test_an_instant_is_excluded_once_however_many_reasons_it_has():
    found = copy(100.0, attempt(10), attempt(60, status="sent"))
    assert after(found, exclusions=(exclusion(30, 80), exclusion(50, 90))) == 20.0


def test_an_exclusion_counts_within_the_delay_only():
    assert after(copy(100.0), OURS, exclusions=(exclusion(-500, 10), exclusion(95, 500))) == 85.0


def test_quarantine_is_counted_as_configured():
    held = copy(100.0, held_seconds=60.0, action="quarantine")
    assert after(held, OURS) == 40.0
    assert after(held, OURS, count_quarantine=True) == 100.0


def test_an_operators_hold_is_the_operators():
    assert after(copy(100.0, held_seconds=60.0), OURS) == 100.0
    found = copy(100.0, attempt(10), attempt(100, status="sent"), held_seconds=50.0)
    assert after(found) == 60.0


def test_a_hold_within_excluded_waiting_is_not_excluded_twice():
    found = copy(100.0, attempt(10), attempt(100, status="sent"), held_seconds=50.0, action="quarantine")
    assert after(found) == 0.0
    assert after(found, count_quarantine=True) == 50.0


def test_greylisting_of_ours_is_added_only_when_it_counts():
    put_off = copy(2.0, greylisted_seconds=300.0)
    assert after(put_off) == 2.0
    assert after(put_off, count_greylisting=True) == 302.0


def test_a_recorded_jump_of_the_clock_changes_no_delay():
    # Received before the clock was set an hour forward; everything after is stamped an hour later.
    found = copy(100.0, attempt(3610), attempt(3700, status="sent"), accepted_at=START + 3700, finished_at=START + 3700)
    one = counted(found, THEIRS, Conditions(limit_us=HOUR_US, jumps=(ClockJump(START + 3605, 3600.0),)))
    assert (one.before_us, one.after_us, one.doubtful) == (100_000_000, 10_000_000, False)


def test_a_copy_that_ended_before_the_clock_was_set_is_counted_as_it_was_then():
    later = (ClockJump(START + 5000, 3600.0), ClockJump(START + 9000, -7200.0))
    found = copy(100.0, attempt(10), attempt(60, status="sent"))
    conditions = {"exclusions": (exclusion(70, 90),), "down": ((START + 20, START + 30),)}
    assert after(found, **conditions) == after(found, jumps=later, **conditions) == 40.0
    # The same readings came again when the clock was put back: the duration tells which they were.
    assert after(found, jumps=(ClockJump(START + 50, -3600.0),), **conditions) == 40.0


def test_what_was_written_down_before_the_clock_was_set_is_moved_with_the_copys_own_stamps():
    # Clock set 1000 s forward at what was 50 s after receipt; deferred until 40, then nothing happened until 100.
    stamped = {"accepted_at": START + 1100, "finished_at": START + 1100}
    found = copy(100.0, scheduled(10, 40), attempt(1100, status="sent"), **stamped)
    jumps = (ClockJump(START + 1050, 1000.0),)
    assert after(found, jumps=jumps) == 70.0
    assert after(found, jumps=jumps, down=((START + 20, START + 30),)) == 80.0
    assert after(found, jumps=jumps, exclusions=(exclusion(40, 45), exclusion(1060, 1070))) == 55.0
    # What is found at once with the clock that was set is written by the clock as it is then.
    at_once = ((START + 1040, START + 1050),)
    assert after(found, jumps=jumps, down=at_once) == 70.0


def test_a_copy_given_up_after_the_clock_was_set_has_waited_as_long_as_it_was_kept():
    found = copy(0.0, status="expired", accepted_at=None, finished_at=START + 7200)
    jumps = (ClockJump(START + 3600, 3000.0),)
    assert after(found, OURS, jumps=jumps) == 4200.0


def test_a_jump_that_nobody_recorded_never_shortens_a_delay():
    found = copy(100.0, attempt(10), attempt(3700, status="sent"), accepted_at=START + 3700, finished_at=START + 3700)
    one = counted(found, THEIRS, Conditions(limit_us=HOUR_US))
    assert one.doubtful
    assert 10_000_000 <= one.after_us <= 100_000_000


def test_a_copy_given_up_has_waited_as_long_as_it_was_kept():
    found = copy(0.0, attempt(10), attempt(7200), status="expired", accepted_at=None, finished_at=START + 7200)
    one = counted(found, OURS, Conditions(limit_us=HOUR_US))
    assert not one.delivered
    assert one.after_us == 7_200_000_000
    assert after(found) == 10.0


def _owner(domain: str, _: float):
    return {
        "example.test": ("example", "operator"),
        "other.test": ("other", "customer"),
        "xn--fsqu00a.xn--fiqs8s": ("idn", "operator"),
    }.get(domain)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {("example", RECEIVE, "operator")}),
        (
            {"role": "relay", "reverse_path": "a@other.test"},
            {("example", RECEIVE, "operator"), ("other", SEND, "operator")},
        ),
        (
            {"role": "relay", "domain": "far.test", "reverse_path": "a@other.test"},
            {("other", SEND, "remote")},
        ),
        ({"role": "relay", "domain": "far.test", "reverse_path": ""}, {("example", SEND, "remote")}),
        # Another customer's server is not this one's equipment, but a system that is not ours.
        (
            {"role": "relay", "domain": "other.test", "reverse_path": "a@example.test"},
            {("other", RECEIVE, "customer"), ("example", SEND, "remote")},
        ),
        (
            {"role": "relay", "domain": "other.test", "reverse_path": "a@other.test"},
            {("other", RECEIVE, "customer"), ("other", SEND, "customer")},
        ),
        # The ledger has the path as the client wrote it.
        (
            {"role": "relay", "reverse_path": '"a@b"@Other.TEST'},
            {("example", RECEIVE, "operator"), ("other", SEND, "operator")},
        ),
        (
            {"role": "relay", "reverse_path": "a@例子.中国"},
            {("example", RECEIVE, "operator"), ("idn", SEND, "operator")},
        ),
        ({"role": "relay", "reverse_path": "a@[192.0.2.1]"}, {("example", RECEIVE, "operator")}),
        ({"origin": "notice"}, set()),
        ({"status": "dropped"}, set()),
    ],
)
def test_a_copy_counts_for_whom_the_contract_means(changes, expected):
    assert {(p.customer, p.direction, p.owner) for p in parties(copy(1.0, **changes), _owner)} == expected


edges = st.integers(0, 60)
spans = st.lists(st.tuples(edges, edges), max_size=8)


@given(spans, spans, edges, edges)
def test_intervals_are_sets_of_instants(one, other, start, end):
    def instants(intervals):
        return {n for a, b in intervals for n in range(a, b)}

    assert instants(union(one)) == instants(one)
    assert instants(minus(one, other)) == instants(one) - instants(other)
    assert instants(clipped(one, start, end)) == instants(one) & set(range(start, end))
    assert seconds(one) == len(instants(one))
    assert overlap(one, other) == len(instants(one) & instants(other))
    merged = union(one)
    assert all(merged[n][1] < merged[n + 1][0] for n in range(len(merged) - 1))


@given(
    st.lists(st.integers(0, 500_000_000_000), min_size=1, max_size=60), st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0])
)
def test_a_quantile_is_within_the_stated_error_however_the_values_were_divided(values, q):
    sketches = [Sketch() for _ in range(3)]
    for place, value in enumerate(values):
        sketches[place % 3].add(value)
    whole = Sketch()
    for sketch in sketches:
        whole.merge(sketch)
    together = Sketch()
    for value in values:
        together.add(value)
    assert whole == together == Sketch.of(whole.pairs())
    exact = sorted(values)[max(1, ceil(Fraction(str(q)) * len(values))) - 1]
    assert abs(whole.quantile(q) - exact) <= max(FLOOR_US, RELATIVE_ERROR * exact + 1)
