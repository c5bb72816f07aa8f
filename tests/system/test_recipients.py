"""What breaks if these fail: mail for mailboxes that do not exist is taken, or mail for those that do is refused."""

from collections.abc import Callable

import pytest

from tests.system.parts import Gateway, Sink, free_port, settings, swaks, to_maildir, to_server, trace_id, until

pytestmark = pytest.mark.real

CALLOUT = 'recipients = "callout"\n'
LIMITS = """\
[limits]
free_disk_floor = "1M"
unknown_recipients_per_session = 5
recipients_per_message = 100
messages_per_session = 3
errors_per_session = 4
"""


@pytest.fixture(scope="module")
def behind(shared_gateway: Callable[[], Gateway]) -> Gateway:
    """The mail server behind: another gateway, which knows its mailboxes by a list."""
    found = shared_gateway()
    found.configure(settings(), {"box": to_maildir("callout.test", more='recipients = "list:known.txt"\n')})
    (found.folder / "policies/known.txt").write_text("anna@callout.test\nbob@callout.test  # the second one\n")
    return found.start()


@pytest.fixture(scope="module")
def unsure(shared_sink: Callable[..., Sink]) -> Sink:
    """A mail server that cannot tell."""
    return shared_sink("-r", "RCPT")


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway], behind: Gateway, unsure: Sink) -> Gateway:
    found = shared_gateway()
    found.configure(
        settings(workers=1, more=LIMITS + '[contact]\npostmaster = "anna@list.test"\n[callout]\nnegative_ttl = "1s"\n'),
        {
            "callout": to_server("callout.test", url=f"smtp://127.0.0.1:{behind.port()}?tls=none", more=CALLOUT),
            "unsure": to_server("unsure.test", url=unsure.url(), more=CALLOUT),
            "dead": to_server("dead.test", url=f"smtp://127.0.0.1:{free_port()}", more=CALLOUT),
            "list": to_maildir("list.test", "second.test", more='recipients = "list:people.txt"\n'),
        },
    )
    (found.folder / "policies/people.txt").write_text("# who is here\nAnna@list.test\n@second.test\n")
    return found.start()


def rcpt(gateway: Gateway, *recipients: str, sender: str = "anna@senders.test") -> list[str]:
    """Return the replies to each recipient, in one session."""
    with gateway.connect() as wire:
        wire.hello()
        assert wire.say(f"MAIL FROM:<{sender}>").startswith("250")
        return [wire.say(f"RCPT TO:<{recipient}>")[:9].strip() for recipient in recipients]


def test_the_next_hop_is_asked_which_mailboxes_exist(gateway: Gateway, behind: Gateway) -> None:
    told = rcpt(gateway, "anna@callout.test", "nobody@callout.test", "bob@callout.test")
    assert told == ["250 2.1.5", "550 5.1.1", "250 2.1.5"]
    assert behind.await_line("recipient_refused", "nobody@callout.test")
    refused = until(lambda: "rejected" in (found := gateway.ask("trace", "nobody@callout.test").out) and found)
    assert "the next hop says: 550 5.1.1" in refused


def test_its_answers_are_remembered_for_their_time(gateway: Gateway, behind: Gateway) -> None:
    rcpt(gateway, "fresh@callout.test")
    behind.await_line("recipient_refused", "fresh@callout.test")
    (behind.folder / "policies/known.txt").write_text("anna@callout.test\nbob@callout.test\nfresh@callout.test\n")
    assert behind.ask("reload").status == 0
    until(lambda: rcpt(gateway, "fresh@callout.test") == ["250 2.1.5"], what="the negative answer to be forgotten")
    behind.stop()
    try:
        # anna was found to exist; what nobody was asked about cannot be told now.
        assert rcpt(gateway, "anna@callout.test", "other@callout.test") == ["250 2.1.5", "450 4.1.1"]
    finally:
        # The same port, which the policy names.
        port = gateway.path.parent / "policies/callout.toml"
        behind.path.write_text(behind.path.read_text().replace("127.0.0.1:0", _address(port.read_text())))
        behind.start()


def _address(policy: str) -> str:
    return policy.partition("smtp://")[2].partition("?")[0]


@pytest.mark.parametrize("domain", ["unsure.test", "dead.test"])
def test_a_next_hop_that_cannot_tell_makes_clients_wait(gateway: Gateway, domain: str) -> None:
    assert rcpt(gateway, f"anna@{domain}") == ["450 4.1.1"]


def test_a_list_says_who_is_there(gateway: Gateway) -> None:
    told = rcpt(gateway, "anna@list.test", "ANNA@LIST.test", "carl@list.test", "anyone@second.test")
    assert told == ["250 2.1.5", "250 2.1.5", "550 5.1.1", "250 2.1.5"]


def test_the_postmaster_is_always_there(gateway: Gateway) -> None:
    addresses = ["postmaster", "PostMaster", "postmaster@list.test", "Postmaster@CALLOUT.test", "postmaster@dead.test"]
    assert rcpt(gateway, *addresses) == ["250 2.1.5"] * 5
    identity = trace_id(gateway.mail("postmaster"))
    # [contact] postmaster: the bare one is somebody's mailbox.
    [stored] = gateway.await_maildir("anna@list.test")
    assert identity.encode() in stored


def test_swaks_is_refused_with_the_reply_of_an_unknown_user(gateway: Gateway) -> None:
    told = swaks(gateway.port(), "--from", "anna@senders.test", "--to", "nobody@list.test", status=24)
    assert "<** 550 5.1.1 [" in told


def test_a_notification_has_one_recipient(gateway: Gateway) -> None:
    assert rcpt(gateway, "anna@list.test", "anyone@second.test", sender="") == ["250 2.1.5", "452 4.5.3"]


def test_a_harvest_of_addresses_ends(gateway: Gateway) -> None:
    """The limits on errors are off for nobody: this machine's networks are exempt from rates only."""
    with gateway.connect() as wire:
        wire.hello()
        wire.say("MAIL FROM:<anna@senders.test>")
        replies = [wire.say(f"RCPT TO:<guess{number}@list.test>") for number in range(8)]
    assert [reply[:3] for reply in replies][:4] == ["550"] * 4
    assert "421 4.7.0" in {reply[:9] for reply in replies}, replies
    gateway.await_line("session_closed", "end=errors")


def test_the_hundred_and_first_recipient_waits_for_another_transaction(gateway: Gateway) -> None:
    replies = rcpt(gateway, *(f"r{number}@second.test" for number in range(102)))
    assert replies == ["250 2.1.5"] * 100 + ["452 4.5.3"] * 2


def test_a_session_has_so_many_messages_and_errors(gateway: Gateway) -> None:
    with gateway.connect() as wire:
        assert "LIMITS MAILMAX=3 RCPTMAX=100" in wire.hello()
        for _ in range(3):
            wire.begin("anna@list.test")
            assert wire.finish(b"Subject: x\r\n\r\nx\r\n").startswith("250")
        assert wire.say("MAIL FROM:<anna@senders.test>").startswith("421 4.7.0")
        assert wire.rest() == b""
    with gateway.connect() as wire:
        wire.hello()
        replies = [wire.say(f"NONSENSE {number}") for number in range(6)]
        assert replies[0].startswith("500 5.5.1")
        assert any(reply.startswith("421 4.7.0") for reply in replies), replies
