"""What a part of the gateway costs the mail path: pairs of runs with it and without, in processor time a message.

For the benchmarks of those parts (``servicelevel.py``, ``incidents_path.py``): each says how one gateway relays so many
messages, and what was promised.
"""

import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.ledger.finished import shards
from gateway.storage import open_readonly
from tests.system.parts import Gateway, processes_of

Cost = tuple[float, float]
"""Milliseconds of processor time a message: of all processes of a gateway, of its supervisor."""


def folder_in(parent: str, name: str) -> Path:
    """Return a new folder for one of the gateways."""
    folder = Path(parent) / name
    folder.mkdir()
    return folder


def spent(gateway: Gateway, messages: int, relay: Callable[[], None]) -> Cost:
    """Return what ``relay``, which sends so many messages and waits until all is done, takes of each."""
    before = _processor(gateway)
    relay()
    after = _processor(gateway)
    each = {pid: 1e3 * (after[pid] - before.get(pid, 0.0)) / messages for pid in after}
    assert gateway.process is not None
    return sum(each.values()), each[gateway.process.pid]


def pair(part: Gateway, plain: Gateway, number: int, cost: Callable[[Gateway], Cost]) -> tuple[Cost, Cost]:
    """Return the cost with the part and without; who is first changes."""
    order = (part, plain) if number % 2 else (plain, part)
    found = {gateway: cost(gateway) for gateway in order}
    return found[part], found[plain]


def judged(costs: Sequence[tuple[Cost, Cost]], of: str, what: str, most_share: float) -> int:
    """Print each pair and their median against the promise, in per cent; return the exit status."""
    shares = []
    for (cost, working), (without, idling) in costs:
        shares.append(100 * (cost - without) / without)
        print(
            f"{cost:.4f} ms a message with {of}, {without:.4f} without: {shares[-1]:+.2f} %; "
            f"in the supervisor alone {working - idling:+.4f} ms, {100 * (working - idling) / without:+.2f} %"
        )
    middle = statistics.median(shares)
    print(f"{len(costs)} pairs of {what}: {middle:+.2f} %, {min(shares):+.2f} to {max(shares):+.2f}")
    print(f"of {most_share:g} % promised: {'kept' if middle < most_share else 'NOT kept'}")
    return 0 if middle < most_share else 1


def delivered(data: Path) -> int:
    """Return how many rows the ledger has had."""
    found = 0
    for shard in shards(data):
        with open_readonly(shard) as database:
            found += int(database.read("SELECT coalesce(max(id), 0) FROM ledger")[0][0])
    return found


def _processor(gateway: Gateway) -> dict[int, float]:
    ticks = os.sysconf("SC_CLK_TCK")
    found = {}
    for pid in processes_of(gateway.folder):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        found[pid] = (int(fields[11]) + int(fields[12])) / ticks
    return found
