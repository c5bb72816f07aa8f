"""The door under attack: what listed clients cost us, and what they cost the good mail beside them.

    python tests/benchmarks/door.py                    Tidegate, and Postfix with postscreen where it is installed
    python tests/benchmarks/door.py --only tidegate --rate 500

Good mail comes at 50 messages a second over connections of its own, first alone (idle), then beside so many
connections a second from listed addresses (``attack.py``: 65,536 addresses of 127.9.0.0/16). Both systems know them
from a list of their own: Tidegate from a local block list, postscreen from an access list that drops. Judged, of
Tidegate: the p99 from connecting to the 250 stays within three times its idle value; memory is flat; every attacker is
refused and every good message delivered. Printed beside: CPU for each rejected connection.

Installs nothing, touches no installed mail system, sends to 127.0.0.1 only. Exit: 0 targets met, 1 a target missed, 69
something is missing here, 70 a system failed.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latency import RATE_PER_SECOND, StampingSink, Stamps, percentile, send_one
from load import LOOPBACK, BenchmarkError, free_port
from measure import CORES, cpu_seconds, machine, tree_pss_octets
from programs import HOW_TO_GET, missing
from systems import HERE, Postfix, Site, System, Tidegate, running

OK, TARGET_MISSED, UNAVAILABLE, FAILED = 0, 1, 69, 70
MEBI = 1024**2
# The figures.
RATE, MOST_SLOWED = 2000.0, 3.0
# "Flat": what a process may grow between the first and the last of the attack; caches fill in the warm-up before.
MOST_GROWTH_OCTETS = 16 * MEBI
WARM_UP_SECONDS = 3.0
NETWORK = "127.9.0.0/16"
# A good client that is not served by then has been shut out by the attack.
PATIENCE_SECONDS = 30.0
# The good client, which is on no list.
GOOD = "127.0.0.1"


class GuardedTidegate(Tidegate):
    """With a local block list of the attackers; the limits hold for everybody but the good client."""

    def configure(self) -> None:
        super().configure()
        lists = self.folder / "blocklists"
        (lists / "attackers.txt").write_text(f"{NETWORK}\n")
        (lists / "lists.toml").write_text(
            '[[list]]\nname = "attackers"\nfile = "attackers.txt"\nowner = "benchmark"\nkind = "block"\n'
            'action = "reject"\nreason = "attacks us"\n'
        )
        with (self.folder / "tidegate.toml").open("a") as file:
            file.write(f'\n[limits]\nexempt = ["{GOOD}/32"]\n')


class Postscreen(Postfix):
    """Postfix behind postscreen, which drops the attackers at the greeting; no DNS lists, no after-220 tests."""

    def configure(self) -> None:
        super().configure()
        etc = self.folder / "etc"
        (etc / "access.cidr").write_text(f"{GOOD}/32 permit\n{NETWORK} reject\n")
        with (etc / "main.cf").open("a") as file:
            file.write(f"postscreen_access_list = cidr:{etc}/access.cidr\npostscreen_denylist_action = drop\n")
            file.write("postscreen_blacklist_action = drop\nsmtpd_client_connection_rate_limit = 0\n")
        master = etc / "master.cf"
        text = master.read_text().replace(
            f"127.0.0.1:{self.port} inet n - n - - smtpd",
            f"127.0.0.1:{self.port} inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd\n"
            "dnsblog unix - - n - 0 dnsblog\ntlsproxy unix - - n - 0 tlsproxy",
        )
        master.write_text(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One stretch of good mail: milliseconds from connecting to the 250 of each message, and what the system used."""

    milliseconds: tuple[float, ...]
    cpu_seconds: float
    wall_seconds: float
    other_load: float
    memory_octets: tuple[int, int] = (0, 0)

    @property
    def p99(self) -> float:
        """The 99th percentile."""
        return percentile(self.milliseconds, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One system, idle and under attack."""

    system: str
    idle: Phase
    attacked: Phase
    connections: int
    codes: dict[str, int]
    late_seconds: float
    attack_seconds: float
    attack_cpu_seconds: float

    @property
    def rejected(self) -> int:
        """Connections that heard a refusal, or were closed on."""
        return sum(count for code, count in self.codes.items() if code[:1] in "45" or code == "closed")

    @property
    def cpu_per_rejection_ms(self) -> float:
        """CPU milliseconds that one rejected connection cost beside the good mail."""
        idle = self.idle.cpu_seconds / self.idle.wall_seconds * self.attacked.wall_seconds
        # The attack begins before the phase and outlasts it: only its share of the rejections fell into it.
        within = self.rejected * min(1.0, self.attacked.wall_seconds / self.attack_seconds)
        return 1000 * (self.attacked.cpu_seconds - idle) / max(1.0, within)

    @property
    def slowed(self) -> float:
        """The good mail's p99 under attack, in idle ones."""
        return self.attacked.p99 / self.idle.p99

    @property
    def missed(self) -> list[str]:
        """The targets that were not met."""
        growth = self.attacked.memory_octets[1] - self.attacked.memory_octets[0]
        found = []
        if self.slowed > MOST_SLOWED:
            found.append(f"good mail's p99 is {self.slowed:.1f} × its idle value, at most {MOST_SLOWED:g} is wanted")
        if growth > MOST_GROWTH_OCTETS:
            found.append(f"memory grew by {growth / MEBI:.0f} MB, at most {MOST_GROWTH_OCTETS / MEBI:.0f} is wanted")
        if self.rejected < self.connections:
            found.append(f"{self.connections - self.rejected} of {self.connections} attackers were not refused")
        return found


async def good_mail(port: int, stamps: Stamps, serials: range) -> list[float]:
    """Send at 50 a second; return the milliseconds from connecting to the 250 of each message."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    begun: dict[int, float] = {}

    async def one(serial: int) -> None:
        begun[serial] = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await send_one(port, serial, stamps)
        except TimeoutError:
            raise BenchmarkError(f"a good message had no answer for {PATIENCE_SECONDS:g} s") from None

    async with asyncio.TaskGroup() as group:
        for turn, serial in enumerate(serials):
            await asyncio.sleep(max(0.0, start + turn / RATE_PER_SECOND - loop.time()))
            group.create_task(one(serial))
    while not stamps.arrived.keys() >= set(serials):
        if loop.time() - start > len(serials) / RATE_PER_SECOND + 45.0:
            raise BenchmarkError(f"{len(set(serials) - stamps.arrived.keys())} good messages did not arrive")
        await asyncio.sleep(0.05)
    return [1000 * (stamps.accepted[serial] - begun[serial]) for serial in serials]


async def phase(system: System, stamps: Stamps, serials: range) -> Phase:
    """Measure one stretch; the first seconds warm up and count for nothing."""
    warm = round(WARM_UP_SECONDS * RATE_PER_SECOND)
    await good_mail(system.port, stamps, serials[:warm])
    root = system.root()
    memory, cpu = tree_pss_octets(root), cpu_seconds(root)
    own = time.process_time()
    with machine() as share:
        milliseconds = await good_mail(system.port, stamps, serials[warm:])
        used = cpu_seconds(root) - cpu
    ours = time.process_time() - own
    return Phase(
        milliseconds=tuple(milliseconds),
        cpu_seconds=used,
        wall_seconds=share.wall_seconds,
        other_load=max(0.0, share.share(share.busy_seconds - used - ours)),
        memory_octets=(memory, tree_pss_octets(root)),
    )


async def measure(system: System, sink_port: int, rate: float, seconds: float) -> Result:
    """Measure idle, then under attack, which begins before and ends after."""
    stamps = Stamps()
    server = await asyncio.get_running_loop().create_server(lambda: StampingSink(stamps), LOOPBACK, sink_port)
    messages = round((seconds + WARM_UP_SECONDS) * RATE_PER_SECOND)
    async with server:
        idle = await phase(system, stamps, range(messages))
        attack = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "attack.py"),
            *("--port", str(system.port), "--rate", str(rate), "--network", NETWORK),
            *("--seconds", str(seconds + 2 * WARM_UP_SECONDS)),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            attacked = await phase(system, stamps, range(messages, 2 * messages))
            output, _ = await attack.communicate()
        finally:
            if attack.returncode is None:
                attack.kill()
                await attack.wait()
    heard = json.loads(output)
    return Result(
        system=system.name,
        idle=idle,
        attacked=attacked,
        connections=heard["started"],
        codes=heard["codes"],
        late_seconds=heard["late_seconds"],
        attack_seconds=heard["seconds"],
        attack_cpu_seconds=heard["cpu_seconds"],
    )


def run(kind: type[System], data: Path, rate: float, seconds: float) -> Result:
    """Start a system, measure it, stop it."""
    sink_port = free_port()
    with running(kind(Site(folder=data, live_port=sink_port))) as system:
        print(f"{system.name}: idle, then {rate:g} listed connections a second …", file=sys.stderr)
        try:
            return asyncio.run(measure(system, sink_port, rate, seconds))
        except* (OSError, BenchmarkError) as errors:
            raise BenchmarkError(f"{system.name}: {errors.exceptions[0]}\n{system.last_words()}") from errors


def show(result: Result) -> None:
    """Print one system's figures."""
    idle, attacked = result.idle, result.attacked
    codes = ", ".join(f"{count} {code}" for code, count in sorted(result.codes.items()))
    before, after = (octets / MEBI for octets in attacked.memory_octets)
    print(f"\n{result.system}")
    print(f"  good mail, connect to 250   p50 {percentile(idle.milliseconds, 50):.1f} → ", end="")
    print(f"{percentile(attacked.milliseconds, 50):.1f} ms, p99 {idle.p99:.1f} → {attacked.p99:.1f} ms", end="")
    print(f"  ({result.slowed:.1f} ×)")
    print(
        f"  listed connections          {result.connections}: {codes}; the last began {result.late_seconds:.1f} s late"
    )
    attacker = 1000 * result.attack_cpu_seconds / max(1, result.connections)
    print(f"  CPU a rejected connection   {result.cpu_per_rejection_ms:.3f} ms; the attacker's {attacker:.3f} ms")
    print(f"  CPU of {CORES} cores              {idle.cpu_seconds / idle.wall_seconds / CORES:.0%} → ", end="")
    print(f"{attacked.cpu_seconds / attacked.wall_seconds / CORES:.0%}; attack and others {attacked.other_load:.0%}")
    print(f"  memory under attack         {before:.1f} → {after:.1f} MB")


def obstacles(kinds: Sequence[type[System]]) -> list[str]:
    """Everything that is missing, all at once."""
    found = [line for kind in kinds for line in kind.obstacles()]
    if not Path("/proc/self/smaps_rollup").exists():
        found += ["/proc: memory and CPU are read from Linux's"]
    return found


def main() -> int:
    """Check, measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["tidegate", "postfix"], help="one system; Postfix alone is not judged")
    parser.add_argument("--rate", type=float, default=RATE, metavar="N", help="listed connections a second")
    parser.add_argument("--seconds", type=float, default=15.0, metavar="S", help="of each phase")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder on the disk to measure")
    chosen = parser.parse_args()
    kinds: list[type[System]] = [GuardedTidegate, Postscreen]
    if chosen.only:
        kinds = [GuardedTidegate] if chosen.only == "tidegate" else [Postscreen]
    elif lacking := [*missing(("postfix",)), *Postscreen.obstacles()]:
        print("Without Postfix:", *lacking, sep="\n  ", file=sys.stderr)
        kinds = [GuardedTidegate]
    if lacking := obstacles(kinds):
        print("Cannot measure here:", *lacking, "", HOW_TO_GET, sep="\n", file=sys.stderr)
        return UNAVAILABLE
    results = []
    try:
        with tempfile.TemporaryDirectory(prefix="door-bench-", dir=chosen.data) as folder:
            # Postfix's own user has to pass through.
            Path(folder).chmod(0o755)
            for kind in kinds:
                results.append(run(kind, Path(folder), chosen.rate, chosen.seconds))
                show(results[-1])
    except (BenchmarkError, subprocess.SubprocessError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return FAILED
    missed = [line for result in results if result.system == "tidegate" for line in result.missed]
    print("", *(f"MISSED: {line}" for line in missed), *(() if missed else ("targets met",)), sep="\n")
    return TARGET_MISSED if missed else OK


if __name__ == "__main__":
    sys.exit(main())
