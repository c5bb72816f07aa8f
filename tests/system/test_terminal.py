"""What breaks if these fail: whoever types something wrong gets a traceback, or no word of what would be right."""

import socket
import threading
from collections.abc import Callable

import pytest

from tests.system.parts import Gateway, message, settings, to_maildir

MAIL = ("mail.eml", "--from", "you@example.org", "--to", "me@box.test")
EXPLAIN = ("--client-ip", "192.0.2.1", "--helo", "h", "--from", "a@b.example", "--rcpt", "me@box.test")


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway]) -> Gateway:
    found = shared_gateway()
    found.configure(settings(), {"box": to_maildir("box.test")})
    (found.folder / "mail.eml").write_bytes(message())
    (found.folder / "empty.eml").write_bytes(b"")
    return found.start()


@pytest.fixture(autouse=True)
def _in_its_folder(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(gateway.folder)


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (("send", *MAIL, "--server", "127.0.0.1"), 2, "--server 127.0.0.1: host:port is wanted"),
        (("send", *MAIL, "--server", "mx:smtp"), 2, "--server mx:smtp: host:port is wanted"),
        (("send", *MAIL, "--server", "127.0.0.1:99999"), 2, "host:port is wanted"),
        (("send", *MAIL, "--server", "nowhere.invalid:25"), 69, "cannot reach nowhere.invalid:25: "),
        (("send", ".", *MAIL[1:]), 2, "is a directory"),
        (("send", "nothing.eml", *MAIL[1:]), 2, "does not exist"),
        (("send", "empty.eml", *MAIL[1:], "--server", "127.0.0.1:1"), 65, "empty.eml is empty"),
        (("send", *MAIL, "--to", "a\r\nRSET", "--server", "127.0.0.1:1"), 2, "is no address"),
        (("explain", ".", *EXPLAIN), 2, "is a directory"),
        (("explain", "mail.eml", *EXPLAIN, "--rcpt", "two words"), 1, "501 5.1.3 bad forward-path syntax"),
        (
            ("explain", "mail.eml", *EXPLAIN, "--client-ip", "here"),
            2,
            "--client-ip here: an IPv4 or IPv6 address is wanted",
        ),
        (("explain", "mail.eml", *EXPLAIN, "--role", "spy"), 2, "--role spy: allowed: mx, relay"),
        (("trace", "x", "--since", "soon"), 2, '--since soon: a duration such as "30s"'),
        (("queue", "list", "--older-than", "-1d"), 2, "--older-than -1d: a duration such as"),
        (("queue", "list", "--state", "lost"), 1, "'lost' is not a valid RecipientState"),
        (("queue", "list", "--domain", "no domain"), 1, "no domain is no domain"),
        (("queue", "list", "--limit", "0"), 2, "--limit"),
        (("queue", "release"), 2, "say which"),
        (("queue", "drop", "--recipient", "a@b.example"), 2, "say which"),
        (("policy", "show", "nonsense@"), 2, "an address such as anna@example.com is wanted"),
        (("policy", "show", "a@elsewhere.test"), 1, "no policy claims elsewhere.test"),
        (("nonsense",), 2, "No such command"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, tuple) else "",
)
def test_a_mistake_is_answered_with_what_is_wrong(
    gateway: Gateway, command: tuple[str, ...], status: int, said: str
) -> None:
    answer = gateway.ask(*command) if command != ("nonsense",) else gateway.run(*command)
    assert answer.status == status, answer
    assert said in answer.err.replace("\n", " "), answer.err
    assert "Traceback" not in answer.err


def test_a_folder_as_configuration_is_named_by_every_command(gateway: Gateway) -> None:
    gateway.options = ("--config", ".")
    try:
        for command in (("status",), ("reload",), ("queue", "list"), ("trace", "x"), ("config", "check"), ("serve",)):
            answer = gateway.ask(*command)
            assert answer.status == 78, (command, answer)
            assert "cannot be read: Is a directory" in answer.err, command
    finally:
        gateway.options = ("--config", str(gateway.path))


def test_send_prints_the_reply_of_each_refused_recipient_and_goes_on(gateway: Gateway) -> None:
    server = f"127.0.0.1:{gateway.port()}"
    answer = gateway.ask("send", *MAIL, "--to", "x@elsewhere.test", "--server", server)
    assert answer.status == 0
    assert answer.out.startswith("250 2.0.0 [")
    assert answer.err.startswith("x@elsewhere.test: 550 5.7.1 [")
    gateway.await_maildir("me@box.test")


def test_send_takes_international_addresses(gateway: Gateway) -> None:
    server = f"127.0.0.1:{gateway.port()}"
    answer = gateway.ask("send", *MAIL, "--to", "用户@box.test", "--server", server)
    assert answer.status == 0, answer
    gateway.await_line("delivery_attempted", "to=<用户@box.test>", "status=sent")


def test_send_shows_what_a_server_says_that_has_no_time(gateway: Gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def turn_away() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"421 4.7.0 too many connections\r\n")
                connection.recv(100)

        busy = threading.Thread(target=turn_away)
        busy.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        answer = gateway.ask("send", *MAIL, "--server", address)
        busy.join()
    assert answer.status == 75
    assert answer.err == f"tidegate: {address}: 421 4.7.0 too many connections\n"
