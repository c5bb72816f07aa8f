"""Real name servers for the tests of this directory: Unbound on a free port, with a zone of its own."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system.parts import free_port

UNBOUND = shutil.which("unbound", path="/usr/sbin:/usr/local/sbin:/usr/bin")

DIGEST = "0123456789abcdef" * 4

LONG_TXT = " ".join(f'"{"x" * 200}{i:02}"' for i in range(10))

ZONE = f"""\
$ORIGIN gate.example.
@        3600 IN SOA ns hostmaster 1 7200 600 86400 42
@        3600 IN NS  ns
ns       3600 IN A   192.0.2.53
a         120 IN A   192.0.2.1
a         120 IN A   192.0.2.2
a          60 IN AAAA 2001:db8::1
v4only     60 IN A   192.0.2.4
alias      30 IN CNAME a
dangling   30 IN CNAME nowhere
mx         60 IN MX  20 Second.Mail.example.
mx         60 IN MX  10 first.mail.example.
null       60 IN MX  0 .
txt        60 IN TXT "v=spf1 " "include:\\195\\169 " "-all"
long       60 IN TXT {LONG_TXT}
zero        0 IN A   192.0.2.9
_dmarc     60 IN TXT "v=DMARC1; p=reject"
deep.ent   60 IN A   192.0.2.8
xn--fsqu00a 60 IN A  192.0.2.88
1          60 IN PTR Mail.Gate.Example.
tlsa       60 IN TLSA 3 1 1 {DIGEST}
"""

CONFIGURATION = """\
server:
  directory: "{directory}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  verbosity: 1
  do-daemonize: no
  interface: 127.0.0.1@{port}
  do-ip6: no
  num-threads: 1
  module-config: "iterator"
  do-not-query-localhost: no
  local-zone: "silent.example." always_deny
  local-zone: "refused.example." always_refuse
auth-zone:
  name: "gate.example."
  zonefile: "{directory}/gate.zone"
  for-downstream: yes
  for-upstream: yes
auth-zone:
  name: "broken.example."
  primary: 127.0.0.1@{dead_port}
  fallback-enabled: no
remote-control:
  control-enable: no
"""


@pytest.fixture(scope="session")
def unbound(tmp_path_factory):
    """``host:port`` of an Unbound that serves ZONE, refuses, fails and keeps silent by name."""
    if UNBOUND is None:
        pytest.skip("unbound is not installed")
    directory = tmp_path_factory.mktemp("unbound")
    port = free_port()
    (directory / "gate.zone").write_text(ZONE, encoding="ascii")
    configuration = directory / "unbound.conf"
    text = CONFIGURATION.format(directory=directory, port=port, dead_port=free_port())
    configuration.write_text(text, encoding="ascii")
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([UNBOUND, "-d", "-c", configuration], stderr=subprocess.PIPE, stdout=output)
    try:
        wait_for_start(process, log)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=10)


def wait_for_start(process: subprocess.Popen, log: Path) -> None:
    seen = []
    for line in process.stderr:
        seen.append(line.decode(errors="replace"))
        if "start of service" in seen[-1]:
            return
    pytest.fail(f"unbound ended: {''.join(seen)} {log.read_text(encoding='utf-8')}")
