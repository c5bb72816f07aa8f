"""What ``tidegate status``, ``/readyz`` and the queue's gauges say: workers, queue, rates, and whether mail is taken.

Ready means: every worker serves and none has just failed to write or read its store. A gateway that is starting,
draining, or whose storage fails is not ready: a load balancer sends its mail elsewhere. Healthy means only that the
supervisor answers; restarting the gateway because a disk is full would help nobody.
"""

from collections.abc import Sequence

from gateway.admin.protocol import GatewayStatus, QueueStatus, Rates, WorkerStatus
from gateway.journal.events import DeliveryAttempted, Event, MessageJudged, StorageFailed

WINDOW_SECONDS = 60
# How the spool is called in events: as a whole, and by shard.
_SPOOL = ("spool", "shard")
# After a failure of the store nobody sends us mail that could show it works again, so it is believed again after this
# long.
FAILING_SECONDS = 30.0


class RateMeter:
    """Counts messages taken and recipients delivered, by second over the last minute; an event sink."""

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._taken = _Window()
        self._delivered = _Window()

    def emit(self, event: Event) -> None:
        """Count one event."""
        if isinstance(event, MessageJudged):
            if event.durable_at:
                self._taken.add(int(event.at))
        elif isinstance(event, DeliveryAttempted) and event.status == "sent":
            self._delivered.add(int(event.at))

    def rates(self, now: float) -> Rates:
        """Return both per second, over the last minute or since the start when that was later."""
        seconds = min(float(WINDOW_SECONDS), max(1.0, now - self._started_at))
        return {
            "messages_in": self._taken.total(int(now)) / seconds,
            "recipients_out": self._delivered.total(int(now)) / seconds,
        }


class _Window:
    """A count for each of the last WINDOW_SECONDS seconds."""

    __slots__ = ("_counts", "_newest")

    def __init__(self) -> None:
        self._counts = [0] * WINDOW_SECONDS
        self._newest = 0

    def add(self, second: int) -> None:
        """Count one at a UTC second; what is older than the window is not counted any more."""
        self._advance(second)
        if second > self._newest - WINDOW_SECONDS:
            self._counts[second % WINDOW_SECONDS] += 1

    def total(self, second: int) -> int:
        """Return how many there were in the WINDOW_SECONDS up to a UTC second."""
        self._advance(second)
        return sum(self._counts)

    def _advance(self, second: int) -> None:
        if second <= self._newest:
            return
        for passed in range(max(self._newest + 1, second - WINDOW_SECONDS + 1), second + 1):
            self._counts[passed % WINDOW_SECONDS] = 0
        self._newest = second


class StoreHealth:
    """Remembers the last failure of the spool; an event sink. Mail goes on without the journal: not counted."""

    def __init__(self) -> None:
        self._failed_at = float("-inf")
        self._what = ""

    def emit(self, event: Event) -> None:
        """Remember a failure."""
        if isinstance(event, StorageFailed) and event.store.startswith(_SPOOL):
            self._failed_at = event.at
            self._what = f"{event.store}: {event.error}"

    def failing(self, now: float) -> str:
        """Return what fails, "" when nothing did for FAILING_SECONDS."""
        return self._what if now - self._failed_at < FAILING_SECONDS else ""


def readiness(states: Sequence[str]) -> tuple[bool, str]:
    """Return whether the gateway takes mail and, when it does not, why; ``states`` are its workers'.

    A worker that does not answer is ``gone``; an empty sequence is a gateway that has none yet.
    """
    if "draining" in states:
        return False, "draining"
    if not states or "starting" in states:
        return False, "starting"
    bad = [f"worker {number} is {state}" for number, state in enumerate(states) if state != "serving"]
    return not bad, ", ".join(bad)


def gateway_status(
    workers: Sequence[WorkerStatus], queue: QueueStatus, readiness: tuple[bool, str], *, now: float, started_at: float
) -> GatewayStatus:
    """Return the whole gateway's status; version and digest are those of the first worker that answered."""
    return {
        "version": workers[0]["version"] if workers else "",
        "digest": workers[0]["digest"] if workers else "",
        "started_at": started_at,
        "uptime_seconds": max(0.0, now - started_at),
        "ready": readiness[0],
        "reason": readiness[1],
        "queue": queue,
        "rates": {
            "messages_in": sum(worker["rates"]["messages_in"] for worker in workers),
            "recipients_out": sum(worker["rates"]["recipients_out"] for worker in workers),
        },
        "sessions": sum(worker["sessions"] for worker in workers),
        "workers": list(workers),
    }
