"""Puts what a command changed in files into the audit trail: through the gateway, or its journal while none serves."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from gateway.cli.reach import call

_UNSET = 2**32 - 1


def put_on_record(data: Path, operation: str, target: str, changes: Sequence[str]) -> None:
    """Record what was done, and from where, or say that it could not be."""
    from gateway.admin.audit import MAX_CHANGES, acted, record
    from gateway.admin.control import user_name
    from gateway.admin.protocol import Done
    from gateway.app.lock import is_held
    from gateway.clock import SystemClock
    from gateway.storage import StorageError

    said = {"operation": operation, "target": target, "changes": [*changes[: MAX_CHANGES - 1], f"from {place()}"]}
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


def place() -> str:
    """Return from where a command is run: the client of an SSH session, the terminal, behind sudo who it was.

    What cannot be named is "no terminal". The environment is the word of whoever runs it; who they are to the system
    stands beside it.
    """
    client = os.environ.get("SSH_CLIENT", "").split(" ", 1)[0]
    try:
        # None for a command that was started without one (`<&-`).
        terminal = os.ttyname(sys.stdin.fileno()) if sys.stdin is not None else ""
    except (OSError, ValueError):
        terminal = ""
    behind = _behind()
    found = " ".join(filter(None, (client, terminal))) or "no terminal"
    return f"{found}, {behind} as root" if behind else found


def _behind() -> str:
    """Return who became root to run this, "" for nobody: an abuse team works with sudo, and root is nobody's name."""
    from gateway.admin.control import user_name

    if os.getuid() != 0:
        return ""
    try:
        # Set when somebody logs in, and by the kernel kept from then on; unset is the greatest number.
        login = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        login = _UNSET
    if login not in (0, _UNSET):
        return user_name(login)
    return os.environ.get("SUDO_USER", "")
