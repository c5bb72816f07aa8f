"""What the incident record needs beside the mail: what is old goes, and the chain's head is told to the journal.

Pruning is done step by step, one after a pause, so that folding and commands come between. The head in the journal is
an anchor outside the record: who cuts off the chain's last rows, and alters the file ``head`` with them, is found.
"""

from pathlib import Path

from gateway.clock import Clock
from gateway.incidents import IncidentBook, IncidentReader
from gateway.incidents.chain import Anchor
from gateway.incidents.evidence import EvidenceStore
from gateway.incidents.retention import Keeping, Pruner
from gateway.incidents.schema import database_path
from gateway.journal.duty_events import RecordAnchored
from gateway.journal.events import Event

# A day's worth is a few minutes' work at most.
PRUNE_SECONDS = 3600.0
BETWEEN_STEPS_SECONDS = 2.0
ANCHOR_SECONDS = 3600.0


class Upkeep:
    """Looked after now and then by whoever runs the keeper; blocking; raises StorageError."""

    def __init__(self, data: Path, *, clock: Clock, book: IncidentBook) -> None:
        self._data, self._clock, self._book = data, clock, book
        self._path = database_path(data)
        self._evidence = EvidenceStore(data)
        now = clock.monotonic()
        # Not in the first minutes, which belong to what waited while nothing ran.
        self._prune_at, self._anchor_at = now + PRUNE_SECONDS / 6, now
        self._anchored: Anchor | None = None

    @property
    def is_due(self) -> bool:
        """Whether a look would do anything."""
        return self._clock.monotonic() >= min(self._prune_at, self._anchor_at)

    def look(self, keeping: Keeping) -> list[Event]:
        """Do what is due, a step of it, and return what is to be told."""
        if not self.is_due or not self._path.exists():
            return []
        now, told = self._clock.monotonic(), list[Event]()
        if now >= self._prune_at:
            # A step that fails is tried again by the hour.
            self._prune_at = now + PRUNE_SECONDS
            step = Pruner(self._book, self._evidence, keeping).step()
            if step.more:
                self._prune_at = now + BETWEEN_STEPS_SECONDS
        if now >= self._anchor_at:
            self._anchor_at = now + ANCHOR_SECONDS
            told = self._anchor()
        return told

    def _anchor(self) -> list[Event]:
        with IncidentReader(self._data) as reader:
            head = reader.head()
        if head.number == 0 or head == self._anchored:
            return []
        self._anchored = head
        return [RecordAnchored(at=self._clock.stamp().utc, number=head.number, digest=head.digest)]
