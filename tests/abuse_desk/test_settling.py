"""One truth about what is due: ``deadlines_due`` and the service level's list tell the same, whatever failed when.

What breaks if these fail: a complaint's clock runs out unseen, because it was never noted, was stopped in one place
only, or stopped with an answer that nobody got.
"""

import json
from datetime import UTC, datetime

import pytest

from gateway.abuse.complaints import settling
from gateway.abuse.complaints.closing import UnanswerableError
from gateway.abuse.complaints.deadlines import TicketClocks
from gateway.abuse.complaints.desk import AGAIN_SECONDS, SETTLE_SECONDS, ComplaintDesk
from gateway.blocklist.local.declaration import Calendar
from gateway.blocklist.local.workdays import WorkingCalendar
from gateway.incidents.schema import MIGRATIONS, database_path
from gateway.incidents.verification import verify
from gateway.journal.duty_events import AnswerUndelivered
from gateway.servicelevel.book import Writer
from gateway.servicelevel.clocks import new_deadline
from gateway.servicelevel.deadline import KINDS
from gateway.servicelevel.reading import read_book
from gateway.servicelevel.records import Records
from gateway.storage import SharedDatabase
from tests.abuse_desk.conftest import MONDAY, SPAM, Desk, arf
from tests.abuse_desk.test_filing import close
from tests.abuse_desk.test_returns import DSN

COMPLAINT = arf(SPAM % b"01KAQ6WQ00000000000000000X")
HOUR = 3600.0
SILENT = "[complaints]\nacknowledge = false\n"
VIEW = "SELECT deadline, kind, subject, started_at, due_at FROM deadlines_due ORDER BY deadline"


def text(utc: float) -> str:
    return f"{datetime.fromtimestamp(utc, UTC):%Y-%m-%d %H:%M:%S}"


def same(case: Desk) -> list[tuple]:
    """Hold the two lists against each other; return what both say."""
    running = [each for each in read_book(case.data).deadlines.values() if each.met_at is None]
    listed = [(each.number, each.kind, each.subject, text(each.start), text(each.due)) for each in running]
    assert case.rows(VIEW) == listed
    return listed


def records_fail(case: Desk) -> None:
    """Have nothing written to the service level's record: a folder stands where the file would."""
    path = Records(case.data).path
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.rename(path.with_suffix(".away"))
    path.mkdir()


def records_work(case: Desk) -> None:
    path = Records(case.data).path
    path.rmdir()
    if path.with_suffix(".away").exists():
        path.with_suffix(".away").rename(path)


def test_a_tickets_clocks_are_told_alike(desk):
    case: Desk = desk(SILENT)
    case.read(COMPLAINT)
    assert len(same(case)) == 2
    close(case)
    case.round()
    assert same(case) == []


def test_a_clock_that_could_not_be_noted_is_noted_later_with_the_moments_that_held_then(desk):
    case: Desk = desk(SILENT)
    records_fail(case)
    assert case.read(COMPLAINT) == "ticket"
    assert case.ticket().response_deadline is None
    case.clock.advance(5 * HOUR)
    case.round()
    records_work(case)
    case.clock.advance(AGAIN_SECONDS)
    case.round()
    ticket = case.ticket()
    noted = {each.number: each for each in read_book(case.data).deadlines.values()}
    assert noted[ticket.response_deadline].due == ticket.response_due == MONDAY + 24 * HOUR
    assert noted[ticket.outcome_deadline].start == MONDAY
    assert len(same(case)) == 2
    # And no third one, ever.
    case.clock.advance(SETTLE_SECONDS)
    case.round()
    assert len(read_book(case.data).deadlines) == 2


def test_a_clock_that_could_not_be_stopped_is_stopped_later(desk):
    """The command answered; the record's disk was full. Nothing tells the desk: it looks again by itself."""
    case: Desk = desk(SILENT)
    case.read(COMPLAINT)
    case.clock.advance(HOUR)
    records_fail(case)
    close(case)
    records_work(case)
    case.clock.advance(SETTLE_SECONDS)
    case.round()
    assert {each.met_at for each in read_book(case.data).deadlines.values()} == {MONDAY + HOUR}
    assert same(case) == []


def test_a_clock_stopped_by_hand_is_done_for_its_ticket_too(desk):
    case: Desk = desk(SILENT)
    case.read(COMPLAINT)
    case.clock.advance(HOUR)
    at = case.clock.stamp().utc
    Writer(Records(case.data), at, "li").meet_deadline(case.ticket().response_deadline, at)
    case.round()
    assert [row[1] for row in same(case)] == ["complaint-outcome"]
    assert (case.ticket().state, case.ticket().responded_at, case.ticket().answered_by) == ("answered", at, "li")
    Writer(Records(case.data), at, "li").meet_deadline(case.ticket().outcome_deadline, at)
    case.round()
    assert same(case) == []
    assert (case.ticket().state, case.ticket().outcome_at) == ("closed", at)
    assert verify(case.data).flaws == ()


def test_an_answer_while_the_desk_settles_leaves_a_sound_record(desk, monkeypatch):
    """Met by hand and answered by another within one look: what is on record first stands, and is not altered."""
    case: Desk = desk(SILENT)
    case.read(COMPLAINT)
    at = case.clock.stamp().utc
    Writer(Records(case.data), at, "li").meet_deadline(case.ticket().outcome_deadline, at)
    case.clock.advance(HOUR)
    read = settling._done

    def answered_meanwhile(*given):
        monkeypatch.setattr(settling, "_done", read)
        close(case)
        return read(*given)

    monkeypatch.setattr(settling, "_done", answered_meanwhile)
    case.round()
    assert settling._done is read, "or it proves nothing"
    assert (case.ticket().answered_by, case.ticket().outcome_at) == ("wang", at + HOUR)
    assert verify(case.data).flaws == ()


@pytest.mark.parametrize("column", ["outcome", "outcome_at", "answered_by"])
def test_an_outcome_that_was_altered_afterwards_is_found(desk, column):
    """What was told, when and by whom is what the contract's three days are counted by."""
    case: Desk = desk(SILENT)
    case.read(COMPLAINT)
    close(case)
    assert verify(case.data).flaws == ()
    with SharedDatabase(database_path(case.data), MIGRATIONS).transaction() as hand:
        hand.execute(f"UPDATE ticket SET {column} = 1")  # noqa: S608 - names of this test
    assert [str(flaw) for flaw in verify(case.data).flaws] == [f"ticket 1: it is not what was recorded: {column}"]


def test_other_clocks_of_the_contract_are_in_the_view_as_well(desk):
    case: Desk = desk()
    now = case.clock.stamp().utc
    calendar = WorkingCalendar(Calendar())
    writer = Writer(Records(case.data), now, "li")
    number = writer.open_deadline(new_deadline(KINDS["ticket-response"], "T-5", "corp", now, calendar)).number
    case.round()
    assert [(row[0], row[2]) for row in same(case)] == [(number, "T-5")]
    writer.meet_deadline(number, now)
    case.round()
    assert same(case) == []
    assert verify(case.data).flaws == ()


def test_a_gateway_without_deadlines_gets_no_record(desk):
    case: Desk = desk()
    case.round()
    assert not (case.data / "incidents").exists()


def test_a_record_that_is_damaged_keeps_the_view_as_it_was(desk):
    case: Desk = desk(SILENT)
    case.read(COMPLAINT)
    before = case.rows(VIEW)
    path = Records(case.data).path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0].replace(b"complaint", b"comp1aint"), *lines[1:]]))
    case.round()
    assert case.rows(VIEW) == before


def test_a_flood_does_not_read_the_record_for_each_complaint(desk, monkeypatch):
    case: Desk = desk(SILENT)
    reads = []
    monkeypatch.setattr(Records, "read", lambda self, read=Records.read: reads.append(1) or read(self))
    for number in range(30):
        case.receive(b"From: kim@isp.test\r\n\r\nYou send spam.\r\n", sender=f"kim{number}@isp.test")
    assert case.round() == {"ticket": 30}
    assert len(reads) <= 3
    assert len(same(case)) == 60


# Answers that come back -----------------------------------------------------------------------------------------------


def bounce(case: Desk, mail: int = -1) -> str:
    senders = [row[0] for row in case.rows("SELECT sender FROM desk_mail ORDER BY id")]
    case.receive(DSN.format(action="failed").encode(), sender="", to=senders[mail])
    [(what, _)] = case.desk.round().items()
    return what


def test_an_outcome_that_came_back_makes_its_ticket_due_again(desk):
    case: Desk = desk(SILENT)
    case.read(COMPLAINT)
    case.clock.advance(HOUR)
    close(case)
    case.clock.advance(HOUR)
    assert bounce(case) == "bounced"
    ticket = case.ticket()
    assert (ticket.state, ticket.outcome_at) == ("undelivered", None)
    assert ticket.outcome_due == MONDAY + 2 * HOUR + 72 * HOUR
    assert [row[1] for row in same(case)] == ["complaint-outcome"]
    assert [row[0] for row in case.rows("SELECT ticket FROM open_tickets")] == [1]
    [event] = case.events.events
    assert isinstance(event, AnswerUndelivered)
    assert (event.ticket, event.answer, event.due_at) == (1, "outcome", ticket.outcome_due)
    assert "no such user" in event.reason
    case.events.events.clear()
    # Told otherwise, it is over; and a second notification of the same mail opens nothing again.
    close(case, mailed=False)
    assert bounce(case) == "bounced"
    assert (case.ticket().state, case.events.events) == ("closed", [])
    case.round()
    assert same(case) == []
    assert verify(case.data).flaws == ()


def test_a_response_that_came_back_starts_its_clock_again_unless_the_outcome_was_told(desk):
    case: Desk = desk(SILENT)
    case.read(COMPLAINT)
    close(case, kind="response")
    assert bounce(case) == "bounced"
    assert (case.ticket().state, case.ticket().responded_at) == ("undelivered", None)
    assert sorted(row[1] for row in same(case)) == ["complaint-outcome", "complaint-response"]
    close(case, kind="response")
    assert case.ticket().state == "answered"
    close(case)
    case.events.events.clear()
    assert bounce(case, 1) == "bounced"
    assert (case.ticket().state, case.events.events) == ("closed", [])


def test_a_new_desk_finds_everything_as_it_was(desk):
    """After a restart: what was told once is not told again."""
    case: Desk = desk(SILENT)
    case.read(COMPLAINT)
    before = case.rows("SELECT count(*) FROM chain")
    ComplaintDesk(lambda: case.snapshot, case.book, clock=case.clock, events=case.events).round()
    assert case.rows("SELECT count(*) FROM chain") == before
    assert len(same(case)) == 2


def test_who_answers_a_closed_ticket_is_refused_and_an_undelivered_one_is_not(desk):
    case: Desk = desk(SILENT)
    case.read(COMPLAINT)
    close(case)
    with pytest.raises(UnanswerableError):
        close(case)
    bounce(case)
    close(case)
    assert case.ticket().state == "closed"
    assert json.loads(json.dumps(case.ticket().outcome)) == "Stopped."
    assert TicketClocks(case.data, WorkingCalendar(Calendar())).all()


def test_a_record_of_before_is_brought_up_to_date_with_all_it_has(desk):
    """An upgrade: clocks find their deadlines, evidence and its indexes stay, and the desk works at once."""
    case: Desk = desk(SILENT)
    path = database_path(case.data)
    before = [step for step in MIGRATIONS if (step.name, step.number) != ("tickets", 2)]
    with SharedDatabase(path, before).transaction() as old:
        given = {
            **dict.fromkeys(("format", "feedback_type", "address", "reporter", "language", "subject", "sha256"), ""),
            **dict.fromkeys(("about_trace_id", "about_message_id", "source_kind", "source_key", "matched_by"), ""),
            **dict.fromkeys(("opened_at", "octets", "response_due", "outcome_due"), 0),
            "trace_id": "t",
            "unanswerable": "",
            "facts": "{}",
            "outcome_deadline": 7,
            "outcome_clock": 1,
        }
        marks = ", ".join("?" * len(given))
        old.execute(f"INSERT INTO ticket ({', '.join(given)}) VALUES ({marks})", tuple(given.values()))  # noqa: S608 - names of this test
        old.execute(
            "INSERT INTO clock (kind, subject, ticket, started_at, due_at) VALUES ('complaint-outcome', 'x', 1, 0, 1)"
        )
        old.execute(
            "INSERT INTO evidence (incident, trace_id, at, sha256, octets, stored_sha256, stored_octets, facts, number)"
            " VALUES (5, 'e', 0, 's', 1, 's', 1, '{}', 9)"
        )
        indexes = old.execute(
            "SELECT name FROM sqlite_master WHERE tbl_name = 'evidence' AND type = 'index' ORDER BY 1"
        )
    case.round()
    assert case.rows("SELECT id, incident, trace_id, number FROM evidence") == [(1, 5, "e", 9)]
    assert case.rows("SELECT deadline, ticket FROM deadlines_due") == [(7, 1)]
    now = case.rows("SELECT name FROM sqlite_master WHERE tbl_name = 'evidence' AND type = 'index' ORDER BY 1")
    assert now == indexes != []
    assert case.read(b"From: kim@isp.test\r\n\r\nYou send spam.\r\n") == "ticket"
    assert case.rows("SELECT count(*) FROM evidence WHERE incident IS NULL") == [(1,)]
