"""``tidegate explain`` tells what intake would do; a difference sends an administrator after the wrong filter."""

import json

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli.explain import explain as command
from gateway.pipeline.explain import NotAsked, explain

TWO = {
    "ours": 'domains = ["ours.test"]\nnext_hop = "smtp://192.0.2.25"\nrecipients = "callout"\n'
    '[filters.header-sanity]\non = { missing-date = "quarantine", duplicate-from = "reject" }\n',
    "second": 'domains = ["second.test"]\nnext_hop = "mx:"\n',
}
app = typer.Typer()
app.command()(command)


async def test_each_recipient_has_its_own_story_and_all_have_one_reply(bench, tools):
    content = b"X-Tidegate-Id: forged\r\nFrom: a@b\r\n\r\nhi\r\n"
    tx = tools.transaction(content, "a@ours.test", "b@second.test", "c@elsewhere.test")
    told = await explain(bench(TWO, asker=NotAsked()).gate, tx, NotAsked())
    first, second, third = told.recipients
    assert (first.policy, first.rcpt_reply, first.action, first.state) == (
        "ours",
        "250 2.1.5 recipient ok",
        "quarantine",
        "quarantined",
    )
    assert [(f.filter, f.result, f.action) for f in first.findings] == [("header-sanity", "missing-date", "quarantine")]
    assert "X-Tidegate-Reason: quarantine; header-sanity no Date field\n" in first.fields
    assert (second.action, second.score, second.state, second.route) == ("accept", 1.0, "queued", "mx:second.test")
    assert (third.rcpt_reply, third.findings, third.action) == ("550 5.7.1 relaying denied", (), "")
    assert told.reply == "250 2.0.0 [01J8Z3Q4R5S6T7V8W9X0Y1Z2A3] accepted"
    assert told.removed_fields == ("X-Tidegate-Id: forged",)


async def test_a_refused_message_says_with_which_reply_and_ground(bench, tools):
    tx = tools.transaction(b"From: a@b\r\nFrom: c@d\r\n\r\n", "a@ours.test")
    told = await explain(bench(TWO, asker=NotAsked()).gate, tx, NotAsked())
    assert told.taken is False
    assert told.reply.startswith("550 5.7.1 [01J8Z3Q4R5S6T7V8W9X0Y1Z2A3] rejected by policy (header-sanity ")
    (recipient,) = told.recipients
    assert (recipient.action, recipient.state, recipient.fields) == ("reject", "", "")
    assert recipient.findings[0].ground == "false-source"


async def test_no_next_hop_is_asked(bench, tools):
    verifier = NotAsked()
    b = bench(TWO, asker=verifier)
    told = await explain(b.gate, tools.transaction(), verifier)
    assert told.not_asked_about == ("b@ours.test",)
    assert b.verifier.asked == []


async def test_a_client_that_is_turned_away_gets_no_further(bench, tools):
    reject = '[filters.early-talker]\non = { pregreet = "reject" }\n'
    b = bench({"default": reject, "ours": TWO["second"]})
    tx = tools.transaction(connection=tools.connection(early_talker=True))
    told = await explain(b.gate, tx, NotAsked())
    assert told.connect_reply.startswith("554 5.7.1 no service for you here")
    assert (told.recipients, told.taken) == ((), False)


@pytest.fixture
def files(tmp_path, tools):
    (tmp_path / "policies").mkdir()
    for name, text in TWO.items():
        (tmp_path / "policies" / f"{name}.toml").write_text(text, encoding="utf-8")
    (tmp_path / "tidegate.toml").write_text(tools.MAIN, encoding="utf-8")
    (tmp_path / "mail.eml").write_bytes(b"From: a@b\nX-Tidegate-Id: \x1b[2Jforged\n\nhi\n")
    return tmp_path


def invoke(folder, *more):
    arguments = [str(folder / "mail.eml"), "--config", str(folder / "tidegate.toml"), "--client-ip", "198.51.100.7"]
    return CliRunner().invoke(app, [*arguments, "--helo", "mail.sender.test", "--from", "a@sender.test", *more])


def test_the_command_prints_each_finding_and_the_reply(files):
    result = invoke(files, "--rcpt", "a@ours.test", "--rcpt", "b@second.test")
    assert result.exit_code == 0, result.output
    assert "finding   header-sanity missing-date: no Date field  quarantine\n" in result.output
    assert "finding   header-sanity missing-date: no Date field  +1\n" in result.output
    assert "no next hop was asked about a@ours.test; taken for existing\n" in result.output
    # What a stranger wrote does not drive the terminal.
    assert "X-Tidegate-Id: \\x1b[2Jforged\n" in result.output
    assert "] accepted\n" in result.output


def test_the_command_prints_json_and_exits_1_when_the_mail_is_refused(files):
    result = invoke(files, "--rcpt", "x@elsewhere.test", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["recipients"][0]["rcpt_reply"] == "550 5.7.1 relaying denied"
    assert told["taken"] is False


def test_the_relay_role_trusts_the_listeners_networks(files):
    relay = '[[listen]]\naddress = "127.0.0.1:0"\nrole = "relay"\nnetworks = ["198.51.100.0/24"]\n'
    main = files / "tidegate.toml"
    main.write_text(main.read_text().split("[[listen]]")[0] + relay, encoding="utf-8")
    assert invoke(files, "--rcpt", "x@elsewhere.test", "--role", "relay").exit_code == 0


@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        (["--rcpt", "a b@ours.test"], 1, "--from or --rcpt: 5"),
        (["--rcpt", "a@ours.test", "--role", "nonsense"], 2, "--role nonsense: allowed: mx, relay"),
    ],
)
def test_nonsense_is_answered_with_a_sentence(files, more, code, told):
    result = invoke(files, *more)
    assert result.exit_code == code
    assert result.output.startswith(told)
    assert "Traceback" not in result.output


RULES = (
    TWO["second"] + '[[rule]]\nname = "fapiao"\ncomment = "asked for by the helpdesk"\n'
    'when = { subject = { contains = "发票" }, not = { from_domain = "tax.test" } }\n'
    'score = 6\nground = "advertising"\n'
    '[[rule]]\nname = "nearly"\nwhen = { subject = { contains = "代开" }, helo = "x.test" }\naction = "reject"\n'
    '[[rule]]\nname = "far"\nwhen = { subject = "nothing like it" }\nscore = 1\n'
    '[[rule]]\nname = "off"\nwhen = { subject = { contains = "代开" } }\nscore = 1\nenabled = false\n'
)
FAPIAO = b"From: a@b.test\r\nSubject: =?utf-8?B?5Luj5byA5Y+R56Wo?=\r\n\r\nhi\r\n"


async def explained(bench, tools, choice):
    tx = tools.transaction(FAPIAO, "b@second.test")
    told = await explain(bench({"second": RULES}, asker=NotAsked()).gate, tx, NotAsked(), rules=choice)
    return told.recipients[0]


async def test_a_rule_that_fired_tells_what_it_found_and_where(bench, tools):
    told = await explained(bench, tools, "near")
    assert [(rule.name, rule.outcome) for rule in told.rules] == [
        ("fapiao", "fired"), ("nearly", "not-fired"), ("off", "disabled")
    ]  # fmt: skip
    assert told.rules_not_told == 1
    assert told.grounds == ("advertising",)
    fapiao, nearly, _ = told.rules
    assert fapiao.place.endswith("policies/second.toml:3")
    found = next(clause for clause in fapiao.clauses if clause.matched)
    assert (found.condition, found.held, found.matched) == ('subject contains "发票"', True, "发票")
    assert found.place
    missed = next(clause for clause in nearly.clauses if clause.condition.startswith("helo"))
    assert (missed.held, missed.values) == (False, ("mail.sender.test",))


@pytest.mark.parametrize(
    ("choice", "names"),
    [("fired", ["fapiao"]), ("all", ["fapiao", "nearly", "far", "off"]), ("f*", ["fapiao", "far"])],
)
async def test_which_rules_are_told_of_is_a_choice(bench, tools, choice, names):
    told = await explained(bench, tools, choice)
    assert [rule.name for rule in told.rules] == names
    assert told.rules_not_told == 4 - len(names)


def test_the_command_prints_rules_as_a_tree_in_the_readers_script(files):
    (files / "policies" / "second.toml").write_text(RULES, encoding="utf-8")
    (files / "mail.eml").write_bytes(FAPIAO)
    result = invoke(files, "--rcpt", "b@second.test")
    assert result.exit_code == 0, result.output
    for line in (
        "rule      fired: fapiao  +6  ground advertising  ",
        "          # asked for by the helpdesk\n",
        '            + subject contains "发票"  found: 发票  (',
        '            - helo is "x.test"  was: mail.sender.test\n',
        "rules     1 more did not fire; --rules all tells why, --rules 'NAME*' of some\n",
        "  grounds advertising\n",
    ):
        assert line in result.output, result.output
