"""The worker's half of local lists: it takes over what the keeper wrote, within seconds and off the loop.

The door asks them whom an operator allows.
"""

import asyncio
import traceback

from gateway.blocklist.listing import Identity
from gateway.blocklist.local.lists import LocalLists
from gateway.blocklist.local.question import ask_address
from gateway.clock import Clock
from gateway.journal.events import EventSink, InternalError
from gateway.state.network import IpAddress

# A stat a round, on the loop: a block holds in every worker within a second, and an idle worker hardly wakes.
LOOK_SECONDS = 0.25


async def keep_fresh(lists: LocalLists, *, clock: Clock, events: EventSink) -> None:
    """Refresh until cancelled."""
    while True:
        try:
            # Verifying a list of a million entries takes some milliseconds.
            if lists.is_behind:
                await asyncio.to_thread(lists.refresh)
        except Exception as bug:  # noqa: BLE001 - the loop must survive; the lists as they are serve on
            events.emit(
                InternalError(
                    at=clock.stamp().utc,
                    where="local lists",
                    error=f"{type(bug).__name__}: {bug}",
                    traceback="".join(traceback.format_exception(bug)),
                )
            )
        await asyncio.sleep(LOOK_SECONDS)


def is_allowed(lists: LocalLists, clock: Clock, address: IpAddress) -> bool:
    """Whether an allow list has a client's address."""
    if lists.is_empty:
        return False
    return bool(lists.look_up((ask_address(Identity.CLIENT, address),), clock.stamp().utc).allowed)
