"""What others write and a worker follows: local lists and suspended senders, within a second and off the loop.

The door asks the lists whom an operator allows.
"""

import asyncio
from typing import Protocol

from gateway.blocklist.listing import Identity
from gateway.blocklist.local.lists import LocalLists
from gateway.blocklist.local.question import ask_address
from gateway.clock import Clock
from gateway.journal.events import EventSink, InternalError
from gateway.state.network import IpAddress

# A stat a round, on the loop: a block holds in every worker within a second, and an idle worker hardly wakes.
LOOK_SECONDS = 0.25


class Follower(Protocol):
    """Something that is kept in a file: ``is_behind`` costs a stat, ``refresh`` what it costs."""

    @property
    def is_behind(self) -> bool:
        """Whether there may be news."""
        ...

    def refresh(self) -> bool:
        """Take it over; return whether there was any."""
        ...


async def keep_fresh(lists: Follower, *, clock: Clock, events: EventSink) -> None:
    """Refresh until cancelled."""
    while True:
        try:
            # Verifying a list of a million entries takes some milliseconds.
            if lists.is_behind:
                await asyncio.to_thread(lists.refresh)
        except Exception as bug:  # noqa: BLE001 - the loop must survive; the lists as they are serve on
            events.emit(InternalError.of(bug, f"following {type(lists).__name__}", clock.stamp().utc))
        await asyncio.sleep(LOOK_SECONDS)


def is_allowed(lists: LocalLists, clock: Clock, address: IpAddress) -> bool:
    """Whether an allow list has a client's address."""
    if lists.is_empty:
        return False
    return bool(lists.look_up((ask_address(Identity.CLIENT, address),), clock.stamp().utc).allowed)
