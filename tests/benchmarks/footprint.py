"""Resident memory: at rest, with 500 idle connections, and while one message of 50 MB passes.

Each figure is the PSS of all processes of the system (``measure.py``). Idle clients have said EHLO and nothing more.
Postfix serves each connection with a process; it is allowed enough of them, as its administrator would for that load.
"""

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from load import LOOPBACK, BenchmarkError
from measure import PeakMemory, settled_cpu_seconds, tree, tree_pss_octets
from places import Place, deliver, placed
from progress import Steps
from systems import System

IDLE_CLIENTS = 500
LARGE_OCTETS = 50 * 1024**2
CLIENT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Octets of memory of one system, and how many processes it had with the idle clients."""

    system: str
    rest_octets: int
    idle_clients: int
    idle_octets: int
    idle_processes: int
    large_peak_octets: int
    large_seconds: float


@contextmanager
def idle_clients(port: int, count: int) -> Iterator[None]:
    """Hold ``count`` connections that were greeted and answered; one that is not served is a BenchmarkError."""
    with ExitStack() as stack:
        for number in range(1, count + 1):
            client = stack.enter_context(socket.create_connection((LOOPBACK, port), timeout=CLIENT_SECONDS))
            try:
                _expect(client, b"220")
                client.sendall(b"EHLO client.bench.test\r\n")
                _expect(client, b"250")
            except (OSError, BenchmarkError) as error:
                raise BenchmarkError(f"idle connection {number} of {count} was not served: {error}") from error
        yield


def _expect(client: socket.socket, code: bytes) -> None:
    reply = client.recv(4096)
    if not reply.startswith(code):
        raise BenchmarkError(f"{reply[:200]!r} instead of {code.decode()}")


def measure(place: Place) -> Footprint:
    """All three figures of one running system."""
    root = place.root
    if root is None:
        raise BenchmarkError(f"{place.name} has no processes to measure")
    deliver(place, 100, 8 * 1024)
    settled_cpu_seconds(root)
    rest = tree_pss_octets(root)
    with PeakMemory(root, period_seconds=0.05) as large:
        passed = deliver(place, 1, LARGE_OCTETS)
    settled_cpu_seconds(root)
    with idle_clients(place.port, IDLE_CLIENTS):
        settled_cpu_seconds(root)
        idle, processes = tree_pss_octets(root), len(tree(root))
    return Footprint(
        system=place.name,
        rest_octets=rest,
        idle_clients=IDLE_CLIENTS,
        idle_octets=idle,
        idle_processes=processes,
        large_peak_octets=large.octets,
        large_seconds=passed.seconds,
    )


def compare(kinds: Sequence[type[System]], data: Path, steps: Steps) -> list[Footprint]:
    """Measure the systems one after the other."""
    steps.announce(len(kinds))
    found: list[Footprint] = []
    for kind in kinds:
        steps.begin(f"memory, {kind.name}")
        started = time.monotonic()
        with placed(kind, data, clients=IDLE_CLIENTS + 50) as place:
            found.append(measure(place))
        steps.done(f"memory   {kind.name:<9} measured in {time.monotonic() - started:.0f} s")
    return found
