"""The abuse desk's desks in the supervisor: complaints read, reports written, their mail handed to a worker.

In a thread of its own beside the incident keeper's: finding out whom to tell asks the network, and must not hold up a
block. Events are told in the loop; a bug in a round is one event, and the next round goes on.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gateway.abuse.complaints.desk import ComplaintDesk
from gateway.abuse.post import NotTakenError, Post
from gateway.abuse.post import RefusedError as MailRefusedError
from gateway.abuse.reporting.desk import ReportDesk
from gateway.admin.protocol import RefusedError
from gateway.clock import Clock
from gateway.config.snapshot import Snapshot
from gateway.incidents import IncidentBook
from gateway.journal.events import EventSink, InternalError, StorageFailed
from gateway.journal.guard_events import OwnListingChanged
from gateway.journal.sinks import Recorded
from gateway.mail.own_mail import OwnMail
from gateway.storage import StorageError

# A look at a folder and at two indexes, a tenth of a millisecond.
LOOK_SECONDS = 1.0
AFTER_A_FAILURE_SECONDS = 10.0
# A worker signs and stores a mail in milliseconds, and answers late while it starts.
SEND_SECONDS = 60.0
# What a worker says of itself rather than of the mail: then it is tried again.
_FOR_THE_MOMENT = ("no worker", "the store failed")

Hand = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""The supervisor's ``own-mail``: its arguments to its answer; admin's RefusedError."""


class AbuseDesk:
    """Runs both desks until cancelled; ``tell`` gives it what the journal said of our own names."""

    def __init__(self, snapshot: Callable[[], Snapshot], *, clock: Clock, events: EventSink, hand: Hand) -> None:
        self._clock, self._events, self._hand = clock, events, hand
        self._told = Recorded()
        data = snapshot().config.data
        book = IncidentBook(data, clock=clock)
        self._complaints = ComplaintDesk(snapshot, book, clock=clock, events=self._told)
        self._reports = ReportDesk(snapshot, book, clock=clock)
        self._post = Post(book, data, self._send, clock)
        self._listed: deque[OwnListingChanged] = deque()
        self._thread = ThreadPoolExecutor(1, "abuse-desk")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failing = False
        self._stopping = False

    def tell(self, listed: Sequence[OwnListingChanged]) -> None:
        """Take what the journal said of our own names."""
        self._listed.extend(listed)

    async def run(self) -> None:
        """Work until cancelled; what a round has begun is on record, and the rest waits for the next start."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                went_well = await self._survive()
                await asyncio.sleep(LOOK_SECONDS if went_well else AFTER_A_FAILURE_SECONDS)
        finally:
            self._stopping = True
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _survive(self) -> bool:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._round)
        except (StorageError, OSError) as error:
            self._failed(str(error))
            return False
        except Exception as error:  # noqa: BLE001 - the desk must survive a bug in one round
            self._events.emit(InternalError.of(error, "abuse desk", self._now()))
            return False
        finally:
            told, self._told.events[:] = list(self._told.events), []
            for event in told:
                self._events.emit(event)
        self._failing = False
        return True

    def _round(self) -> None:
        """One round, in the desk's thread."""
        self._complaints.round()
        listed = [self._listed.popleft() for _ in range(len(self._listed))]
        self._reports.round(listed)
        self._post.round()

    def _send(self, mail: OwnMail) -> str:
        if self._loop is None or self._stopping:
            raise NotTakenError("the gateway is shutting down")
        asked = asyncio.run_coroutine_threadsafe(self._handed(mail), self._loop)
        try:
            return asked.result(SEND_SECONDS)
        except RefusedError as refusal:
            if str(refusal).startswith(_FOR_THE_MOMENT):
                raise NotTakenError(str(refusal)) from refusal
            raise MailRefusedError(str(refusal)) from refusal
        except TimeoutError as error:
            asked.cancel()
            raise NotTakenError("no worker answers in time") from error

    async def _handed(self, mail: OwnMail) -> str:
        return str((await self._hand(mail.arguments()))["trace_id"])

    def _failed(self, error: str) -> None:
        if not self._failing:
            self._events.emit(StorageFailed(at=self._now(), store="incidents", operation="abuse desk", error=error))
        self._failing = True

    def _now(self) -> float:
        return self._clock.stamp().utc
