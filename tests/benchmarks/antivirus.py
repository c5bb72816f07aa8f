"""Virus scanning on the way: Tidegate, and Postfix with rspamd's milter, in front of the same clamd; and Postfix plain.

    python tests/benchmarks/antivirus.py --peer rspamd          about six minutes
    python tests/benchmarks/antivirus.py --rounds 1 --scale 0.1  a quick look

Judged: Tidegate's messages a second are at least three times those of Postfix with rspamd, and no fewer than those of
Postfix without any filter; a 25 MB attachment takes Tidegate at most one and a half times what clamd alone needs for
the message. Printed beside: the delay that scanning adds at 20 messages a second, and what the large message cost in
memory. Systems run interleaved in each round; before anything is measured each scanning one must refuse EICAR.

Tidegate's cache of results is off (``clamd.cache = 0``): smtp-source's messages differ in their header only, and would
be scanned once. rspamd runs without rules, lists and statistics, and has clamd look at the whole message once.

Needs clamd, rspamd and Postfix; installs nothing, touches no installed service, sends to 127.0.0.1 only. Exit: 0
targets met, 1 a target missed, 69 something is missing here, 70 a system failed.
"""

import argparse
import asyncio
import base64
import json
import os
import pwd
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

import latency
from latency import percentile
from load import LOOPBACK, BenchmarkError
from measure import PeakMemory
from places import RECIPIENT, Place, deliver, placed
from programs import find, missing
from progress import Steps
from systems import LIVE_DOMAIN, PROJECT, Postfix, System, Tidegate
from throughput import SCENARIOS, Ratio, Run, Scenario, measure, ratios, summarise

from gateway.antivirus.address import ScannerAddress
from gateway.antivirus.framing import Piece
from gateway.antivirus.scanner import Scanner, ScannerLimits
from gateway.antivirus.selftest import eicar

OK, TARGET_MISSED, UNAVAILABLE, FAILED = 0, 1, 69, 70
MEBI = 1024**2
HOW_TO_GET = "Debian, Ubuntu: apt-get install --no-install-recommends postfix clamav-daemon rspamd"
# The figures.
TIMES_RSPAMD, TIMES_PLAIN, TIMES_CLAMD = 3.0, 1.0, 1.5
ATTACHMENT_OCTETS = 25 * MEBI
CALM_RATE = 20
WARM_UP = 100
START_SECONDS = 30.0
# Its first start compiles patterns for 12 s of processor time.
RSPAMD_START_SECONDS = 180.0
TRIALS = 3
# Where clamd writes each message once, and its parts: memory, as the gateway's example configuration has it.
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
# What clamd scans at a time: as in Debian's configuration.
CLAMD_CONFIGURATION = """\
DatabaseDirectory {folder}/db
LocalSocket {folder}/clamd.sock
LocalSocketMode 666
LogFile {folder}/clamd.log
TemporaryDirectory {scratch}
Foreground yes
StreamMaxLength 200M
MaxScanSize 400M
MaxFileSize 200M
AlertExceedsMax yes
MaxThreads 10
SelfCheck 0
Bytecode no
"""


class Clamd:
    """A clamd of our own with one signature: what is measured is unpacking and hashing, not the number of patterns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "clamd"
        (self.folder / "db").mkdir(parents=True)
        self._scratch = tempfile.TemporaryDirectory(prefix="av-clamd-", dir=MEMORY if MEMORY.is_dir() else folder)
        self.socket = self.folder / "clamd.sock"
        signature = bytes(eicar().octets).hex()
        (self.folder / "db/test.ndb").write_text(f"Eicar-Test-Signature:0:*:{signature}\n")
        (self.folder / "clamd.conf").write_text(
            CLAMD_CONFIGURATION.format(folder=self.folder, scratch=self._scratch.name)
        )

    def __enter__(self) -> Self:
        command = [find("clamd"), "-c", str(self.folder / "clamd.conf")]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise BenchmarkError(f"clamd does not answer; see {self.folder}/clamd.log")
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.socket))
            sock.sendall(b"zPING\0")
            return sock.recv(16) == b"PONG\0"
        return False

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._scratch.cleanup()


def scanning_tidegate(clamd: Clamd) -> type[System]:
    """Return Tidegate in front of this clamd."""

    class ScanningTidegate(Tidegate):
        """Everything else as in the relay benchmark."""

        name = "tidegate"

        def configure(self) -> None:
            super().configure()
            with (self.folder / "tidegate.toml").open("a") as file:
                file.write(f'\n[clamd]\naddress = "unix:{clamd.socket}"\ncache = 0\n')
            with (self.folder / "policies" / f"{LIVE_DOMAIN}.toml").open("a") as file:
                file.write('\n[antivirus]\nmode = "reject"\n')

    return ScanningTidegate


def postfix_with_rspamd(clamd: Clamd, template: str = "rspamd/rspamd.conf", **words: object) -> type[System]:
    """Return Postfix whose milter is an rspamd in front of this clamd; ``words`` are filled into its configuration."""

    class RspamdPostfix(Postfix):
        """rspamd belongs to the system: it starts and stops with it, and its CPU counts."""

        name = "rspamd"

        def configure(self) -> None:
            super().configure()
            (self.folder / "rspamd").mkdir(exist_ok=True)
            shutil.chown(self.folder / "rspamd", user="_rspamd")
            # Over TCP each mail waits 40 ms, since Postfix writes small pieces that Nagle's algorithm holds back.
            self._milter = self.folder / "rspamd/milter.sock"
            self.fill(template, self.folder / "rspamd.conf", CLAMD=clamd.socket, MILTER=self._milter, **words)
            with (self.folder / "etc/main.cf").open("a") as file:
                file.write(f"smtpd_milters = unix:{self._milter}\nmilter_default_action = tempfail\n")

        def launch(self) -> None:
            command = [find("rspamd"), "-c", str(self.folder / "rspamd.conf"), "-u", "_rspamd", "-g", "_rspamd", "-f"]
            self._rspamd = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )
            deadline = time.monotonic() + RSPAMD_START_SECONDS
            while not _listens(self._milter):
                if time.monotonic() > deadline or self._rspamd.poll() is not None:
                    raise BenchmarkError(f"rspamd does not listen; see {self.folder}/rspamd/log")
                time.sleep(0.05)
            super().launch()

        def roots(self) -> tuple[int, ...]:
            return (self.root(), self._rspamd.pid)

        def stop(self) -> None:
            super().stop()
            self._rspamd.send_signal(signal.SIGTERM)
            try:
                self._rspamd.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._rspamd.pid, signal.SIGKILL)
                self._rspamd.wait()

    return RspamdPostfix


def _listens(path: Path) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        return True
    return False


# Throughput -----------------------------------------------------------------------------------------------------------


@contextmanager
def places(kinds: Sequence[type[System]], data: Path) -> Iterator[list[Place]]:
    """Start every system with a sink of its own."""
    with ExitStack() as stack:
        yield [stack.enter_context(placed(kind, data)) for kind in kinds]


def throughput(found: Sequence[Place], scenarios: Sequence[Scenario], rounds: int, steps: Steps) -> list[Run]:
    """Return the runs, system after system in each round."""
    runs = []
    for scenario in scenarios:
        for place in found:
            deliver(place, WARM_UP, scenario.octets, scenario.mail)
        for number in range(1, rounds + 1):
            for place in found:
                steps.begin(f"{scenario.label}, round {number}, {place.name}")
                run = measure(place, scenario, number)
                steps.done(f"{run.scenario:>5}  round {number}  {run.system:<9}{run.rate:7.0f} messages/s")
                runs.append(run)
    return runs


def judge(runs: Sequence[Run], scenarios: Sequence[Scenario]) -> list[tuple[str, Ratio]]:
    """Return Tidegate against each of the others."""
    found = []
    for peer, target in (("rspamd", TIMES_RSPAMD), ("postfix", TIMES_PLAIN)):
        aimed = [Scenario(label=s.label, octets=s.octets, messages=s.messages, target=target) for s in scenarios]
        found += [(peer, ratio) for ratio in ratios(runs, aimed, "tidegate", peer)]
    return found


def refuses_viruses(place: Place) -> None:
    """Send EICAR; a system that takes it scans nothing, and comparing its speed would be a lie."""
    try:
        with smtplib.SMTP(LOOPBACK, place.port, timeout=60) as client:
            client.sendmail("sender@client.bench.test", [RECIPIENT], message(bytes(eicar().octets)))
    except smtplib.SMTPDataError as refused:
        if refused.smtp_code >= 500:
            return
        raise BenchmarkError(f"{place.name} only defers a virus: {refused}") from refused
    raise BenchmarkError(f"{place.name} takes a virus: nothing is scanned")


# The large message ----------------------------------------------------------------------------------------------------


def message(attachment: bytes) -> bytes:
    """Return a mail with one attachment."""
    head = (
        f"From: <sender@client.bench.test>\r\nTo: <{RECIPIENT}>\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
        f"Message-ID: <{time.time_ns()}@client.bench.test>\r\nSubject: large\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee it.\r\n--b\r\n'
        'Content-Type: application/octet-stream; name="a.bin"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    )
    return head.encode() + base64.encodebytes(attachment).replace(b"\n", b"\r\n") + b"--b--\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Large:
    """Seconds for one message with a 25 MB attachment: clamd alone, Tidegate from the final dot to its 250.

    ``memory_octets`` is how much the gateway grew.
    """

    clamd_seconds: tuple[float, ...]
    tidegate_seconds: tuple[float, ...]
    memory_octets: int

    @property
    def ratio(self) -> float:
        """The best of each: what else runs only ever adds."""
        return min(self.tidegate_seconds) / min(self.clamd_seconds)


def large(place: Place, clamd: Clamd) -> Large:
    """Measure fresh random attachments, so that nobody remembers one."""
    contents = [message(os.urandom(ATTACHMENT_OCTETS)) for _ in range(TRIALS)]
    alone = [asyncio.run(_clamd_seconds(clamd, content)) for content in contents]
    if place.root is None:
        raise BenchmarkError("no system to measure")
    with PeakMemory(place.root) as before:
        time.sleep(0.5)
    with PeakMemory(place.root) as during:
        through = [_submitted_seconds(place.port, content) for content in contents]
    return Large(
        clamd_seconds=tuple(alone), tidegate_seconds=tuple(through), memory_octets=during.octets - before.octets
    )


async def _clamd_seconds(clamd: Clamd, content: bytes) -> float:
    scanner = Scanner(ScannerAddress(path=str(clamd.socket)), ScannerLimits(timeout_seconds=120))
    begun = time.perf_counter()
    session = await scanner.scan([Piece(octets=content, digest=sha256(content).hexdigest())])
    if not session.results[0].clean:
        raise BenchmarkError(f"clamd: {session.results[0].reason}")
    return time.perf_counter() - begun


def _submitted_seconds(port: int, content: bytes) -> float:
    """Return the seconds from the final dot to the 250."""
    with smtplib.SMTP(LOOPBACK, port, timeout=180) as client:
        client.ehlo("client.bench.test")
        for command in ("MAIL FROM:<sender@client.bench.test>", f"RCPT TO:<{RECIPIENT}>"):
            client.docmd(command)
        client.docmd("DATA")
        client.send(content)
        begun = time.perf_counter()
        client.send(b".\r\n")
        code, text = client.getreply()
        if code != 250:
            raise BenchmarkError(f"the large message was answered {code} {text!r}")
        return time.perf_counter() - begun


# Delay ----------------------------------------------------------------------------------------------------------------


def delays(kinds: Sequence[type[System]], data: Path, steps: Steps) -> list[latency.Latency]:
    """Return the latencies at 20 messages a second, direct first."""
    latency.RATE_PER_SECOND = CALM_RATE
    return latency.compare(kinds, data, steps)


def show(
    runs: Sequence[Run], judged: Sequence[tuple[str, Ratio]], big: Large, late: Sequence[latency.Latency]
) -> list[str]:
    """Print everything and return the targets missed."""
    for summary in summarise(runs):
        print(
            f"{summary.scenario:>6}  {summary.system:<9}{summary.rate:7.0f} messages/s"
            f"  ({summary.rate_low:.0f} to {summary.rate_high:.0f}), {summary.cpu_ms:.2f} ms CPU each"
        )
    missed = []
    for peer, ratio in judged:
        line = f"{ratio.scenario}: tidegate / {peer} {ratio.ratio:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        print(f"{line}, target {ratio.target:g}")
        missed += [] if ratio.met else [line]
    line = f"25 MB attachment: tidegate {min(big.tidegate_seconds):.2f} s, clamd {min(big.clamd_seconds):.2f} s"
    print(f"{line}, ratio {big.ratio:.2f}, target {TIMES_CLAMD:g}; memory grew by {big.memory_octets / MEBI:.0f} MB")
    missed += [line] if big.ratio > TIMES_CLAMD else []
    base = percentile(late[0].arrival_ms, 99)
    for one in late[1:]:
        p50, p99 = percentile(one.arrival_ms, 50), percentile(one.arrival_ms, 99)
        times = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, added p99 {p99 - base:.1f} ms"
        print(f"at {CALM_RATE} messages/s  {one.system:<9} {times}")
    return missed


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=["rspamd"], default="rspamd", help="what Tidegate is compared with")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="interleaved runs of each system and size")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="multiply the messages of a run")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder on the disk to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every run and figure")
    return parser.parse_args(words)


def obstacles() -> list[str]:
    """Everything that is missing, all at once."""
    found = [*missing(("smtp-source", "smtp-sink", "clamd", "rspamd")), *Postfix.obstacles(), *Tidegate.obstacles()]
    try:
        pwd.getpwnam("_rspamd")
    except KeyError:
        found.append("rspamd: the system has no user _rspamd; rspamd's package creates it")
    return found


def run(chosen: argparse.Namespace, data: Path, steps: Steps) -> list[str]:
    """Measure and print; return the targets missed."""
    scenarios = [
        Scenario(label=s.label, octets=s.octets, messages=max(40, round(s.messages * chosen.scale / 4)), target=0.0)
        for s in SCENARIOS
    ]
    with Clamd(data) as clamd:
        kinds = [scanning_tidegate(clamd), postfix_with_rspamd(clamd), Postfix]
        rooms: dict[str, Path] = {name: data / name for name in ("throughput", "latency")}
        for room in rooms.values():
            room.mkdir(mode=0o755)
        steps.announce(len(scenarios) * chosen.rounds * len(kinds) + 2)
        with places(kinds, rooms["throughput"]) as found:
            for place in found[:2]:
                refuses_viruses(place)
            runs = throughput(found, scenarios, chosen.rounds, steps)
            steps.begin("25 MB")
            big = large(found[0], clamd)
            steps.done(f"25 MB  {big.ratio:.2f} times clamd alone")
        late = delays(kinds, rooms["latency"], steps)
    judged = judge(runs, scenarios)
    if chosen.json:
        figures = {"runs": [asdict(r) for r in runs], "large": asdict(big), "latency": [asdict(one) for one in late]}
        chosen.json.write_text(json.dumps(figures, indent=1))
    return show(runs, judged, big, late)


def main() -> int:
    """Check, measure, print, judge."""
    chosen = arguments()
    if lacking := obstacles():
        print("Cannot measure here:", *lacking, "", HOW_TO_GET, sep="\n", file=sys.stderr)
        return UNAVAILABLE
    try:
        with tempfile.TemporaryDirectory(prefix="av-bench-", dir=chosen.data) as folder, Steps() as steps:
            Path(folder).chmod(0o755)
            missed = run(chosen, Path(folder), steps)
    except BenchmarkError as error:
        print(f"failed: {error}", file=sys.stderr)
        return FAILED
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return TARGET_MISSED if missed else OK


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    sys.exit(main())
