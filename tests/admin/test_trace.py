"""To "where is my mail" the trace must have an answer, also for mail that was refused, and beside running workers."""

import json

import pytest

from gateway.admin.dropped import dropped_rows
from gateway.admin.story import render
from gateway.admin.trace import trace
from gateway.clock import FakeClock
from gateway.journal.events import (
    NoticeQueued,
    QueueChanged,
    RecipientRefused,
    SessionClosed,
    SessionRefused,
    TransactionAborted,
)
from gateway.journal.files import journal_files
from gateway.journal.sinks import Recorded
from gateway.journal.store import Journal
from gateway.ledger import MIGRATIONS
from gateway.spool.custody import Custody
from gateway.spool.message import QueueQuery
from gateway.spool.opening import SilentWitness
from gateway.spool.shard import ShardSettings

NOW = 1_790_000_000.0


class Gateway:
    """The stores of a worker that serves while the trace is asked."""

    def __init__(self, data):
        self.data = data
        self.clock = FakeClock(NOW)
        self.journal = Journal(data / "journal", 0, clock=self.clock, failures=Recorded())
        settings = ShardSettings(data=data, clock=self.clock, companions=MIGRATIONS)
        self.custody = Custody.open(settings, worker=0, workers=1, witness=SilentWitness())

    async def tell(self, *events):
        for event in events:
            self.journal.emit(event)
        await self.journal.flush()

    def stories(self, what, since=NOW - 86_400):
        return trace(self.data, what, since, self.clock).stories

    def story(self, what):
        [story] = self.stories(what)
        return story


@pytest.fixture
async def gateway(tmp_path):
    gateway = Gateway(tmp_path)
    yield gateway
    await gateway.journal.close()
    gateway.custody.close_now()


@pytest.fixture
def ids(trace_ids):
    return trace_ids


SESSION = "01M3250V000000000000000777"


def closed(**changes):
    values = {
        "at": NOW + 1, "trace_id": SESSION, "client": "192.0.2.1", "role": "mx", "helo": "mail.example.org", "tls": "",
        "end": "quit", "messages": 1, "commands": 5, "errors": 0, "seconds": 1.5,
    }  # fmt: skip
    return SessionClosed(**(values | changes))


@pytest.mark.parametrize(
    "what",
    ["B@example.COM", "<a@example.org>", "<m1@example.org>", "m1@example.org", "192.0.2.1", "id"],
)
async def test_a_mail_is_found_by_all_that_people_know_of_it(gateway, ids, judged, attempted, what):
    await gateway.tell(judged(trace_id=ids[1], session_id=SESSION), attempted(trace_id=ids[1]), closed())
    story = gateway.story(ids[1] if what == "id" else what)
    assert story.trace_id == ids[1]
    assert story.state == "delivered"
    assert story.session.end == "quit"


async def test_a_session_id_leads_to_its_mails(gateway, ids, judged):
    await gateway.tell(*(judged(trace_id=ids[n], session_id=SESSION) for n in (1, 2)), closed(messages=2))
    assert [s.trace_id for s in gateway.stories(SESSION)] == [SESSION, ids[1], ids[2]]


async def test_a_sessions_first_mail_which_has_its_id_is_told_once(gateway, judged):
    await gateway.tell(judged(trace_id=SESSION, session_id=SESSION), closed())
    assert [s.trace_id for s in gateway.stories(SESSION)] == [SESSION]


async def test_a_rule_is_named_once(gateway, ids, judged):
    reason = 'rule 代开发票: subject "发票"'
    event = judged(
        trace_id=ids[1],
        findings=(("rule", "代开发票", reason.removeprefix("rule ")),),
        dispositions=(("b@example.com", "quarantine", 0.0, "rule", reason),),
    )
    await gateway.tell(event)
    text = render(gateway.story(ids[1]))
    assert 'finding   rule 代开发票: subject "发票"\n' in text
    assert f"verdict   <b@example.com> quarantine, score 0 ({reason})\n" in text


async def test_the_story_is_told_in_order_with_scores_stamps_attempts_and_delays(gateway, ids, judged, attempted):
    await gateway.tell(
        judged(
            trace_id=ids[1],
            session_id=SESSION,
            findings=(("helo", "bare-ip", "HELO is an address"),),
            judgements=(("b@example.com", "helo", "bare-ip", 2.5, ""),),
            dispositions=(("b@example.com", "tag", 5.5, "", "score 5.5"),),
        ),
        attempted(trace_id=ids[1], status="deferred", reply="451 4.7.1 greylisted", attempt=1),
        attempted(trace_id=ids[1], at=NOW + 60, attempt=2),
        closed(),
    )
    text = render(gateway.story(ids[1]))
    expected = [
        f"{ids[1]}  2026-09-21 14:13:20Z  delivered",
        "client    unknown[192.0.2.1] as mail.example.org, mx, no TLS; session "
        + SESSION
        + " ended by quit after 1.5 s",
        "envelope  from <a@example.org> to <b@example.com>",
        "content   8192 octets, <m1@example.org>, subject 's'",
        "filtered in 10.0 ms (helo 1.0), durable 20.0 ms later",
        "finding   helo bare-ip → +2.5: HELO is an address",
        "verdict   <b@example.com> tag, score 5.5 (score 5.5)",
        "reply     250 2.0.0 accepted",
        "#1 <b@example.com> deferred by mx.example.com[10.1.0.5]:25 at end-of-data, 0.2/0/0.05/0.5 s: 451 4.7.1 grey",
        "#2 <b@example.com> sent by",
        "now       <b@example.com> delivered",
    ]
    at = 0
    for piece in expected:
        found = text.find(piece, at)
        assert found >= 0, f"{piece!r} is missing or out of order in:\n{text}"
        at = found
    assert len(text.splitlines()) < 24


@pytest.mark.parametrize(("reply", "state"), [("550 5.7.1 refused", "rejected"), ("451 4.7.1 later", "deferred by us")])
async def test_a_mail_refused_after_the_final_dot(gateway, ids, judged, reply, state):
    event = judged(
        trace_id=ids[1], reply=reply, durable_at=0.0, dispositions=(("b@example.com", "reject", 15.0, "", "x"),)
    )
    await gateway.tell(event)
    assert gateway.story("b@example.com").state == state


async def test_a_recipient_refused_at_rcpt(gateway, ids):
    event = RecipientRefused(
        at=NOW, trace_id=ids[1], client="192.0.2.1", helo="h", reverse_path="a@example.org", recipient="no@example.com",
        reply="550 5.1.1 no such user", reason="the list has no such address",
    )  # fmt: skip
    await gateway.tell(event)
    story = gateway.story("no@example.com")
    assert story.states() == {"no@example.com": "rejected"}
    assert "550 5.1.1 no such user (the list has no such address)" in render(story)


async def test_a_mail_broken_off(gateway, ids):
    event = TransactionAborted(
        at=NOW, trace_id=ids[1], client="192.0.2.1", reverse_path="a@example.org", recipients=("b@example.com",),
        octets=5000, reply="", reason="disconnect",
    )  # fmt: skip
    await gateway.tell(event)
    assert gateway.story("b@example.com").state == "not taken"
    assert "after 5000 octets" in render(gateway.story(ids[1]))


async def test_a_session_refused_at_the_door_has_no_id_and_is_found_by_its_client(gateway):
    await gateway.tell(
        SessionRefused(at=NOW, client="2001:db8::1", role="mx", reply="421 4.7.0 too many", reason="rate")
    )
    story = gateway.story("2001:DB8::1")
    assert story.state == "refused"
    assert "421 4.7.0 too many (rate)" in render(story)


async def test_a_session_without_mail_is_told_one_with_mail_only_beside_it(gateway, ids, judged):
    await gateway.tell(
        judged(trace_id=ids[1], session_id=SESSION), closed(), closed(trace_id=ids[9], messages=0, end="errors")
    )
    assert [s.trace_id for s in gateway.stories("192.0.2.1")] == [ids[1], ids[9]]


async def test_what_is_still_in_custody_is_told_with_its_next_attempt(gateway, ids, judged, spooled):
    await gateway.custody.store(spooled(1, [("b@example.com", "queued"), ("c@example.net", "held")], due=NOW + 300))
    await gateway.tell(judged(trace_id=ids[1]))
    story = gateway.story(ids[1])
    assert story.states() == {"b@example.com": "queued", "c@example.net": "held"}
    assert "<b@example.com> queued, next attempt 2026-09-21 14:18:20Z" in render(story)


@pytest.mark.parametrize("what", ["b@example.com", "a@example.org", "m1@example.org"])
async def test_a_mail_that_the_journal_lost_is_told_from_custody(gateway, ids, spooled, what):
    await gateway.custody.store(spooled(1, [("b@example.com", "queued")]))
    assert [s.state for s in gateway.stories(what, since=0)] == ["queued"]
    assert "from <a@example.org>" in render(gateway.story(ids[1]))


async def test_a_finished_mail_is_told_from_the_ledger(gateway, ids, spooled):
    await gateway.custody.store(spooled(1, [("b@example.com", "queued")]))
    await gateway.custody.drop(QueueQuery(), dropped_rows(gateway.clock))
    story = gateway.story(ids[1])
    assert story.state == "dropped"
    assert story.custody is None
    assert story.records[0].recipient == "b@example.com"


async def test_a_notice_about_a_mail_belongs_to_its_story(gateway, ids, judged, attempted):
    await gateway.tell(
        judged(trace_id=ids[1]),
        attempted(trace_id=ids[1], status="bounced", reply="550 5.1.1 no"),
        NoticeQueued(at=NOW + 3, trace_id=ids[2], about=ids[1], notice="failed", recipient="a@example.org"),
    )
    story = gateway.story(ids[1])
    assert story.state == "failed"
    assert f"failed to <a@example.org>, id {ids[2]}" in render(story)


async def test_what_an_operator_did_is_told_with_the_name(gateway, ids, judged):
    change = QueueChanged(
        at=NOW + 5, trace_id=ids[1], operation="release", recipients=("b@example.com",), operator="anna"
    )
    await gateway.tell(judged(trace_id=ids[1]), change)
    assert "anna: release b@example.com" in render(gateway.story(ids[1]))


async def test_since_leaves_older_mail_out_but_an_id_is_always_found(gateway, ids, judged):
    await gateway.tell(judged(trace_id=ids[1], at=NOW))
    assert gateway.stories("b@example.com", since=NOW + 1) == []
    assert len(gateway.stories(ids[1], since=NOW + 1)) == 1


async def test_nothing_known_is_no_story(gateway, ids):
    assert gateway.stories("nobody@example.com") == []
    assert gateway.stories(ids[5]) == []
    assert trace(gateway.data / "nowhere", "a@b", 0, gateway.clock).stories == []


async def test_no_control_character_reaches_the_terminal(gateway, ids, judged):
    await gateway.tell(judged(trace_id=ids[1], subject="\x1b]0;owned\x07", helo="\r\nfake", message_id="\u202e<x@y>"))
    assert all(line.isprintable() for line in render(gateway.story(ids[1])).split("\n"))


async def test_a_damaged_file_is_named_and_the_rest_is_told(gateway, ids, judged, spooled):
    await gateway.custody.store(spooled(1, [("b@example.com", "queued")]))
    await gateway.tell(judged(trace_id=ids[1]))
    broken = gateway.data / "journal" / "2026-09-20.worker-7.sqlite"
    broken.write_bytes(b"not a database" * 1000)
    traced = trace(gateway.data, "b@example.com", NOW - 2 * 86_400, gateway.clock)
    assert len(traced.stories) == 1
    assert list(traced.unreadable) == [broken]
    assert len(journal_files(gateway.data / "journal")) == 2


async def test_json_has_everything_and_is_json(gateway, ids, judged, attempted, spooled):
    await gateway.custody.store(spooled(1, [("c@example.net", "held")]))
    await gateway.tell(judged(trace_id=ids[1], session_id=SESSION), attempted(trace_id=ids[1]), closed())
    found = json.loads(json.dumps(gateway.story(ids[1]).as_json()))
    assert found["id"] == ids[1]
    assert [event["kind"] for event in found["events"]] == ["message_judged", "delivery_attempted"]
    assert found["recipients"] == {"b@example.com": "delivered", "c@example.net": "held"}
    assert found["session"]["kind"] == "session_closed"
    assert found["custody"]["recipients"][0]["state"] == "held"
