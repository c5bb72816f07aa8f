"""What breaks if these fail: a change of configuration costs mail, a connection, or comes into force by halves."""

import getpass
import re
import signal
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.system.parts import Gateway, message, received, settings, to_maildir, until

STRICT = '[filters.header-sanity]\non = { missing-date = "reject" }\n'
DATELESS = message().replace(b"Date: ", b"X-No-Date: ")


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway]) -> Gateway:
    found = shared_gateway()
    found.configure(settings(workers=2, more='[metrics]\naddress = "127.0.0.1:0"\n'), {"box": to_maildir("box.test")})
    return found.start()


@pytest.fixture
def lenient(gateway: Gateway) -> Gateway:
    """The gateway with the policy and the settings that the tests start from, in force."""
    gateway.configure(settings(workers=2, more='[metrics]\naddress = "127.0.0.1:0"\n'), {"box": to_maildir("box.test")})
    (gateway.folder / "policies/added.toml").unlink(missing_ok=True)
    answer = gateway.ask("reload")
    assert answer.status == 0, answer
    return gateway


def digest(gateway: Gateway) -> str:
    """Return the configuration that every worker serves."""
    [found] = {worker["digest"] for worker in gateway.status()["workers"]}
    return found


def test_new_transactions_follow_the_new_policy_and_open_ones_the_old(lenient: Gateway) -> None:
    with ExitStack() as stack:
        # Enough sessions that both workers have some.
        opened = [stack.enter_context(lenient.connect()) for _ in range(8)]
        for wire in opened:
            wire.hello()
            wire.begin("under@box.test")
        lenient.write_policy("box", to_maildir("box.test", more=STRICT))
        answer = lenient.run("reload")
        assert answer.status == 0, answer
        assert re.search(
            r'policies/box\.toml:4 filters\.header-sanity\.on\.missing-date: 1\.0 → "reject"', answer.out
        ), answer.out
        assert re.search(r"^[0-9a-f]{12} serves$", answer.out, re.MULTILINE)
        assert [wire.finish(DATELESS)[:9] for wire in opened] == ["250 2.0.0"] * 8
        # The same sessions, the next transaction.
        assert {wire.mail("under@box.test", content=DATELESS)[:9] for wire in opened} == {"550 5.7.1"}
        assert {wire.mail("under@box.test", content=message())[:9] for wire in opened} == {"250 2.0.0"}
    lenient.await_maildir("under@box.test", 16)


def test_a_signal_reloads_like_the_command(lenient: Gateway) -> None:
    before = digest(lenient)
    lenient.write_policy("added", to_maildir("added.test"))
    lenient.process.send_signal(signal.SIGHUP)
    until(lambda: digest(lenient) != before, what="the new configuration")
    assert lenient.mail("new@added.test").startswith("250")
    lenient.await_line("configuration_changed", "added.toml: added, for added.test")


def test_the_audit_says_who_reloaded(lenient: Gateway) -> None:
    """Contract §6: an audit trail of every operator action, and a configuration is the greatest of them."""
    assert lenient.ask("reload").status == 0
    lenient.process.send_signal(signal.SIGHUP)

    def operators() -> list[str]:
        return [
            row["operator"] for row in lenient.ask("audit", "--json").json() if row["kind"] == "configuration_changed"
        ]

    me = getpass.getuser()
    found = until(lambda: {me, "signal"} <= set(operators()) and operators(), what="a reload by command and by signal")
    assert set(found) == {me, "signal"}


def test_nothing_changed_is_said(lenient: Gateway) -> None:
    answer = lenient.ask("reload")
    assert answer.status == 0
    assert answer.out == f"nothing changed: {digest(lenient)} serves\n"


@pytest.mark.parametrize("way", ["command", "signal"])
def test_a_broken_file_changes_nothing_and_is_named_with_its_line(lenient: Gateway, way: str) -> None:
    before = digest(lenient)
    space = "\n" if way == "command" else "\n\n"
    lenient.write_policy("added", to_maildir("added.test", more=f"[scores]{space}tag = 'five'\n"))
    wanted = f"policies/added.toml:{3 + len(space)}: scores.tag: "
    if way == "command":
        answer = lenient.run("reload")
        assert answer.status == 78
        assert wanted in answer.err
        assert answer.err.endswith(f"refused: the configuration {before} goes on serving\n")
        assert answer.out == ""
    else:
        lenient.process.send_signal(signal.SIGHUP)
        lenient.await_line("error configuration_changed", wanted)
    assert digest(lenient) == before
    assert lenient.mail("old@box.test").startswith("250")
    assert lenient.mail("new@added.test").startswith("550 5.7.1")


def test_keys_that_wait_for_a_restart_are_named_and_nothing_is_taken(lenient: Gateway) -> None:
    before = digest(lenient)
    text = lenient.path.read_text()
    changed = text.replace("workers = 2", "workers = 1").replace('data = "data"', 'data = "data2"')
    # The commands read `data` from the file: they must find the gateway that serves.
    lenient.path.write_text(changed.replace('data = "data2"', 'data = "data"'))
    lenient.write_policy("added", to_maildir("added.test"))
    answer = lenient.ask("reload")
    assert answer.status == 78
    assert "workers: a change of this key needs a restart of the gateway" in answer.err
    assert digest(lenient) == before
    lenient.path.write_text(changed)
    lenient.process.send_signal(signal.SIGHUP)
    [line] = lenient.await_line("error configuration_changed", "data: a change of this key needs a restart")
    assert "workers: a change of this key needs a restart" in line
    lenient.path.write_text(text)
    assert digest(lenient) == before


def test_settings_of_the_door_take_force_for_new_sessions(lenient: Gateway) -> None:
    lenient.path.write_text(lenient.path.read_text() + '[smtp]\nbare_newline = "normalise"\n')
    bare = message().replace(b"Hello.", b"Hello\nthere.")
    assert lenient.mail("bare@box.test", content=bare).startswith("550 5.5.2")
    answer = lenient.ask("reload")
    assert answer.status == 0
    assert '"reject" → "normalise"' in answer.out
    assert lenient.mail("bare@box.test", content=bare).startswith("250")
    [stored] = lenient.await_maildir("bare@box.test")
    assert b"Hello\r\nthere." in stored


def test_mail_that_waits_follows_a_corrected_next_hop(lenient: Gateway) -> None:
    lenient.write_policy("added", 'domains = ["added.test"]\nnext_hop = ["smtp://127.0.0.1:1"]\n')
    assert lenient.ask("reload").status == 0
    assert lenient.mail("waits@added.test").startswith("250")
    lenient.await_line("delivery_attempted", "waits@added.test", "status=deferred", "Connection refused")
    lenient.write_policy("added", to_maildir("added.test"))
    assert lenient.ask("reload").status == 0
    [stored] = lenient.await_maildir("waits@added.test")
    assert received(stored)["Delivered-To"] == "waits@added.test"


def test_ten_reloads_in_a_row_under_mail_lose_nothing(lenient: Gateway) -> None:
    with lenient.connect() as wire:
        wire.hello()
        for number in range(10):
            tag = f"[scores]\ntag = {number + 1}.0\n"
            lenient.write_policy("box", to_maildir("box.test", more=tag))
            lenient.process.send_signal(signal.SIGHUP)
            assert wire.mail("many@box.test", content=message()).startswith("250")
    lenient.await_maildir("many@box.test", 10)
    assert len(lenient.workers()) == 2
    assert not lenient.lines("state=died")
