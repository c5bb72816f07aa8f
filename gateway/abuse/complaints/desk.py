"""The complaint desk: a round reads every mail that is new in its folder and makes of each what it is (``taking``).

A complaint opens a ticket, an answer to our mail joins its ticket or report, a notification makes a mail of ours
bounced. Machines' mail that complains of nothing, our own mail, and spam that names no mail are noted and left: the
abuse mailbox has them all, for this folder only holds copies. Each mail is read once (``desk_seen``), whatever fails
when.

Nothing in a mail can stop a round. What makes a bug show is one event, and a ticket for a person to look at.
"""

import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from gateway.abuse.complaints import folder, letter, taking
from gateway.abuse.complaints.complaint import Complaint, Format
from gateway.abuse.complaints.deadlines import TicketClocks
from gateway.abuse.complaints.matching import Match
from gateway.abuse.complaints.taking import Around
from gateway.abuse.post import BY
from gateway.abuse.sightings import Neighbourhood
from gateway.blocklist.local.declaration import Calendar, read_declarations
from gateway.blocklist.local.workdays import WorkingCalendar
from gateway.clock import Clock
from gateway.config.models import GatewayConfig
from gateway.config.problem import ConfigError
from gateway.config.snapshot import Snapshot
from gateway.incidents import IncidentBook
from gateway.journal.events import EventSink, InternalError, StorageFailed
from gateway.mail.content import Content
from gateway.storage import StorageError

# A round is seconds at most; the next follows at once.
MOST_A_ROUND = 200
PRUNE_SECONDS = 3600.0


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
        self._unreadable: set[str] = set()
        self._pruned_at = 0.0
        self._settled = False

    def round(self) -> Counter[str]:
        """Read what is new; return how much there was of each kind (ticket, follow-up, bounced, answered …)."""
        around = self._around()
        done: Counter[str] = Counter()
        for path in folder.unread(around.config.data):
            if done.total() >= MOST_A_ROUND:
                break
            if path.name not in self._unreadable and (what := self._read(path, around)):
                done[what] += 1
        self._prune(around.config)
        return done

    def _around(self) -> Around:
        snapshot = self._snapshot()
        config = snapshot.config
        calendar = calendar_of(config)
        clocks = TicketClocks(config.data, WorkingCalendar(calendar))
        if not self._settled:
            self._settle(clocks)
        return Around(
            config=config,
            book=self._book,
            clocks=clocks,
            near=Neighbourhood.of(snapshot),
            zone=calendar.zone,
            now=self._now,
        )

    def _read(self, path: Path, around: Around) -> str:
        trace_id = folder.trace_id_of(path)
        try:
            content = Content(path=path, size=path.stat().st_size)
            what = self._taken(content, trace_id, around)
            if what == "set-aside" and folder.is_returned(path):
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
            empty = Content(b"")
            plain = Complaint(format=Format.PLAIN, defects=("could not be read",))
            return taking.opened(letter.read(empty, trace_id), plain, Match(), empty, around)

    def _settle(self, clocks: TicketClocks) -> None:
        """Stop the clocks on the service level's record that an earlier run had no time to stop."""
        self._settled = True
        running = clocks.running()
        if not running:
            return
        with self._book.change(BY, "complaint desk") as change:
            rows = change.execute(
                "SELECT response_deadline, responded_at, outcome_deadline, outcome_at FROM ticket"
                " WHERE responded_at IS NOT NULL OR outcome_at IS NOT NULL"
            )
        for response, responded_at, outcome, outcome_at in rows:
            for number, at in ((response, responded_at), (outcome, outcome_at)):
                if number in running and at is not None:
                    clocks.stop([number], at, BY)

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
