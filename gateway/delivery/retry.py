"""When a copy is tried again, and when no more (RFC 5321 §4.5.4.1).

The waits are ``queue.retry``'s, each longer or shorter by up to a tenth at random, so that what failed together does
not come back together. The last attempt falls on ``queue.expire``, counted from the final dot without the time held or
quarantined; what fails then is expired.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from gateway.config.models import Queue
from gateway.config.retry import RetrySchedule, parse_retry
from gateway.delivery.route import Randomness
from gateway.spool.message import SpoolMessage, SpoolRecipient

# A tenth each way spreads a burst of failures over minutes and keeps an administrator's schedule recognisable.
JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Patience:
    """The queue's settings as one copy's fate: when next, too late, time for a notice."""

    schedule: RetrySchedule
    expire_seconds: float
    delay_notice_seconds: float

    @classmethod
    def of(cls, queue: Queue) -> "Patience":
        """Return the patience that ``[queue]`` describes."""
        return _patience(queue.retry, queue.expire, queue.delay_notice)

    def is_expired(self, message: SpoolMessage, recipient: SpoolRecipient, now_utc: float) -> bool:
        """Tell whether a failure now is the last."""
        return now_utc >= self.expires_at(message, recipient)

    def expires_at(self, message: SpoolMessage, recipient: SpoolRecipient) -> float:
        """Return the UTC second after which no attempt follows."""
        return message.stamps.received.utc + recipient.held_seconds + self.expire_seconds

    def wants_delay_notice(self, message: SpoolMessage, recipient: SpoolRecipient, now_utc: float) -> bool:
        """Tell whether the sender is to be told of the delay now; once a copy."""
        waited = now_utc - message.stamps.received.utc - recipient.held_seconds
        return 0 < self.delay_notice_seconds <= waited and not recipient.delay_noticed

    def next_due(self, message: SpoolMessage, recipient: SpoolRecipient, now_utc: float, random: Randomness) -> float:
        """Return the UTC second of the attempt after the one that just failed."""
        wait = self.schedule.wait_seconds(len(recipient.attempts) + 1)
        jittered = wait * (1 - JITTER + 2 * JITTER * random.random())
        # A last attempt at the end of the time, rather than expiry in the middle of a four-hour wait; never sooner
        # than a second.
        return max(now_utc + 1.0, min(now_utc + jittered, self.expires_at(message, recipient)))


@lru_cache(maxsize=8)  # one entry a snapshot that is still in use
def _patience(retry: Sequence[str], expire: float, delay_notice: float) -> Patience:
    return Patience(parse_retry(retry), expire, delay_notice)
