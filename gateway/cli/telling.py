"""Tells what a command did: to the gateway, which writes its journal, or to the journal while none serves."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gateway.cli.reach import call

if TYPE_CHECKING:
    from gateway.journal.events import Event


def tell(data: Path, command: str, events: "Sequence[Event]") -> None:
    """Put events into the journal, or say that they could not be; ``command`` is the gateway's for such events."""
    from gateway.admin.protocol import Done
    from gateway.app.lock import is_held
    from gateway.journal.telling import as_arguments
    from gateway.storage import StorageError

    outcome = call(data, command, as_arguments(events))
    if isinstance(outcome, Done):
        return
    problem = outcome.message
    if outcome.code == "unavailable" and not is_held(data):
        try:
            asyncio.run(_write(data, events))
        except (StorageError, OSError) as error:
            problem = str(error)
        else:
            return
    typer.echo(f"the journal does not tell of this: {problem}", err=True)


async def _write(data: Path, events: "Sequence[Event]") -> None:
    from gateway.clock import SystemClock
    from gateway.journal.sinks import Recorded
    from gateway.journal.store import Journal

    failures = Recorded()
    # Nobody serves, so the first worker's journal is free.
    journal = Journal(data / "journal", 0, clock=SystemClock(), failures=failures)
    for event in events:
        journal.emit(event)
    await journal.close()
    if failures.events:
        raise OSError(f"the journal under {data} cannot be written")
