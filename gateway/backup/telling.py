"""Events of backups over the control socket: made by the command that did the work, written by the gateway."""

from collections.abc import Mapping
from typing import Any

from gateway.journal import telling
from gateway.journal.duty_events import BackupDrilled, BackupFailed, BackupFinished
from gateway.journal.events import Event, OperatorActed

COMMAND = "backup.told"
_TOLD = (BackupFinished, BackupFailed, BackupDrilled, OperatorActed)


def told(arguments: Mapping[str, Any]) -> list[Event]:
    """Return the events of a command; what is none of ours is passed over."""
    return telling.told(arguments, _TOLD)
