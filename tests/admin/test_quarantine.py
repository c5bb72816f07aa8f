"""What was kept back for a reason goes out only after somebody has looked again, and with a name on it."""

import asyncio
from dataclasses import replace

import pytest

from gateway.admin import release
from gateway.admin.dropped import dropped_rows
from gateway.admin.protocol import RefusedError, UnknownCommandError
from gateway.admin.quarantine import QuarantineDesk, WayOut, merge_answers
from gateway.admin.queue import QueueDesk
from gateway.antivirus.fakes import VERSION, ScriptedAntivirus, ScriptedScanners
from gateway.antivirus.result import Cause
from gateway.clock import FakeClock
from gateway.journal.events import QuarantineReleased, QueueChanged
from gateway.journal.sinks import Recorded
from gateway.ledger import MIGRATIONS, Ledger
from gateway.mail.content import Content
from gateway.mail.rendition import AS_RECEIVED, Edit, Rendition
from gateway.mail.trace_fields import text_field
from gateway.spool.custody import Custody
from gateway.spool.message import RecipientState, Settlement
from gateway.spool.opening import SilentWitness
from gateway.spool.shard import ShardSettings

VIRUS = b"THE-VIRUS"


def saying(status: str, trace_id: str = "01") -> Rendition:
    """Return a rendition with the fields that the pipeline writes."""
    id_line = f"X-Tidegate-Id: {trace_id}\r\n".encode()
    more = text_field("X-Virus-Status", status) + text_field("X-Virus-Scanned", "old engine " * 12)
    return Rendition.of([Edit(0, 0, b"Received: by gate\r\n" + id_line + more + b"X-Spam-Flag: YES\r\n")])


class Room:
    def __init__(self, data):
        self.clock = FakeClock()
        self.events = Recorded()
        self.woken = 0
        # What the ledger would say.
        self.delivered = set()
        self.scanners = ScriptedScanners(signatures={VIRUS.decode(): "Test.Virus"})
        self.antivirus = ScriptedAntivirus(self.scanners, self.clock)
        settings = ShardSettings(data=data, clock=self.clock, companions=MIGRATIONS)
        self.custody = Custody.open(settings, worker=0, workers=1, witness=SilentWitness())
        self.queue = QueueDesk(
            self.custody, clock=self.clock, events=self.events, records=dropped_rows(self.clock), wake=self.wake
        )
        self.desk = self.make(
            WayOut(
                antivirus=self.antivirus,
                copy_to=self.copy_to,
                hostname="mx.gate.test",
                wake=self.wake,
                delivered_to=lambda _: self.delivered,
            )
        )

    def make(self, way_out):
        return QuarantineDesk(self.custody, self.queue, clock=self.clock, events=self.events, way_out=way_out)

    def wake(self):
        self.woken += 1

    def copy_to(self, copy, path):
        return replace(copy, recipient=replace(copy.recipient, path=path), route="smtp://other", customer="other")

    async def keep(self, message, content=b"Subject: hello\r\n\r\nbody\r\n", renditions=(AS_RECEIVED,), reason=""):
        copies = tuple(replace(copy, reason=reason, held_since=1.0) for copy in message.recipients)
        held = Content(content)
        await self.custody.store(
            replace(message, content=held, octets=held.size, renditions=renditions, recipients=copies)
        )

    async def ask(self, command, desk=None, **arguments):
        return await (desk or self.desk).handle(f"quarantine.{command}", arguments | {"operator": "anna"})

    async def states(self):
        result = await self.queue.handle("queue.list", {})
        return [(c["recipient"], c["state"]) for m in result["messages"] for c in m["recipients"]]

    async def leaves(self, trace_id):
        """Return what leaves for each queued copy."""
        message = await self.custody.load(trace_id)
        queued = [copy for copy in message.recipients if copy.state.value == "queued"]
        return {
            c.recipient.path.wire: b"".join(message.renditions[c.rendition].chunks(message.content)) for c in queued
        }

    def released(self):
        return [event for event in self.events.events if isinstance(event, QuarantineReleased)]


@pytest.fixture
async def room(tmp_path):
    room = Room(tmp_path)
    yield room
    room.antivirus.close()
    room.custody.close_now()


@pytest.fixture
def one(spooled, trace_ids):
    return trace_ids[1], spooled(1, [("b@example.com", "quarantined"), ("c@example.com", "queued")])


async def test_what_scans_clean_goes_out_and_says_by_what_it_was_scanned(room, one):
    trace_id, message = one
    await room.keep(message, renditions=(saying("Unscanned (not scanned: timeout)", trace_id),))
    answer = await room.ask("release", ids=[trace_id])
    assert answer["released"] == [
        {"id": trace_id, "recipients": ["b@example.com"], "outcome": "clean", "objection": "", "remedy": ""}
    ]
    assert await room.states() == [("b@example.com", "queued"), ("c@example.com", "queued")]
    leaves = await room.leaves(trace_id)
    assert b"X-Virus-Status: Clean\r\nX-Virus-Scanned: " + VERSION.encode() in leaves["b@example.com"]
    assert b"old engine" not in leaves["b@example.com"]
    assert leaves["b@example.com"].endswith(b"X-Spam-Flag: YES\r\nSubject: hello\r\n\r\nbody\r\n")
    # The copy that was never kept leaves as it was to.
    assert b"X-Virus-Status: Unscanned" in leaves["c@example.com"]
    assert room.woken == 1


async def test_a_virus_known_only_now_keeps_it_back_until_it_is_forced_and_then_it_is_marked_and_audited(room, one):
    trace_id, message = one
    await room.keep(message, b"Subject: x\r\n\r\n" + VIRUS, (saying("Clean"),), reason="score 9: spf.fail=9")
    answer = await room.ask("release", ids=[trace_id])
    assert answer["released"][0]["recipients"] == []
    assert answer["released"][0]["objection"] == "infected: Test.Virus"
    assert ("b@example.com", "quarantined") in await room.states()
    assert room.released() == []
    answer = await room.ask("release", ids=[trace_id], force=True)
    assert answer["released"][0]["recipients"] == ["b@example.com"]
    assert b"X-Virus-Status: Infected (Test.Virus)\r\n" in (await room.leaves(trace_id))["b@example.com"]
    [event] = room.released()
    assert (event.operator, event.objection, event.outcome) == ("anna", "infected: Test.Virus", "infected")


async def test_what_was_kept_for_a_virus_wants_force_though_it_scans_clean_now(room, one):
    trace_id, message = one
    await room.keep(message, renditions=(saying("Infected (Old.Name)"),), reason="antivirus infected: Old.Name")
    answer = await room.ask("release", ids=[trace_id])
    assert answer["released"][0]["objection"] == "it was kept for a virus"
    await room.ask("release", ids=[trace_id], force=True)
    assert b"X-Virus-Status: Clean\r\n" in (await room.leaves(trace_id))["b@example.com"]


@pytest.mark.parametrize("cause", [Cause.RESET, Cause.TIMEOUT])
async def test_unknown_is_never_clean_on_the_way_out_either(room, one, cause):
    trace_id, message = one
    room.scanners.cause = cause
    await room.keep(message, renditions=(saying("Clean"),))
    answer = await room.ask("release", ids=[trace_id])
    assert answer["released"][0]["objection"].startswith("not known to be clean")
    await room.ask("release", ids=[trace_id], force=True)
    assert b"X-Virus-Status: Unscanned (" in (await room.leaves(trace_id))["b@example.com"]


async def test_a_scan_that_takes_too_long_is_no_answer(room, one, monkeypatch):
    trace_id, message = one
    monkeypatch.setattr(release, "SCAN_SECONDS", 0.05)
    never = asyncio.Event()
    monkeypatch.setattr(ScriptedScanners, "scan", lambda _, __: never.wait())
    await room.keep(message)
    answer = await room.ask("release", ids=[trace_id])
    assert "not scanned within" in answer["released"][0]["objection"]


@pytest.mark.parametrize("to", ["", "analyst@other.example"])
async def test_what_is_deleted_during_the_scan_is_not_said_to_be_released(room, one, monkeypatch, to):
    trace_id, message = one
    await room.keep(message)
    scan = ScriptedScanners.scan

    async def and_delete(scanners, pieces):
        await room.ask("delete", ids=[trace_id])
        return await scan(scanners, pieces)

    monkeypatch.setattr(ScriptedScanners, "scan", and_delete)
    [answer] = (await room.ask("release", ids=[trace_id], to=to))["released"]
    assert (answer["recipients"], answer["objection"]) == ([], "it has just left quarantine")
    assert await room.states() == [("c@example.com", "queued")]
    assert room.released() == []


async def test_to_another_address_goes_a_copy_and_what_is_kept_stays(room, one):
    trace_id, message = one
    await room.keep(message, renditions=(saying("Unscanned (x)"),))
    for _ in range(2):
        answer = await room.ask("release", ids=[trace_id], to="analyst@other.example", again=True)
        assert answer["released"][0]["recipients"] == ["analyst@other.example"]
    assert sorted(await room.states()) == [
        ("analyst@other.example", "queued"),
        ("analyst@other.example", "queued"),
        ("b@example.com", "quarantined"),
        ("c@example.com", "queued"),
    ]
    stored = await room.custody.load(trace_id)
    assert {c.route for c in stored.recipients if c.recipient.path.wire == "analyst@other.example"} == {"smtp://other"}
    assert b"X-Virus-Status: Clean" in (await room.leaves(trace_id))["analyst@other.example"]
    assert [event.kept_for for event in room.released()] == [("b@example.com",)] * 2


async def test_a_second_copy_to_an_address_goes_only_when_it_is_asked_for_again(room, one):
    """The first answer may be lost on its way to whoever asked; asking again is then no wish for two."""
    trace_id, message = one
    await room.keep(message)
    to = "analyst@other.example"
    await room.ask("release", ids=[trace_id], to=to)
    for address in (to, "Analyst@OTHER.example"):
        [answer] = (await room.ask("release", ids=[trace_id], to=address))["released"]
        assert (answer["recipients"], answer["remedy"]) == ([], "again")
        assert "before" in answer["objection"]
    # Delivered, it is known to the ledger only.
    sent = [c for c in (await room.custody.load(trace_id)).recipients if c.recipient.path.wire == to]
    ends = [Settlement(trace_id=trace_id, number=copy.number, state=RecipientState.DELIVERED) for copy in sent]
    await room.custody.settle(ends)
    room.delivered = {to}
    assert to not in dict(await room.states())
    [answer] = (await room.ask("release", ids=[trace_id], to=to))["released"]
    assert (answer["recipients"], answer["remedy"]) == ([], "again")
    [answer] = (await room.ask("release", ids=[trace_id], to=to, again=True))["released"]
    assert answer["recipients"] == [to]
    assert len(room.released()) == 2


async def test_each_of_several_has_its_answer_though_one_has_just_left(room, spooled, trace_ids, monkeypatch):
    for number in (1, 2, 3):
        await room.keep(spooled(number, [("b@example.com", "quarantined")]))
    content = room.custody.content

    async def gone(message):
        if message.trace_id == trace_ids[2]:
            raise KeyError(message.trace_id)
        return await content(message)

    monkeypatch.setattr(room.custody, "content", gone)
    answers = (await room.ask("release", ids=[trace_ids[1], trace_ids[2], trace_ids[3]]))["released"]
    assert {one["id"]: (one["recipients"], one["objection"]) for one in answers} == {
        trace_ids[1]: (["b@example.com"], ""),
        trace_ids[2]: ([], "it has just left quarantine"),
        trace_ids[3]: (["b@example.com"], ""),
    }


@pytest.mark.parametrize("to", ["not an address", "a@b@c", "", "@relay:a@b.example", "ü@example.com"])
async def test_an_address_that_is_none_is_refused(room, one, to):
    trace_id, message = one
    await room.keep(message)
    if not to:
        assert (await room.ask("release", ids=[trace_id], to=to))["released"][0]["recipients"] == ["b@example.com"]
        return
    with pytest.raises(RefusedError, match="no address"):
        await room.ask("release", ids=[trace_id], to=to)


async def test_a_notice_or_a_mail_from_inside_has_the_field_put_in_front(room, one):
    trace_id, message = one
    await room.keep(message, b" begins with a space\r\n", (AS_RECEIVED,))
    await room.ask("release", ids=[trace_id])
    assert (await room.leaves(trace_id))["b@example.com"] == (
        b"X-Virus-Status: Clean\r\nX-Virus-Scanned: Fake 1 at mx.gate.test\r\n\r\n begins with a space\r\n"
    )


async def test_while_nobody_serves_nothing_goes_out(room, one):
    trace_id, message = one
    await room.keep(message)
    stopped = room.make(None)
    with pytest.raises(RefusedError, match="start the gateway"):
        await room.ask("release", stopped, ids=[trace_id])
    assert [m["id"] for m in (await room.ask("list", stopped))["messages"]] == [trace_id]
    assert await room.ask("delete", stopped, ids=[trace_id]) == {"changed": 1}


async def test_queue_release_does_not_pass_it_round_the_scan(room, one):
    trace_id, message = one
    await room.keep(message, b"Subject: x\r\n\r\n" + VIRUS)
    with pytest.raises(RefusedError, match="quarantine release"):
        await room.queue.handle("queue.release", {"states": ["quarantined"]})
    for arguments in ({"ids": [trace_id]}, {"everything": True}, {"domain": "example.com"}):
        assert await room.queue.handle("queue.release", arguments) == {"changed": 0}
    assert ("b@example.com", "quarantined") in await room.states()


async def test_a_list_says_why_and_selects_by_it(room, spooled, trace_ids):
    kept = {
        1: ("Infected (X)", "antivirus infected: X", "virus"),
        2: ("Unscanned (x)", "antivirus not scanned: x", "unscanned"),
        3: ("Clean", "score 9.5: spf.fail=4", "policy"),
    }
    for number, (status, reason, _) in kept.items():
        await room.keep(
            spooled(number, [("b@example.com", "quarantined")]), renditions=(saying(status),), reason=reason
        )
    await room.keep(spooled(4, [("b@example.com", "queued")]))
    result = await room.ask("list")
    assert [(m["id"], m["recipients"][0]["why"]) for m in result["messages"]] == [
        (trace_ids[number], why) for number, (_, _, why) in kept.items()
    ]
    for number, (_, _, why) in kept.items():
        assert [m["id"] for m in (await room.ask("list", why=why))["messages"]] == [trace_ids[number]]
    assert (await room.ask("list", limit=1))["more"]
    room.clock.advance(7200)
    assert len((await room.ask("list", older_than_seconds=3600, domain="example.com"))["messages"]) == 3


@pytest.mark.parametrize("meant", ["virus", "policy"])
async def test_copies_of_one_mail_kept_for_another_reason_stay(room, spooled, trace_ids, meant):
    """One recipient's policy keeps the original of a mail with a virus, the other's holds it for its score."""
    message, held = spooled(1, [("a@example.com", "quarantined"), ("b@example.com", "quarantined")]), Content(b"x\r\n")
    reasons = ("antivirus infected: X", "score 9.5: spf.fail=4")
    copies = [
        replace(copy, rendition=number, reason=reason, held_since=1.0)
        for number, (copy, reason) in enumerate(zip(message.recipients, reasons, strict=True))
    ]
    renditions = (saying("Infected (X)"), saying("Clean"))
    await room.custody.store(
        replace(message, content=held, octets=held.size, renditions=renditions, recipients=tuple(copies))
    )
    assert await room.ask("delete", why=meant, ids=[trace_ids[1]]) == {"changed": 1}
    left = {"virus": "b@example.com", "policy": "a@example.com"}[meant]
    [kept] = (await room.ask("list"))["messages"]
    assert [recipient["recipient"] for recipient in kept["recipients"]] == [left]


async def test_show_has_the_parts_by_content(room, one):
    trace_id, message = one
    content = (
        b'Subject: \x1b[2J\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n'
        b'Content-Type: image/png; name="x.png"\r\n\r\nMZ' + bytes(62) + b"\r\n--b--\r\n"
    )
    await room.keep(message, content)
    [shown] = (await room.ask("show", ids=[trace_id]))["messages"]
    assert [(part["type"], part["name"], part["kind"]) for part in shown["parts"]] == [
        ("text/plain", "", "text"),
        ("image/png", "x.png", "dos"),
    ]
    assert "Subject: " in shown["header"]
    with pytest.raises(RefusedError, match="say which"):
        await room.ask("show")


async def test_deleted_copies_are_gone_with_a_ledger_row_and_a_name(room, one, tmp_path):
    trace_id, message = one
    await room.keep(message)
    assert await room.ask("delete", ids=[trace_id]) == {"changed": 1}
    assert await room.states() == [("c@example.com", "queued")]
    assert [(r.recipient, r.status) for r in Ledger(tmp_path).of_message(trace_id)] == [("b@example.com", "dropped")]
    [event] = [e for e in room.events.events if isinstance(e, QueueChanged)]
    assert (event.operation, event.recipients, event.operator) == ("drop", ("b@example.com",), "anna")


async def test_without_a_scanner_what_was_kept_for_a_policy_goes_out_as_it_was_marked(room, one, monkeypatch):
    trace_id, message = one
    monkeypatch.setattr(ScriptedAntivirus, "is_configured", False)
    await room.keep(message, renditions=(saying("Unscanned (no scanner configured)"),))
    answer = await room.ask("release", ids=[trace_id])
    assert (answer["released"][0]["outcome"], answer["released"][0]["objection"]) == ("", "")
    assert b"X-Virus-Status: Unscanned (no scanner" in (await room.leaves(trace_id))["b@example.com"]


async def test_an_unknown_command_is_said_to_be_one(room):
    with pytest.raises(UnknownCommandError):
        await room.ask("eat")


def test_the_workers_answers_become_one():
    released = [{"released": [{"id": "1"}]}, {"released": []}, {"released": [{"id": "2"}]}]
    assert merge_answers("quarantine.release", {}, released) == {"released": [{"id": "1"}, {"id": "2"}]}
    assert merge_answers("quarantine.delete", {}, [{"changed": 1}, {"changed": 2}]) == {"changed": 3}
    lists = [{"messages": [{"id": "2", "recipients": [{}]}], "more": False}, {"messages": [], "more": False}]
    assert merge_answers("quarantine.list", {}, lists)["messages"] == [{"id": "2", "recipients": [{}]}]
