"""Custom rules on the running program: what an administrator writes down is what happens to mail, after one reload.

What breaks if these fail: a rule refuses other people's mail, a mistake in one stops the gateway, or nobody can tell
afterwards what a rule did and why.
"""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.parts import (
    Gateway,
    Sink,
    message,
    message_id,
    received,
    settings,
    to_maildir,
    to_server,
    trace_id,
    until,
)

FAPIAO = """\
[[rule]]
name = "fapiao"
when = { any = [ { subject = { matches = "代开.{0,4}发票" } }, { text = { contains = "代开发票" } } ] }
score = 6.0
ground = "advertising"
"""
STRICT = FAPIAO.replace("fapiao", "strict").replace("score = 6.0", 'action = "reject"')
CLIENT = """\
[[rule]]
name = "closed-door"
when = { helo = { ends = ".closed.test" } }
action = "reject"
reply = "550 5.7.1 No mail from here, see https://example.test/why"
ground = "hidden-sender"
"""


@pytest.fixture(scope="module")
def sink(shared_sink: Callable[..., Sink]) -> Sink:
    return shared_sink()


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway], sink: Sink) -> Gateway:
    found = shared_gateway()
    found.configure(
        settings(workers=2),
        {
            "default": FAPIAO,
            "tagged": to_maildir("tagged.test", more='[scores]\nsubject_tag = "[bulk] "\n'),
            "strict": to_maildir("strict.test", more=STRICT),
            "lenient": 'rules_off = ["fapiao"]\n' + to_server("lenient.test", url=sink.url()),
            "door": to_maildir("door.test", more=CLIENT),
        },
    )  # fmt: skip
    return found.start()


def fapiao() -> bytes:
    """Return a mail whose subject begins with 代开*发票, in the charset such mail has, in two encoded-words."""
    words = (b64encode(part.encode("gb2312")).decode() for part in ("代开*", "发票"))
    subject = " ".join(f"=?gb2312?B?{word}?=" for word in words)
    return message().replace(b"Subject: ", f"Subject: {subject} ".encode(), 1)


def test_one_message_has_three_fates_under_three_policies(gateway: Gateway, sink: Sink) -> None:
    content = fapiao()
    reply = gateway.mail("a@tagged.test", "b@strict.test", "c@lenient.test", content=content)
    assert reply.startswith("250 2.0.0")
    [stored] = gateway.await_maildir("a@tagged.test")
    mail = received(stored)
    assert mail["X-Spam-Flag"] == "YES"
    assert "rule.fapiao=6" in mail["X-Spam-Status"]
    assert "grounds: advertising" in mail["X-Tidegate-Reason"]
    [dump] = sink.await_message(message_id(content))
    assert b"X-Spam" not in dump
    held = [("b@strict.test", "quarantined")]
    until(lambda: [(c["recipient"], c["state"]) for c in gateway.queue() if c["id"] == trace_id(reply)] == held)
    [line] = gateway.await_line("message_judged", trace_id(reply))
    assert "grounds=advertising" in line


def test_a_refusal_for_everybody_is_said_and_remembered(gateway: Gateway) -> None:
    reply = gateway.mail("b@strict.test", content=fapiao())
    assert reply.startswith("550 5.7.1")
    assert reply.endswith("rejected by policy (rule strict)")
    answer = gateway.run("trace", trace_id(reply))
    assert "grounds advertising" in answer.out
    assert "finding   rule strict → reject" in answer.out


def test_what_rcpt_knows_is_refused_at_rcpt(gateway: Gateway) -> None:
    with gateway.connect() as wire:
        wire.say("EHLO mail.closed.test")
        wire.say("MAIL FROM:<a@senders.test>")
        reply = wire.say("RCPT TO:<a@door.test>")
        assert reply.startswith("550 5.7.1 [")
        assert reply.endswith("] No mail from here, see https://example.test/why")
        assert wire.say("RCPT TO:<a@tagged.test>").startswith("250 2.1.5")
        assert wire.say("RCPT TO:<postmaster@door.test>").startswith("250 2.1.5")
    [line] = gateway.await_line("recipient_refused", "a@door.test")
    assert "filter=rule" in line
    assert "grounds=hidden-sender" in line
    assert "closed-door" in line


def test_explain_tells_the_same_as_the_gateway(gateway: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "mail.eml"
    file.write_bytes(fapiao())
    answer = gateway.run(
        "explain", str(file), "--client-ip", "127.0.0.1", "--helo", "client.example", "--from", "anna@senders.test",
        "--rcpt", "a@tagged.test", "--rcpt", "c@lenient.test",
    )  # fmt: skip
    assert answer.status == 0
    first, second = answer.out.split("rcpt      c@lenient.test")
    assert "rule      fired: fapiao  +6  ground advertising" in first
    assert 'subject matches "代开.{0,4}发票"  found: 代开*发票  (' in first
    assert "default.toml:1" in first
    assert "rule      switched off here: fapiao" in second


def test_policy_show_lists_the_rules_with_their_places(gateway: Gateway) -> None:
    answer = gateway.ask("policy", "show", "c@lenient.test")
    assert "# off     fapiao +6 ground advertising (rules_off, " in answer.out
    assert "policies/default.toml:1" in answer.out
    answer = gateway.ask("policy", "show", "a@strict.test", "--json")
    told = [(rule["name"], rule["state"], rule["layer"], rule["line"]) for rule in answer.json()["rules"]]
    assert told == [("fapiao", "on", "default", 1), ("strict", "on", "strict", 3)]


@pytest.mark.parametrize(
    ("bad", "wanted"),
    [
        ('when = { subject = { matches = "(发票" } }', "when.subject.matches: "),
        ('when = { subject = { matches = "" } }', "when.subject.matches: "),
        ('when = { subjekt = "x" }', 'when.subjekt: no subject; did you mean "subject"?'),
        ('when = { from = { in_list = "gone.txt" } }', "when.from.in_list: cannot be read: "),
    ],
    ids=["no-pattern", "matches-all", "no-subject", "no-list"],
)
def test_a_rule_that_cannot_be_used_changes_nothing_and_is_named_with_its_line(
    gateway: Gateway, bad: str, wanted: str
) -> None:
    good = gateway.ask("config", "check", "--json").json()["digest"]
    path = gateway.folder / "policies/default.toml"
    path.write_text(FAPIAO + f'\n[[rule]]\nname = "bad"\n{bad}\nscore = 1\n', encoding="utf-8")
    try:
        answer = gateway.run("reload")
        assert answer.status == 78
        assert f"policies/default.toml:9: rule[2].{wanted}" in answer.err
        assert {worker["digest"] for worker in gateway.status()["workers"]} == {good}
        assert gateway.mail("b@strict.test", content=fapiao()).startswith("550 5.7.1")
    finally:
        path.write_text(FAPIAO, encoding="utf-8")


def test_a_list_reloads_with_the_rest(gateway: Gateway) -> None:
    listed = '[[rule]]\nname = "listed"\nwhen = { reverse_path = { in_list = "bad.txt" } }\naction = "reject"\n'
    names = gateway.folder / "policies/bad.txt"
    names.write_text("# nobody yet\nsomebody@bad.test\n", encoding="utf-8")
    gateway.write_policy("listed", to_maildir("listed.test", more=listed))
    assert gateway.ask("reload").status == 0
    assert gateway.mail("a@listed.test", sender="mallory@worse.test").startswith("250")
    names.write_text("somebody@bad.test\n@worse.test\n", encoding="utf-8")
    answer = gateway.ask("reload")
    assert 'rule "listed": when changed' in answer.out
    assert gateway.mail("a@listed.test", sender="mallory@worse.test").startswith("550 5.7.1")
    assert gateway.mail("a@listed.test", sender="anna@senders.test").startswith("250")
