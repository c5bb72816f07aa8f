"""What incidents cost the mail path: processor time a message, with the keeper, samples and suspensions and without.

    python -m tests.benchmarks.incidents_path [--messages 400] [--spam 20] [--starts 4] [--fours 6] [--idle 60]

Sends bursts of so many messages, ``--spam`` per cent of them spam that is tagged, in turn through a gateway with all of
it and through one without, and tells what it costs of each message's processor time, until the mail is delivered and
every verdict is folded into the record; how that is measured, and when it is shown, ``mail_path.py`` says. The promise
is less than 3 % of throughput; ends with 0 only when that is shown. Judged are the supervisor with its keeper, and the
code of incidents in the workers, timed around its calls. Needs Postfix's smtp-source and smtp-sink.
"""

import argparse
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from gateway.incidents import IncidentReader
from gateway.incidents.schema import database_path
from gateway.storage import StorageError
from tests.benchmarks.mail_path import Found, Trial, add_options, compare, delivered, folder_in, judged
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
if "serve" in sys.orig_argv or "gateway.app.offspring" in sys.orig_argv:
    from gateway.abuse.sampling import EvidenceSampler
    from gateway.app.incidents import IncidentDesk
    async def idle(self): await asyncio.Event().wait()
    EvidenceSampler.consider = lambda self, tx, verdict: None
    IncidentDesk.run = idle
"""
# All that incidents do in a worker, timed around: the look for a suspension, the choice of a sample, and its writing in
# a thread. Each process keeps its sum of seconds in a file of its own, which is mapped.
_TIMED = """\
import mmap, os, struct, sys, threading, time
from pathlib import Path
if "serve" in sys.orig_argv or "gateway.app.offspring" in sys.orig_argv:
    from gateway.abuse.sampling import EvidenceSampler
    from gateway.filters.suspended import SuspendedFilter
    sums, turn = {}, threading.Lock()
    def add(seconds):
        with turn:
            kept = sums.get(os.getpid())
            if kept is None:
                path = Path(__file__).with_name(f"{os.getpid()}.sum")
                path.write_bytes(bytes(8))
                with path.open("r+b") as opened:
                    kept = sums[os.getpid()] = mmap.mmap(opened.fileno(), 8)
            struct.pack_into("d", kept, 0, struct.unpack_from("d", kept)[0] + seconds)
    def timed(function):
        def call(*args):
            # Asking for the time takes longer than most of what is timed: what it takes is taken off.
            asked = time.thread_time()
            begun = time.thread_time()
            try:
                return function(*args)
            finally:
                add(time.thread_time() - begun - (begun - asked))
        return call
    class Steps:
        def __init__(self, coroutine):
            self.send, self.throw, self.close = timed(coroutine.send), timed(coroutine.throw), coroutine.close
        def __await__(self):
            return self
        def __iter__(self):
            return self
        def __next__(self):
            return self.send(None)
    def awaited(function):
        async def call(*args):
            return await Steps(function(*args))
        return call
    EvidenceSampler.consider = timed(EvidenceSampler.consider)
    EvidenceSampler._keep = awaited(EvidenceSampler._keep)
    EvidenceSampler._write = timed(EvidenceSampler._write)
    SuspendedFilter.examine = awaited(SuspendedFilter.examine)
"""


class Patched(Gateway):
    """A gateway with code that each of its processes runs at its start."""

    code: str

    @property
    def home(self) -> Path:
        """Where that code lies."""
        return self.folder / "patch"

    def launch(self, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        home = self.home
        home.mkdir(exist_ok=True)
        (home / "sitecustomize.py").write_text(self.code, encoding="utf-8")
        path = os.pathsep.join(filter(None, (str(home), os.environ.get("PYTHONPATH", ""))))
        return super().launch({**(environment or {}), "PYTHONPATH": path})


class Without(Patched):
    """A gateway that does everything but keep incidents."""

    code = _WITHOUT


class Timed(Patched):
    """A gateway that sums up what incidents take of its workers."""

    code = _TIMED

    def seconds(self) -> float:
        """Return the processor seconds so far."""
        return sum(struct.unpack("d", path.read_bytes())[0] for path in self.home.glob("*.sum"))


def mail_path(options: argparse.Namespace) -> int:
    """Print what incidents cost of relaying; return the exit status."""
    starts = [_measured(options) for _ in range(options.starts)]
    return judged(starts, of="incidents", most_share=MOST_SHARE, rate=options.rate, where=Found.supervisor_shares)


def _measured(options: argparse.Namespace) -> Found:
    messages, spam = options.messages, options.spam
    with tempfile.TemporaryDirectory() as folder:
        sink = Sink(("-c",)).start()
        kept, plain = Timed(folder_in(folder, "kept")), Without(folder_in(folder, "plain"))
        try:
            for gateway, more in ((kept, ""), (plain, "[filters.suspended]\nenabled = false\n")):
                policy = to_server("example.test", url=sink.url(), more=more + _RULE)
                gateway.configure(settings(workers=2, more="[queue]\n"), {"example.test": policy})
                gateway.start()
                _relay(gateway, messages, spam)
            trial = Trial(
                part=kept,
                plain=plain,
                messages=messages,
                relay=lambda gateway: _relay(gateway, messages, spam),
                settle=lambda: _all_folded(kept.data, messages, spam),
                workers=kept.seconds,
            )
            return compare(trial, fours=options.fours, idle_seconds=options.idle)
        finally:
            kept.destroy()
            plain.destroy()
            sink.destroy()


def _relay(gateway: Gateway, messages: int, spam: int) -> None:
    wanted, bad = delivered(gateway.data) + messages, messages * spam // 100
    for count, subject in ((messages - bad, "minutes"), (bad, "cheap pills")):
        if count:
            load = ("-s", "20", "-m", str(count), "-l", str(OCTETS), "-S", subject)
            smtp_source(gateway.port(), *load, "-f", "anna@senders.test", "-t", "bob@example.test")
    until(lambda: delivered(gateway.data) >= wanted, seconds=120, what="the last message delivered")


def _all_folded(data: Path, messages: int, spam: int) -> None:
    bad = delivered(data) // messages * (messages * spam // 100)
    until(lambda: _sightings(data) >= bad, seconds=120, what="the last verdict folded")


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
    parser.add_argument("--messages", type=int, default=400)
    parser.add_argument("--spam", type=int, metavar="PER CENT", default=20)
    add_options(parser)
    sys.exit(mail_path(parser.parse_args()))


if __name__ == "__main__":
    main()
