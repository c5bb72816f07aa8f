"""The incident keeper: what the workers' journals tell becomes incidents, and what follows from them is done.

One round reads what is new, folds it in one transaction with the position it was read to, confirms by the thresholds of
the policies, blocks and suspends where they say so, files the evidence that waits, and ends what is over. Killed at any
point it goes on where the record stands: nothing is counted twice, nothing lost. What has effect on mail (the local
list, the file of suspended senders) is made from the record after the transaction, and again at the start.

Everything here blocks: ``gateway.app`` calls it in a thread of its own. Events are returned, never emitted within.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.abuse.ageing import age
from gateway.abuse.blocking import AUTOMATIC, block, end_over, enforce
from gateway.abuse.local_senders import Excess, LocalWatch
from gateway.abuse.protection import Protection
from gateway.abuse.sightings import BY_LIST, BY_SUSPENSION, KEPT_OUT, Neighbourhood, judged_sighting, refused_sighting
from gateway.abuse.suspending import publish, suspend
from gateway.abuse.tail import JournalTail, Reading, StaleReadingError
from gateway.abuse.thresholds import Confirmation, Thresholds
from gateway.blocklist.local.keeping import ListKeeper
from gateway.clock import Clock
from gateway.config.snapshot import Snapshot
from gateway.incidents import Change, IncidentBook, IncidentReader, Sighting, Source, State
from gateway.incidents.blocks import note_attempts, note_watch
from gateway.incidents.evidence import EvidenceStore
from gateway.incidents.schema import FOLDER, database_path
from gateway.incidents.suspensions import note_suspended_attempts, standing
from gateway.incidents.values import Incident
from gateway.journal.duty_events import IncidentChanged
from gateway.journal.events import Event, MessageJudged, RecipientRefused
from gateway.journal.guard_events import OwnListingChanged

BY = "keeper"
# How often positions of mail that was nothing are put on record, with the word that somebody was looking.
WATCH_SECONDS = 30.0
# A sample whose verdict the journal does not tell in this time has none: a kill lost the last rows.
ORPHAN_SECONDS = 600.0
ADOPTED_A_ROUND = 50
# How a journalled verdict that may be spam reads as JSON; nearly all mail has none of these words.
_TELLING = ('"tag"', '"quarantine"', '"reject"', '"discard"', '"infected"', '"cleaned"', '"relay"', '"submission"')


def concerns(kind: str, data: str) -> bool:
    """Whether a journal row is worth decoding: a look for words, a microsecond."""
    if kind == MessageJudged.kind:
        return any(word in data for word in _TELLING)
    return kind in (RecipientRefused.kind, OwnListingChanged.kind) or (
        kind == "delivery_attempted" and '"bounced"' in data
    )


Attempts = dict[tuple[Source, str], tuple[int, float]]
_IS_BLOCKED = "SELECT 1 FROM block WHERE entry = ? AND ended_at IS NULL"


@dataclass(slots=True)
class Round:
    """What one round did, for whoever tells of it."""

    sightings: int = 0
    adopted: int = 0
    events: list[Event] = field(default_factory=list)
    listed: list[OwnListingChanged] = field(default_factory=list)
    suspended: list[Source] = field(default_factory=list)
    blocks_changed: bool = False
    more: bool = False


class Keeper:
    """Keeps the incidents of one data folder; ``use`` first, with the configuration and what protects it."""

    def __init__(self, data: Path, *, clock: Clock, book: IncidentBook, local: LocalWatch) -> None:
        self._data, self._clock, self._book, self._local = data, clock, book, local
        self._opened: IncidentReader | None = None
        if database_path(data).exists():
            # A kill may have left a file without tables, a version before this one a file with fewer.
            with book.change(BY, "begin"):
                pass
        self._evidence = EvidenceStore(data)
        self._tail = JournalTail(data / "journal", self._reader.cursors(), concerns, clock)
        # Not at once: a gateway that was only tried out leaves no record behind.
        self._watched_at = clock.monotonic()

    @property
    def _reader(self) -> IncidentReader:
        """The record; one that is empty until something was written to it."""
        if self._opened is None and database_path(self._data).exists():
            self._opened = IncidentReader(self._data)
        return self._opened or IncidentReader(self._data)

    def use(self, snapshot: Snapshot, protection: Protection) -> None:
        """Judge by a configuration from now on."""
        self._snapshot, self._protection = snapshot, protection
        self._near, self._thresholds = Neighbourhood.of(snapshot), Thresholds(snapshot)
        self._lists = ListKeeper(snapshot.config.blocklists, self._data, clock=self._clock)

    def enforce(self) -> None:
        """Make the local list and the file of suspended senders say what the record says."""
        enforce(self._reader.rows, self._lists, self._clock)
        publish(self._reader.rows, self._data / FOLDER)

    def round(self) -> Round:
        """Do what there is to do now; raise StorageError."""
        done = Round()
        self._take(list(self._tail.readings()), done)
        self._adopt(done)
        if self._clock.monotonic() - self._watched_at >= WATCH_SECONDS:
            self._watch(done)
            self._watched_at = self._clock.monotonic()
        if done.blocks_changed:
            enforce(self._reader.rows, self._lists, self._clock)
        if done.suspended:
            publish(self._reader.rows, self._data / FOLDER)
        return done

    def close(self) -> None:
        """Let go of every file."""
        self._tail.close()
        if self._opened is not None:
            self._opened.close()

    # Reading ----------------------------------------------------------------------------------------------------------

    def _take(self, readings: Sequence[Reading], done: Round) -> None:
        """Store what was read of all journals in one transaction: opening one costs as much as twenty sightings."""
        events = [event for reading in readings for event in reading.events]
        done.more = any(reading.full for reading in readings)
        done.listed += [event for event in events if isinstance(event, OwnListingChanged)]
        sightings, excesses = self._sightings(events)
        attempts = self._attempts(events)
        if not sightings and not attempts:
            return
        noted = len(done.events)
        try:
            with self._book.change(BY, "fold") as change:
                for reading in readings:
                    self._tail.store(change, reading)
                self._fold(change, sightings, excesses, done)
                for (source, by), (count, last) in attempts.items():
                    _note_attempts(change, source, by, count, last)
        except StaleReadingError:
            # Another keeper of the same folder was quicker; there should be none.
            del done.events[noted:]
            self._retract(readings)
            return
        except BaseException:
            self._retract(readings)
            raise
        for reading in readings:
            self._tail.stored(reading)
        done.sightings += len(sightings)

    def _retract(self, readings: Sequence[Reading]) -> None:
        for reading in readings:
            self._tail.retract(reading)

    def _sightings(self, events: Sequence[Event]) -> tuple[list[Sighting], dict[Source, Excess]]:
        found: list[Sighting] = []
        excesses: dict[Source, Excess] = {}
        for event in events:
            sighting = None
            if isinstance(event, MessageJudged):
                sighting = judged_sighting(event, self._near)
            elif isinstance(event, RecipientRefused):
                sighting = refused_sighting(event, self._near)
            if sighting is not None:
                found.append(sighting)
            for excess, of in self._local.look(event, self._near, self._snapshot.config.incidents.local):
                found.append(excess.sighting(of))
                excesses[excess.source] = excess
        return found, excesses

    def _attempts(self, events: Iterable[Event]) -> Attempts:
        """Return what blocks and suspensions kept out: who, by which, how often, when last."""
        counts: Counter[tuple[Source, str]] = Counter()
        last: dict[tuple[Source, str], float] = {}
        for event in events:
            if isinstance(event, RecipientRefused) and event.filter in KEPT_OUT:
                for source in _refused_sources(event, self._near):
                    counts[source, event.filter] += 1
                    last[source, event.filter] = event.at
        # Other lists refuse many more than incidents do.
        return {
            (source, by): (count, last[source, by])
            for (source, by), count in counts.items()
            if by == BY_SUSPENSION or self._reader.rows(_IS_BLOCKED, (source.key,))
        }

    # Deciding ---------------------------------------------------------------------------------------------------------

    def _fold(self, change: Change, sightings: Sequence[Sighting], excesses: dict[Source, Excess], done: Round) -> None:
        outcome = change.fold(sightings)
        domains: dict[Source, set[str]] = {}
        for sighting in sightings:
            domains.setdefault(sighting.source, set()).add(sighting.recipient_domain)
        for number in outcome.incidents:
            incident = change.incident(number)
            if number in outcome.opened:
                done.events.append(_told(change, incident, "opened"))
            elif number in outcome.resumed:
                done.events.append(_told(change, incident, "sends again"))
            if self._is_to_be_decided(incident, domains.get(incident.source, set())):
                self._decide(change, incident, excesses.get(incident.source), done)

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
            done.blocks_changed = True
            done.events.append(_told(change, change.incident(incident.id), f"blocked: {found.reason}"))

    # Evidence ---------------------------------------------------------------------------------------------------------

    def _adopt(self, done: Round) -> None:
        """File the samples whose sightings are on record."""
        waiting = self._evidence.inbox.waiting()[:ADOPTED_A_ROUND]
        known = [(each, self._reader.by_trace(each.trace_id)) for each in waiting]
        ready = [(each.trace_id, found[0].incident) for each, found in known if found]
        if ready:
            with self._book.change(BY, "evidence") as change:
                for trace_id, incident in ready:
                    self._evidence.adopt(change, incident, trace_id)
            done.adopted += len(ready)
        now = self._clock.stamp().utc
        for each, found in known:
            if not found and now - each.at > ORPHAN_SECONDS:
                self._evidence.inbox.discard(each.trace_id)

    # Time -------------------------------------------------------------------------------------------------------------

    def _watch(self, done: Round) -> None:
        """Note that somebody looks, end what is over, and have it said again what is in force."""
        settings = self._snapshot.config.incidents
        moved = self._tail.pending()
        with self._book.change(BY, "watch") as change:
            for reading in moved:
                with suppress(StaleReadingError):
                    self._tail.store(change, reading)
            self._tail.forget(change)
            note_watch(change)
            for ended, why in end_over(change, settings.quiet, by_quiet=settings.lift == "quiet"):
                done.blocks_changed = True
                done.events.append(_told(change, change.incident(ended.incident), f"lifted: {why}"))
            for incident, why in age(change, quiet_seconds=settings.quiet, close_seconds=settings.close):
                done.events.append(_told(change, incident, why))
        for reading in moved:
            self._tail.stored(reading)
        # A command that died between the record and the workers' files, or was quicker than our last write of them.
        self.enforce()


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
