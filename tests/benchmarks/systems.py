"""The systems under test, as equals: each is given a folder and two next hops, and starts, listens and stops.

The configurations are files beside this one (``postfix/``, ``tidegate/``); words between ``@`` are filled in here.
"""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from load import BenchmarkError, await_banner, free_port
from programs import find, postfix_obstacles, postfix_setting

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
HOSTNAME = "mx.bench.test"
LIVE_DOMAIN = "bench.test"
DEAD_DOMAIN = "dead.test"
MAX_MESSAGE_OCTETS = 64 * 1024**2
# Postfix's stock limits, and those for 500 idle clients.
POSTFIX_PROCESSES, POSTFIX_CLIENT_CONNECTIONS = 100, 50
STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a system lives and what lies behind it; ``clients`` is how many stay connected at once.

    ``dead_port`` is the next hop of a second domain, and None where there is no such domain.
    """

    folder: Path
    live_port: int
    dead_port: int | None = None
    clients: int = POSTFIX_CLIENT_CONNECTIONS


class System(ABC):
    """A relay under test. ``start`` returns when it accepts connections; ``stop`` when its processes are gone."""

    name: str

    def __init__(self, site: Site) -> None:
        self.site = site
        self.folder = site.folder / self.name
        self.port = free_port()
        self.folder.mkdir(mode=0o755, exist_ok=True)
        self.configure()

    @staticmethod
    @abstractmethod
    def obstacles() -> list[str]:
        """Lines that say what is missing here; empty when it can run."""

    @staticmethod
    @abstractmethod
    def version() -> str:
        """Name and version for the report."""

    @abstractmethod
    def configure(self) -> None:
        """Write the configuration into ``folder``."""

    @abstractmethod
    def launch(self) -> None:
        """Start the processes, without waiting for the banner."""

    @abstractmethod
    def stop(self) -> None:
        """End the processes cleanly; mail not yet delivered stays queued."""

    @abstractmethod
    def root(self) -> int:
        """The process whose tree is the whole system."""

    def roots(self) -> tuple[int, ...]:
        """The processes whose trees together are the system, where one is not all."""
        return (self.root(),)

    @abstractmethod
    def queued(self) -> int:
        """Messages in the queue of the running system."""

    def start(self) -> None:
        """Launch and wait for the 220 banner."""
        self.launch()
        try:
            await_banner(self.port, self.name, alive=self.alive)
        except BenchmarkError as error:
            raise BenchmarkError(f"{error}\n{self.last_words()}") from error

    def alive(self) -> bool:
        """Whether the root process exists; a system that has ended will never greet."""
        return True

    def last_words(self) -> str:
        """The end of the system's log, for a failure's report."""
        log = self.folder / "log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else ["(no log)"]
        return "\n".join(lines[-15:])

    def fill(self, template: str, target: Path, **words: object) -> None:
        """Copy a template beside this file, its ``@WORD@`` replaced."""
        text = (HERE / template).read_text()
        common = {"FOLDER": self.folder, "PORT": self.port, "HOSTNAME": HOSTNAME, "MAX_MESSAGE": MAX_MESSAGE_OCTETS}
        for word, value in (common | words).items():
            text = text.replace(f"@{word}@", str(value))
        target.write_text(text)


class Postfix(System):
    """An own instance of the installed Postfix: ``postfix -c FOLDER/etc``."""

    name = "postfix"

    @staticmethod
    def obstacles() -> list[str]:
        return postfix_obstacles()

    @staticmethod
    def version() -> str:
        return f"Postfix {postfix_setting('mail_version')}"

    def configure(self) -> None:
        for part in ("etc", "queue", "state"):
            (self.folder / part).mkdir(exist_ok=True)
        owner = postfix_setting("mail_owner")
        _require_reachable(self.folder, owner)
        shutil.chown(self.folder / "state", user=owner)
        programs = {name: postfix_setting(name) for name in ("command_directory", "daemon_directory", "setgid_group")}
        dead = self.site.dead_port
        processes = POSTFIX_PROCESSES + max(0, self.site.clients - POSTFIX_CLIENT_CONNECTIONS)
        self.fill(
            "postfix/main.cf",
            self.folder / "etc/main.cf",
            mail_owner=owner,
            LIVE_DOMAIN=LIVE_DOMAIN,
            LIVE_PORT=self.site.live_port,
            SECOND_DOMAIN=f" {DEAD_DOMAIN}" if dead else "",
            TRANSPORT_MAPS=f"transport_maps = inline:{{ {DEAD_DOMAIN}=relay:[127.0.0.1]:{dead} }}" if dead else "",
            PROCESS_LIMIT=processes,
            CLIENT_LIMIT=self.site.clients,
            **programs,
        )
        self.fill("postfix/master.cf", self.folder / "etc/master.cf")

    def launch(self) -> None:
        self._postfix("start")

    def stop(self) -> None:
        try:
            master = self.root()
        except (FileNotFoundError, ValueError):
            return
        self._postfix("stop")
        _await_end(master)

    def root(self) -> int:
        return int((self.folder / "queue/pid/master.pid").read_text())

    def queued(self) -> int:
        # showq would print a line a message; every queued message is one file.
        queues = (self.folder / "queue" / name for name in ("incoming", "active", "deferred"))
        return sum(path.is_file() for queue in queues for path in queue.rglob("*"))

    def _postfix(self, verb: str) -> None:
        command = [find("postfix"), "-c", str(self.folder / "etc"), verb]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise BenchmarkError(f"postfix {verb} failed: {done.stderr.strip()}\n{self.last_words()}")


class Tidegate(System):
    """The gateway of this project: ``python -m gateway serve`` with two workers."""

    name = "tidegate"
    _process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def obstacles() -> list[str]:
        done = _gateway("--version")
        if not done.returncode:
            return []
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        return [f"tidegate: does not start: {last[0]}; pip install '.[test]' in the project"]

    @staticmethod
    def version() -> str:
        return f"Tidegate {_gateway('--version').stdout.split()[-1]}"

    def configure(self) -> None:
        for part in ("data", "policies", "blocklists"):
            (self.folder / part).mkdir(exist_ok=True)
        self.fill("tidegate/tidegate.toml", self.folder / "tidegate.toml", METRICS_PORT=free_port())
        hops = ((LIVE_DOMAIN, self.site.live_port), (DEAD_DOMAIN, self.site.dead_port))
        for domain, port in hops:
            if port is None:
                continue
            policy = self.folder / "policies" / f"{domain}.toml"
            self.fill("tidegate/policies.toml", policy, DOMAIN=domain, NEXT_PORT=port)

    def launch(self) -> None:
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(self.folder / "tidegate.toml")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            raise BenchmarkError(f"tidegate did not stop within {STOP_SECONDS:.0f} s of SIGTERM") from None
        finally:
            self._process = None

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def queued(self) -> int:
        done = _gateway("status", "--json", "--config", str(self.folder / "tidegate.toml"))
        if not done.stdout:
            raise BenchmarkError(f"tidegate status failed: {done.stderr.strip()[-600:]}")
        count: int = json.loads(done.stdout)["queue"]["messages"]
        return count

    def root(self) -> int:
        if self._process is None or not self.alive():
            raise BenchmarkError(f"tidegate is not running\n{self.last_words()}")
        return self._process.pid


SYSTEMS: dict[str, type[System]] = {"tidegate": Tidegate, "postfix": Postfix}


@contextmanager
def running(system: System) -> Iterator[System]:
    """Start a system and stop it whatever happens."""
    try:
        system.start()
        yield system
    finally:
        system.stop()


def _gateway(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", *words]
    return subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True)


def _require_reachable(folder: Path, user: str) -> None:
    closed = [path for path in folder.resolve().parents if not path.stat().st_mode & stat.S_IXOTH]
    if closed:
        raise BenchmarkError(f"{closed[0]}: user {user} may not enter; name another place with --data DIR")


def _await_end(pid: int) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"process {pid} did not end within {STOP_SECONDS:.0f} s")
        time.sleep(0.02)
