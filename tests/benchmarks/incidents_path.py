"""What incidents cost the mail path: processor time a message, with the keeper, samples and suspensions and without.

    python -m tests.benchmarks.incidents_path [--messages 4000] [--spam 20] [--pairs 6]

Sends so many messages, ``--spam`` per cent of them spam that is tagged, through a gateway with all of it and as many
through one without, in turn, and tells what it costs of each message's processor time, all processes of a gateway
together, until the mail is delivered and every verdict is folded into the record. The promise is less than 3 % of
throughput; ends with 1 when the median of the pairs is above it. Needs Postfix's smtp-source and smtp-sink.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from gateway.incidents import IncidentReader
from gateway.incidents.schema import database_path
from gateway.storage import StorageError
from tests.benchmarks.mail_path import Cost, delivered, folder_in, judged, pair, spent
from tests.system.parts import Gateway, Sink, settings, smtp_source, to_server, until

# Of throughput, in per cent, at most.
MOST_SHARE = 3.0
OCTETS = 8192
_RULE = """\
[[rule]]
name = "cheap"
when = { subject = { contains = ["cheap pills"] } }
action = "tag"
ground = "advertising"
"""
# Run by every process of the gateway at its start.
_WITHOUT = """\
import asyncio, sys
if "gateway.app.worker" in " ".join(sys.orig_argv) or "serve" in sys.orig_argv:
    from gateway.abuse.sampling import EvidenceSampler
    from gateway.app.incidents import IncidentDesk
    async def idle(self): await asyncio.Event().wait()
    EvidenceSampler.consider = lambda self, tx, verdict: None
    IncidentDesk.run = idle
"""


class Without(Gateway):
    """A gateway that does everything but keep incidents."""

    def launch(self, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        home = self.folder / "without"
        home.mkdir(exist_ok=True)
        (home / "sitecustomize.py").write_text(_WITHOUT, encoding="utf-8")
        path = os.pathsep.join(filter(None, (str(home), os.environ.get("PYTHONPATH", ""))))
        return super().launch({**(environment or {}), "PYTHONPATH": path})


def mail_path(messages: int, spam: int, pairs: int) -> int:
    """Print what incidents cost of relaying, pair by pair; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        sink = Sink(("-c",)).start()
        kept, plain = Gateway(folder_in(folder, "kept")), Without(folder_in(folder, "plain"))
        try:
            for gateway, more in ((kept, ""), (plain, "[filters.suspended]\nenabled = false\n")):
                policy = to_server("example.test", url=sink.url(), more=more + _RULE)
                gateway.configure(settings(workers=2, more="[queue]\n"), {"example.test": policy})
                gateway.start()
                _spent(gateway, max(100, messages // 4), spam, counted=gateway is kept)

            def cost(gateway: Gateway) -> Cost:
                return _spent(gateway, messages, spam, counted=gateway is kept)

            costs = [pair(kept, plain, number, cost) for number in range(pairs)]
        finally:
            kept.destroy()
            plain.destroy()
            sink.destroy()
    return judged(costs, "incidents", f"{messages:,} messages, {spam} % spam", MOST_SHARE)


def _spent(gateway: Gateway, messages: int, spam: int, *, counted: bool) -> Cost:
    done, seen = delivered(gateway.data), _sightings(gateway.data)
    bad = messages * spam // 100

    def relay() -> None:
        for count, subject in ((messages - bad, "minutes"), (bad, "cheap pills")):
            if count:
                load = ("-s", "20", "-m", str(count), "-l", str(OCTETS), "-S", subject)
                smtp_source(gateway.port(), *load, "-f", "anna@senders.test", "-t", "bob@example.test")
        until(lambda: delivered(gateway.data) >= done + messages, seconds=120, what="the last message delivered")
        if counted:
            until(lambda: _sightings(gateway.data) >= seen + bad, seconds=120, what="the last verdict folded")

    return spent(gateway, messages, relay)


def _sightings(data: Path) -> int:
    if not database_path(data).exists():
        return 0
    try:
        with IncidentReader(data) as reader:
            return int(reader.rows("SELECT coalesce(max(id), 0) FROM sighting")[0][0])
    except StorageError:
        # Its tables are being made.
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--spam", type=int, metavar="PER CENT", default=20)
    parser.add_argument("--pairs", type=int, default=6)
    options = parser.parse_args()
    sys.exit(mail_path(options.messages, options.spam, options.pairs))


if __name__ == "__main__":
    main()
