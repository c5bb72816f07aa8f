"""Events of lists over the control socket: made by the command that did the work, written by the gateway's journal.

So the journal, the log and the metrics of a gateway that serves tell of an edition that was imported by hand as of one
that came by itself.
"""

from collections.abc import Mapping
from typing import Any

from gateway.journal import telling
from gateway.journal.events import Event
from gateway.journal.guard_events import ListApplied, ListOverdue, ListWithheld

COMMAND = "blocklist.told"
_TOLD = (ListApplied, ListWithheld, ListOverdue)


def told(arguments: Mapping[str, Any]) -> list[Event]:
    """Return the events of a command; what is none of ours is passed over."""
    return telling.told(arguments, _TOLD)
