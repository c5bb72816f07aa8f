"""The gate as intake asks it: one test a promise, most of them invariants of architecture.md."""

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from gateway.filters import catalogue
from gateway.pipeline.memory import Memory
from gateway.policy.action import Action, Stage
from gateway.policy.filter import Filter, NoOptions

OURS = 'domains = ["ours.test"]\nnext_hop = "smtp://192.0.2.25"\n'
SECOND = 'domains = ["second.test"]\nnext_hop = "smtp://192.0.2.26"\n'


def ask(name: str, examine: Any, **declared: Any) -> type[Filter[Any]]:
    """Return a filter that runs ``examine(self, tx)``; it may be a coroutine function."""

    class Asked(Filter[NoOptions]):
        stage = declared.get("stage", Stage.DATA)
        io = declared.get("io", False)
        per_recipient = declared.get("per_recipient", False)
        results: ClassVar[Mapping[str, str]] = {"bad": "it is bad", "good": "it is good"}
        on: ClassVar[Mapping[str, float | Action]] = declared.get("on", {})

        async def examine(self, tx, _):
            answer = examine(self, tx)
            return await answer if asyncio.iscoroutine(answer) else answer

    Asked.name = name
    return Asked


def table(name: str, **on: object) -> str:
    words = ", ".join(f"{key} = {value!r}" for key, value in on.items()).replace("'", '"')
    return f"[filters.{name}]\non = {{ {words} }}\n"


def rendered(message: Any, number: int = 0) -> bytes:
    rendition = message.renditions[message.recipients[number].rendition]
    return b"".join(rendition.chunks(message.content))


# What is accepted -----------------------------------------------------------------------------------------------------


async def test_ordinary_mail_is_taken_and_says_so(bench, tools):
    b = bench()
    tx = tools.transaction()
    verdict = await b.gate.judge_content(tx)
    assert verdict.reply is None
    assert [(d.action, d.score, d.reason) for d in verdict.dispositions] == [(Action.ACCEPT, 0.0, "")]
    ready = {name: kind for name, kind in catalogue().items() if kind.enabled and not kind(kind.Options()).is_idle}
    # Those that wait are asked at their own stage, once; the antivirus where a scanner is configured, contents are
    # looked up where a list has something that stands in them.
    del ready["antivirus"], ready["blocklist-content"]
    asked = {
        name
        for name, kind in ready.items()
        if not kind.per_recipient and (not kind.io or (kind.stage is Stage.DATA and kind(kind.Options()).concerns(tx)))
    }
    assert {name for name, _ in verdict.filter_seconds} == asked
    message = b.gate.entry(tx, verdict, b.clock.stamp())
    # RFC 8601 §2.1: what was found about the sender stands before our own Received.
    results, received, rest = rendered(message).partition(b"Received: from ")
    assert results.startswith(b"Authentication-Results: mx.ours.test;\r\n\tspf=")
    assert rest.startswith(b"mail.sender.test (unknown [198.51.100.7])\r\n\t")
    assert received
    assert b"X-Tidegate-Id: 01J8Z3Q4R5S6T7V8W9X0Y1Z2A3\r\n" in rendered(message)
    assert b"X-Virus-Status: Unscanned (no scanner configured)\r\n" in rendered(message)
    assert b"X-Spam" not in rendered(message)
    assert b"X-Tidegate-Reason" not in rendered(message)
    (recipient,) = message.recipients
    assert (recipient.route, recipient.customer, recipient.state) == ("smtp://192.0.2.25:25", "ours", "queued")
    assert (message.message_id, message.role, message.client) == ("<1@sender.test>", "mx", "198.51.100.7")
    assert message.hostile is False
    assert recipient.due == b.clock.stamp().utc
    assert b.events.events == []


@pytest.mark.parametrize(
    "content",
    [
        b"\r\nbody only\r\n",
        b"",
        b" begins with a space\r\n",
        b"no header\r\n",
        b"From: a@b\r\nX-Odd: \xff\xfe\r\n\r\n\x80\x81" + b"x" * 2000 + b"\r\n..\r\n",
        b"From: a@b\r\n\r\nno end of line",
    ],
)
async def test_invariant_5_content_leaves_identical_below_our_own_fields(bench, tools, content):
    b = bench()
    tx = tools.transaction(content)
    message = b.gate.entry(tx, await b.gate.judge_content(tx), b.clock.stamp())
    assert rendered(message).endswith(content)
    ours = rendered(message).removesuffix(content)
    names = (b"Authentication-Results:", b"Received-SPF:", b"Received:", b"X-", b"\t")
    assert all(line.startswith(names) or not line for line in ours.split(b"\r\n"))
    assert message.content.octets is content


async def test_invariant_6_forged_copies_are_gone_before_ours_are_written(bench, tools):
    b = bench()
    forged = b"X-Tidegate-Id: forged\r\nAuthentication-Results: mx.ours.test; spf=pass\r\nX-Virus-Status: Clean\r\n"
    tx = tools.transaction(forged + tools.MAIL)
    out = rendered(b.gate.entry(tx, await b.gate.judge_content(tx), b.clock.stamp()))
    assert out.endswith(tools.MAIL)
    assert (out.count(b"X-Tidegate-Id:"), out.count(b"X-Virus-Status:")) == (1, 1)
    assert b"forged" not in out
    assert out.count(b"Authentication-Results") == 1
    assert b"spf=pass" not in out


async def test_a_refused_transaction_has_no_entry(bench, tools):
    b = bench({"ours": OURS + table("header-sanity", **{"no-header": "reject"})})
    tx = tools.transaction(b"\r\nbody\r\n")
    verdict = await b.gate.judge_content(tx)
    assert str(verdict.reply) == ("550 5.7.1 rejected by policy (header-sanity there is no header section at all)")
    with pytest.raises(ValueError, match="refused"):
        b.gate.entry(tx, verdict, b.clock.stamp())


async def test_every_action_is_carried_out(bench, tools):
    both = {"a@ours.test", "b@ours.test"}
    for action, state in {"tag": "queued", "quarantine": "quarantined", "discard": "discarded"}.items():
        b = bench({"ours": OURS + table("header-sanity", **{"missing-date": action})})
        tx = tools.transaction(b"From: a@b\r\n\r\nx\r\n", *both)
        verdict = await b.gate.judge_content(tx)
        assert verdict.reply is None
        message = b.gate.entry(tx, verdict, b.clock.stamp())
        assert {r.state.value for r in message.recipients} == {state}
        assert message.hostile is (action != "tag")
        assert f"X-Tidegate-Reason: {action}; header-sanity no Date field".encode() in rendered(message).replace(
            b"\r\n\t", b" "
        )
        assert b"X-Spam-Flag: YES\r\n" in rendered(message)
        assert [bool(r.held_since) for r in message.recipients] == [action == "quarantine"] * 2
    for action, reply in {"reject": "550 5.7.1", "defer": "451 4.7.1"}.items():
        b = bench({"ours": OURS + table("header-sanity", **{"missing-date": action})})
        verdict = await b.gate.judge_content(tools.transaction(b"From: a@b\r\n\r\nx\r\n", *both))
        assert str(verdict.reply).startswith(reply)
        assert str(verdict.reply).endswith("(header-sanity no Date field)")


async def test_scores_tag_and_show_themselves(bench, tools):
    b = bench({"ours": OURS + '[scores]\ntag = 2.0\nsubject_tag = "[SPAM]"\n'})
    tx = tools.transaction(b"From: a@b\r\nFrom: c@d\r\nSubject: x\r\n\r\n", connection=tools.connection(helo="1.2.3.4"))
    verdict = await b.gate.judge_content(tx)
    assert verdict.dispositions[0].score == 6.0
    out = rendered(b.gate.entry(tx, verdict, b.clock.stamp()))
    assert b"X-Spam-Score: 6.0\r\n" in out
    assert b"X-Spam-Level: ******\r\n" in out
    assert b"header-sanity.duplicate-from=4, helo.bare-ip=2" in out.replace(b"\r\n\t", b" ")
    assert b"\r\nSubject: [SPAM] x\r\n" in out


async def test_a_score_below_the_threshold_is_shown_without_a_flag(bench, tools):
    b = bench()
    tx = tools.transaction(connection=tools.connection(helo="1.2.3.4"))
    out = rendered(b.gate.entry(tx, await b.gate.judge_content(tx), b.clock.stamp()))
    assert b"X-Spam-Status: No, score=2.0 required=5.0 tests=helo.bare-ip=2\r\n" in out
    assert b"X-Spam-Flag" not in out


async def test_a_score_that_rejects_says_which(bench, tools):
    b = bench({"ours": OURS + "[scores]\nreject = 3.0\n"})
    tx = tools.transaction(b"From: a@b\r\nFrom: c@d\r\n\r\n")
    assert str((await b.gate.judge_content(tx)).reply) == "550 5.7.1 rejected by policy (score 4 of 3)"


# Several recipients ---------------------------------------------------------------------------------------------------


async def test_recipients_of_different_policies_get_what_their_own_says(bench, tools):
    b = bench(
        {
            "ours": OURS
            + table("header-sanity", **{"missing-date": "reject"})
            + '[mailbox."abuse@ours.test".filters.header-sanity]\non = { missing-date = "ignore" }\n',
            "second": SECOND + '[scores]\nsubject_tag = "[X]"\n' + table("header-sanity", **{"missing-date": "tag"}),
        }
    )
    tx = tools.transaction(b"From: a@b\r\n\r\n", "b@ours.test", "abuse@ours.test", "c@second.test", "d@second.test")
    verdict = await b.gate.judge_content(tx)
    assert verdict.reply is None
    message = b.gate.entry(tx, verdict, b.clock.stamp())
    assert [(r.action, r.state.value, r.customer) for r in message.recipients] == [
        ("quarantine", "quarantined", "ours"),
        ("accept", "queued", "ours"),
        ("tag", "queued", "second"),
        ("tag", "queued", "second"),
    ]
    assert message.recipients[0].reason.endswith("(held instead of reject: other recipients take it)")
    assert message.hostile is True
    # Equal edits are one rendition, so one transfer serves both.
    assert [r.rendition for r in message.recipients] == [0, 1, 2, 2]
    assert b" for <" not in rendered(message)
    assert rendered(message, 2).count(b"Subject: [X]\r\n") == 1
    # One question, asked once, whatever the number of recipients and policies.
    assert [name for name, _ in verdict.filter_seconds].count("header-sanity") == 1
    assert len(verdict.findings) == 1


async def test_a_filter_is_shared_by_policies_with_equal_options_only(bench, tools):
    b = bench(
        {
            "a": 'domains = ["a.test"]\nnext_hop = "mx:"\nmax_message = 100\n',
            "b": 'domains = ["b.test"]\nnext_hop = "mx:"\n[filters.size]\nmaximum = 100\n',
            "c": 'domains = ["c.test"]\nnext_hop = "mx:"\nmax_message = 100\n[filters.size]\nmaximum = 200\n',
        }
    )
    tx = tools.transaction(tools.MAIL, "x@a.test", "x@b.test", "x@c.test")
    assert 100 < len(tools.MAIL) < 200
    verdict = await b.gate.judge_content(tx)
    assert [name for name, _ in verdict.filter_seconds].count("size") == 2
    assert [d.action for d in verdict.dispositions] == [Action.QUARANTINE, Action.QUARANTINE, Action.ACCEPT]
    message = b.gate.entry(tx, verdict, b.clock.stamp())
    assert [r.route for r in message.recipients] == ["mx:a.test", "mx:b.test", "mx:c.test"]


async def test_size_is_refused_at_rcpt_for_the_one_recipient(bench, tools):
    b = bench({"ours": OURS + '[mailbox."small@ours.test"]\nmax_message = "1M"\n'})
    envelope = tools.from_("a@sender.test", declared_octets=2_000_000)
    assert await b.rcpt("big@ours.test", envelope=envelope) == "250 2.1.5 recipient ok"
    refused = await b.rcpt("small@ours.test", envelope=envelope)
    assert refused == "552 5.3.4 message too big (size 2000000 octets, at most 1M)"


async def test_a_loop_is_refused(bench, tools):
    hop = b"Received: from x by y; Tue, 01 Sep 2026 10:00:00 +0000\r\n"
    verdict = await bench().gate.judge_content(tools.transaction(hop * 51 + tools.MAIL))
    assert str(verdict.reply) == ("554 5.4.6 too many hops, a mail loop is likely (hop-count 51 Received fields)")


async def test_the_bare_postmaster_is_somebody(bench, tools):
    for main, address in {
        tools.MAIN: "postmaster@ours.test",
        tools.MAIN + '[contact]\npostmaster = "Ann@ours.test"\n': "Ann@ours.test",
        tools.MAIN + '[contact]\npostmaster = "ann@elsewhere.test"\n': "postmaster@ours.test",
    }.items():
        b = bench(main=main)
        tx = tools.transaction(tools.MAIL, "PostMaster")
        message = b.gate.entry(tx, await b.gate.judge_content(tx), b.clock.stamp())
        assert message.recipients[0].recipient.path.wire == address
        assert message.recipients[0].route == "smtp://192.0.2.25:25"


async def test_the_postmaster_is_judged_by_content_alone(bench, tools):
    """RFC 5321 §4.5.1: whoever is refused for its address or its name must be able to say so to the postmaster."""
    reject = table("helo", **{"bare-ip": "reject"}) + table("header-sanity", **{"missing-date": "reject"})
    b = bench({"ours": OURS + reject})
    bad = tools.connection(helo="1.2.3.4")
    assert (await b.gate.judge_content(tools.transaction(connection=bad))).reply is not None
    to_postmaster = tools.transaction(tools.MAIL, "postmaster@ours.test", connection=bad)
    assert (await b.gate.judge_content(to_postmaster)).reply is None
    no_date = tools.transaction(b"From: a@b\r\n\r\n", "postmaster@ours.test", connection=bad)
    assert (await b.gate.judge_content(no_date)).reply is not None


async def test_relayed_mail_is_counted_for_its_sender_and_goes_by_mx(bench, tools):
    b = bench({"ours": OURS + 'customer = "acme"\n'})
    relay = tools.connection(role=tools.Role.RELAY, trusted=True)
    nobody = b.gate.snapshot.policies.default.customer
    for sender, customer in {"ann@ours.test": "acme", "ann@foreign.test": nobody, "": nobody}.items():
        tx = tools.transaction(
            tools.MAIL, "x@elsewhere.test", "y@ours.test", connection=relay, envelope=tools.from_(sender)
        )
        message = b.gate.entry(tx, await b.gate.judge_content(tx), b.clock.stamp())
        assert [(r.route, r.customer) for r in message.recipients] == [
            ("mx:elsewhere.test", customer),
            ("smtp://192.0.2.25:25", "acme"),
        ]
        assert b"X-Virus-Status" not in rendered(message)


# CONNECT --------------------------------------------------------------------------------------------------------------


async def test_a_client_is_turned_away_before_the_greeting_only_when_every_policy_agrees(bench, tools):
    reject = table("early-talker", pregreet="reject")
    early = tools.connection(early_talker=True)
    every = bench({"default": reject, "ours": OURS, "second": SECOND})
    assert (
        str(await every.gate.admit(early))
        == "554 5.7.1 no service for you here (early-talker spoke before the greeting)"
    )
    some = bench({"default": "", "ours": OURS + reject, "second": SECOND})
    assert await some.gate.admit(early) is None
    assert await some.gate.admit(tools.connection()) is None
    assert (await some.rcpt("x@ours.test", early_talker=True)).startswith("554 5.5.0 ")
    assert await some.rcpt("x@second.test", early_talker=True) == "250 2.1.5 recipient ok"


# Invariants 2, 7, 8, 9 ------------------------------------------------------------------------------------------------


async def test_invariant_2_an_exception_is_the_filters_temperror_and_an_event(bench, tools):
    def boom(self, tx):
        raise RuntimeError("boom")

    kinds = {"boom": ask("boom", boom), **catalogue()}
    b = bench(filters=kinds)
    verdict = await b.gate.judge_content(tools.transaction())
    assert verdict.reply is None
    assert [(f.filter, f.result, f.reason) for f in verdict.findings] == [("boom", "temperror", "internal error")]
    (event,) = b.events.events
    assert (event.kind, event.where, event.trace_id) == ("internal_error", "filter boom", tools.TRACE_ID)
    assert "RuntimeError: boom" in event.error
    assert "in boom" in event.traceback


async def test_invariant_2_only_policy_says_what_a_result_is_worth(bench, tools):
    bad = ask("bad", lambda self, _: self.found("bad", "very"))
    for reaction, action in {"": Action.ACCEPT, "bad = 6.0": Action.TAG, 'bad = "discard"': Action.DISCARD}.items():
        b = bench({"ours": OURS + f"[filters.bad]\non = {{ {reaction} }}\n"}, filters={"bad": bad})
        verdict = await b.gate.judge_content(tools.transaction())
        assert verdict.dispositions[0].action is action
        assert [f.result for f in verdict.findings] == ["bad"]
    off = bench({"ours": OURS + "[filters.bad]\nenabled = false\n"}, filters={"bad": bad})
    assert (await off.gate.judge_content(tools.transaction())).findings == ()


async def test_an_allow_list_beats_everything(bench, tools):
    kinds = {
        "allow": ask("allow", lambda self, _: self.found("good"), on={"good": Action.ACCEPT}),
        "deny": ask("deny", lambda self, _: self.found("bad"), on={"bad": Action.DISCARD}),
    }
    (disposition,) = (await bench(filters=kinds).gate.judge_content(tools.transaction())).dispositions
    assert (disposition.action, disposition.reason) == (Action.ACCEPT, "allow good")


BUDGET = 'smtp = { data_reply_budget = "200ms" }\n'


async def test_invariant_7_a_late_filter_is_temperror_and_the_client_gets_its_answer(bench, tools):
    never = asyncio.Event()
    seen: list[str] = []

    async def hangs(self, tx):
        await never.wait()

    async def ignores_cancellation(self, tx):
        while not never.is_set():
            try:
                await never.wait()
            except asyncio.CancelledError:
                seen.append("cancelled")

    async def quick(self, tx):
        return self.found("bad")

    kinds = {
        "hangs": ask("hangs", hangs, io=True),
        "stubborn": ask("stubborn", ignores_cancellation, io=True),
        "quick": ask("quick", quick, io=True),
    }
    b = bench(filters=kinds, main=BUDGET + tools.MAIN)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    verdict = await b.gate.judge_content(tools.transaction())
    assert loop.time() - begun < 5
    assert {(f.filter, f.result) for f in verdict.findings} == {
        ("hangs", "temperror"),
        ("stubborn", "temperror"),
        ("quick", "bad"),
    }
    never.set()
    await asyncio.sleep(0)
    assert seen == ["cancelled"]


async def test_invariant_7_waiting_filters_wait_together(bench, tools):
    """One after the other, ten scanners of 20 seconds would outlast the client."""
    together = asyncio.Barrier(3)

    async def meets(self, tx):
        async with together:
            pass

    kinds = {name: ask(name, meets, io=True) for name in ("one", "two", "three")}
    b = bench(filters=kinds)
    assert (await asyncio.wait_for(b.gate.judge_content(tools.transaction()), 10)).findings == ()


async def test_a_client_that_goes_away_leaves_no_filter_running(bench, tools):
    running = asyncio.Event()
    stopped = asyncio.Event()

    async def waits(self, tx):
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    b = bench(filters={"waits": ask("waits", waits, io=True)})
    task = asyncio.create_task(b.gate.judge_content(tools.transaction()))
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(stopped.wait(), 5)


@pytest.mark.parametrize(
    ("reaction", "reply"),
    [(None, None), ("defer", "451 4.7.1 deferred by policy, try again later (scan no answer)"), ("quarantine", None)],
)
async def test_invariant_8_unknown_is_never_clean(bench, tools, reaction, reply):
    silent = ask("scan", lambda self, _: self.found("temperror", "no answer"))
    text = OURS + (table("scan", temperror=reaction) if reaction else "")
    b = bench({"ours": text}, filters={"scan": silent})
    tx = tools.transaction()
    verdict = await b.gate.judge_content(tx)
    assert [f.result for f in verdict.findings] == ["temperror"]
    assert (str(verdict.reply) if verdict.reply else None) == reply
    if reply is None:
        out = rendered(b.gate.entry(tx, verdict, b.clock.stamp())).replace(b"\r\n\t", b" ")
        word = (reaction or "accept").encode()
        assert b"X-Tidegate-Reason: " + word in out
        assert b"undetermined: scan no answer\r\n" in out


async def test_invariant_9_every_refusal_says_for_the_journal_which_filter_found_what(bench, tools):
    b = bench({"ours": OURS + table("helo", **{"bare-ip": "reject"})})
    envelope = tools.from_("a@sender.test")
    bad = tools.connection(helo="1.2.3.4")
    refusal = await b.gate.judge_recipient(bad, envelope, tools.to("bob@ours.test"), (), tools.TRACE_ID)
    assert str(refusal) == "550 5.7.1 rejected by policy (helo bare IP address 1.2.3.4)"
    assert refusal.cause == "helo bare-ip: bare IP address 1.2.3.4"
    verdict = await b.gate.judge_content(tools.transaction(connection=bad))
    (disposition,) = verdict.dispositions
    assert disposition.decisive.finding.filter == "helo"
    assert verdict.reply.cause == "helo bare-ip: bare IP address 1.2.3.4"
    # Telling it is intake's, which knows how the command ended; two tellers would count everything twice.
    assert b.events.events == []


async def test_invariant_9_discard_is_never_a_default(bench):
    for policy in [bench().gate.snapshot.policies.default]:
        for setting in policy.filters.values():
            assert Action.DISCARD not in setting.on.values()


# Filters that wait at an early stage ----------------------------------------------------------------------------------


async def test_a_waiting_filter_is_asked_once_and_still_counts_at_the_end(bench, tools):
    asked: list[str] = []

    def counted(name, **declared):
        async def examine(self, tx):
            asked.append(f"{name} {tx.recipients[0].key}" if declared.get("per_recipient") else name)
            return self.found("bad")

        return ask(name, examine, io=True, on={"bad": 1.0}, **declared)

    b = bench(
        filters={
            "door": counted("door", stage=Stage.CONNECT),
            "spf": counted("spf", stage=Stage.ENVELOPE),
            "grey": counted("grey", stage=Stage.ENVELOPE, per_recipient=True),
            "scan": counted("scan", stage=Stage.DATA),
        }
    )
    await b.gate.admit(tools.connection())
    await b.rcpt("a@ours.test")
    await b.rcpt("b@ours.test")
    verdict = await b.gate.judge_content(tools.transaction(tools.MAIL, "a@ours.test", "b@ours.test"))
    assert sorted(asked) == ["door", "grey a@ours.test", "grey b@ours.test", "scan", "spf"]
    assert [d.score for d in verdict.dispositions] == [4.0, 4.0]


async def test_a_client_that_xclient_names_is_asked_about_afresh(bench, tools):
    """The proxy is on no list; the client behind it may be."""
    asked: list[str] = []

    async def examine(_, tx):
        asked.append(str(tx.connection.client_address))

    b = bench(filters={"door": ask("door", examine, io=True, stage=Stage.CONNECT)})
    await b.gate.admit(tools.connection(client="192.0.2.200"))
    await b.rcpt("a@ours.test", client="198.51.100.66")
    await b.rcpt("b@ours.test", client="198.51.100.66")
    assert sorted(asked) == ["192.0.2.200", "198.51.100.66"]


async def test_what_the_memory_has_forgotten_is_asked_again(bench, tools):
    """A reload between RCPT and the final dot must not lose what was found."""
    spf = ask("spf", lambda self, _: self.found("bad"), io=True, stage=Stage.ENVELOPE, on={"bad": Action.REJECT})
    verdict = await bench(filters={"spf": spf}).gate.judge_content(tools.transaction())
    assert verdict.reply is not None


def test_the_memory_is_bounded():
    memory = Memory(most_entries=3)
    for number in range(10):
        memory.keep((str(number), ""), {})
        memory.keep((str(number), ""), {number: None})
    assert [memory.recall((str(number), "")) for number in (6, 7, 9)] == [{}, {7: None}, {9: None}]


async def test_no_scanner_is_asked_about_mail_that_every_policy_rejects(bench, tools):
    asked: list[str] = []

    async def scan(self, tx):
        asked.append("scan")

    kinds = {**catalogue(), "scan": ask("scan", scan, io=True)}
    loop = b"Received: from x by y\r\n" * 51 + tools.MAIL
    assert (await bench(filters=kinds).gate.judge_content(tools.transaction(loop))).reply is not None
    assert asked == []
    # A filter that may yet allow it is asked.
    kinds["scan"] = ask("scan", scan, io=True, on={"good": Action.ACCEPT})
    await bench(filters=kinds).gate.judge_content(tools.transaction(loop))
    assert asked == ["scan"]


async def test_a_filter_that_has_nothing_to_ask_is_asked_as_soon_as_it_has(bench, tools):
    """A list is loaded while the gateway runs: the next mail is looked up, each recipient's too."""
    lists: list[str] = []

    class Listed(Filter[NoOptions]):
        stage = Stage.DATA
        io = True
        results: ClassVar = {"listed": "it is on a list"}
        on: ClassVar = {"listed": Action.REJECT}

        def rests(self, _):
            return not lists

        async def examine(self, tx, _):
            return self.found("listed") if tx.recipients[0].key in lists else None

    class Recipient(Listed):
        stage = Stage.ENVELOPE
        io = False
        per_recipient = True

    Listed.name, Recipient.name = "listed", "recipient"
    b = bench(filters={"listed": Listed, "recipient": Recipient})
    assert (await b.rcpt("b@ours.test")).startswith("250")
    verdict = await b.gate.judge_content(tools.transaction())
    assert (verdict.reply, verdict.filter_seconds) == (None, ())
    lists.append("b@ours.test")
    assert (await b.rcpt("b@ours.test")).startswith("550")
    verdict = await b.gate.judge_content(tools.transaction())
    assert {j.finding.filter for d in verdict.dispositions for j in d.judgements} == {"listed", "recipient"}
