"""Events as arguments of a command over the control socket: ``{"events": [{"kind": …, "at": …, "data": …}]}``.

``data`` is as the journal stores it. A command that worked beside the gateway hands its events over, so that they are
journalled, counted and logged where those of the gateway itself are.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.journal.codec import decode, encode
from gateway.journal.events import Event


def as_arguments(events: Sequence[Event]) -> dict[str, Any]:
    """Return events as the arguments of a command."""
    return {"events": [{"kind": event.kind, "at": event.at, "data": encode(event)} for event in events]}


def told(arguments: Mapping[str, Any], allowed: Iterable[type[Event]]) -> list[Event]:
    """Return the events of a command that are of the allowed types; what is none of them is passed over."""
    kinds = {event.kind for event in allowed}
    found: list[Event] = []
    for item in arguments.get("events") or ():
        if isinstance(item, dict) and item.get("kind") in kinds:
            event = decode(item["kind"], float(item.get("at", 0.0)), "", str(item.get("data", "")))
            found += [event] if event is not None else []
    return found
