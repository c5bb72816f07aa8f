"""A real rbldnsd with the zones of ``../shared/material/dnsbl``, a real Unbound before it, and zones that misbehave."""

import contextlib
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.dns.cache import CachingResolver
from gateway.dns.resolver import DnspythonResolver
from tests.system.parts import free_port

PATH = "/usr/sbin:/usr/local/sbin:/usr/bin"
MATERIAL = Path(__file__).parents[2] / "../shared/material/dnsbl"
ZONES = ("dnsbl.test:ip4set:ip.zone", "dnsbl.test:ip6trie:ip6.zone", "uribl.test:dnset:uri.zone")

UNBOUND = """\
server:
  directory: "{directory}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  do-daemonize: no
  interface: 127.0.0.1@{port}
  do-ip6: no
  num-threads: 1
  module-config: "iterator"
  do-not-query-localhost: no
  local-zone: "test." nodefault
  local-zone: "refused.test." always_refuse
  local-data: "mail.good.test. 60 IN A 203.0.113.99"
  local-data-ptr: "203.0.113.99 60 mail.good.test"
stub-zone:
  name: "dnsbl.test"
  stub-addr: 127.0.0.1@{rbldnsd}
stub-zone:
  name: "uribl.test"
  stub-addr: 127.0.0.1@{rbldnsd}
stub-zone:
  name: "servfail.test"
  stub-addr: 127.0.0.1@{dead}
stub-zone:
  name: "slow.test"
  stub-addr: 127.0.0.1@{silent}
stub-zone:
  name: "unserved.test"
  stub-addr: 127.0.0.1@{rbldnsd}
remote-control:
  control-enable: no
"""


def program(name: str) -> str:
    """Return where a program is; skip, with the reason, where it is not."""
    found = shutil.which(name, path=PATH)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture(scope="session")
def rbldnsd(tmp_path_factory):
    """The port of an rbldnsd that serves the material's zones."""
    binary = program("rbldnsd")
    if not MATERIAL.is_dir():
        pytest.skip("../shared/material is not there")
    folder = tmp_path_factory.mktemp("rbldnsd")
    for zone in {zone.rpartition(":")[2] for zone in ZONES}:
        shutil.copyfile(MATERIAL / zone, folder / zone)
    # The program gives its rights away; whom it becomes must be able to read.
    for directory in (folder, *folder.parents[:2]):
        with contextlib.suppress(PermissionError):
            directory.chmod(0o755)
    port = free_port()
    command = [binary, "-n", "-b", f"127.0.0.1/{port}", "-w", folder, "-c", "0", *ZONES]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        until_it_answers(port, process, folder / "log")
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture(scope="session")
def unbound(rbldnsd, tmp_path_factory):
    """``host:port`` of an Unbound that asks that rbldnsd.

    ``refused.test`` and ``servfail.test`` are what they say; ``slow.test``'s server takes questions and does not answer
    them, ``unserved.test`` is asked of the rbldnsd, which refuses what it does not serve.
    """
    binary = program("unbound")
    silent = socket.socket(type=socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    directory = tmp_path_factory.mktemp("unbound")
    port = free_port()
    text = UNBOUND.format(
        directory=directory, port=port, rbldnsd=rbldnsd, dead=free_port(), silent=silent.getsockname()[1]
    )
    (directory / "unbound.conf").write_text(text, encoding="ascii")
    process = subprocess.Popen([binary, "-d", "-c", directory / "unbound.conf"], stderr=subprocess.PIPE)
    try:
        for line in process.stderr:
            if b"start of service" in line:
                break
        else:
            pytest.fail("unbound ended")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=10)
        silent.close()


@pytest.fixture
async def resolver(unbound):
    caching = CachingResolver(DnspythonResolver([unbound], 2.0, SystemClock()), SystemClock(), 1000)
    yield caching
    await caching.close()


def until_it_answers(port: int, process: subprocess.Popen, log: Path) -> None:
    question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05dnsbl\x04test\x00\x00\x06\x00\x01"
    end = time.monotonic() + 10
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        # The kernel tells a connected socket at once when nobody listens there.
        sock.settimeout(0.2)
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(OSError):
                sock.connect(("127.0.0.1", port))
                sock.send(question)
                sock.recv(512)
                return
    pytest.fail(f"rbldnsd does not answer: {log.read_text(encoding='utf-8')}")
