"""Events of backups over the control socket: made by the command that did the work, written by the gateway's journal.

Each is ``{"kind": …, "at": …, "data": …}``, ``data`` as the journal stores it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.journal.codec import decode, encode
from gateway.journal.events import BackupDrilled, BackupFailed, BackupFinished, Event, OperatorActed

COMMAND = "backup.told"
_TOLD = {event.kind for event in (BackupFinished, BackupFailed, BackupDrilled, OperatorActed)}


def as_arguments(events: Sequence[Event]) -> dict[str, Any]:
    """Return events as the arguments of the command."""
    return {"events": [{"kind": event.kind, "at": event.at, "data": encode(event)} for event in events]}


def told(arguments: Mapping[str, Any]) -> list[Event]:
    """Return the events of a command; what is none of ours is passed over."""
    found: list[Event] = []
    for item in arguments.get("events") or ():
        if isinstance(item, dict) and item.get("kind") in _TOLD:
            event = decode(item["kind"], float(item.get("at", 0.0)), "", str(item.get("data", "")))
            found += [event] if event is not None else []
    return found
