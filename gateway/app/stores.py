"""A worker's stores, opened and closed together: spool with ledger, journal, counters, memories, log, metrics."""

import os
import sys
from pathlib import Path

from gateway.admin.log import LineWriter, Log
from gateway.admin.metrics import Metrics
from gateway.admin.status import RateMeter, StoreHealth
from gateway.app.past import Past
from gateway.clock import Clock
from gateway.config.models import GatewayConfig
from gateway.journal.events import EventSink, ShardAdopted, StorageFailed
from gateway.journal.sinks import FanOut
from gateway.journal.store import Journal
from gateway.ledger import MIGRATIONS as LEDGER_MIGRATIONS
from gateway.spool.custody import Custody
from gateway.spool.shard import ShardSettings
from gateway.state.counters import SharedCounters
from gateway.state.memories import Memories


def shard_settings(data: Path, clock: Clock) -> ShardSettings:
    """Return how a shard is opened: with the ledger's tables beside the spool's."""
    return ShardSettings(data=data, clock=clock, companions=LEDGER_MIGRATIONS, writer="process")


class Witness:
    """Makes events of what the spool does by itself."""

    def __init__(self, clock: Clock, events: EventSink) -> None:
        self._clock, self._events = clock, events

    def shard_adopted(self, shard: str, queued: int) -> None:
        """Say that a shard was taken over."""
        self._events.emit(ShardAdopted(at=self._clock.stamp().utc, shard=shard, queued=queued))

    def storage_failed(self, store: str, operation: str, error: str) -> None:
        """Say that a store failed."""
        self._events.emit(StorageFailed(at=self._clock.stamp().utc, store=store, operation=operation, error=error))


class Stores:
    """Everything of one worker that outlives a transaction; construction blocks and raises StorageError."""

    def __init__(self, config: GatewayConfig, worker: int, workers: int, clock: Clock) -> None:
        self.log = Log(LineWriter(sys.stderr.fileno()), level=config.log.level, format=config.log.format)
        self.metrics = Metrics(str(worker))
        self.journal = Journal(config.data / "journal", worker, clock=clock, failures=self.log)
        self.rates = RateMeter(clock.stamp().utc)
        self.health = StoreHealth()
        self.memories = Memories(config.data / "state", clock=clock, random_octets=os.urandom)
        self.past = Past(self.memories, clock)
        self.events = FanOut([self.journal, self.log, self.metrics, self.rates, self.health, self.past])
        self.counters = SharedCounters(
            config.data / "counters", worker=worker, workers=workers, clock=clock, random_octets=os.urandom
        )
        self.custody = Custody.open(
            shard_settings(config.data, clock), worker=worker, workers=workers, witness=Witness(clock, self.events)
        )

    async def close(self) -> None:
        """Write what is pending and let go, the log last."""
        self.custody.close_now()
        self.counters.close()
        self.past.flush()
        self.memories.close()
        await self.journal.close()
        self.log.close()
