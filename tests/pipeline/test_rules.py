"""Custom rules in the gate: who is judged by which, when, and what a refusal says.

If these fail an administrator's rule refuses other people's mail, an allow list lets a forger in, or nobody can see
what a rule did.
"""

from dataclasses import replace
from typing import ClassVar

import pytest

from gateway.filters import catalogue
from gateway.journal.events import InternalError
from gateway.mail.connection import Role
from gateway.pipeline import ruling
from gateway.policy.action import Action, Ground, Stage
from gateway.policy.filter import Filter

NEXT_HOP = 'next_hop = "smtp://192.0.2.25"\n'
OURS = 'domains = ["ours.test"]\n' + NEXT_HOP


def rule(name, when, *more):
    return f'[[rule]]\nname = "{name}"\nwhen = {{ {when} }}\n' + "".join(f"{line}\n" for line in more)


def mail(subject="hello", author="a@sender.test", body="Hello."):
    return (
        f"Date: Tue, 01 Sep 2026 10:00:00 +0000\r\nFrom: {author}\r\nTo: b@ours.test\r\n"
        f"Message-ID: <1@sender.test>\r\nSubject: {subject}\r\n\r\n{body}\r\n"
    ).encode()


FAPIAO = rule("fapiao", 'subject = { contains = "发票" }', "score = 6", 'ground = "advertising"')
SPAM = mail("=?gb2312?B?tPq/qreixrE=?=")  # 代开发票


def rules(disposition):
    return [j.finding.result for j in disposition.judgements if j.finding.filter == "rule"]


# Whose rules --------------------------------------------------------------------------------------------------------


async def test_three_recipients_under_three_policies_get_three_outcomes(bench, tools):
    gate = bench(
        {
            "default": FAPIAO,
            "ours": OURS + rule("own", 'subject = { contains = "发票" }', 'action = "reject"'),
            "other": 'domains = ["other.test"]\n' + NEXT_HOP + "[scores]\ntag = 5\n",
            "third": 'domains = ["third.test"]\nrules_off = ["fapiao"]\n' + NEXT_HOP,
        }
    ).gate
    tx = tools.transaction(SPAM, "a@ours.test", "b@other.test", "c@third.test")
    verdict = await gate.judge_content(tx)
    first, second, third = verdict.dispositions
    # Held rather than refused: the other two take the mail (invariant 4).
    assert (first.action, first.instead_of, rules(first)) == (Action.QUARANTINE, Action.REJECT, ["fapiao", "own"])
    assert (second.action, second.score, rules(second)) == (Action.TAG, 6.0, ["fapiao"])
    assert (third.action, third.score, rules(third)) == (Action.ACCEPT, 0.0, [])
    assert verdict.reply is None
    assert (first.grounds, second.grounds, third.grounds) == ((Ground.ADVERTISING,), (Ground.ADVERTISING,), ())
    assert verdict.grounds == (Ground.ADVERTISING,)


async def test_a_mailbox_has_rules_of_its_own_and_its_domains(bench, tools):
    own = '[[mailbox."boss@ours.test".rule]]\nname = "boss"\nwhen = { subject = "hello" }\nscore = 1\n'
    gate = bench({"ours": OURS + rule("domain", 'subject = "hello"', "score = 2") + own}).gate
    verdict = await gate.judge_content(tools.transaction(mail(), "anna@ours.test", "boss@ours.test"))
    assert [rules(d) for d in verdict.dispositions] == [["domain"], ["domain", "boss"]]


async def test_a_rule_that_names_the_recipient_counts_for_that_one(bench, tools):
    when = 'recipient = "anna@ours.test", subject = "hello"'
    gate = bench({"ours": OURS + rule("anna", when, "score = 7")}).gate
    verdict = await gate.judge_content(tools.transaction(mail(), "anna@ours.test", "bob@ours.test"))
    assert [d.action for d in verdict.dispositions] == [Action.TAG, Action.ACCEPT]


async def test_rules_of_the_default_policy_hold_for_foreign_mail(bench, tools):
    relay = '[[listen]]\naddress = "127.0.0.1:0"\nrole = "relay"\nnetworks = ["198.51.100.0/24"]\n'
    gate = bench({"default": FAPIAO, "ours": OURS}, main=tools.MAIN + relay).gate
    connection = tools.connection(role=Role.RELAY, trusted=True)
    verdict = await gate.judge_content(tools.transaction(SPAM, "x@elsewhere.test", connection=connection))
    assert rules(verdict.dispositions[0]) == ["fapiao"]


# What a rule says -----------------------------------------------------------------------------------------------------


async def test_scores_of_rules_and_filters_add_up(bench, tools):
    gate = bench({"ours": OURS + rule("hello", 'subject = "hello"', "score = 4.5")}).gate
    dateless = mail().replace(b"Date:", b"X-No-Date:")
    (found,) = (await gate.judge_content(tools.transaction(dateless))).dispositions
    assert (found.score, found.action) == (5.5, Action.TAG)


@pytest.mark.parametrize(
    ("keys", "reply"),
    [
        ('action = "reject"', "550 5.7.1 rejected by policy (rule told)"),
        ('action = "defer"', "451 4.7.1 deferred by policy, try again later (rule told)"),
        ('action = "reject"\nreply = "No invoices, please."', "550 5.7.1 No invoices, please."),
        ('action = "defer"\nreply = "Come back."', "451 4.7.1 Come back."),
        ('action = "reject"\nreply = "554 5.6.0 Not this."', "554 5.6.0 Not this."),
    ],
)
async def test_a_refusal_has_the_rules_words_and_codes(bench, tools, keys, reply):
    gate = bench({"ours": OURS + rule("told", 'subject = "hello"', keys, 'ground = "harmful"')}).gate
    verdict = await gate.judge_content(tools.transaction(mail()))
    assert str(verdict.reply) == reply
    assert verdict.reply.filter == "rule"
    assert verdict.reply.grounds == ("harmful",)
    # The journal knows what was found; the client does not hear it.
    assert verdict.reply.cause == 'rule told: subject "hello"'


async def test_a_name_that_the_wire_cannot_carry_is_left_out(bench, tools):
    gate = bench({"ours": OURS + rule("发票", 'subject = "hello"', 'action = "reject"')}).gate
    verdict = await gate.judge_content(tools.transaction(mail()))
    assert str(verdict.reply) == "550 5.7.1 rejected by policy"


async def test_the_first_of_two_refusals_speaks(bench, tools):
    two = rule("first", 'subject = "hello"', 'action = "reject"', 'reply = "first"') + rule(
        "second", 'subject = "hello"', 'action = "reject"', 'reply = "second"'
    )
    verdict = await bench({"ours": OURS + two}).gate.judge_content(tools.transaction(mail()))
    assert str(verdict.reply) == "550 5.7.1 first"


async def test_stop_ends_the_rules_behind_it_in_every_layer(bench, tools):
    ordered = (
        rule("before", 'subject = "hello"', "score = 1")
        + rule("stops", 'subject = "hello"', "score = 1", "stop = true")
        + rule("behind", 'subject = "hello"', "score = 1")
    )
    domain = rule("inner", 'subject = "hello"', 'action = "reject"')
    gate = bench({"default": ordered, "ours": OURS + domain}).gate
    (found,) = (await gate.judge_content(tools.transaction(mail()))).dispositions
    assert (rules(found), found.action) == (["before", "stops"], Action.ACCEPT)


@pytest.mark.parametrize(("date", "fired"), [("2026-09-21", []), ("2026-09-22", ["dated"])])
async def test_an_expired_rule_counts_no_more(bench, tools, date, fired):
    # The clock stands at 2026-09-21 14:13 UTC.
    gate = bench({"ours": OURS + rule("dated", 'subject = "hello"', "score = 1", f"expires = {date}")}).gate
    verdict = await gate.judge_content(tools.transaction(mail()))
    assert rules(verdict.dispositions[0]) == fired


# Allow lists ----------------------------------------------------------------------------------------------------------


class Dmarc(Filter):
    """Says pass for authors of good.test whose mail comes from 198.51.100.7."""

    stage = Stage.DATA
    io = True
    results: ClassVar = {"pass": "it passes", "fail": "it does not"}
    on: ClassVar = {"fail": 20.0}

    async def examine(self, tx, ctx):  # noqa: ARG002 - needs no context
        vouched = str(tx.connection.client_address) == "198.51.100.7"
        return self.found("pass" if vouched else "fail")


Dmarc.name = "dmarc"
ALLOW = rule("friend", 'from_domain = "good.test"', 'action = "accept"', "stop = true")
REJECT = rule("hello", 'subject = "hello"', 'action = "reject"')


@pytest.mark.parametrize(
    ("client", "action"), [("198.51.100.7", Action.ACCEPT), ("203.0.113.9", Action.REJECT)], ids=["vouched", "forged"]
)
async def test_an_allow_rule_believes_a_from_that_dmarc_vouches_for_and_no_other(bench, tools, client, action):
    gate = bench({"ours": OURS + ALLOW + REJECT}, filters={"dmarc": Dmarc}).gate
    tx = tools.transaction(mail(author="boss@good.test"), connection=tools.connection(client=client))
    (found,) = (await gate.judge_content(tx)).dispositions
    assert found.action is action


async def test_an_allow_rule_behind_a_refusal_still_lets_through(bench, tools):
    gate = bench({"ours": OURS + REJECT + ALLOW}, filters={"dmarc": Dmarc}).gate
    (found,) = (await gate.judge_content(tools.transaction(mail(author="boss@good.test")))).dispositions
    assert (found.action, found.decisive.finding.result) == (Action.ACCEPT, "friend")


# When -----------------------------------------------------------------------------------------------------------------

CLIENT = rule("client", 'client_ip = "198.51.100.0/24"', 'action = "reject"', 'ground = "hidden-sender"')


async def test_what_is_known_at_rcpt_is_refused_there_for_its_policy_only(bench):
    b = bench({"ours": OURS + CLIENT, "other": 'domains = ["other.test"]\n' + NEXT_HOP})
    assert await b.rcpt("a@ours.test") == "550 5.7.1 rejected by policy (rule client)"
    assert await b.rcpt("a@other.test") == "250 2.1.5 recipient ok"
    assert await b.rcpt("a@ours.test", client="203.0.113.9") == "250 2.1.5 recipient ok"


async def test_a_recipient_of_its_own_is_refused_at_rcpt(bench):
    b = bench({"ours": OURS + rule("closed", 'recipient = "old@ours.test"', 'action = "reject"', 'reply = "closed"')})
    assert await b.rcpt("old@ours.test") == "550 5.7.1 closed"
    assert await b.rcpt("new@ours.test") == "250 2.1.5 recipient ok"


async def test_the_refusal_at_rcpt_carries_its_ground(bench, tools):
    b = bench({"ours": OURS + CLIENT})
    reply = await b.gate.judge_recipient(
        tools.connection(), tools.from_("a@sender.test"), tools.to("a@ours.test"), (), tools.TRACE_ID
    )
    assert (reply.filter, reply.grounds) == ("rule", ("hidden-sender",))
    assert reply.cause == 'rule client: client_ip "198.51.100.7"'


@pytest.mark.parametrize(
    "other",
    [
        rule("stops", 'subject = "nothing"', "score = 1", "stop = true") + CLIENT,
        CLIENT + ALLOW.replace("stop = true", "stop = true\nunauthenticated = true"),
    ],
    ids=["a-stop-before-it", "an-allow-rule-behind-it"],
)
async def test_a_rule_that_the_content_may_overrule_waits_for_it(bench, tools, other):
    b = bench({"ours": OURS + other})
    assert await b.rcpt("a@ours.test") == "250 2.1.5 recipient ok"
    assert (await b.gate.judge_content(tools.transaction(mail()))).reply.code == 550


async def test_a_refusal_that_stops_does_not_wait_for_an_allow_rule_behind_it(bench):
    stop = CLIENT + "stop = true\n" + ALLOW.replace("stop = true", "stop = true\nunauthenticated = true")
    assert (await bench({"ours": OURS + stop}).rcpt("a@ours.test")).startswith("550 5.7.1")


async def test_the_postmaster_hears_everybody_but_not_every_content(bench, tools):
    gate_of = bench({"ours": OURS + CLIENT + REJECT})
    assert await gate_of.rcpt("postmaster@ours.test") == "250 2.1.5 recipient ok"
    other = tools.transaction(mail("other"), "postmaster@ours.test")
    assert (await gate_of.gate.judge_content(other)).dispositions[0].action is Action.ACCEPT
    hello = tools.transaction(mail(), "postmaster@ours.test")
    assert (await gate_of.gate.judge_content(hello)).reply.code == 550


async def test_a_rule_about_a_waiting_filters_result_is_asked_behind_it(bench, tools):
    b = bench({"ours": OURS + rule("failed", 'dmarc = "fail"', 'action = "reject"')}, filters={"dmarc": Dmarc})
    refused = tools.transaction(mail(), connection=tools.connection(client="203.0.113.9"))
    assert rules((await b.gate.judge_content(refused)).dispositions[0]) == ["failed"]
    assert rules((await b.gate.judge_content(tools.transaction(mail()))).dispositions[0]) == []


class Scanner(Filter):
    """Counts how often it is asked."""

    stage = Stage.DATA
    io = True
    results: ClassVar = {"bad": "it is bad"}
    on: ClassVar = {"bad": 1.0}
    asked: ClassVar[list[str]] = []

    async def examine(self, tx, ctx):  # noqa: ARG002 - needs no context
        self.asked.append(tx.trace_id)


Scanner.name = "scanner"


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (REJECT, 0),
        (REJECT + rule("allowed", '"filter.scanner" = "bad"', 'action = "accept"', "stop = true"), 1),
    ],
    ids=["settled", "an-allow-rule-awaits-it"],
)
async def test_a_scanner_is_spared_what_rules_reject_for_good(bench, tools, text, asked):
    Scanner.asked.clear()
    verdict = await bench({"ours": OURS + text}, filters={"scanner": Scanner}).gate.judge_content(
        tools.transaction(mail())
    )
    assert verdict.reply.code == 550
    assert len(Scanner.asked) == asked


# What goes wrong ------------------------------------------------------------------------------------------------------


async def test_a_bug_in_the_rules_is_their_temperror_and_is_seen(bench, tools, monkeypatch):
    async def broken(*_):
        raise KeyError("bug")

    b = bench({"ours": OURS + FAPIAO})
    monkeypatch.setattr(ruling, "judged", broken)
    tx = tools.transaction(SPAM)
    verdict = await b.gate.judge_content(tx)
    (found,) = verdict.dispositions
    assert (found.action, found.score) == (Action.ACCEPT, 0.0)
    entry = b.gate.entry(tx, verdict, b.clock.stamp())
    assert (
        b"X-Tidegate-Reason: accept; undetermined: rule internal error\r\n" in entry.renditions[0].edits[0].replacement
    )
    (event,) = [e for e in b.events.events if isinstance(e, InternalError)]
    assert (event.where, event.error) == ("rules", "KeyError: 'bug'")


async def test_rules_that_are_all_switched_off_are_never_asked(bench, tools, monkeypatch):
    # What ships is switched off: it must cost nothing.
    def unexpected(*_):
        raise AssertionError("asked")

    monkeypatch.setattr(ruling, "MailFacts", unexpected)
    b = bench({"default": FAPIAO + "enabled = false\n", "ours": OURS})
    verdict = await b.gate.judge_content(tools.transaction(SPAM))
    assert verdict.dispositions[0].action is Action.ACCEPT
    assert "rule" not in dict(verdict.filter_seconds)


# Grounds --------------------------------------------------------------------------------------------------------------


async def test_grounds_of_rules_and_filters_stand_together_in_the_contracts_order(bench, tools):
    text = OURS + rule("hello", 'subject = "hello"', 'action = "tag"', 'ground = "no-opt-out"')
    text += rule("weightless", 'subject = "hello"', "score = -1", 'ground = "harmful"')
    b = bench({"ours": text}, filters={"header-sanity": catalogue()["header-sanity"]})
    tx = tools.transaction(mail().replace(b"To:", b"From: other@sender.test\r\nTo:"))
    verdict = await b.gate.judge_content(tx)
    # duplicate-from is a false source; what speaks for the mail is no ground.
    assert verdict.grounds == (Ground.NO_OPT_OUT, Ground.FALSE_SOURCE)
    ours = b.gate.entry(tx, verdict, b.clock.stamp()).renditions[0].edits[-1].replacement
    assert b"grounds: no-opt-out, false-source" in ours.replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ")


class Lists(Filter):
    """Finds a message on two lists, one of which weighs more."""

    stage = Stage.DATA
    results: ClassVar = {"listed": "it is listed"}
    on: ClassVar = {"listed": 2.0}
    grounds: ClassVar = {"listed": Ground.HARMFUL}

    async def examine(self, tx, ctx):  # noqa: ARG002 - the same for every message
        return self.found("listed", "one.test"), replace(self.found("listed", "two.test"), weight=3.0)


Lists.name = "lists"


async def test_a_filter_may_find_several_things_each_with_its_weight(bench, tools):
    b = bench({"ours": OURS}, filters={"lists": Lists})
    verdict = await b.gate.judge_content(tools.transaction(mail()))
    (found,) = verdict.dispositions
    assert (found.score, found.action) == (8.0, Action.TAG)
    assert [f.reason for f in verdict.findings] == ["one.test", "two.test"]
    assert found.grounds == (Ground.HARMFUL,)


async def test_a_client_that_an_allow_rule_lets_in_gets_past_every_filter(bench, tools):
    turned_away = '[filters.early-talker]\non = { pregreet = "reject" }\n'
    partner = rule("partner", 'client_ip = "198.51.100.7"', 'action = "accept"', "stop = true")
    b = bench({"default": turned_away, "ours": OURS + partner})
    for client, allowed in (("198.51.100.7", True), ("203.0.113.9", False)):
        assert await b.gate.admit(tools.connection(client=client, early_talker=True)) is None
        reply = await b.rcpt("a@ours.test", client=client, early_talker=True)
        assert reply.startswith("250" if allowed else "554"), client
    let_in = tools.transaction(mail(), connection=tools.connection(early_talker=True))
    (found,) = (await b.gate.judge_content(let_in)).dispositions
    assert (found.action, found.decisive.finding.result) == (Action.ACCEPT, "partner")


async def test_the_rules_have_one_share_of_the_time_however_often_they_are_asked(bench, tools):
    when = 'recipient = "anna@ours.test", subject = "hello"'
    gate = bench({"ours": OURS + rule("anna", when, "score = 7")}).gate
    verdict = await gate.judge_content(tools.transaction(mail(), "anna@ours.test", "bob@ours.test"))
    assert [name for name, _ in verdict.filter_seconds].count("rule") == 1


async def test_what_speaks_for_a_client_counts_at_rcpt_even_where_an_allow_rule_is_still_to_come(bench):
    heavy = "[filters.early-talker]\non = { pregreet = 15.0 }\n"
    known = rule("known", 'client_ip = "198.51.100.7"', "score = -5")
    allow = ALLOW.replace("stop = true", "stop = true\nunauthenticated = true")
    b = bench({"ours": OURS + heavy + known + allow})
    assert (await b.rcpt("a@ours.test", early_talker=True)).startswith("250")
    assert (await b.rcpt("a@ours.test", early_talker=True, client="203.0.113.9")).startswith("550")


@pytest.mark.parametrize(
    "subject",
    [
        b"=?utf-7?Q?x+2AA-y?=", b"=?utf-16be?B?AHjYAA==?=", b"x\x00\x07\x1b[2J", b"=?gb18030?Q?x=84=31=A4=37=FF?=",
        b"=?raw_unicode_escape?Q?x=5Cud800?=", b"=?utf-8?Q?x=ED=A0=80=0D=0AX-Tidegate-Id:_forged?=", b"x\xff\xfe" * 200,
    ],
)  # fmt: skip
async def test_whatever_a_rule_found_can_be_kept_and_written(bench, tools, subject):
    b = bench({"ours": OURS + rule("x", 'subject = { matches = "(?s).*x.*" }', 'action = "quarantine"')})
    tx = tools.transaction(mail().replace(b"Subject: hello", b"Subject: " + subject))
    verdict = await b.gate.judge_content(tx)
    message = b.gate.entry(tx, verdict, b.clock.stamp())
    (kept,) = message.recipients
    assert kept.action == "quarantine"
    assert kept.reason.encode("utf-8")
    ours = message.renditions[0].edits[-1].replacement
    assert b"X-Tidegate-Reason: quarantine; rule x" in ours
    assert all(line.isascii() and len(line) <= 998 for line in ours.split(b"\r\n"))
    assert ours.count(b"\nX-Tidegate-Id:") == 1
