"""Puts what a command changed in files into the audit trail: through the gateway, or its journal while none serves."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import typer

from gateway.cli.reach import call


def put_on_record(data: Path, operation: str, target: str, changes: Sequence[str]) -> None:
    """Record what was done, or say that it could not be."""
    from gateway.admin.audit import acted, record
    from gateway.admin.control import user_name
    from gateway.admin.protocol import Done
    from gateway.app.lock import is_held
    from gateway.clock import SystemClock
    from gateway.storage import StorageError

    said = {"operation": operation, "target": target, "changes": list(changes)}
    outcome = call(data, "audit", said)
    if isinstance(outcome, Done):
        return
    problem = outcome.message
    if outcome.code == "unavailable" and not is_held(data):
        clock = SystemClock()
        event = acted(said | {"operator": user_name(os.getuid())}, clock.stamp().utc)
        try:
            asyncio.run(record(data, event, clock))
        except (StorageError, OSError) as error:
            problem = str(error)
        else:
            return
    typer.echo(f"the change is not in the audit trail: {problem}", err=True)
