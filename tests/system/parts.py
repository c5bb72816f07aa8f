"""What an operator has in hand: a gateway in a folder, a mail server behind it, clients in front of it.

Nothing here is a stand-in: ``Gateway`` runs ``python -m gateway serve``, ``Sink`` Postfix's smtp-sink, ``swaks`` and
``smtp_source`` the programs of these names; ``Wire`` is a socket, for what no honest program sends. Waiting is for
conditions, with a deadline; ``Gateway.destroy`` leaves no process behind, whatever happened.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app

HOSTNAME = "mx.gate.test"
# A loaded machine with two cores starts a gateway in some seconds.
PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.02
# Below those that Linux gives to whoever asks for any.
PORTS = range(20_000, 30_000)

Found = TypeVar("Found")


def until(
    condition: Callable[[], Found], *, seconds: float = PATIENCE_SECONDS, what: str | Callable[[], str] = ""
) -> Found:
    """Return the first true value of ``condition``; a failure that says ``what`` when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            told = what if isinstance(what, str) else what()
            pytest.fail(f"waited {seconds:g} s in vain for {told or condition}")
        time.sleep(_POLL_SECONDS)
    return found


def free_port() -> int:
    """Return a port that was free a moment ago, for UDP and TCP; the kernel gives it to nobody by itself."""
    for port in random.SystemRandom().sample(PORTS, 200):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, contextlib.suppress(OSError):
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            return port
    pytest.fail(f"no free port from {PORTS.start} to {PORTS.stop}")


def reserved_port() -> socket.socket:
    """Return a socket whose port nobody else is given: bound, not listening, so that connections are refused.

    A program that sets SO_REUSEADDR can listen on the port all the same (Linux).
    """
    door = socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.bind(("127.0.0.1", 0))
    return door


def program(name: str, package: str) -> str:
    """Return the path of a real program; the test is skipped where it is not installed."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"{name} (package {package}) is not installed")
    return path


def trace_id(reply: str) -> str:
    """Return the trace id in a reply's brackets."""
    found = re.search(r"\[(01[0-9A-Z]{24})\]", reply)
    assert found, reply
    return found[1]


# Processes ------------------------------------------------------------------------------------------------------------


def command_line(pid: int) -> str:
    """Return a process's arguments, "" for one that is gone or only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def processes_of(folder: Path) -> dict[int, str]:
    """Return the arguments of every process that runs in ``folder``, as all of a gateway's do."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if (
                entry.name.isdigit()
                and (entry / "cwd").readlink() == folder
                and (text := command_line(int(entry.name)))
            ):
                found[int(entry.name)] = text
    return found


@dataclass(frozen=True)
class Answer:
    """What a command printed and how it ended."""

    out: str
    err: str
    status: int

    def json(self) -> Any:
        assert self.out, self
        return json.loads(self.out)


class Gateway:
    """One gateway on its own folder, which is its working directory too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.path = folder / "tidegate.toml"
        self.log_path = folder / "serve.log"
        # How every command is told where the configuration is; nothing for the embedded default.
        self.options: tuple[str, ...] = ("--config", str(self.path))
        self.process: subprocess.Popen[bytes] | None = None
        self._log_from = 0
        self._wires: list[Wire] = []

    # Configuration

    def configure(self, text: str, policies: Mapping[str, str]) -> None:
        """Write tidegate.toml and the policies, by file name without ``.toml``."""
        self.path.write_text(text, encoding="utf-8")
        (self.folder / "blocklists").mkdir(exist_ok=True)
        for name, policy in policies.items():
            self.write_policy(name, policy)

    def write_policy(self, name: str, text: str) -> None:
        folder = self.folder / "policies"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")

    # The process

    def launch(self, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start ``serve`` without waiting for anything."""
        self._log_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve", *self.options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        return self.process

    def start(self, environment: Mapping[str, str] | None = None) -> "Gateway":
        """Start ``serve`` and wait until it says that it serves."""
        process = self.launch(environment)
        until(lambda: self._greeted() or process.poll() is not None, what="the gateway's greeting")
        assert process.poll() is None, f"serve ended with {process.returncode}:\n{self.log()}"
        return self

    def _greeted(self) -> bool:
        return " serves " in self.log()

    def stop(self, *, seconds: float = PATIENCE_SECONDS) -> int:
        """Send SIGTERM and return the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(seconds)

    def kill(self) -> None:
        """Kill every process of this gateway at once."""
        for pid in processes_of(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def destroy(self) -> None:
        """Leave nothing behind."""
        for wire in self._wires:
            wire.close()
        self.kill()
        until(lambda: not processes_of(self.folder), what=lambda: f"the end of {processes_of(self.folder)}")

    def workers(self) -> dict[int, int]:
        """Return the process id of every worker, by its number."""
        found = {}
        for pid, text in processes_of(self.folder).items():
            if number := re.match(r"tidegate: worker (\d+)", text):
                found[int(number[1])] = pid
        return found

    def nursery(self) -> int | None:
        """Return the process id of what forks the workers, None while there is none."""
        return next((pid for pid, text in processes_of(self.folder).items() if "tidegate: nursery" in text), None)

    def writers(self) -> dict[int, int]:
        """Return the process id of every spool's writer, by its shard's number."""
        found = {}
        for pid, text in processes_of(self.folder).items():
            if shard := re.search(r"gateway\.storage\.child .*shard-(\d+)\.sqlite", text):
                found[int(shard[1])] = pid
        return found

    # What it says

    def log(self) -> str:
        """Return what it has said since its last start."""
        with self.log_path.open("rb") as file:
            file.seek(self._log_from)
            return file.read().decode("utf-8", "replace")

    def lines(self, *words: str) -> list[str]:
        """Return the log lines that hold every one of ``words``."""
        return [line for line in self.log().splitlines() if all(word in line for word in words)]

    def await_line(self, *words: str, count: int = 1, seconds: float = PATIENCE_SECONDS) -> list[str]:
        """Wait for log lines."""
        return until(
            lambda: (found := self.lines(*words)) and len(found) >= count and found,
            seconds=seconds,
            what=lambda: f"{count} lines with {words} in:\n{self.log()[-3000:]}",
        )

    def port(self, role: str = "mx", number: int = 0) -> int:
        """Return the port of a listener, the ``number``th of a role."""
        [line] = self.lines(" serves ")
        return [int(port) for port, found in re.findall(r":(\d+) (mx|relay)\b", line) if found == role][number]

    def metrics_url(self) -> str:
        """Return where metrics and health are served."""
        return re.search(r"http://[0-9.]+:\d+", self.await_line("metrics and health on")[0])[0]

    # What it is asked

    def ask(self, *arguments: str) -> Answer:
        """Run a command of the command line, in this process, which saves its start."""
        result = CliRunner().invoke(app, [*arguments, *self.options])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.stdout, result.stderr, result.exit_code)

    def run(self, *arguments: str) -> Answer:
        """Run a command of the command line in a process of its own."""
        return run_command(*arguments, *self.options, folder=self.folder)

    def queue(self, *options: str) -> list[dict[str, Any]]:
        """Return ``queue list --json``, a dictionary a copy, its message's id with it."""
        answer = self.ask("queue", "list", "--json", *options)
        assert answer.status == 0, answer
        return [copy | {"id": m["id"]} for m in answer.json()["messages"] for copy in m["recipients"]]

    def states(self) -> dict[str, str]:
        """Return the state of every copy in custody, by recipient."""
        return {copy["recipient"]: copy["state"] for copy in self.queue()}

    def status(self) -> dict[str, Any]:
        """Return ``status --json``."""
        answer = self.ask("status", "--json")
        assert answer.status in {0, 1}, answer
        return answer.json()

    def maildir(self, address: str) -> list[bytes]:
        """Return the messages in an address's Maildir, oldest first."""
        local_part, _, domain = address.partition("@")
        paths = (self.folder / "maildir" / domain / local_part / "new").glob("*")
        return [path.read_bytes() for path in sorted(paths)]

    def await_maildir(self, address: str, count: int = 1, *, seconds: float = PATIENCE_SECONDS) -> list[bytes]:
        """Wait until so many messages are in an address's Maildir."""
        return until(
            lambda: (found := self.maildir(address)) and len(found) >= count and found,
            seconds=seconds,
            what=lambda: f"{count} messages for {address}; log:\n{self.log()[-3000:]}",
        )

    def connect(self, role: str = "mx", number: int = 0) -> "Wire":
        """Connect to a listener, and hear its greeting."""
        wire = Wire(self.port(role, number))
        self._wires.append(wire)
        assert wire.reply().startswith("220 ")
        return wire

    def mail(self, *recipients: str, sender: str = "anna@senders.test", content: bytes | None = None) -> str:
        """Send one mail in a session of its own; return the reply to the final dot, or the first refusal."""
        with self.connect() as wire:
            wire.hello()
            return wire.mail(*recipients, sender=sender, content=content or message())


def run_command(*arguments: str, folder: Path, seconds: float = PATIENCE_SECONDS) -> Answer:
    """Run ``tidegate`` with arguments in ``folder``."""
    environment = {name: value for name, value in os.environ.items() if name != "TIDEGATE_CONFIG"}
    result = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    return Answer(result.stdout, result.stderr, result.returncode)


def settings(*listeners: str, workers: int = 1, more: str = "") -> str:
    """Return a tidegate.toml: ``listeners`` are the keys of a ``[[listen]]`` each, their ports free ones.

    ``more`` are further tables; those that are here too stand aside for it.
    """
    text = f'hostname = "{HOSTNAME}"\ndata = "data"\nworkers = {workers}\n'
    tables = {
        "[limits]": 'free_disk_floor = "1M"\n',
        "[queue]": 'retry = ["1s*"]\nidle = "1s"\n',
        # Whole messages that the gateway sends itself would be counted by tests that count.
        "[service]": 'probe_message_every = "0s"\n',
    }
    text += "".join(f"{name}\n{keys}" for name, keys in tables.items() if name not in more)
    for listener in listeners or ('role = "mx"',):
        text += f'[[listen]]\naddress = "127.0.0.1:0"\n{listener}\n'
    return text + more


def to_maildir(*domains: str, more: str = "") -> str:
    """Return a policy whose mail goes to the Maildirs in the gateway's folder."""
    return f'domains = {json.dumps(domains)}\nnext_hop = ["maildir:maildir"]\n{more}'


def to_server(*domains: str, url: str, more: str = "") -> str:
    """Return a policy whose mail goes to a server."""
    return f'domains = {json.dumps(domains)}\nnext_hop = ["{url}"]\n{more}'


# Mail -----------------------------------------------------------------------------------------------------------------

_numbers = iter(range(1, 1_000_000))


def message(*fields: str, body: str = "Hello.", author: str = "anna@senders.test") -> bytes:
    """Return an honest message with a Message-ID of its own; ``fields`` come last in its header section."""
    number = next(_numbers)
    header = [
        f"From: {author}",
        "To: undisclosed-recipients:;",
        f"Subject: message {number}",
        "Date: Sun, 22 Nov 2026 17:00:00 +0000",
        f"Message-ID: <{number}.{os.getpid()}@senders.test>",
        *fields,
    ]
    return "\r\n".join([*header, "", body, ""]).encode()


def message_id(content: bytes) -> str:
    """Return the Message-ID of what ``message`` made, without its brackets."""
    return re.search(rb"^Message-ID: <([^>]+)>", content, re.MULTILINE)[1].decode()


def received(stored: bytes) -> EmailMessage:
    """Return stored octets parsed."""
    import email.policy  # noqa: PLC0415 - beside the one line that needs it

    return email.message_from_bytes(stored, policy=email.policy.default)


# Clients --------------------------------------------------------------------------------------------------------------


class Wire:
    """A connection spoken over by hand."""

    def __init__(self, port: int, *, seconds: float = PATIENCE_SECONDS) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), seconds)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def reply(self) -> str:
        """Return the next reply, its lines joined by LF; "" when the connection is closed."""
        lines = []
        while line := self._file.readline():
            lines.append(line.decode("ascii").rstrip("\r\n"))
            if line[3:4] != b"-":
                break
        return "\n".join(lines)

    def rest(self) -> bytes:
        """Return what comes until the other side closes."""
        with contextlib.suppress(ConnectionError):
            return self._file.read()
        return b""

    def say(self, line: str) -> str:
        """Send one command and return its reply."""
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def hello(self, name: str = "client.example") -> str:
        """Say EHLO; return the extensions."""
        reply = self.say(f"EHLO {name}")
        assert reply.startswith("250"), reply
        return reply

    def begin(self, *recipients: str, sender: str = "anna@senders.test") -> None:
        """Open a transaction up to 354."""
        for line, code in (
            (f"MAIL FROM:<{sender}>", "250"),
            *((f"RCPT TO:<{recipient}>", "250") for recipient in recipients),
            ("DATA", "354"),
        ):
            reply = self.say(line)
            assert reply.startswith(code), (line, reply)

    def finish(self, content: bytes) -> str:
        """Send the content and its end; return the reply to the final dot."""
        stuffed = re.sub(rb"^\.", b"..", content, flags=re.MULTILINE)
        self.send(stuffed + b".\r\n")
        return self.reply()

    def mail(self, *recipients: str, sender: str = "anna@senders.test", content: bytes) -> str:
        """Send one mail; return the reply to the final dot, or the first refusal."""
        for line in (f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients), "DATA"):
            reply = self.say(line)
            if reply[0] in "45":
                return reply
        return self.finish(content)


def swaks(port: int, *options: str, status: int = 0) -> str:
    """Send one mail with swaks and return its transcript."""
    command = [program("swaks", "swaks"), "--server", "127.0.0.1", "--port", str(port), "--helo", "client.example"]
    result = subprocess.run(
        [*command, *options],
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    transcript = (result.stdout + result.stderr).decode("utf-8", "replace")
    assert result.returncode == status, transcript
    return transcript


def smtp_source(port: int, *options: str) -> None:
    """Send mail with Postfix's smtp-source; it ends with an error when any of it is refused."""
    command = [program("smtp-source", "postfix"), *options, f"127.0.0.1:{port}"]
    result = subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    assert result.returncode == 0, result.stderr.decode()
    assert not result.stderr, result.stderr.decode()


# Next hops ------------------------------------------------------------------------------------------------------------


@dataclass
class Sink:
    """Postfix's smtp-sink on a port of its own, every message in a file; it can be stopped and started otherwise.

    A port that is not given is kept while it is stopped: whoever else were given it would take its mail.
    """

    options: Sequence[str] = ()
    port: int = 0
    address: str = "127.0.0.1"
    # smtp-sink gives up root, so the folder is one that anybody may write to.
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="sink-")))
    process: subprocess.Popen[bytes] | None = None
    _door: socket.socket | None = None

    def __post_init__(self) -> None:
        if not self.port:
            self._door = reserved_port()
            self.port = self._door.getsockname()[1]

    def start(self, *options: str) -> "Sink":
        """Start it, with options instead of the last ones when there are any."""
        self.options = options or self.options
        self.folder.chmod(0o777)
        user = ("-u", "nobody") if os.geteuid() == 0 else ()
        command = [program("smtp-sink", "postfix"), *user, "-d", f"{self.folder}/m.", *self.options]
        self.process = subprocess.Popen(
            [*command, f"{self.address}:{self.port}", "100"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        until(self._listens, what="smtp-sink")
        return self

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.process.stderr.read()
        try:
            socket.create_connection((self.address, self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def destroy(self) -> None:
        self.stop()
        if self._door is not None:
            self._door.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, scheme: str = "smtp", *, tls: str = "none") -> str:
        return f"{scheme}://{self.address}:{self.port}?tls={tls}"

    def messages(self) -> list[bytes]:
        """Return what has arrived, a dump each: the sink's own fields, then the content with LF for CR LF."""
        return [path.read_bytes() for path in self.folder.glob("m.*")]

    def await_message(self, text: str, *, count: int = 1) -> list[bytes]:
        """Wait until so many dumps hold ``text``, such as a Message-ID."""
        return until(
            lambda: (
                (found := [dump for dump in self.messages() if text.encode() in dump]) and len(found) >= count and found
            ),
            what=f"{count} messages with {text}",
        )
