"""Contacts are asked for beside the desk's work: a few at once, each for a while, and no complaint waits for them."""

import threading

import pytest

from gateway.abuse.reporting import inquiry
from gateway.abuse.reporting.desk import ReportDesk
from gateway.abuse.reporting.inquiry import AGAIN_SECONDS, LOOKUP_SECONDS, MOST_AT_ONCE, MOST_STUCK, Inquiry
from gateway.clock import FakeClock
from tests.abuse_desk.conftest import MONDAY, SPAM, Desk, arf
from tests.abuse_desk.test_reports import spam
from tests.system.parts import until


class Silent:
    """A look-up that answers when it is let; counts those under way, and the most there were."""

    def __init__(self) -> None:
        self.let, self.lock = threading.Event(), threading.Lock()
        self.begun = self.running = self.most = 0

    def __call__(self, _: str = "") -> str | None:
        with self.lock:
            self.begun += 1
            self.running += 1
            self.most = max(self.most, self.running)
        self.let.wait(60)
        with self.lock:
            self.running -= 1
        return "abuse@isp.test"


@pytest.fixture
def silent():
    made = Silent()
    yield made
    made.let.set()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(MONDAY)


def test_many_are_asked_at_once_and_no_more_than_that(clock: FakeClock, silent: Silent):
    room = Inquiry(clock)
    for number in range(20):
        room.ask(str(number), silent)
        room.ask(str(number), silent)
    until(lambda: silent.running == MOST_AT_ONCE)
    assert room.answer("0") is None
    silent.let.set()
    room.wait(30)
    assert [room.answer(str(number)) for number in range(20)] == ["abuse@isp.test"] * 20
    assert (silent.most, silent.begun) == (MOST_AT_ONCE, 20)


def test_one_that_never_ends_is_not_waited_for_and_its_place_is_taken(clock: FakeClock, silent: Silent):
    room = Inquiry(clock)
    for number in range(MOST_AT_ONCE):
        room.ask(str(number), silent)
    room.ask("next", lambda: "noc@isp.test")
    until(lambda: silent.running == MOST_AT_ONCE)
    clock.advance(LOOKUP_SECONDS + 1)
    assert room.answer("0") is None
    until(lambda: room.answer("next") == "noc@isp.test")
    # What it says in the end, nobody waits for.
    silent.let.set()
    until(lambda: silent.running == 0)
    assert room.answer("0") is None


def test_threads_that_are_stuck_are_limited(clock: FakeClock, silent: Silent):
    room = Inquiry(clock)
    for number in range(MOST_STUCK * 3):
        room.ask(str(number), silent)
    for _ in range(MOST_STUCK):
        clock.advance(LOOKUP_SECONDS + 1)
        room.answer("0")
    until(lambda: silent.running == silent.begun)
    assert silent.running <= MOST_STUCK + MOST_AT_ONCE
    silent.let.set()
    room.wait(30)
    until(lambda: silent.running == 0)


def test_what_was_in_vain_is_not_asked_again_for_a_while(clock: FakeClock):
    room, asked = Inquiry(clock), []
    for seconds in (0.0, AGAIN_SECONDS - 1, 2.0):
        clock.advance(seconds)
        room.ask("x", lambda: asked.append(1))
        room.wait(30)
        assert room.answer("x") is None
    assert len(asked) == 2


def test_a_bug_in_a_look_up_is_told_and_stops_nothing(clock: FakeClock):
    room = Inquiry(clock)
    room.ask("x", lambda: 1 / 0)
    room.ask("y", lambda: "a@b.test")
    room.wait(30)
    with pytest.raises(ZeroDivisionError):
        room.answer("x")
    assert (room.answer("x"), room.answer("y")) == (None, "a@b.test")


def test_complaints_are_answered_while_contacts_are_asked_for(desk, silent: Silent):
    """Sources whose registry is silent: a round is over all the same, and writes them once it speaks."""
    case: Desk = desk("[reporting]\nenabled = true\ncontact_per_day = 1000\noperators_per_day = 1000\n")
    for number in range(12):
        spam(case, f"198.51.{number}.1", message=None)
    room = ReportDesk(lambda: case.snapshot, case.book, clock=case.clock, lookups=lambda: (("zone", silent),))
    assert room.round() == {}
    assert silent.begun <= inquiry.MOST_AT_ONCE
    assert case.read(arf(SPAM % b"01KAQ6WQ00000000000000000X")) == "ticket"
    silent.let.set()
    until(lambda: silent.begun == 12 and silent.running == 0)
    # What a look-up found is an answer only when its thread has said so.
    room._inquiry.wait(30)
    done = 0
    while done < 12:
        case.clock.advance(31.0)
        done += until(lambda: room.round().get("operator"))
    assert case.rows("SELECT count(*), count(DISTINCT source_key) FROM report") == [(12, 12)]
