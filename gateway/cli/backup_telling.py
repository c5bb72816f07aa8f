"""Tells what a backup command did, in whose name."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import telling

if TYPE_CHECKING:
    from gateway.journal.events import Event


def operator() -> str:
    """Return who runs this command."""
    from gateway.admin.control import user_name

    return user_name(os.getuid())


def tell(data: Path, events: "Sequence[Event]") -> None:
    """Put events into the journal, or say that they could not be."""
    from gateway.backup.telling import COMMAND

    telling.tell(data, COMMAND, events)
