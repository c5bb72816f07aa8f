"""Rules by command: what is written loads, nothing else of a file changes, and who did it is on record."""

import asyncio
import json
import mailbox
import os
import tomllib

import pytest
import typer
from typer.testing import CliRunner

from gateway.admin.control import user_name
from gateway.cli import audit, rule
from gateway.clock import SystemClock
from gateway.journal.events import MessageJudged, RecipientRefused
from gateway.journal.sinks import Recorded
from gateway.journal.store import Journal

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
app.add_typer(rule.app, name="rule")
app.command()(audit.audit)

MAIN = """hostname = "mx.gate.test"
data = "var"
[[listen]]
address = "127.0.0.1:0"
"""
DEFAULT = """# what everybody starts from
[[rule]]
name = "fapiao"   # the invoice sellers
when = { subject = { contains = "发票" } }
score = 6.0
"""
OURS = """domains = ["ours.test"]   # nobody else's
next_hop = ["smtp://192.0.2.25"]
[[mailbox."boss@ours.test".rule]]
name = "invoice"
when = { subject = { contains = "invoice" } }
action = "quarantine"
"""
MAIL = "From: Anna <a@b.test>\nTo: me@ours.test\nSubject: {}\nDate: Sun, 22 Nov 2026 10:00:00 +0000\n\nhello\n"


@pytest.fixture
def home(tmp_path):
    (tmp_path / "tidegate.toml").write_text(MAIN)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "default.toml").write_text(DEFAULT)
    (tmp_path / "policies" / "ours.toml").write_text(OURS)
    return tmp_path


@pytest.fixture
def run(home):
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--config", str(home / "tidegate.toml")])


@pytest.fixture
def text(home):
    return lambda name: (home / "policies" / name).read_text()


@pytest.fixture
def mails(tmp_path):
    folder = tmp_path / "mails"
    folder.mkdir()
    for number, subject in enumerate(("=?gb2312?B?tPq/qreixrE=?=", "your INVOICE", "发票 invoice", "lunch")):
        (folder / f"{number}.eml").write_text(MAIL.format(subject), encoding="utf-8")
    return folder


def test_every_rule_is_listed_with_its_place_and_whether_it_counts(run, home):
    rows = json.loads(run("rule", "list", "--json").stdout)
    assert [(row["name"], row["source"], row["does"], row["state"]) for row in rows] == [
        ("fapiao", "default", "+6", "on"),
        ("invoice", "boss@ours.test", "quarantine", "on"),
    ]
    assert rows[0]["place"] == f"{home}/policies/default.toml:2"
    mine = json.loads(run("rule", "list", "--for", "anna@ours.test", "--json").stdout)
    assert [row["name"] for row in mine] == ["fapiao"]


def test_a_rule_is_added_where_it_was_meant_and_loads(run, text):
    result = run(
        *("rule", "add", "training", "--in", "ours.test", "--when", 'subject = { contains = "培训" }'),
        *("--score", "2.5", "--ground", "advertising", "--expires", "2027-01-01", "--comment", "seen in November"),
    )
    assert result.exit_code == 0, result.output
    assert 'rule "training": added' in result.stdout
    after = text("ours.toml")
    assert after.startswith(OURS)
    added = tomllib.loads(after)["rule"]
    assert [(r["name"], r["score"], r["ground"], str(r["expires"])) for r in added] == [
        ("training", 2.5, "advertising", "2027-01-01 00:00:00+00:00")
    ]
    assert [row["name"] for row in json.loads(run("rule", "list", "--for", "x@ours.test", "--json").stdout)] == [
        "fapiao",
        "training",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--in", "default", "--when", 'subject = { matches = "a(" }', "--score", "1"), 78, "rule[2].when.subject"),
        (("--in", "default", "--when", "subject = {", "--score", "1"), 1, "the condition is no TOML"),
        (("--in", "default", "--when", "tls = false"), 78, "score"),
        (("--in", "elsewhere.test", "--when", "tls = false", "--score", "1"), 1, "no policy claims elsewhere.test"),
        (("--in", "a b@ours.test", "--when", "tls = false", "--score", "1"), 1, "a b@ours.test"),
        (("--in", "default", "--when", "tls = false", "--action", "explode"), 78, "action"),
    ],
)
def test_what_would_not_load_is_not_written(run, text, arguments, code, told):
    result = run("rule", "add", "new", *arguments)
    assert result.exit_code == code, result.output
    assert told in result.output
    assert (text("default.toml"), text("ours.toml")) == (DEFAULT, OURS)


def test_a_name_that_is_taken_is_not_added_again(run, text):
    result = run("rule", "add", "fapiao", "--in", "ours.test", "--when", "tls = false", "--score", "1")
    assert result.exit_code == 78
    assert "is an inherited rule already" in result.output
    assert text("ours.toml") == OURS


def test_a_score_is_edited_and_the_comments_stay(run, text):
    assert run("rule", "edit-score", "fapiao", "4.5").exit_code == 0
    assert text("default.toml") == DEFAULT.replace("6.0", "4.5")
    refused = run("rule", "edit-score", "invoice", "1")
    assert (refused.exit_code, 'has an action, "quarantine"' in refused.output) == (1, True)
    assert text("ours.toml") == OURS


def test_a_rule_is_disabled_for_all_or_for_those_who_inherit_it(run, text):
    def states(address):
        rows = json.loads(run("rule", "list", "--for", address, "--json").stdout)
        return {row["name"]: row["state"] for row in rows}

    assert run("rule", "disable", "fapiao", "--for", "boss@ours.test").exit_code == 0
    assert states("boss@ours.test")["fapiao"] == "off"
    assert states("anna@ours.test")["fapiao"] == "on"
    assert run("rule", "enable", "fapiao", "--for", "boss@ours.test").exit_code == 0
    assert states("boss@ours.test")["fapiao"] == "on"
    assert run("rule", "disable", "fapiao").exit_code == 0
    assert states("anna@ours.test")["fapiao"] == "disabled"
    again = run("rule", "disable", "fapiao")
    assert (again.exit_code, "it says so already" in again.output) == (1, True)
    assert "# the invoice sellers" in text("default.toml")


@pytest.mark.parametrize("command", [("disable", "nothing"), ("enable", "nothing"), ("edit-score", "nothing", "1")])
def test_a_rule_that_is_not_there_is_named(run, command):
    result = run("rule", *command)
    assert result.exit_code == 1
    assert 'no rule is called "nothing"' in result.output


def test_two_rules_of_one_name_are_not_confused(run, home, text):
    other = OURS.replace("ours.test", "other.test")
    (home / "policies" / "other.toml").write_text(other)
    result = run("rule", "disable", "invoice")
    assert result.exit_code == 1
    assert "other.toml of boss@other.test, ours.toml of boss@ours.test" in result.output
    assert (text("ours.toml"), text("other.toml")) == (OURS, other)


def test_a_file_keeps_its_mode_and_a_link_its_place(run, home, text):
    real = home / "shared.toml"
    link = home / "policies" / "default.toml"
    link.rename(real)
    real.chmod(0o640)
    link.symlink_to(real)
    assert run("rule", "edit-score", "fapiao", "1").exit_code == 0
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert "score = 1.0" in real.read_text()
    assert sorted(path.name for path in (home / "policies").iterdir()) == ["default.toml", "ours.toml"]


def test_the_configuration_that_is_broken_already_is_not_edited(run, home, text):
    (home / "policies" / "ours.toml").write_text("domains = 5\n")
    result = run("rule", "edit-score", "fapiao", "1")
    assert result.exit_code == 78
    assert "ours.toml:1: domains" in result.output
    assert text("default.toml") == DEFAULT


def test_who_changed_what_is_on_record_while_no_gateway_serves(run):
    assert run("audit").exit_code == 1
    run("rule", "edit-score", "fapiao", "4")
    entries = json.loads(run("audit", "--json").stdout)
    assert [(e["kind"], e["operation"], e["target"], e["operator"]) for e in entries] == [
        ("operator_acted", "rule edit-score", "fapiao", user_name(os.getuid()))
    ]
    assert entries[0]["changes"][0].endswith('rule "fapiao": score: 6 → 4')


def test_a_rule_is_tried_on_a_folder_an_mbox_and_a_maildir(run, mails, tmp_path):
    box = mailbox.mbox(tmp_path / "box")
    maildir = mailbox.Maildir(tmp_path / "maildir")
    for path in sorted(mails.iterdir()):
        box.add(path.read_bytes())
        maildir.add(path.read_bytes())
    box.close()
    for store in (mails, tmp_path / "box", tmp_path / "maildir"):
        told = json.loads(run("rule", "test", "fapiao", str(store), "--json").stdout)
        assert told["messages"] == 4
        assert len(told["fired"]) == 2
        assert {hit["evidence"][0]["text"] for hit in told["fired"]} == {"发票"}


def test_a_trial_names_each_message_with_the_text_and_exits_1_without_any(run, mails):
    fired = run("rule", "test", "invoice", str(mails))
    lines = fired.stdout.splitlines()
    assert [line.split("\t")[0] for line in lines[:-1]] == [f"{mails}/1.eml", f"{mails}/2.eml"]
    assert 'subject "INVOICE"' in lines[0]
    assert lines[-1].startswith("fired on 2 of 4 messages, ")
    assert run("rule", "test", "invoice", str(mails / "3.eml")).exit_code == 1
    assert "did not fire" in run("rule", "test", "invoice", str(mails / "3.eml"), "--explain").stdout


def test_a_disabled_rule_can_be_tried(run, mails):
    run("rule", "disable", "fapiao")
    assert "fired on 2 of 4 messages" in run("rule", "test", "fapiao", str(mails)).stdout


def test_statistics_of_stored_mail_tell_overlaps_and_what_never_fired(run, mails):
    run("rule", "add", "vat", "--in", "default", "--when", 'subject = { contains = ["发票", "代开"] }', "--score", "1")
    run("rule", "add", "never", "--in", "default", "--when", 'subject = { contains = "zzz" }', "--score", "1")
    told = json.loads(run("rule", "stats", str(mails), "--json").stdout)
    assert told["fired"] == {"fapiao": 2, "vat": 2, "never": 0, "invoice": 2}
    assert told["never"] == ["never"]
    assert told["overlaps"] == [{"rule": "fapiao", "with": "vat", "messages": 2, "share": 1.0}]
    text = run("rule", "stats", str(mails)).stdout
    assert "fapiao fires with vat on 2 of its 2 messages (100%)" in text
    assert "never fired: never\n" in text


def judged(at, *names):
    said = tuple(("x@ours.test", "rule", name, 1.0, "") for name in names)
    return MessageJudged(
        at=at, trace_id="t", session_id="s", client="192.0.2.1", client_name="", helo="h", role="mx", tls="",
        reverse_path="", message_id="", subject="", octets=1, dispositions=(), findings=(), filter_seconds=(),
        reply="250", connected_at=at, enveloped_at=at, received_at=at, filtered_seconds=0.0, durable_at=at,
        durable_seconds=0.0, judgements=(*said, ("x@ours.test", "helo", "fapiao", 1.0, "")),
    )  # fmt: skip


def test_statistics_of_the_journal_tell_what_fired_and_what_never_did(run, home):
    now = SystemClock().stamp().utc
    refused = RecipientRefused(
        at=now - 5, trace_id="u", client="192.0.2.1", helo="h", reverse_path="", recipient="x@ours.test",
        reply="550", reason='rule fapiao: subject "发票"', filter="rule",
    )  # fmt: skip

    async def write():
        journal = Journal(home / "var" / "journal", 0, clock=SystemClock(), failures=Recorded())
        for event in (judged(now - 20, "fapiao"), judged(now - 10, "fapiao", "gone"), judged(now - 30), refused):
            journal.emit(event)
        await journal.close()

    asyncio.run(write())
    told = {row["rule"]: row for row in json.loads(run("rule", "stats", "--since", "1h", "--json").stdout)}
    assert (told["fapiao"]["messages"], told["fapiao"]["last_at"]) == (3, now - 5)
    assert (told["invoice"]["messages"], told["invoice"]["last_at"]) == (0, 0.0)
    assert "never fired in the last 1h: invoice" in run("rule", "stats", "--since", "1h").stdout
