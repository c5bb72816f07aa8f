"""Who changed what, and when: the audit trail of operators' actions (contract.md §6).

What is done through the gateway is on record where it is done. What a command does to files tells the gateway
afterwards, by the control command ``audit``, which knows the operator from the socket's credentials; while none
serves, the command writes the journal itself.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.admin.protocol import RefusedError
from gateway.clock import Clock
from gateway.journal.events import ConfigurationChanged, Event, OperatorActed, QuarantineReleased, QueueChanged
from gateway.journal.reader import JournalReader
from gateway.journal.sinks import Recorded
from gateway.journal.store import Journal

AUDITED = (ConfigurationChanged, OperatorActed, QuarantineReleased, QueueChanged)
# A change of a thousand lines is told by its first ones.
MAX_CHANGES = 100


def acted(arguments: dict[str, Any], now: float) -> OperatorActed:
    """Return the event of an ``audit`` command; RefusedError when it says nothing."""
    changes = arguments.get("changes")
    if not arguments.get("operation") or not isinstance(changes, list):
        raise RefusedError("audit wants an operation and a list of changes")
    return OperatorActed(
        at=now,
        operation=str(arguments["operation"]),
        target=str(arguments.get("target", "")),
        changes=tuple(map(str, changes[:MAX_CHANGES])),
        operator=str(arguments.get("operator", "unknown")),
    )


async def record(data: Path, event: OperatorActed, clock: Clock) -> None:
    """Write an event into the journal of a gateway that is not serving; StorageError or OSError when it cannot be."""
    failures = Recorded()
    # Nobody serves, so the first worker's journal is free.
    journal = Journal(data / "journal", 0, clock=clock, failures=failures)
    journal.emit(event)
    await journal.flush()
    await journal.close()
    if failures.events:
        raise OSError(f"the journal under {data} cannot be written")


def trail(data: Path, since: float) -> Iterator[Event]:
    """Yield what operators did since UTC second ``since``, in the order of time."""
    reader = JournalReader(data / "journal")
    try:
        found = [event for kind in AUDITED for event in reader.of_kind(kind.kind, since)]
    finally:
        reader.close()
    yield from sorted(found, key=lambda event: event.at)
