"""rspamd with SPF, DKIM, ARC and DMARC and nothing else, beside an Unbound that knows the benchmark's records.

Its figure has more in it: rspamd parses MIME, text and links of each message whatever is asked of it, and takes it by
HTTP. Ours is the methods alone; what the gateway spends on a message besides is in ``relay.py``'s figures.
"""

import http.client
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from measure import cpu_seconds
from programs import find

CONFIGURATION = Path(__file__).parent / "rspamd/senderauth.conf"
# It compiles its tables first.
START_SECONDS = 60.0
NEEDED = ("rspamd", "unbound")
HOW_TO_GET = "Debian, Ubuntu: apt-get install --no-install-recommends rspamd unbound"
UNBOUND = """\
server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  interface: 127.0.0.1@{port}
  access-control: 0.0.0.0/0 allow
  do-ip6: no
  num-threads: 1
  module-config: "iterator"
  local-zone: "." static
{data}
remote-control:
  control-enable: no
"""
HEADERS = {
    "IP": "192.0.2.1",
    "Helo": "mail.author.example",
    "From": "alice@author.example",
    "Rcpt": "bob@there.example",
    "Hostname": "mail.author.example",
}


class Rspamd:
    """A running rspamd."""

    title = "rspamd"

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self._process = process
        self._port = port

    def milliseconds(self, octets: bytes, count: int) -> float:
        """Return CPU ms a message over ``count`` of them, after one that fills its caches."""
        said = self._scan(octets)
        for symbol in (b"R_SPF_ALLOW", b"R_DKIM_ALLOW", b"ARC_ALLOW", b"DMARC_POLICY_ALLOW"):
            if symbol not in said:
                raise SystemExit(f"rspamd does not say {symbol.decode()}: {said[:500]!r}")
        began = cpu_seconds(self._process.pid)
        for _ in range(count):
            self._scan(octets)
        return (cpu_seconds(self._process.pid) - began) / count * 1000

    def _scan(self, octets: bytes) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection.request("POST", "/checkv2", octets, HEADERS)
        answer = connection.getresponse().read()
        connection.close()
        return answer


@contextmanager
def running(folder: Path, records: Mapping[tuple[str, str], str]) -> Iterator[Rspamd]:
    """Run Unbound and rspamd in ``folder``; ``records`` by name and type."""
    home = folder / "rspamd"
    home.mkdir()
    shutil.chown(home, user="_rspamd")
    folder.chmod(0o755)
    port, dns_port = _free_port(), _free_port()
    text = CONFIGURATION.read_text(encoding="utf-8")
    for word, value in {"FOLDER": home, "PORT": port, "DNS_PORT": dns_port}.items():
        text = text.replace(f"@{word}@", str(value))
    (folder / "rspamd.conf").write_text(text, encoding="utf-8")
    command = [find("rspamd"), "-c", str(folder / "rspamd.conf"), "-u", "_rspamd", "-g", "_rspamd", "-f"]
    with unbound(folder, dns_port, records):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, start_new_session=True, **quiet)
        try:
            _await(process, port)
            yield Rspamd(process, port)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(START_SECONDS)


@contextmanager
def unbound(folder: Path, port: int, records: Mapping[tuple[str, str], str]) -> Iterator[None]:
    """Run an Unbound that knows these records and says of every other name that it does not exist."""
    file = folder / "unbound.conf"
    file.write_text(UNBOUND.format(folder=folder, port=port, data=unbound_lines(records)), encoding="utf-8")
    process = subprocess.Popen([find("unbound"), "-d", "-c", str(file)], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def unbound_lines(records: Mapping[tuple[str, str], str]) -> str:
    """Return the records as Unbound's local data."""
    lines = [f"  local-data: '{name}. 300 IN {kind} {_value(kind, value)}'" for (name, kind), value in records.items()]
    return "\n".join(lines)


def _value(kind: str, value: str) -> str:
    if kind == "PTR":
        return f"{value}."
    if kind != "TXT":
        return value
    return " ".join(f'"{value[at : at + 200]}"' for at in range(0, len(value), 200))


def _await(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise SystemExit("rspamd does not listen")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
