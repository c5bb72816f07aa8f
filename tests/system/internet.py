"""The rest of the Internet on this machine: names served by a real Unbound, and the mail servers that they lead to.

MX records name no port, so those servers listen on port 25 of loopback addresses of their own, which needs root: each
file takes a /16 of 127/8 that nobody else uses.
"""

import os
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.system.parts import Sink, free_port, program

_UNBOUND = """\
server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  interface: 127.0.0.1@{port}
  do-ip6: no
  num-threads: 1
  module-config: "iterator"
  local-zone: "." static
  local-data: ". 60 IN SOA ns. hostmaster. 1 7200 600 86400 60"
{records}
remote-control:
  control-enable: no
"""


@contextmanager
def name_server(folder: Path, records: Iterable[str]) -> Iterator[str]:
    """Serve these records (``far.test. 60 IN MX 10 mail.far.test.``) and nothing else; yield the server's address."""
    port, configuration = free_port(), folder / "unbound.conf"
    data = "\n".join(f"  local-data: '{record}'" for record in records)
    configuration.write_text(_UNBOUND.format(folder=folder, port=port, records=data), encoding="ascii")
    process = subprocess.Popen(
        [program("unbound", "unbound"), "-d", "-c", str(configuration)], stderr=subprocess.PIPE, text=True
    )
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if "start of service" in line:
                break
        else:
            pytest.fail(f"unbound ended: {''.join(said)}")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


@contextmanager
def mail_servers(servers: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Sink]]:
    """Run an smtp-sink on port 25 of each address, with its options; yield them by address."""
    if os.geteuid() != 0:
        pytest.skip("a mail server on port 25 needs root")
    found = {}
    with ExitStack() as stack:
        for address, options in servers.items():
            with socket.socket() as probe:
                try:
                    probe.bind((address, 25))
                except OSError as error:
                    pytest.skip(f"port 25 of {address} is taken: {error}")
            found[address] = Sink(options, address=address, port=25)
            stack.callback(found[address].destroy)
            found[address].start()
        yield found
