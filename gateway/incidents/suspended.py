"""Whom the workers turn away: ``data/incidents/suspended.json``, replaced as a whole when a suspension begins or ends.

The table of suspensions is the truth; this is made from it, by whoever changes it and by the keeper at its start. A
worker looks with one stat, four times a second, and takes over what changed.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path

from gateway.incidents.suspensions import Suspension
from gateway.incidents.values import Source, SourceKind
from gateway.storage import DurableFiles

FILE = "suspended.json"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Suspended:
    """One entry: who, and the incident behind it."""

    sender: str
    incident: int


def write_suspended(folder: Path, standing: Sequence[Suspension], files: DurableFiles) -> None:
    """Replace the file where it says something else; raise StorageError. ``folder`` is ``data/incidents``."""
    senders = [{"kind": each.kind, "sender": each.sender, "incident": each.incident} for each in standing]
    octets = json.dumps({"version": _VERSION, "senders": senders}, indent=1).encode()
    path = folder / FILE
    before = path.read_bytes() if path.is_file() else None
    if before != octets and (senders or before is not None):
        files.write(path, [octets])


class SuspendedSenders:
    """A worker's view; ``contact`` gives whom a suspended sender is told to ask.

    A file that is damaged leaves what was read before in force.
    """

    def __init__(self, folder: Path, contact: Callable[[], str]) -> None:
        self._path = folder / FILE
        self.contact = contact
        self._stamp: tuple[int, int, int] | None = None
        self._clients: dict[IPv4Network | IPv6Network, Suspended] = {}
        self._accounts: dict[str, Suspended] = {}
        # Whether nobody is suspended, as nearly always.
        self.is_empty = True

    @property
    def is_behind(self) -> bool:
        """Whether there may be news to take over."""
        return self._now() != self._stamp

    def refresh(self) -> bool:
        """Take over what was written; return whether anything did change."""
        stamp = self._now()
        if stamp == self._stamp:
            return False
        try:
            document = json.loads(self._path.read_bytes()) if stamp else {"senders": []}
            entries = [(each["kind"], Suspended(each["sender"], each["incident"])) for each in document["senders"]]
            clients = {ip_network(each.sender): each for kind, each in entries if kind == SourceKind.CLIENT}
        except (OSError, ValueError, KeyError, TypeError):
            return False
        self._clients = clients
        self._accounts = {each.sender: each for kind, each in entries if kind == SourceKind.ACCOUNT}
        self.is_empty = not entries
        self._stamp = stamp
        return True

    def client(self, address: IPv4Address | IPv6Address) -> Suspended | None:
        """Return the suspension of a client of ours."""
        if not self._clients:
            return None
        found = self._clients.get(ip_network(Source.at(str(address)).key))
        if found is not None:
            return found
        wider = (each for network, each in self._clients.items() if address in network)
        return next(wider, None)

    def account(self, key: str) -> Suspended | None:
        """Return the suspension of a mailbox in comparison form, or of its whole domain."""
        return self._accounts.get(key) or self._accounts.get("@" + key.rpartition("@")[2])

    def _now(self) -> tuple[int, int, int] | None:
        try:
            status = os.stat(self._path)  # noqa: PTH116 - on every tick of every worker; Path.stat costs twice as much
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
