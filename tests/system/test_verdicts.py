"""What breaks if these fail: what a policy says about a mail is not what happens to it, or ``explain`` tells tales."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.parts import Gateway, message, message_id, received, settings, to_maildir, trace_id, until

# One finding, "missing-date", and a policy a domain that makes something else of it.
POLICIES = {
    "plain": to_maildir("plain.test", more='[filters.header-sanity]\non = { missing-date = "ignore" }\n'),
    "scored": to_maildir("scored.test", more="[filters.header-sanity]\non = { missing-date = 1.5 }\n"),
    "tag": to_maildir(
        "tag.test",
        more='[scores]\nsubject_tag = "[suspicious] "\n[filters.header-sanity]\non = { missing-date = "tag" }\n'
        '[mailbox."relaxed@tag.test".filters.header-sanity]\nenabled = false\n',
    ),
    "score": to_maildir("score.test", more="[filters.header-sanity]\non = { missing-date = 9.5 }\n"),
    "quarantine": to_maildir("quarantine.test", more='[filters.header-sanity]\non = { missing-date = "quarantine" }\n'),
    "reject": to_maildir("reject.test", more='[filters.header-sanity]\non = { missing-date = "reject" }\n'),
    "rejectscore": to_maildir("rejectscore.test", more="[filters.header-sanity]\non = { missing-date = 14.0 }\n"),
    "defer": to_maildir("defer.test", more='[filters.header-sanity]\non = { missing-date = "defer" }\n'),
    "discard": to_maildir("discard.test", more='[filters.header-sanity]\non = { missing-date = "discard" }\n'),
    "helo": to_maildir("helo.test", more='[filters.helo]\non = { unqualified = "reject", bare-ip = "defer" }\n'),
    "small": to_maildir("small.test", more='[filters.size]\nmaximum = "2K"\n'),
}


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway]) -> Gateway:
    found = shared_gateway()
    found.configure(settings(workers=2), POLICIES)
    return found.start()


def dateless(*fields: str) -> bytes:
    return message(*fields).replace(b"Date: ", b"X-No-Date: ")


def test_a_score_below_every_threshold_is_shown_in_the_header(gateway: Gateway) -> None:
    assert gateway.mail("low@scored.test", content=dateless()).startswith("250")
    [stored] = gateway.await_maildir("low@scored.test")
    mail = received(stored)
    assert mail["X-Spam-Score"] == "1.5"
    assert mail["X-Spam-Status"] == "No, score=1.5 required=5.0 tests=header-sanity.missing-date=1.5"
    assert "X-Spam-Flag" not in mail


def test_tagged_mail_is_delivered_with_its_marks(gateway: Gateway) -> None:
    content = dateless()
    assert gateway.mail("marked@tag.test", content=content).startswith("250 2.0.0")
    [stored] = gateway.await_maildir("marked@tag.test")
    mail = received(stored)
    assert mail["X-Spam-Flag"] == "YES"
    assert mail["X-Spam-Status"].startswith("Yes, ")
    assert mail["X-Tidegate-Reason"].startswith("tag; ")
    assert mail["Subject"].startswith("[suspicious] message ")
    # Nothing but the Subject is another.
    assert stored.endswith(content[content.index(b"X-No-Date") :])


def test_one_mailbox_differs_from_its_domain(gateway: Gateway) -> None:
    identity = trace_id(gateway.mail("marked2@tag.test", "relaxed@tag.test", content=dateless()))
    [relaxed] = gateway.await_maildir("relaxed@tag.test")
    [marked] = gateway.await_maildir("marked2@tag.test")
    assert b"X-Spam-Flag" not in relaxed
    assert b"X-Spam-Flag: YES" in marked
    assert identity.encode() in relaxed


@pytest.mark.parametrize("domain", ["quarantine.test", "score.test"])
def test_quarantined_mail_is_held_until_it_is_released(gateway: Gateway, domain: str) -> None:
    address = f"held@{domain}"
    content = dateless()
    reply = gateway.mail(address, content=content)
    assert reply.startswith("250 2.0.0"), reply
    identity = trace_id(reply)
    [copy] = gateway.queue("--recipient", address)
    assert (copy["id"], copy["state"], copy["action"]) == (identity, "quarantined", "quarantine")
    assert "header-sanity" in copy["reason"]
    shown = gateway.ask("queue", "show", identity)
    assert shown.status == 0
    assert f"to        <{address}> quarantined" in shown.out
    assert f"Message-ID: <{message_id(content)}>" in shown.out
    until(lambda: "quarantined" in gateway.ask("trace", identity).out)
    released = gateway.ask("quarantine", "release", identity)
    assert released.out == f"{identity} released to {address}; not scanned: no scanner is configured\n"
    [stored] = gateway.await_maildir(address)
    assert received(stored)["X-Tidegate-Reason"].startswith("quarantine; ")
    assert stored.endswith(content)
    until(lambda: not gateway.queue("--recipient", address))
    story = until(lambda: "operator" in (found := gateway.ask("trace", identity).out) and found)
    assert "released from quarantine to" in story
    assert "delivered" in story.splitlines()[0]


def test_quarantine_is_listed_and_shown_and_a_copy_goes_to_somebody_who_looks_at_it(gateway: Gateway) -> None:
    address = "shown@quarantine.test"
    content = dateless()
    identity = trace_id(gateway.mail(address, content=content))
    [listed] = gateway.ask("quarantine", "list", "--recipient", address, "--json").json()["messages"]
    assert (listed["id"], listed["recipients"][0]["why"]) == (identity, "policy")
    assert (
        gateway.ask("quarantine", "list", "--recipient", address, "--why", "virus", "--json").json()["messages"] == []
    )
    shown = until(lambda: "found " in (text := gateway.ask("quarantine", "show", identity).out) and text)
    assert "found     header-sanity " in shown
    assert "part      text/plain" in shown
    assert f"| Message-ID: <{message_id(content)}>" in shown
    released = gateway.ask("quarantine", "release", identity, "--to", "analyst@tag.test")
    assert f"{identity} released to analyst@tag.test" in released.out
    [stored] = gateway.await_maildir("analyst@tag.test")
    assert stored.endswith(content)
    until(lambda: [copy["state"] for copy in gateway.queue() if copy["id"] == identity] == ["quarantined"])
    assert not gateway.maildir(address)
    assert gateway.ask("queue", "release", identity).status == 1
    assert gateway.ask("quarantine", "delete", identity).out == "1 copy deleted\n"
    until(lambda: "quarantine release" in gateway.ask("audit").out)


def test_quarantined_mail_that_is_dropped_is_gone_without_a_word(gateway: Gateway) -> None:
    identity = trace_id(gateway.mail("dropped@quarantine.test", content=dateless()))
    assert gateway.ask("queue", "drop", identity).out == "1 copy dropped\n"
    assert not gateway.queue("--recipient", "dropped@quarantine.test")
    until(lambda: "dropped" in gateway.ask("trace", identity).out.splitlines()[0])
    assert not gateway.lines("notice_queued", identity)


@pytest.mark.parametrize(
    ("domain", "reply", "word"),
    [
        ("reject.test", "550 5.7.1 [", "rejected"),
        ("rejectscore.test", "550 5.7.1 [", "rejected"),
        ("defer.test", "451 4.7.1 [", "deferred"),
    ],
)
def test_refused_mail_is_refused_on_the_wire_and_kept_nowhere(
    gateway: Gateway, domain: str, reply: str, word: str
) -> None:
    answer = gateway.mail(f"nobody@{domain}", content=dateless())
    assert answer.startswith(reply), answer
    gateway.await_line("message_judged", trace_id(answer), f"status={word}")
    assert not gateway.queue("--domain", domain)
    until(lambda: word in gateway.ask("trace", trace_id(answer)).out.splitlines()[0])


def test_discarded_mail_is_acknowledged_and_gone_but_told(gateway: Gateway) -> None:
    reply = gateway.mail("void@discard.test", content=dateless())
    assert reply.startswith("250 2.0.0"), reply
    gateway.await_line("message_judged", trace_id(reply), "status=discarded")
    assert not gateway.queue("--domain", "discard.test")
    assert not gateway.maildir("void@discard.test")
    until(lambda: "discarded" in gateway.ask("trace", trace_id(reply)).out)


def test_recipients_with_different_policies_in_one_mail_each_get_theirs(gateway: Gateway) -> None:
    """Invariant 4: one reply; what would have been refused for some is quarantined for them."""
    content = dateless()
    reply = gateway.mail(
        "both@plain.test", "both@tag.test", "both@reject.test", "both@quarantine.test", "both@discard.test",
        content=content,
    )  # fmt: skip
    assert reply.startswith("250 2.0.0"), reply
    identity = trace_id(reply)
    [plain] = gateway.await_maildir("both@plain.test")
    [tagged] = gateway.await_maildir("both@tag.test")
    assert b"X-Spam-" not in plain
    assert b"X-Spam-Flag: YES" in tagged
    gateway.await_line("delivery_attempted", identity, "status=sent", count=2)
    held = {"both@reject.test": "quarantined", "both@quarantine.test": "quarantined"}
    until(lambda: _in_custody(gateway, identity) == held, what=lambda: f"what is held, not {gateway.queue()}")
    # No recipient reads of another.
    assert b"both@tag.test" not in plain
    assert gateway.ask("queue", "drop", identity).out == "2 copies dropped\n"


def test_all_refusing_policies_in_one_mail_refuse_it_on_the_wire(gateway: Gateway) -> None:
    reply = gateway.mail("a@reject.test", "b@rejectscore.test", content=dateless())
    assert reply.startswith("550 5.7.1"), reply
    assert not gateway.queue("--domain", "rejectscore.test")
    assert not _in_custody(gateway, trace_id(reply))


def test_what_can_be_judged_of_one_recipient_is_said_at_rcpt(gateway: Gateway) -> None:
    with gateway.connect() as wire:
        wire.hello("unqualified")
        assert wire.say("MAIL FROM:<anna@senders.test>").startswith("250")
        assert wire.say("RCPT TO:<a@helo.test>").startswith("550 5.7.1")
        assert wire.say("RCPT TO:<a@plain.test>").startswith("250")
        # RFC 5321 §4.5.1: the postmaster hears everybody.
        assert wire.say("RCPT TO:<postmaster@helo.test>").startswith("250")
        assert wire.say("RSET").startswith("250")
        assert wire.say("MAIL FROM:<anna@senders.test> SIZE=5000").startswith("250")
        assert wire.say("RCPT TO:<a@small.test>").startswith("552 5.3.4")
        assert wire.say("RCPT TO:<a@plain.test>").startswith("250")


# explain --------------------------------------------------------------------------------------------------------------


EXPLAINED = [
    ("client.example", "anna@senders.test", ["e1@plain.test"]),
    ("client.example", "anna@senders.test", ["e2@scored.test"]),
    ("client.example", "anna@senders.test", ["e3@tag.test", "relaxed@tag.test"]),
    ("client.example", "anna@senders.test", ["e4@score.test"]),
    ("client.example", "anna@senders.test", ["e5@reject.test"]),
    ("client.example", "anna@senders.test", ["e6@reject.test", "e6@plain.test"]),
    ("client.example", "anna@senders.test", ["e7@defer.test"]),
    ("client.example", "anna@senders.test", ["e8@discard.test"]),
    ("unqualified", "anna@senders.test", ["e9@helo.test", "e9@plain.test"]),
    ("192.0.2.1", "anna@senders.test", ["e10@helo.test"]),
    ("client.example", "", ["e11@plain.test", "e11@tag.test"]),
    ("client.example", "anna@senders.test", ["e12@elsewhere.test", "e12@plain.test"]),
    ("client.example", "anna@senders.test", ["e13%elsewhere.test@plain.test"]),
    ("client.example", "anna@senders.test", ["postmaster@helo.test"]),
]


@pytest.mark.parametrize(("helo", "sender", "recipients"), EXPLAINED, ids=lambda value: str(value)[:40])
def test_explain_says_what_then_happens(
    gateway: Gateway, tmp_path: Path, helo: str, sender: str, recipients: list[str]
) -> None:
    content = dateless("X-Spam-Flag: forged")
    file = tmp_path / "mail.eml"
    file.write_bytes(content)
    options = [part for recipient in recipients for part in ("--rcpt", recipient)]
    answer = gateway.ask(
        "explain", str(file), "--client-ip", "127.0.0.1", "--helo", helo, "--from", sender, *options, "--json"
    )
    explained = answer.json()
    assert answer.status == (0 if explained["taken"] else 1)
    with gateway.connect() as wire:
        wire.hello(helo)
        assert wire.say(f"MAIL FROM:<{sender}>").startswith("250")
        said = [wire.say(f"RCPT TO:<{recipient}>") for recipient in recipients]
        data = wire.say("DATA")
        final = wire.finish(content) if data.startswith("354") else data
    assert [_plain(reply) for reply in said] == [_plain(found["rcpt_reply"]) for found in explained["recipients"]]
    # Where no recipient is left there is no content to judge; what refused the recipients is the answer.
    assert _plain(explained["reply"]) == _plain(final if data.startswith("354") else said[-1])
    if final.startswith("250"):
        _same_fate(gateway, explained, trace_id(final))


def _plain(reply: str) -> str:
    """Return a reply without its trace id."""
    return re.sub(r" \[01[0-9A-Z]{24}\]", "", reply)


def _same_fate(gateway: Gateway, explained: dict, identity: str) -> None:
    taken = [found for found in explained["recipients"] if found["state"]]
    for found in taken:
        if found["state"] == "queued":
            mail = until(lambda: _delivered(gateway, found["recipient"], identity))  # noqa: B023 - called at once
            fields = [line for line in found["fields"].splitlines() if line.startswith("X-Spam")]
            assert all(line.encode() in mail for line in fields), (fields, mail)
            assert b"X-Spam-Flag: forged" not in mail
    held = {found["recipient"]: found["state"] for found in taken if found["state"] == "quarantined"}
    until(lambda: _in_custody(gateway, identity) == held)


def _in_custody(gateway: Gateway, identity: str) -> dict[str, str]:
    return {copy["recipient"]: copy["state"] for copy in gateway.queue() if copy["id"] == identity}


def _delivered(gateway: Gateway, address: str, identity: str) -> bytes:
    return next((stored for stored in gateway.maildir(address) if identity.encode() in stored), b"")


def test_explain_tells_a_person_each_finding_score_action_and_reply(gateway: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "mail.eml"
    file.write_bytes(dateless())
    answer = gateway.run(
        "explain", str(file), "--client-ip", "192.0.2.7", "--helo", "client.example", "--from", "anna@senders.test",
        "--rcpt", "bob@score.test", "--rcpt", "bob@plain.test",
    )  # fmt: skip
    assert answer.status == 0
    for part in (
        "connect   accepted",
        "rcpt      bob@score.test  (policy score, customer score)",
        "finding   header-sanity missing-date: no Date field  +9.5",
        "action    quarantine",
        "state     quarantined",
        "rcpt      bob@plain.test",
        "state     queued  next hop maildir:",
        "reply     250 2.0.0",
    ):
        assert part in answer.out, answer.out
    assert not gateway.lines("192.0.2.7")
