"""The complaint desk: a round reads every mail that is new in its folder and makes of each what it is (``taking``).

A complaint opens a ticket, an answer to our mail joins its ticket or report, a notification makes a mail of ours
bounced. Machines' mail that complains of nothing, our own mail, and spam that names no mail are noted and left: the
abuse mailbox has them all, for this folder only holds copies. Each mail is read once (``desk_seen``), whatever fails
when.

Nothing in a mail can stop a round. What makes a bug show is one event, and a ticket for a person to look at.
"""

import math
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from gateway.abuse.complaints import folder, letter, taking
from gateway.abuse.complaints.closing import take_back
from gateway.abuse.complaints.complaint import Complaint, Format
from gateway.abuse.complaints.deadlines import TicketClocks
from gateway.abuse.complaints.matching import Match
from gateway.abuse.complaints.settling import settle
from gateway.abuse.complaints.taking import Around
from gateway.abuse.post import BY
from gateway.abuse.sightings import Neighbourhood
from gateway.blocklist.local.declaration import Calendar, read_declarations
from gateway.blocklist.local.workdays import WorkingCalendar
from gateway.clock import Clock
from gateway.config.models import GatewayConfig
from gateway.config.problem import ConfigError
from gateway.config.snapshot import Snapshot
from gateway.incidents import Change, IncidentBook
from gateway.incidents.evidence import EvidenceStore
from gateway.incidents.schema import database_path
from gateway.journal.duty_events import AnswerUndelivered
from gateway.journal.events import EventSink, InternalError, StorageFailed
from gateway.mail.content import Content
from gateway.storage import StorageError

# A round is seconds at most; the next follows at once. What is written leaves in between.
MOST_A_ROUND = 200
ROUND_SECONDS = 10.0
PRUNE_SECONDS = 3600.0
# A command that could not stop a clock leaves it to us, and nothing tells that it has.
SETTLE_SECONDS = 600.0
# A record that is damaged, or whose disk is full, stays so for a while.
AGAIN_SECONDS = 30.0
# Kept whole as evidence: the copy here says nothing more.
_ELSEWHERE = frozenset({"ticket", "follow-up"})


class ComplaintDesk:
    """Reads the folder; ``round`` is called by the keeper, in a thread where mail flows. StorageError stops a round."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        book: IncidentBook,
        *,
        clock: Clock,
        events: EventSink,
    ) -> None:
        self._snapshot, self._book, self._clock, self._events = snapshot, book, clock, events
        data = snapshot().config.data
        self._store = EvidenceStore(data)
        self._clocks = TicketClocks(data, WorkingCalendar(Calendar()))
        self._unreadable: set[str] = set()
        self._pruned_at = 0.0
        # The size that the service level's record had when both told the same, and when that was seen.
        self._settled: tuple[int, float] = (-1, -math.inf)

    def round(self) -> Counter[str]:
        """Read what is new; return how much there was of each kind (ticket, follow-up, bounced, answered …)."""
        around = self._around()
        done: Counter[str] = Counter()
        end = self._clock.monotonic() + ROUND_SECONDS
        for path in folder.unread(around.config.data):
            if done.total() >= MOST_A_ROUND or self._clock.monotonic() > end:
                break
            if path.name not in self._unreadable and (what := self._read(path, around)):
                done[what] += 1
        self._settle(done.total())
        self._prune(around.config)
        return done

    def _around(self) -> Around:
        snapshot = self._snapshot()
        config = snapshot.config
        calendar = calendar_of(config)
        self._clocks.use(WorkingCalendar(calendar))
        return Around(
            config=config,
            book=self._book,
            store=self._store,
            clocks=self._clocks,
            near=Neighbourhood.of(snapshot),
            zone=calendar.zone,
            now=self._now,
            undelivered=self._undelivered,
        )

    def _read(self, path: Path, around: Around) -> str:
        trace_id = folder.trace_id_of(path)
        try:
            content = Content(path=path, size=path.stat().st_size)
            what = self._taken(content, trace_id, around)
            if what in _ELSEWHERE or (what == "set-aside" and folder.is_returned(path)):
                path.unlink()
            else:
                folder.mark_read(path)
        except OSError as error:
            self._unreadable.add(path.name)
            self._events.emit(
                StorageFailed(at=self._now(), trace_id=trace_id, store="complaints", operation="read", error=str(error))
            )
            return ""
        return what

    def _taken(self, content: Content, trace_id: str, around: Around) -> str:
        try:
            return taking.take(content, trace_id, around)
        except (StorageError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - a bug in reading one mail must not keep the others unread
            self._events.emit(
                InternalError(
                    at=self._now(),
                    trace_id=trace_id,
                    where="complaint desk",
                    error=f"{type(error).__name__}: {error}",
                    traceback="".join(traceback.format_exception(error)),
                )
            )
            plain = Complaint(format=Format.PLAIN, defects=("could not be read",))
            return taking.opened(letter.read(Content(b""), trace_id), plain, Match(), content, around)

    def _undelivered(self, change: Change, ticket: int, mail: int, reason: str) -> None:
        found = take_back(change, ticket, mail, reason, self._clocks)
        if found is not None:
            change.afterwards(
                lambda: self._events.emit(
                    AnswerUndelivered(
                        at=change.at,
                        ticket=found.ticket,
                        answer=found.answer,
                        reason=found.reason,
                        due_at=found.due_at,
                    )
                )
            )

    def _settle(self, read: int) -> None:
        """Have the service level's record and our clocks tell the same, where either may have changed."""
        before, at = self._settled
        elapsed = self._clock.monotonic() - at
        if before < 0:
            if elapsed < AGAIN_SECONDS:
                return
            if database_path(self._book.data).exists():
                # After an upgrade the first writer brings the tables up to date; what follows reads first.
                with self._book.change(BY, "complaint desk"):
                    pass
        elif not read and elapsed < SETTLE_SECONDS and self._clocks.size() == before:
            return
        went_well = settle(self._book, self._clocks, self._now())
        self._settled = (self._clocks.size() if went_well else -1, self._clock.monotonic())

    def _prune(self, config: GatewayConfig) -> None:
        now = self._now()
        if now - self._pruned_at >= PRUNE_SECONDS:
            self._pruned_at = now
            folder.prune(config.data, now - config.complaints.keep)

    def _now(self) -> float:
        return self._clock.stamp().utc


def calendar_of(config: GatewayConfig) -> Calendar:
    """Return the working days that hold here; those announced where the administrator's file cannot be read."""
    try:
        return read_declarations(config.blocklists).calendar
    except ConfigError:
        return Calendar()
