"""The incident keeper: what the workers' journals tell becomes incidents, and what follows from them is done.

One round reads what is new. What it gathers (``gateway.abuse.gathering``) is folded in one transaction with the
position it was read to; that confirms by the thresholds of the policies, blocks and suspends where they say so. The
round also files the evidence that waits, and ends what is over. Killed at any point it goes on where the record stands:
nothing is counted twice, nothing lost. A transaction that fails is tried again before anything more is read. What has
effect on mail (the local list, the file of suspended senders) is made from the record after each transaction, and again
at the start.

Everything here blocks: ``gateway.app`` calls it in a thread of its own. Events are returned, never emitted within.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.abuse.ageing import age
from gateway.abuse.blocking import AUTOMATIC, block, end_over, enforce
from gateway.abuse.gathering import GATHER_SECONDS, Gathered
from gateway.abuse.local_senders import Excess, LocalWatch
from gateway.abuse.protection import Protection
from gateway.abuse.sightings import BY_LIST, BY_SUSPENSION, KEPT_OUT, Neighbourhood, judged_sighting, refused_sighting
from gateway.abuse.suspending import publish, suspend
from gateway.abuse.tail import JournalTail, StaleReadingError, Telling
from gateway.abuse.thresholds import Confirmation, Thresholds
from gateway.blocklist.local.keeping import ListKeeper
from gateway.clock import Clock
from gateway.config.problem import ConfigError
from gateway.config.snapshot import Snapshot
from gateway.incidents import Change, IncidentBook, IncidentReader, Sighting, Source, State
from gateway.incidents.blocks import note_attempts, note_watch
from gateway.incidents.evidence import EvidenceStore
from gateway.incidents.reader import incidents_by_trace
from gateway.incidents.schema import FOLDER, database_path
from gateway.incidents.suspensions import note_suspended_attempts, standing
from gateway.incidents.values import Incident
from gateway.journal.duty_events import IncidentChanged
from gateway.journal.events import (
    DeliveryAttempted,
    Event,
    InternalError,
    MessageJudged,
    RecipientRefused,
    StorageFailed,
)
from gateway.journal.guard_events import OwnListingChanged
from gateway.storage import StorageError

BY = "keeper"
# How often positions of mail that was nothing are put on record, with the word that somebody was looking.
WATCH_SECONDS = 30.0
# A hundred thousand blocks are gone through in a second: a hundredth of the time at most.
ENFORCE_SHARE = 100.0
# A sample whose verdict the journal does not tell in this time has none: a kill lost the last rows.
ORPHAN_SECONDS = 600.0
# Filed in one transaction: some tenths of a second, two syncs each.
ADOPTED_AT_ONCE = 50
# Nearly all mail has none of these words, and is passed over by a look for them, a microsecond.
TELLING: Telling = {
    MessageJudged.kind: ("tag", "quarantine", "reject", "discard", "infected", "cleaned", "relay", "submission"),
    RecipientRefused.kind: (),
    OwnListingChanged.kind: (),
    DeliveryAttempted.kind: ("bounced",),
}
_IS_BLOCKED = "SELECT 1 FROM block WHERE entry = ? AND ended_at IS NULL"
_STANDS = """
SELECT state, sightings, viruses, EXISTS (SELECT 1 FROM block_refusal WHERE block_refusal.incident = incident.id)
FROM incident WHERE source_kind = ? AND source_key = ? AND state <> 'closed'"""


@dataclass(slots=True)
class Round:
    """What one round did, for whoever tells of it."""

    sightings: int = 0
    adopted: int = 0
    events: list[Event] = field(default_factory=list)
    listed: list[OwnListingChanged] = field(default_factory=list)
    suspended: list[Source] = field(default_factory=list)
    more: bool = False

    @property
    def tells(self) -> bool:
        """Whether anybody has to hear of it."""
        return bool(self.sightings or self.events or self.listed)


class Keeper:
    """Keeps the incidents of one data folder; ``use`` first, with the configuration and what protects it."""

    def __init__(
        self,
        data: Path,
        *,
        clock: Clock,
        book: IncidentBook,
        local: LocalWatch,
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        self._data, self._clock, self._book, self._local = data, clock, book, local
        self._gather_seconds = gather_seconds
        book.hold()
        if database_path(data).exists():
            # A kill may have left a file without tables, a version before this one a file with fewer.
            with book.change(BY, "begin"):
                pass
        self._reader, self._evidence = IncidentReader(data), EvidenceStore(data)
        self._tail = JournalTail(data / "journal", self._reader.cursors(), TELLING, clock)
        # Not at once: a gateway that was only tried out leaves no record behind.
        self._watched_at = clock.monotonic()
        self._stored_at = self._adopted_at = clock.monotonic() - gather_seconds
        self._gathered = Gathered()
        self._is_urgent = self._failed = False
        # Read and not gathered: one of them has to wait for the disk.
        self._untaken: deque[Event] = deque()
        # What the record says and the workers may not have heard.
        self._unlisted = self._unpublished = False
        self._enforce_at = clock.monotonic()
        self._adopted_to = ""
        self._damaged: dict[str, bool] = {}
        # Kept over a round that fails: what it had done by then is told by the next.
        self._done = Round()

    def use(self, snapshot: Snapshot, protection: Protection) -> None:
        """Judge by a configuration from now on."""
        self._snapshot, self._protection = snapshot, protection
        self._near, self._thresholds = Neighbourhood.of(snapshot), Thresholds(snapshot)
        self._lists = ListKeeper(snapshot.config.blocklists, self._data, clock=self._clock)

    def enforce(self) -> None:
        """Make the local list and the file of suspended senders say what the record says."""
        self._unlisted = self._unpublished = True
        self._put_in_force()

    def round(self) -> Round:
        """Do what there is to do now; raise StorageError."""
        if self._failed:
            self._store()
        failure = self._failure_to_put_in_force()
        self._done.more = False
        self._take()
        for reading in self._tail.readings():
            self._untaken.extend(reading.events)
            self._take()
            self._done.more |= reading.full
            if self._gathered.is_full:
                self._store()
        if not self._gathered.is_empty and self._is_time():
            self._store()
        self._adopt(may_discard=not (self._done.more or self._tail.unreadable))
        if self._clock.monotonic() - self._watched_at >= WATCH_SECONDS:
            self._watch()
        if failure is not None:
            # What was done all the same is told by the next round that fails in nothing.
            raise failure
        done, self._done = self._done, Round()
        return done

    def finish(self) -> Round:
        """Do a last round, after which nothing waits for company; raise StorageError."""
        self._is_urgent = True
        self._adopted_at -= self._gather_seconds
        return self.round()

    def close(self) -> None:
        """Let go of every file; raise StorageError."""
        self._book.let_go()
        self._tail.close()
        self._reader.close()

    # Reading ----------------------------------------------------------------------------------------------------------

    def _take(self) -> None:
        """Gather what was read, each event once; whoever could be acted upon makes it urgent."""
        found: list[Sighting] = []
        blocked: dict[str, bool] = {}
        try:
            while self._untaken:
                found += self._taken(blocked)
        except StorageError:
            self._is_urgent = True
            raise
        finally:
            self._gathered.add(found)
        self._is_urgent = self._is_urgent or any(map(self._may_act, _by_source(found).items()))

    def _taken(self, blocked: dict[str, bool]) -> list[Sighting]:
        """Return the sightings of the next event; one that cannot be judged for the disk's sake stays the next."""
        event, found = self._untaken.popleft(), list[Sighting]()
        if isinstance(event, OwnListingChanged):
            self._done.listed.append(event)
            return found
        try:
            self._note_kept_out(event, blocked)
            found += self._sightings(event)
        except ValueError as error:
            # Such as an address that is none; the others of the same reading count all the same.
            told = f"{event.kind} {event.trace_id}: {error}"
            self._done.events.append(InternalError(at=event.at, where="incident keeper", error=told, traceback=""))
        except StorageError:
            self._untaken.appendleft(event)
            raise
        return found

    def _sightings(self, event: Event) -> Iterator[Sighting]:
        sighting = None
        if isinstance(event, MessageJudged):
            sighting = judged_sighting(event, self._near)
        elif isinstance(event, RecipientRefused):
            sighting = refused_sighting(event, self._near)
        if sighting is not None:
            yield sighting
        for excess, of in self._local.look(event, self._near, self._snapshot.config.incidents.local):
            self._gathered.excesses[excess.source] = excess
            yield excess.sighting(of)

    def _note_kept_out(self, event: Event, blocked: dict[str, bool]) -> None:
        """Gather what blocks and suspensions kept out; ``blocked`` remembers for whom an incident's block stands."""
        if not (isinstance(event, RecipientRefused) and event.filter in KEPT_OUT):
            return
        for source in _refused_sources(event, self._near):
            if event.filter == BY_LIST and source.key not in blocked:
                # Other lists refuse many more than incidents do.
                blocked[source.key] = bool(self._reader.rows(_IS_BLOCKED, (source.key,)))
            if event.filter == BY_SUSPENSION or blocked[source.key]:
                self._gathered.attempt(source, event.filter, event.at)

    def _may_act(self, of: tuple[Source, set[str]]) -> bool:
        """Whether something that has an effect on mail may follow from the sightings of a source."""
        source, domains = of
        if source.kind.is_ours:
            return self._snapshot.config.incidents.local.suspend
        if not self._thresholds.may_block(domains):
            return False
        rows = self._reader.rows(_STANDS, (source.kind.value, source.key))
        state, sightings, viruses, refused = rows[0] if rows else (State.OPEN, 0, 0, False)
        if state == State.BLOCKED or refused:
            return False
        if state in {State.CONFIRMED, State.REPORTED}:
            return True
        spam, infected = self._gathered.counted(source)
        return self._thresholds.may_confirm(domains, sightings + spam, viruses + infected)

    # Storing ----------------------------------------------------------------------------------------------------------

    def _is_time(self) -> bool:
        return self._is_urgent or self._clock.monotonic() - self._stored_at >= self._gather_seconds

    @contextmanager
    def _following(self, operation: str) -> Iterator[Change]:
        """Make a change that also puts on record how far the journals were read."""
        read = self._tail.pending()
        with self._book.change(BY, operation) as change:
            for reading in read:
                self._tail.store(change, reading)
            yield change
        for reading in read:
            self._tail.stored(reading)

    def _go_behind(self) -> None:
        """Go on where the record stands: another keeper was quicker, as one that is being stopped, or it is another."""
        self._reader.close()
        self._reader = IncidentReader(self._data)
        self._tail.resume(self._reader.cursors())

    def _store(self) -> None:
        """Put on record what was gathered; it stays so until that succeeds."""
        # Evidence holds up no verdict that mail waits for, and none a second time: then it is left to ``_adopt``.
        is_alone = self._is_urgent or self._failed
        done, gathered, self._failed = Round(), self._gathered, True
        try:
            with self._following("fold") as change:
                if gathered.sightings:
                    self._fold(change, gathered, done)
                    if not is_alone:
                        self._adopt_with(change, done)
                for source, by, count, last in gathered.attempts():
                    _note_attempts(change, source, by, count, last)
        except StaleReadingError:
            self._go_behind()
            done = Round()
        else:
            self._done.sightings += len(gathered.sightings)
            self._done.adopted += done.adopted
        self._gathered, self._failed, self._is_urgent = Gathered(), False, False
        self._stored_at = self._clock.monotonic()
        self._done.events += done.events
        self._done.suspended += done.suspended
        self._unpublished |= bool(done.suspended)
        self._put_in_force()

    def _failure_to_put_in_force(self) -> Exception | None:
        """Put in force, and return what kept that from being done: verdicts are folded all the same."""
        try:
            self._put_in_force()
        except (StorageError, ConfigError, OSError) as error:
            return error
        return None

    def _put_in_force(self) -> None:
        """Have the workers hear of what the record says; what fails is tried again."""
        # First, for it asks for no lock that a keeper of lists may have.
        if self._unpublished:
            publish(self._reader.rows, self._data / FOLDER)
            self._unpublished = False
        if self._unlisted:
            enforce(self._reader.rows, self._lists, self._clock)
            self._unlisted = False

    # Deciding ---------------------------------------------------------------------------------------------------------

    def _fold(self, change: Change, gathered: Gathered, done: Round) -> None:
        outcome, domains = change.fold(gathered.sightings), _by_source(gathered.sightings)
        for number in outcome.incidents:
            incident = change.incident(number)
            if number in outcome.opened:
                done.events.append(_told(change, incident, "opened"))
            elif number in outcome.resumed:
                done.events.append(_told(change, incident, "sends again"))
            if self._is_to_be_decided(incident, domains.get(incident.source, set())):
                self._decide(change, incident, gathered.excesses.get(incident.source), done)

    def _is_to_be_decided(self, incident: Incident, domains: Iterable[str]) -> bool:
        """Whether an incident may be confirmed now, or is confirmed and may be acted on."""
        if incident.state is State.OPEN:
            return True
        # A report leaves within seconds of the confirmation: what was told may still have to be acted on.
        if incident.state not in {State.CONFIRMED, State.REPORTED}:
            return False
        if incident.source.kind.is_ours:
            return self._snapshot.config.incidents.local.suspend
        return self._thresholds.may_block(domains)

    def _decide(self, change: Change, incident: Incident, excess: Excess | None, done: Round) -> None:
        """Confirm what is open, and act on what is confirmed as its policy says."""
        found = Confirmation(reason=excess.told) if excess else self._thresholds.judge(change, incident)
        if found is None:
            return
        if incident.state is State.OPEN:
            incident = change.move(incident.id, State.CONFIRMED, found.reason)
            done.events.append(_told(change, incident, found.reason))
        if incident.source.kind.is_ours:
            self._suspend(change, incident, found, done)
        elif found.blocks:
            self._block(change, incident, found, done)

    def _suspend(self, change: Change, incident: Incident, found: Confirmation, done: Round) -> None:
        if not self._snapshot.config.incidents.local.suspend or standing(change.execute, incident.source):
            return
        suspend(change, incident.source, how=AUTOMATIC, reason=found.reason, incident=incident)
        done.suspended.append(incident.source)
        done.events.append(_told(change, change.incident(incident.id), f"suspended: {found.reason}"))

    def _block(self, change: Change, incident: Incident, found: Confirmation, done: Round) -> None:
        until = change.at + self._snapshot.config.incidents.block
        why = block(change, incident, self._protection, how=AUTOMATIC, reason=found.reason, until=until)
        if not why:
            self._unlisted = True
            done.events.append(_told(change, change.incident(incident.id), f"blocked: {found.reason}"))

    # Evidence ---------------------------------------------------------------------------------------------------------

    def _adopt_with(self, change: Change, done: Round) -> None:
        """File the samples of what was folded, which are nearly always there by now, in the same transaction."""
        waiting = self._evidence.inbox.waiting(most=ADOPTED_AT_ONCE)
        known = incidents_by_trace(change.execute, [each.trace_id for each in waiting])
        for trace_id, incident in known.items():
            self._evidence.adopt(change, incident, trace_id)
        done.adopted = len(known)
        if len(known) == len(waiting) < ADOPTED_AT_ONCE:
            self._adopted_at = self._clock.monotonic()

    def _adopt(self, *, may_discard: bool) -> None:
        """File samples whose sightings are on record, some at a time, the oldest first; pass over the others.

        One that waits for too long has no verdict, unless there are journals that were not read to their ends.
        """
        now = self._clock.monotonic()
        if not self._adopted_to and now - self._adopted_at < self._gather_seconds:
            return
        self._adopted_at = now
        waiting = self._evidence.inbox.waiting(after=self._adopted_to, most=ADOPTED_AT_ONCE)
        self._adopted_to = waiting[-1].trace_id if len(waiting) == ADOPTED_AT_ONCE else ""
        self._done.more |= bool(self._adopted_to)
        known = incidents_by_trace(self._reader.rows, [each.trace_id for each in waiting])
        if known:
            with self._book.change(BY, "evidence") as change:
                for trace_id, incident in known.items():
                    self._evidence.adopt(change, incident, trace_id)
            self._done.adopted += len(known)
        utc = self._clock.stamp().utc
        for each in waiting:
            if may_discard and each.trace_id not in known and utc - each.at > ORPHAN_SECONDS:
                self._evidence.inbox.discard(each.trace_id)

    # Time -------------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Note that somebody looks, end what is over, and have it said again what is in force."""
        if not self._gathered.is_empty:
            self._store()
        settings, told = self._snapshot.config.incidents, list[Event]()
        try:
            with self._following("watch") as change:
                self._tail.forget(change)
                note_watch(change)
                for ended, why in end_over(change, settings.quiet, by_quiet=settings.lift == "quiet"):
                    told.append(_told(change, change.incident(ended.incident), f"lifted: {why}"))
                for incident, why in age(change, quiet_seconds=settings.quiet, close_seconds=settings.close):
                    told.append(_told(change, incident, why))
        except StaleReadingError:
            self._go_behind()
            return
        self._watched_at = self._clock.monotonic()
        self._evidence.inbox.sweep(self._clock.stamp().utc - ORPHAN_SECONDS)
        self._done.events += [*told, *self._unreadable()]
        self._enforce_again()

    def _enforce_again(self) -> None:
        """Mend what a command left that died between record and files, or was quicker than our last write of them."""
        begun = self._clock.monotonic()
        if begun < self._enforce_at:
            return
        self.enforce()
        done = self._clock.monotonic()
        self._enforce_at = done + ENFORCE_SHARE * (done - begun)

    def _unreadable(self) -> Iterator[Event]:
        """Tell, once, of a journal that could not be read for a while: its verdicts are missing."""
        before, self._damaged = self._damaged, {}
        for name, error in self._tail.unreadable.items():
            self._damaged[name] = name in before
            # Not at the first look: it may just be being made.
            if before.get(name) is False:
                at = self._clock.stamp().utc
                yield StorageFailed(at=at, store="journal", operation="read", error=f"{name}: {error}")


def _by_source(sightings: Iterable[Sighting]) -> dict[Source, set[str]]:
    """Return the recipients' domains that each source wrote to."""
    found: dict[Source, set[str]] = {}
    for each in sightings:
        found.setdefault(each.source, set()).add(each.recipient_domain)
    return found


def _refused_sources(event: RecipientRefused, near: Neighbourhood) -> list[Source]:
    if event.filter == BY_LIST:
        return [Source.at(event.client)]
    own = near.source(event.client, event.reverse_path, role="relay")
    client = near.source(event.client, "", role="relay")
    return list(dict.fromkeys((own, client)))


def _note_attempts(change: Change, source: Source, by: str, count: int, last: float) -> None:
    if by == BY_LIST:
        note_attempts(change, source.key, count, last)
    else:
        note_suspended_attempts(change, source, count, last)


def _told(change: Change, incident: Incident, reason: str) -> IncidentChanged:
    return IncidentChanged(
        at=change.at,
        incident=incident.id,
        source=str(incident.source),
        state=incident.state.value,
        reason=reason,
        sightings=incident.sightings,
    )
