"""What incidents cost the mail path: processor time a message, with the keeper, samples and suspensions and without.

    python -m tests.benchmarks.incidents_path [--messages 300] [--spam 20] [--starts 2] [--fours 160]    # 40 minutes

One gateway relays bursts of so many messages, ``--spam`` per cent of them spam that is tagged, in turn with all of it
and without: with, without, without, with, and the next four the other way round. Measured is the processor time of all
its processes, from the first message of a burst until the last one is delivered, its verdict is in the journal, and the
keeper has read it. The same processes do both, so how a process lies in memory, which makes it faster or slower for all
of its life, is in neither more than in the other; and what changes slowly on the machine falls out within a four.

What changes quickly does not: one four's share differs from the next one's by 9 to 12 %, since others use the same
processors and their caches. smtp-source and smtp-sink feel that as well, and do the same for every message, whatever
the gateway does; so each burst's processor time is told as a multiple of theirs in the same burst, which leaves 4 to
6 %. What incidents cost these two, for they share the processors, would be missed by that: it is printed beside.

Without: mail goes to a domain whose policy has no ``suspended`` filter, no sample is taken, and a look of the keeper
looks at nothing; it is waited for all the same. What was judged meanwhile is passed over, outside of the bursts. What
has been gathered and not yet stored then is stored in a later burst with incidents, as many as that leaves to another.
Bursts are short: of the same hour, many of 300 messages say more than few of 2,000.

Judged by the middle of all fours, of signed ranks (``ranks.py``), whose interval has to be below 3 % as a whole; ends
with 0 only then. Ruler and numbers were chosen by some 70 fours that are not counted. Nothing is charged apart: the
keeper's looks while nothing is sent are few (a stat of each journal every 0.4 s). Needs Postfix's smtp-source and
smtp-sink.
"""

import argparse
import math
import mmap
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from gateway.incidents import IncidentReader
from gateway.journal.files import journal_files
from gateway.storage import open_readonly
from tests.benchmarks.mail_path import delivered, processor, seconds_of, verdict_of
from tests.benchmarks.ranks import CONFIDENCE, signed_ranks
from tests.system.parts import Gateway, Sink, settings, smtp_source, to_server, until

# Of throughput, in per cent, at most.
MOST_SHARE = 3.0
OCTETS = 8192
WITH, WITHOUT = 1, 0
# Names of one length: whatever is done with a name is as much in both.
DOMAINS = {WITH: "kept.test", WITHOUT: "bare.test"}
_RULE = """\
[[rule]]
name = "cheap"
when = { subject = { contains = ["cheap pills"] } }
action = "tag"
ground = "advertising"
"""
# Run by every process of the gateway at its start. The octets of the file: whether incidents are wanted, a number, and
# the number that was there when the keeper last began a look that read all there was.
_SWITCHED = """\
import mmap, sys
from pathlib import Path
if "serve" in sys.orig_argv or "gateway.app.offspring" in sys.orig_argv:
    from gateway.abuse.keeper import Round
    from gateway.abuse.sampling import EvidenceSampler
    from gateway.app.incidents import IncidentDesk
    with Path(__file__).with_name("switch").open("r+b") as opened:
        switch = mmap.mmap(opened.fileno(), 3)
    consider, take = EvidenceSampler.consider, IncidentDesk._take
    paused = []
    def considered(self, tx, verdict):
        if switch[0]:
            consider(self, tx, verdict)
    def resume(keeper, seconds):
        for file in keeper._tail._files():
            last = keeper._tail._database(file).read("SELECT coalesce(max(id), 0) FROM event")[0][0]
            keeper._tail._position[file.path.name] = int(last)
        keeper._stored_at += seconds
    def taken(self, turn):
        asked, now = switch[1], self._clock.monotonic()
        if not switch[0] and not self._stopping.is_set():
            paused[:] = paused or [now]
            switch[2] = asked
            return Round()
        if paused:
            resume(self._keeper, now - paused.pop())
        done = take(self, turn)
        if not done.more:
            switch[2] = asked
        return done
    EvidenceSampler.consider = considered
    IncidentDesk._take = taken
"""


class Switched(Gateway):
    """A gateway whose incidents can be switched off and on while it runs; it begins with them."""

    def launch(self, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        home = self.folder / "patch"
        home.mkdir(exist_ok=True)
        (home / "sitecustomize.py").write_text(_SWITCHED, encoding="utf-8")
        (home / "switch").write_bytes(bytes((WITH, 0, 0)))
        with (home / "switch").open("r+b") as opened:
            self._switch = mmap.mmap(opened.fileno(), 3)
        path = os.pathsep.join(filter(None, (str(home), os.environ.get("PYTHONPATH", ""))))
        return super().launch({**(environment or {}), "PYTHONPATH": path})

    def switch(self, wanted: int) -> None:
        """Have the gateway keep incidents from now on, or no longer; return when it does."""
        self._switch[0] = wanted
        self.look()

    def look(self) -> None:
        """Return when the keeper has begun and ended a look; without incidents it looks at nothing, as often."""
        asked = self._switch[1] = (self._switch[1] + 1) % 256
        until(lambda: self._switch[2] == asked, what="a look of the keeper")


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds of one burst: the gateway's, and those of smtp-source and smtp-sink."""

    gateway: float
    clients: float

    def __sub__(self, before: "Spent") -> "Spent":
        return Spent(self.gateway - before.gateway, self.clients - before.clients)

    @property
    def measured(self) -> float:
        """The gateway's as a multiple of the clients'."""
        return self.gateway / self.clients


@dataclass(frozen=True, slots=True)
class Four:
    """Two bursts with incidents and two without."""

    kept: Sequence[Spent]
    bare: Sequence[Spent]

    def share(self, of: Callable[[Spent], float]) -> float:
        """Return how much more there is of something with incidents: the logarithm of the ratio."""
        return sum(math.log(of(kept) / of(bare)) for kept, bare in zip(self.kept, self.bare, strict=True)) / 2


class Bursts:
    """Bursts through one gateway, to a sink."""

    def __init__(self, gateway: Switched, sink: Sink, messages: int, spam: int) -> None:
        self._gateway, self._sink = gateway, sink
        self._messages, self._bad = messages, messages * spam // 100
        self.with_spam = self._sent = 0

    def four(self, turn: int) -> Four:
        """Relay four bursts."""
        spent: dict[int, list[Spent]] = {WITH: [], WITHOUT: []}
        first, second = (WITH, WITHOUT) if turn % 2 == 0 else (WITHOUT, WITH)
        for kind in (first, second, second, first):
            self._gateway.switch(kind)
            before = self._spent()
            self._relay(kind)
            spent[kind].append(self._spent() - before)
        return Four(spent[WITH], spent[WITHOUT])

    def _spent(self) -> Spent:
        # Every smtp-source has ended, and nothing else that this process starts is waited for within a burst.
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert self._sink.process is not None
        sink = seconds_of(self._sink.process.pid)
        return Spent(processor(self._gateway)[0], sink + ended.ru_utime + ended.ru_stime)

    def _relay(self, kind: int) -> None:
        for count, subject in ((self._messages - self._bad, "minutes"), (self._bad, "cheap pills")):
            if count:
                load = ("-s", "20", "-m", str(count), "-l", str(OCTETS), "-S", subject, "-f", "anna@senders.test")
                smtp_source(self._gateway.port(), *load, "-t", f"bob@{DOMAINS[kind]}")
        self._sent += self._messages
        self.with_spam += self._bad if kind == WITH else 0
        data = self._gateway.data
        until(lambda: min(delivered(data), judged(data)) >= self._sent, seconds=120, what="the last message delivered")
        self._gateway.look()

    def check(self) -> None:
        """See that all spam with incidents is on record, and none without: else something else was measured."""
        self._gateway.switch(WITH)
        until(lambda: sightings(self._gateway.data) >= self.with_spam, seconds=60, what="the last verdict folded")
        found = sightings(self._gateway.data)
        assert found == self.with_spam, f"{found} sightings of {self.with_spam} spam messages"


def judged(data: Path) -> int:
    """Return how many verdicts the journals tell of."""
    found = 0
    for file in journal_files(data / "journal"):
        with open_readonly(file.path) as database:
            found += int(database.read("SELECT count(*) FROM event WHERE kind = 'message_judged'")[0][0])
    return found


def sightings(data: Path) -> int:
    """Return how many verdicts are folded."""
    with IncidentReader(data) as reader:
        return int(reader.rows("SELECT coalesce(max(id), 0) FROM sighting")[0][0])


def measured(options: argparse.Namespace) -> list[Four]:
    """Return the fours of one start, printing each."""
    with tempfile.TemporaryDirectory() as folder:
        sink = Sink(("-c",)).start()
        gateway = Switched(Path(folder))
        try:
            off = "[filters.suspended]\nenabled = false\n"
            policies = {
                domain: to_server(domain, url=sink.url(), more=(off if kind == WITHOUT else "") + _RULE)
                for kind, domain in DOMAINS.items()
            }
            gateway.configure(settings(workers=2, more="[queue]\n"), policies)
            gateway.start()
            bursts = Bursts(gateway, sink, options.messages, options.spam)
            # Neither the first connections nor the making of the record are counted.
            bursts.four(0)
            fours = [_told(bursts.four(turn), 2 * options.messages) for turn in range(options.fours)]
            bursts.check()
        finally:
            gateway.destroy()
            sink.destroy()
    return fours


def _told(four: Four, messages: int) -> Four:
    kept, bare = (1e3 * sum(burst.gateway for burst in bursts) / messages for bursts in (four.kept, four.bare))
    share, judged = (_per_cent(four.share(attrgetter(of))) for of in ("gateway", "measured"))
    print(
        f"{kept:.4f} ms a message with incidents, {bare:.4f} without: {share:+.2f} %, "
        f"as multiples of the clients' {judged:+.2f} %",
        flush=True,
    )
    return four


def _per_cent(logarithm: float) -> float:
    return 100 * math.expm1(logarithm)


def judge(fours: Sequence[Four]) -> int:
    """Print what all fours show against the promise, in per cent; return 0 only when it is shown to be kept."""
    _tell("smtp-source and smtp-sink", fours, attrgetter("clients"))
    _tell("the gateway, as it is", fours, attrgetter("gateway"))
    verdict = verdict_of(
        _tell("judged: the gateway, as a multiple of theirs", fours, attrgetter("measured")), MOST_SHARE
    )
    print(f"of {MOST_SHARE:g} % promised: {verdict}")
    return 0 if verdict == "kept" else 1


def _tell(what: str, fours: Sequence[Four], of: Callable[[Spent], float]) -> tuple[float, float] | None:
    """Print how much more there is of something with incidents; return its interval, in per cent."""
    middle, within = signed_ranks([four.share(of) for four in fours])
    bounds = (_per_cent(within[0]), _per_cent(within[1])) if within else None
    told = f"{bounds[0]:+.2f} to {bounds[1]:+.2f} % at {CONFIDENCE:.0%}" if bounds else "too few to tell how certain"
    print(f"{what}: {len(fours)} fours, {_per_cent(middle):+.2f} %, {told}")
    return bounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=300)
    parser.add_argument("--spam", type=int, metavar="PER CENT", default=20)
    parser.add_argument("--starts", type=int, default=2)
    parser.add_argument("--fours", type=int, default=160, help="of each start")
    options = parser.parse_args()
    sys.exit(judge([four for _ in range(options.starts) for four in measured(options)]))


if __name__ == "__main__":
    main()
