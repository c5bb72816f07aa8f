"""Local lists on the running program: what an operator writes or types is what happens to mail, within seconds.

What breaks if these fail: a listed sender gets in, a partner is kept out, or a broken list changes something.
"""

from collections.abc import Callable

import pytest

from tests.system.parts import Gateway, message, settings, to_maildir, until

LISTS = """\
[[list]]
name = "bad"
file = "bad.txt"
action = "reject"
reason = "local policy"
[[list]]
name = "good"
file = "good.txt"
kind = "allow"
[[list]]
name = "association"
source = "association"
weight = 20.0
"""
BAD = "bad-helo.test # a robot\n.pay.test # phishing\n@bulk.test\n"


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway]) -> Gateway:
    found = shared_gateway()
    found.configure(settings(workers=2), {"box": to_maildir("box.test")})
    lists = found.folder / "blocklists"
    lists.mkdir(exist_ok=True)
    (lists / "lists.toml").write_text(LISTS, encoding="utf-8")
    (lists / "bad.txt").write_text(BAD, encoding="utf-8")
    (lists / "good.txt").write_text("# none yet\n", encoding="utf-8")
    return found.start()


def rcpt(gateway: Gateway, helo: str = "client.example", sender: str = "anna@senders.test") -> str:
    """Return the reply to RCPT."""
    with gateway.connect() as wire:
        wire.hello(helo)
        wire.say(f"MAIL FROM:<{sender}>")
        return wire.say("RCPT TO:<me@box.test>")


def everywhere(gateway: Gateway, expected: str, what: str, **identity: str) -> None:
    """Wait until every worker answers RCPT so: each follows the lists by itself, within seconds of the others."""
    until(lambda: all(rcpt(gateway, **identity).startswith(expected) for _ in range(8)), what=what)


def test_the_first_mail_is_judged_by_lists_that_were_never_compiled_before(gateway: Gateway) -> None:
    reply = rcpt(gateway, "bad-helo.test")
    assert reply.startswith("550 5.7.1")
    assert "bad-helo.test listed by bad: a robot" in reply
    assert rcpt(gateway, sender="x@bulk.test").startswith("550")
    assert rcpt(gateway).startswith("250")


def test_a_link_that_is_listed_refuses_the_content(gateway: Gateway) -> None:
    with gateway.connect() as wire:
        wire.hello()
        reply = wire.mail("me@box.test", content=message(body="See https://www.pay.test/now"))
    assert reply.startswith("550 5.7.1")
    assert "listed by bad: phishing" in reply


def test_what_is_typed_holds_within_seconds_on_every_worker(gateway: Gateway) -> None:
    gateway.run("blocklist", "add", "newly-bad.test", "--list", "bad", "--reason", "wave")
    everywhere(gateway, "550", "the addition", helo="newly-bad.test")
    gateway.run("blocklist", "remove", "newly-bad.test", "--list", "bad")
    everywhere(gateway, "250", "the removal", helo="newly-bad.test")
    audit = gateway.run("audit", "--json").json()
    assert [row["operation"] for row in audit][-2:] == ["blocklist add", "blocklist remove"]


def test_a_changed_file_is_noticed_and_a_bad_line_told_with_its_place(gateway: Gateway) -> None:
    path = gateway.folder / "blocklists/bad.txt"
    path.write_text(BAD + "later.test\n999.1.1.1\n", encoding="utf-8")
    everywhere(gateway, "550", "the new entry", helo="later.test")
    assert gateway.await_line("list=bad", "bad.txt:5:")


def test_a_mistake_in_the_declarations_changes_nothing_and_is_told(gateway: Gateway) -> None:
    path = gateway.folder / "blocklists/lists.toml"
    path.write_text(LISTS + 'knid = "x"\n', encoding="utf-8")
    gateway.await_line("declarations", "lists.toml:14")
    assert rcpt(gateway, "bad-helo.test").startswith("550")
    path.write_text(LISTS, encoding="utf-8")


def test_an_allowed_client_is_taken_whatever_else_is_found(gateway: Gateway) -> None:
    gateway.run("blocklist", "add", "127.0.0.1", "--list", "good", "--reason", "this machine")
    everywhere(gateway, "250", "the allow list", helo="bad-helo.test")
    with gateway.connect() as wire:
        wire.hello()
        content = message(body="See https://www.pay.test/now")
        assert wire.mail("me@box.test", content=content).startswith("250")
    gateway.run("blocklist", "remove", "127.0.0.1", "--list", "good")
    everywhere(gateway, "550", "the allow list's end", helo="bad-helo.test")


def test_an_imported_edition_is_in_force_with_its_weight(gateway: Gateway) -> None:
    edition = gateway.folder / "edition.csv"
    edition.write_text("域名,原因\nspam-server.test,发送垃圾邮件\n", encoding="gb18030")
    gateway.run("blocklist", "import", str(edition), "--source", "association")
    everywhere(gateway, "550", "the edition", helo="spam-server.test")
    mail = gateway.folder / "mail.eml"
    mail.write_bytes(message())
    told = gateway.ask(
        *("explain", str(mail), "--client-ip", "192.0.2.1", "--helo", "spam-server.test"),
        *("--from", "a@b.test", "--rcpt", "me@box.test"),
    )
    assert "blocklist.listed=20" in told.out
    assert "发送垃圾邮件" in gateway.ask("blocklist", "check", "spam-server.test").out


def test_what_was_compiled_serves_again_after_a_restart(gateway: Gateway) -> None:
    gateway.stop()
    gateway.start()
    assert rcpt(gateway, "bad-helo.test").startswith("550")
    assert rcpt(gateway, "spam-server.test").startswith("550")
