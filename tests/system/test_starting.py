"""What breaks if these fail: a gateway that cannot start leaves its operator guessing, or starts where it must not."""

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.parts import (
    PATIENCE_SECONDS,
    Answer,
    Gateway,
    processes_of,
    run_command,
    settings,
    to_maildir,
    until,
)

CONFIG, TRY_AGAIN, UNAVAILABLE = 78, 75, 69


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway]) -> Gateway:
    """A gateway that serves, in the way of others."""
    found = shared_gateway()
    more = '[metrics]\naddress = "127.0.0.1:0"\n'
    found.configure(settings(more=more), {"box": to_maildir("box.test")})
    return found.start()


@pytest.fixture
def other(new_gateway: Callable[[], Gateway]) -> Gateway:
    """A second gateway that is not started yet."""
    found = new_gateway()
    found.configure(settings(), {"box": to_maildir("box.test")})
    return found


def serve(gateway: Gateway) -> Answer:
    """Run ``serve``, which is expected to end by itself."""
    return gateway.run("serve")


def one_line(answer: Answer) -> str:
    """Return what was said: one line, on standard error, and no traceback."""
    assert answer.err.count("\n") == 1, answer.err
    assert answer.out == "", answer
    return answer.err


def test_a_second_gateway_on_the_same_data_is_refused_and_the_first_goes_on(gateway: Gateway) -> None:
    answer = serve(gateway)
    assert answer.status == TRY_AGAIN
    assert re.fullmatch(
        rf"tidegate: {gateway.data} is in use by another gateway \(process {gateway.process.pid}\); stop it first\n",
        one_line(answer),
    )
    assert gateway.mail("still@box.test").startswith("250")


@pytest.mark.parametrize("what", ["another gateway", "another program"])
def test_a_port_in_use_is_named(gateway: Gateway, other: Gateway, what: str) -> None:
    """Two gateways share no port in silence, though workers do (SO_REUSEPORT)."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = gateway.port() if what == "another gateway" else listener.getsockname()[1]
        other.path.write_text(other.path.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        answer = serve(other)
    assert answer.status == TRY_AGAIN
    assert one_line(answer).startswith(f"tidegate: cannot listen on 127.0.0.1:{port}: Address already in use; ")
    assert f"ss -ltnp 'sport = :{port}'" in answer.err


def test_an_address_this_machine_has_not_is_named(other: Gateway) -> None:
    other.path.write_text(other.path.read_text().replace("127.0.0.1:0", "192.0.2.1:2525"))
    answer = serve(other)
    assert answer.status == TRY_AGAIN
    assert one_line(answer).startswith("tidegate: cannot listen on 192.0.2.1:2525: Cannot assign requested address; ")


def test_a_metrics_port_in_use_is_named(gateway: Gateway, other: Gateway) -> None:
    address = gateway.metrics_url().removeprefix("http://")
    other.path.write_text(other.path.read_text() + f'[metrics]\naddress = "{address}"\n')
    answer = serve(other)
    assert answer.status == TRY_AGAIN
    line = one_line(answer)
    assert line.startswith(f"tidegate: [metrics] address: cannot listen on {address}: Address already in use; ")


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="becomes nobody, which only root can")


@pytest.fixture
def unprivileged() -> Iterator[Gateway]:
    """A gateway in a folder that everybody may read and write; pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory(prefix="tidegate-") as name:
        Path(name).chmod(0o755)
        gateway = Gateway(Path(name))
        gateway.configure(settings(), {"box": to_maildir("box.test")})
        gateway.data.mkdir()
        gateway.data.chmod(0o777)
        yield gateway


@root_only
def test_data_that_may_not_be_written_are_named(unprivileged: Gateway) -> None:
    unprivileged.data.chmod(0o700)
    answer = as_nobody(unprivileged)
    assert answer.status == TRY_AGAIN
    assert f"tidegate: {unprivileged.data}/tidegate.pid: Permission denied" in one_line(answer)


@root_only
def test_a_port_that_needs_rights_is_named(unprivileged: Gateway) -> None:
    if Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text().strip() == "0":
        pytest.skip("this machine lets everybody listen below port 1024")
    unprivileged.path.write_text(unprivileged.path.read_text().replace("127.0.0.1:0", "127.0.0.1:89"))
    answer = as_nobody(unprivileged)
    assert answer.status == TRY_AGAIN
    assert "127.0.0.1:89: Permission denied; ports below 1024 need root or CAP_NET_BIND_SERVICE" in one_line(answer)


def as_nobody(gateway: Gateway) -> Answer:
    # The interpreter itself may be where nobody else can read: everything is loaded first.
    script = (
        "import os, sys, encodings.ascii, encodings.utf_8_sig;"
        "import gateway.app.supervisor, gateway.cli.main, gateway.filters; gateway.filters.catalogue();"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); gateway.cli.main.app(sys.argv[1:])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, "serve", *gateway.options],
        cwd=gateway.folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Answer(result.stdout, result.stderr, result.returncode)


BROKEN = {
    "toml": ('hostname = "mx.gate.test\n', r"tidegate\.toml:1: "),
    "unknown key": ('hostname = "mx.gate.test"\nhostnam = 1\n[[listen]]\naddress = "127.0.0.1:0"\n', r":2: hostnam: "),
    "bad value": (settings(more='[queue]\nretry = ["soon"]\n'), r":\d+: queue\.retry\[1\]: "),
    "no listener": ('hostname = "mx.gate.test"\n', r": listen: missing"),
    "not text": ("\udcff\udcfe", r"tidegate\.toml"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_configuration_with_errors_ends_with_78_and_file_line_key(other: Gateway, name: str) -> None:
    text, pattern = BROKEN[name]
    other.path.write_bytes(text.encode("utf-8", "surrogateescape"))
    answer = other.ask("serve")
    assert answer.status == CONFIG, answer
    assert re.search(pattern, answer.err), answer.err
    assert "Traceback" not in answer.err
    assert other.ask("config", "check") == answer


def test_all_errors_of_all_files_come_at_once(other: Gateway) -> None:
    other.path.write_text(settings(more='[smtp]\nbare_newline = "maybe"\n'))
    other.write_policy("box", 'domains = ["box.test"]\nnext_hop = ["smpt://10.0.0.1"]\n')
    other.write_policy("twice", 'domains = ["box.test"]\nnext_hop = ["maildir:x"]\n[filters.heloo]\n')
    answer = serve(other)
    assert answer.status == CONFIG
    for pattern in (
        r"tidegate\.toml:\d+: smtp\.bare_newline: ",
        r"policies/box\.toml:2: next_hop\[1\]: ",
        r"policies/twice\.toml:1: domains\[1\]: box\.test is claimed by",
        r"policies/twice\.toml:3: filters\.heloo: ",
    ):
        assert re.search(pattern, answer.err), (pattern, answer.err)


def test_a_configuration_file_that_is_not_there_is_named(other: Gateway) -> None:
    answer = run_command("serve", "--config", "nowhere.toml", folder=other.folder)
    assert answer.status == CONFIG
    assert "nowhere.toml" in one_line(answer)


@pytest.mark.parametrize("command", ["status", "reload"])
def test_commands_say_that_no_gateway_serves_and_how_to_start_one(other: Gateway, command: str) -> None:
    answer = other.ask(command)
    assert answer.status == UNAVAILABLE, answer
    assert f"no gateway serves {other.data}" in one_line(answer)
    assert "start one with `tidegate serve`" in answer.err


def test_the_queue_of_a_gateway_that_never_was_is_no_empty_queue(other: Gateway) -> None:
    answer = other.ask("queue", "list")
    assert answer.status == UNAVAILABLE, answer
    assert f"there is no spool under {other.data}; --config names" in one_line(answer)


def test_a_data_folder_that_is_a_file_is_named(other: Gateway) -> None:
    other.data.write_text("not a folder")
    answer = serve(other)
    assert answer.status == TRY_AGAIN
    assert str(other.data) in one_line(answer)


def test_a_damaged_spool_is_moved_aside_named_and_mail_is_taken(other: Gateway) -> None:
    other.start()
    other.stop()
    shard = other.data / "spool/shard-0.sqlite"
    damaged = b"this is no database, but somebody's shopping list".ljust(8192, b"\0")
    shard.write_bytes(damaged)
    other.start()
    [line] = other.await_line("storage_failed", "shard-0.sqlite", "moved aside")
    aside = re.search(r"moved aside to (\S+)", line)[1]
    assert f"recover with: sqlite3 {aside} .recover" in line
    assert Path(aside).read_bytes() == damaged
    assert other.mail("after@box.test").startswith("250")
    other.await_maildir("after@box.test")


def test_the_starting_configuration_serves_as_it_is_written(new_gateway: Callable[[], Gateway]) -> None:
    found = new_gateway()
    written = run_command("init", ".", folder=found.folder)
    assert written.status == 0, written
    assert "next: edit tidegate.toml, then tidegate config check --config tidegate.toml" in written.out
    assert found.ask("config", "check").out.startswith("ok: ")
    again = run_command("init", ".", folder=found.folder)
    assert again.status == 1
    assert one_line(again).startswith("nothing written, since these exist already: tidegate.toml")
    found.path.write_text(found.path.read_text().replace("127.0.0.1:2525", "127.0.0.1:0"))
    found.data = found.folder / "var"
    found.start()
    assert found.mail("me@example.test").startswith("250")
    until(lambda: list((found.folder / "var/maildir/example.test/me/new").glob("*")))


@pytest.fixture
def terminal(other: Gateway) -> Iterator[subprocess.Popen[bytes]]:
    """``serve`` on a terminal of its own, as from a shell."""
    leader, follower = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", *other.options],
        cwd=other.folder,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        preexec_fn=_take_terminal,  # noqa: PLW1509 - the child has no threads yet
    )
    os.close(follower)
    process.terminal = leader
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def _take_terminal() -> None:
    import fcntl  # noqa: PLC0415 - in the child only
    import termios  # noqa: PLC0415 - as above

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def read_terminal(leader: int, until_text: str) -> str:
    """Return what the terminal shows, up to a text or the end."""
    shown = b""
    while until_text not in shown.decode().replace("\r\n", "\n"):
        try:
            octets = os.read(leader, 4096)
        except OSError:
            break
        if not octets:
            break
        shown += octets
    return shown.decode().replace("\r\n", "\n")


def test_ctrl_c_on_the_terminal_drains(other: Gateway, terminal: subprocess.Popen[bytes]) -> None:
    shown = read_terminal(terminal.terminal, "Unscanned\n")
    port = int(re.search(r"serves 127\.0\.0\.1:(\d+) mx with 1 worker;", shown)[1])
    with socket.create_connection(("127.0.0.1", port)) as client, client.makefile("rb") as replies:
        assert replies.readline().startswith(b"220 ")
        client.sendall(b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@box.test>\r\nDATA\r\n")
        while not replies.readline().startswith(b"354"):
            pass
        os.write(terminal.terminal, b"\x03")
        assert "draining" in read_terminal(terminal.terminal, "draining")
        client.sendall(b"Subject: last\r\n\r\nlast\r\n.\r\n")
        assert replies.readline().startswith(b"250 2.0.0")
        assert replies.readline().startswith(b"421 4.3.2")
    assert terminal.wait(PATIENCE_SECONDS) == 0
    until(lambda: not processes_of(other.folder), what="the end of every process")
