"""What a list of a million addresses costs: compiling, starting, memory, looking up.

    python tests/benchmarks/blocklists.py                       a million entries; a minute
    python tests/benchmarks/blocklists.py --entries 100000 --json out.json

Beside Tidegate's lists, in the same run and with the same entries: a set of Python integers, pytricia (a Patricia trie
in C) and a real rbldnsd asked over loopback. Two lists: single addresses, and addresses with networks from /20 to /30
among them, which a set cannot hold. Every candidate is measured in a process of its own; all must give the same
answers to the same questions, or the figures are not printed. Building and starting are times of the clock, so run it
on a quiet machine; look-ups are processor time, but rbldnsd's, which is from question to answer. What is not installed
is said and left out. Exit: 0 targets met, 1 a target missed.
"""

import argparse
import contextlib
import gc
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address
from itertools import cycle
from pathlib import Path
from socket import AF_INET, inet_aton, inet_ntoa, inet_pton
from typing import Any

from load import free_port
from rich.console import Console
from rich.table import Table

from gateway.blocklist.listing import Identity
from gateway.blocklist.local.compiling import Origin, compile_list
from gateway.blocklist.local.mapped import MappedList
from gateway.blocklist.local.question import ask_address
from gateway.blocklist.local.reading import Source, read_source
from gateway.storage import DurableFiles

LOOPBACK = "127.0.0.1"
QUESTIONS = 100_000
# Each over the network, one after another.
DNS_QUESTIONS = 5_000
TARGETS = {"compile_seconds": 5.0, "start_ms": 50.0, "shared_mb": 30.0, "lookup_us": 2.0}
CANDIDATES = ("tidegate", "set", "pytricia", "rbldnsd")
READERS = 3
_MEGA = 1_000_000
_SEED = 20_261_122
_PATIENCE_SECONDS = 60.0
_MARKS = cycle(range(1 << 16))


# Entries and questions ------------------------------------------------------------------------------------------------


def write_entries(path: Path, count: int, *, networks: bool) -> None:
    """Write a list: random addresses; with ``networks`` two of five are networks."""
    draw = random.Random(_SEED)  # noqa: S311 - test data
    lines = []
    for n in range(count):
        address = draw.getrandbits(32)
        bits = draw.randint(20, 30) if networks and n % 5 < 2 else 32
        text = inet_ntoa((address >> (32 - bits) << (32 - bits)).to_bytes(4, "big"))
        lines.append(text if bits == 32 else f"{text}/{bits}")
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def questions(path: Path, count: int) -> list[int]:
    """Return addresses, half of them listed."""
    draw = random.Random(_SEED + 1)  # noqa: S311 - test data
    lines = path.read_text(encoding="ascii").split()
    listed = [int.from_bytes(inet_aton(draw.choice(lines).partition("/")[0]), "big") for _ in range(count // 2)]
    asked = listed + [draw.getrandbits(32) for _ in range(count - len(listed))]
    draw.shuffle(asked)
    return asked


# Measuring ------------------------------------------------------------------------------------------------------------


def per_question_us(ask: Callable[[Any], object], asked: Sequence[Any]) -> float:
    """Return microseconds of processor time a question, the best of three passes, the loop itself taken off."""
    best = float("inf")
    for _ in range(3):
        start = time.thread_time()
        for question in asked:
            ask(question)
        middle = time.thread_time()
        for _question in asked:
            pass
        best = min(best, (middle - start) - (time.thread_time() - middle))
    return best / len(asked) * _MEGA


def pss_octets(pid: int | str = "self", name: str = "") -> int:
    """Return the proportional share of memory of a process, or of its mappings of files with ``name``."""
    total, counting = 0, not name
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
        if "-" in line.split(" ", 1)[0]:
            counting = not name or name in line
        elif counting and line.startswith("Pss:"):
            total += int(line.split()[1]) * 1024
    return total


# Candidates: each gives build_seconds, start_ms, memory_octets, lookup_us, answers -----------------------------------


def measure_tidegate(path: Path, folder: Path, asked: list[int]) -> dict[str, Any]:
    """Compile as the keeper's child does, then start and look up as a worker does."""
    gc.disable()
    compiled = folder / "bench.list"
    start, processor = time.perf_counter(), time.process_time()
    collected = read_source(Source(name=path.name, octets=path.read_bytes()), time.time())
    compile_list(collected, Origin(sha256="", recipe=""), compiled, DurableFiles())
    built, processor = time.perf_counter() - start, time.process_time() - processor
    del collected
    gc.enable()
    start = time.perf_counter()
    mapped = MappedList.open(compiled)
    started = (time.perf_counter() - start) * 1000
    look_up_us = per_question_us(lambda number: mapped.range_of(4, number), asked)
    asks = [ask_address(Identity.CLIENT, IPv4Address(number)) for number in asked]
    return {
        "build_seconds": built,
        "start_ms": started,
        "lookup_us": look_up_us,
        "listing_us": per_question_us(lambda question: mapped.find(question, 0.0), asks),
        "answers": [mapped.range_of(4, number) >= 0 for number in asked],
        "build_processor_seconds": processor,
        **shared_memory(compiled, mapped),
    }


def shared_memory(compiled: Path, mapped: MappedList) -> dict[str, Any]:
    """Map the list in more processes, each touching every page, and return what all of them take together."""
    code = (
        "import sys; from pathlib import Path; from gateway.blocklist.local.mapped import MappedList\n"
        "m = MappedList.open(Path(sys.argv[1])); print('ready', flush=True); sys.stdin.read()"
    )
    with contextlib.ExitStack() as stack:
        readers = []
        for _ in range(READERS):
            command = [sys.executable, "-c", code, str(compiled)]
            reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            stack.enter_context(reader)
            assert reader.stdout is not None
            reader.stdout.readline()
            readers.append(reader)
        together = sum(pss_octets(pid, compiled.name) for pid in ("self", *(reader.pid for reader in readers)))
        for reader in readers:
            assert reader.stdin is not None
            reader.stdin.close()
    return {"memory_octets": together, "processes": READERS + 1, "file_octets": mapped.octets}


def measure_set(path: Path, _: Path, asked: list[int]) -> dict[str, Any]:
    """Read into a set of integers."""
    gc.disable()
    before = pss_octets()
    start = time.perf_counter()
    with path.open(encoding="ascii") as file:
        listed = {int.from_bytes(inet_pton(AF_INET, line.rstrip()), "big") for line in file}
    built = time.perf_counter() - start
    return {
        "build_seconds": built,
        "start_ms": built * 1000,
        "memory_octets": pss_octets() - before,
        "lookup_us": per_question_us(listed.__contains__, asked),
        "answers": [number in listed for number in asked],
    }


def measure_pytricia(path: Path, _: Path, asked: list[int]) -> dict[str, Any]:
    """Read into a Patricia trie."""
    import pytricia  # noqa: PLC0415 - the other candidates do without it

    before = pss_octets()
    start = time.perf_counter()
    trie = pytricia.PyTricia(32)
    with path.open(encoding="ascii") as file:
        for line in file:
            trie[line.rstrip()] = True
    built = time.perf_counter() - start
    texts = [inet_ntoa(number.to_bytes(4, "big")) for number in asked]
    return {
        "build_seconds": built,
        "start_ms": built * 1000,
        "memory_octets": pss_octets() - before,
        "lookup_us": per_question_us(trie.get_key, texts),
        "answers": [trie.get_key(text) is not None for text in texts],
    }


def measure_rbldnsd(path: Path, folder: Path, asked: list[int]) -> dict[str, Any]:
    """Serve the list with rbldnsd and ask it over loopback."""
    binary = shutil.which("rbldnsd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if binary is None:
        raise FileNotFoundError("rbldnsd (package rbldnsd)")
    home = folder / "rbldnsd"
    home.mkdir(mode=0o755)
    # Like ip4trie for the networks; the root it gives up must be able to read.
    shutil.copyfile(path, home / "zone")
    for each in (folder, home):
        each.chmod(0o755)
    port = free_port()
    start = time.perf_counter()
    command = [binary, "-n", "-b", f"{LOOPBACK}/{port}", "-w", str(home), "-c", "0", "bench.test:ip4set:zone"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.connect((LOOPBACK, port))
                client.settimeout(0.2)
                wait_for(client)
                built = time.perf_counter() - start
                client.settimeout(5.0)
                some = asked[:DNS_QUESTIONS]
                return {
                    "build_seconds": built,
                    "start_ms": built * 1000,
                    "memory_octets": pss_octets(server.pid),
                    **asked_over_the_network(client, some),
                }
        finally:
            server.terminate()


def asked_over_the_network(client: socket.socket, asked: list[int]) -> dict[str, Any]:
    """Return answers, and the time from question to answer, which is not this program's alone."""
    start = time.perf_counter()
    answers = [dns_listed(client, number) for number in asked]
    return {"lookup_us": (time.perf_counter() - start) / len(asked) * _MEGA, "answers": answers}


def wait_for(client: socket.socket) -> None:
    """Return when the server answers."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            dns_listed(client, 0x7F000001)
            return
    raise TimeoutError("rbldnsd does not answer")


def dns_listed(client: socket.socket, number: int) -> bool:
    """Ask for an A record and return whether there is one."""
    labels = [*(str(octet).encode() for octet in number.to_bytes(4, "little")), b"bench", b"test"]
    name = b"".join(bytes([len(label)]) + label for label in labels)
    # An answer to a question given up while the server was loading is not this one's.
    mark = next(_MARKS).to_bytes(2, "big")
    client.send(mark + b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name + b"\x00\x00\x01\x00\x01")
    while not (answer := client.recv(512)).startswith(mark):
        pass
    return answer[6:8] != b"\x00\x00"


MEASURES: dict[str, Callable[[Path, Path, list[int]], dict[str, Any]]] = {
    "tidegate": measure_tidegate,
    "set": measure_set,
    "pytricia": measure_pytricia,
    "rbldnsd": measure_rbldnsd,
}


# The run --------------------------------------------------------------------------------------------------------------


def run(candidate: str, path: Path) -> dict[str, Any]:
    """Measure one candidate in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", candidate, str(path)], stdout=subprocess.PIPE, check=True, text=True
    )
    return json.loads(done.stdout)


def measure_here(candidate: str, path: Path) -> dict[str, Any]:
    """Measure one candidate in this process."""
    with tempfile.TemporaryDirectory(prefix="tidegate-lists-") as folder:
        try:
            return MEASURES[candidate](path, Path(folder), questions(path, QUESTIONS))
        except (ImportError, FileNotFoundError) as error:
            return {"missing": str(error)}


def scenarios(folder: Path, entries: int) -> Iterator[tuple[str, Path, tuple[str, ...]]]:
    """Yield what is measured: a name, the list, the candidates that can hold it."""
    for name, networks in (("single addresses", False), ("addresses and networks", True)):
        path = folder / f"{name.split()[-1]}.txt"
        write_entries(path, entries, networks=networks)
        yield name, path, tuple(each for each in CANDIDATES if not (networks and each == "set"))


def agree(found: dict[str, dict[str, Any]]) -> bool:
    """Return whether all candidates gave the same answers, as far as each was asked."""
    answers = [each["answers"] for each in found.values() if "answers" in each]
    return all(left == right for each in answers for left, right in zip(answers[0], each, strict=False))


def judged(figures: dict[str, Any]) -> dict[str, tuple[float, bool]]:
    """Return Tidegate's figures for the targets, and whether each is met."""
    measured = {
        "compile_seconds": figures["build_seconds"],
        "start_ms": figures["start_ms"],
        "shared_mb": figures["memory_octets"] / _MEGA,
        "lookup_us": figures["lookup_us"],
    }
    return {name: (value, value <= TARGETS[name]) for name, value in measured.items()}


def table(name: str, entries: int, found: dict[str, dict[str, Any]]) -> Table:
    """Return the figures of one list."""
    shown = Table("", "build s", "start ms", "memory MB", "look-up µs", title=f"{entries:,} {name}", box=None)
    for candidate, figures in found.items():
        if "missing" in figures:
            shown.add_row(candidate, f"not measured: {figures['missing']}")
            continue
        each = "" if candidate == "tidegate" else " a process"
        shown.add_row(
            candidate,
            f"{figures['build_seconds']:.2f}",
            f"{figures['start_ms']:.1f}",
            f"{figures['memory_octets'] / _MEGA:.1f}{each}",
            f"{figures['lookup_us']:.2f}",
        )
    return shown


def main() -> int:
    """Measure everything; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--measure", nargs=2, metavar=("CANDIDATE", "LIST"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure_here(options.measure[0], Path(options.measure[1]))))
        return 0
    console, met, report = Console(), True, {}
    with tempfile.TemporaryDirectory(prefix="tidegate-lists-") as folder:
        for name, path, candidates in scenarios(Path(folder), options.entries):
            found = {candidate: run(candidate, path) for candidate in candidates}
            if not agree(found):
                console.print(f"{name}: the candidates do not give the same answers; nothing is measured", style="red")
                return 1
            console.print(table(name, options.entries, found))
            ours = found["tidegate"]
            console.print(
                f"  tidegate's memory is one copy mapped by {ours['processes']} processes together; "
                f"the entry with its reason {ours['listing_us']:.2f} µs; "
                f"of the build {ours['build_processor_seconds']:.2f} s were the processor's\n"
            )
            for target, (value, is_met) in judged(ours).items():
                met = met and (is_met or options.entries < _MEGA)
                console.print(f"  {'met   ' if is_met else 'MISSED'} {target} {value:.2f} ≤ {TARGETS[target]:g}")
            console.print()
            report[name] = {each: {k: v for k, v in f.items() if k != "answers"} for each, f in found.items()}
    if options.json:
        options.json.write_text(json.dumps(report, indent=2), encoding="utf-8")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
