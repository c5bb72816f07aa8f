"""A gateway as an administrator starts it: the real command on a folder of its own, watched as systemd would."""

import json
import os
import queue
import re
import secrets
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# -P: as the installed command does, look for no package in the working directory.
TIDEGATE = (sys.executable, "-P", "-m", "gateway")
POLICY = 'domains = ["{domain}"]\nnext_hop = ["maildir:mail"]\n'
CONFIGURATION = """\
hostname = "mx.house.test"
data = "data"
policies = "policies"
blocklists = "policies"
workers = 2
[[listen]]
address = "127.0.0.1:0"
role = "mx"
"""
START_SECONDS = 50.0


def write_configuration(folder: Path, *domains: str) -> Path:
    """Write a gateway for ``domains`` that delivers into ``folder/mail``; return the configuration file."""
    (folder / "policies").mkdir(parents=True)
    for domain in domains:
        (folder / "policies" / f"{domain}.toml").write_text(POLICY.format(domain=domain), encoding="utf-8")
    file = folder / "tidegate.toml"
    file.write_text(CONFIGURATION, encoding="utf-8")
    return file


@dataclass
class Serving:
    """A running ``tidegate serve``: its process, its log line by line, and the service manager's end."""

    process: subprocess.Popen[str]
    manager: socket.socket
    command: Sequence[str | Path]
    environment: Mapping[str, str]
    lines: "queue.Queue[str]" = field(default_factory=queue.Queue)
    log: list[str] = field(default_factory=list)

    def heard(self, state: str, seconds: float = START_SECONDS) -> None:
        """Wait until the gateway tells its service manager ``state``."""
        deadline = time.monotonic() + seconds
        self.manager.settimeout(0.5)
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if state in self.manager.recv(4096).decode().splitlines():
                    return
            except TimeoutError:
                continue
        pytest.fail(f"{state} was not heard, exit status {self.process.poll()}:\n{self.everything()}")

    def said(self, pattern: str, seconds: float = 20.0) -> re.Match[str]:
        """Wait for a log line, after those already waited for, and return the match."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self.lines.get(timeout=left)
            except queue.Empty:
                break
            self.log.append(line)
            if found := re.search(pattern, line):
                return found
        pytest.fail(f"no log line has {pattern!r}:\n{self.everything()}")

    def everything(self) -> str:
        """Return the log so far."""
        while not self.lines.empty():
            self.log.append(self.lines.get())
        return "".join(self.log)

    def tidegate(self, *arguments: str, status: int = 0) -> str:
        """Run another command on the same configuration and return what it printed."""
        done = subprocess.run(
            [*self.command, *arguments], env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def digests(self) -> set[str]:
        """Return the digests of the configurations that the workers serve."""
        return {worker["digest"] for worker in json.loads(self.tidegate("status", "--json"))["workers"]}

    def stop(self) -> int:
        """Ask it to end as a service manager does, and return the exit status."""
        self.process.terminate()
        return self.process.wait(30)


Serve = Callable[..., Serving]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start gateways: ``serve(configuration file)`` returns when it is ready."""
    started: list[Serving] = []

    def start(
        configuration: Path | None,
        *,
        command: Sequence[str | Path] = TIDEGATE,
        folder: Path | None = None,
        before: Sequence[str | Path] = (),
    ) -> Serving:
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # An abstract name: a path in the test's folder may be longer than a socket address.
        name = f"tidegate-house-{secrets.token_hex(8)}"
        manager.bind(f"\0{name}")
        environment = {**os.environ, "NOTIFY_SOCKET": f"@{name}", "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("TIDEGATE_CONFIG", None)
        if configuration is not None:
            environment["TIDEGATE_CONFIG"] = str(configuration)
        process = subprocess.Popen(
            [*before, *command, "serve"], env=environment, cwd=folder, stderr=subprocess.PIPE, text=True
        )
        serving = Serving(process, manager, command, environment)
        started.append(serving)
        threading.Thread(target=_collect, args=(process, serving.lines), daemon=True).start()
        serving.heard("READY=1")
        return serving

    yield start
    for serving in started:
        if serving.process.poll() is None:
            serving.process.terminate()
        try:
            serving.process.wait(30)
        except subprocess.TimeoutExpired:
            serving.process.kill()
            serving.process.wait()
        serving.manager.close()


def _collect(process: "subprocess.Popen[str]", lines: "queue.Queue[str]") -> None:
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            lines.put(line)


def client(serving: Serving) -> smtplib.SMTP:
    """Return a session that has said EHLO; the listener's port is in the log."""
    for line in [*serving.log, serving.everything()]:
        if found := re.search(r"serves 127\.0\.0\.1:(\d+)", line):
            return _greeted(int(found[1]))
    return _greeted(int(serving.said(r"serves 127\.0\.0\.1:(\d+)")[1]))


def _greeted(port: int) -> smtplib.SMTP:
    smtp = smtplib.SMTP("127.0.0.1", port, local_hostname="client.house.test", timeout=30)
    smtp.ehlo()
    return smtp
