"""The keeper: brings every list up to date with its source, and says what came of it.

One keeper works at a time, whichever process it is in (the schedule's child, a command): a lock below the data folder
sees to that. Nothing here is on the mail path, and everything blocks. What is served is never worse for an attempt: an
edition that is held back, refused or unreachable leaves the one before in its place, with an alarm.

    data/blocklists/lists.json          what is served (manifest); read by all workers
                    NAME-….list         compiled; NAME+….list what operators added and took off
                    editions/NAME/SHA   the octets of editions, for rolling back
                    lists.sqlite        the record of editions and additions
                    lock
"""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from pathlib import Path

from gateway.blocklist.local.building import Builder, additions_file, digest_of
from gateway.blocklist.local.declaration import (
    INCIDENTS,
    Declarations,
    ListDeclaration,
    incidents_list,
    read_declarations,
)
from gateway.blocklist.local.editions import (
    OPEN,
    Addition,
    Edition,
    EditionStore,
    Fetches,
    State,
    end_addition,
    put_addition,
    put_edition,
    put_fetches,
)
from gateway.blocklist.local.entry import parse_entry, same_entry
from gateway.blocklist.local.fetching import Failed, Fetch, Fetched, Outcome, fetch
from gateway.blocklist.local.lists import FOLDER
from gateway.blocklist.local.manifest import ManifestError, Served, read_manifest, write_manifest
from gateway.blocklist.local.workdays import WorkingCalendar
from gateway.clock import Clock
from gateway.config.problem import ConfigError
from gateway.journal.events import Event
from gateway.journal.guard_events import ListApplied, ListOverdue, ListWithheld
from gateway.storage import DurableFiles, StorageError, StorageLocked

SCHEDULE = "schedule"
# Editions whose octets are kept, so that one can be rolled back to; a record of each stays for ever.
KEPT_EDITIONS = 30
# The compiling of a large list, and some more.
_LOCK_SECONDS = 60.0
_LOCK_PAUSE_SECONDS = 0.05
# Blocks that stand, all of which are looked through for each new one.
_meaning = lru_cache(maxsize=65_536)(parse_entry)


class Asking(Enum):
    """Which sources on the web and in folders are asked: what an operator wants now, what is due, none."""

    ALL = "all"
    DUE = "due"
    NONE = "none"


class RefusedError(Exception):
    """What an operator asked for cannot be done; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An edition on its way in."""

    octets: bytes
    how: str
    origin: str
    who: str
    published: float
    published_known: bool = True
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a source answered, and what was known of it when it was asked."""

    before: Fetches
    outcome: Outcome


class ListKeeper:
    """``folder`` is where lists are declared, ``data`` the gateway's data folder."""

    def __init__(
        self, folder: Path, data: Path, *, clock: Clock, files: DurableFiles | None = None, fetch_list: Fetch = fetch
    ) -> None:
        self._folder = folder
        self._home = data / FOLDER
        self._clock = clock
        self._files = files or DurableFiles()
        self._fetch = fetch_list
        self._builder = Builder(self._home, self._files)
        self.store = EditionStore(self._home / "lists.sqlite")

    def declarations(self) -> Declarations:
        """Return what is declared, and the list of incidents' blocks once it holds any; raise ``ConfigError``."""
        found = read_declarations(self._folder)
        if found.named(INCIDENTS) is None and self.store.has_additions(INCIDENTS):
            return replace(found, lists=(*found.lists, incidents_list()))
        return found

    def declared(self, name: str) -> ListDeclaration:
        """Return one list; raise ``RefusedError``, or ``ConfigError``."""
        declarations = self.declarations()
        found = declarations.named(name)
        if found is None:
            names = ", ".join(each.name for each in declarations.lists) or "none"
            raise RefusedError(f"no list is called {name}; declared: {names}")
        return found

    # What the schedule does -------------------------------------------------------------------------------------------

    def update(self, asking: Asking = Asking.DUE) -> list[Event]:
        """Bring everything up to date, asking these sources; return what happened.

        Raises StorageError.
        """
        events: list[Event] = []
        try:
            declarations = self.declarations()
            calendar = WorkingCalendar(declarations.calendar)
            for declaration in declarations.lists:
                events += self._kept(declaration, calendar, asking)
            with self._locked():
                # Again: the first block of all may have come meanwhile.
                events += self._publish(self.declarations())
                return events + self._overdue()
        except ConfigError as error:
            problems = tuple(map(str, error.problems))
            return [*events, self._withheld("", 0, "refused", "the declarations cannot be read", problems)]

    def _kept(self, declaration: ListDeclaration, calendar: WorkingCalendar, asking: Asking) -> list[Event]:
        """Bring one list up to date; what breaks on it is told, and keeps no other list from being so."""
        events: list[Event] = []
        try:
            # Not under the lock: a server that is silent would hold up whoever has a block to publish.
            asked = self._asked(declaration, asking)
            with self._locked():
                events += self._bring_in(declaration, calendar, asked)
                events += self._settle(declaration)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's list, or a bug
            events += self._refused(declaration, f"{type(error).__name__}: {error}")
        return events

    def next_due(self) -> float | None:
        """Return when the next source is to be asked or deadline is over, UTC seconds; None when there is neither."""
        late = self.store.next_late()
        due = [late] if late is not None else []
        try:
            lists = self.declarations().lists
        except ConfigError:
            return late
        due += [self._due_at(each) for each in lists if each.url or each.watch]
        return min(due, default=None)

    # What operators do ------------------------------------------------------------------------------------------------

    def take_edition(self, name: str, arrival: Arrival) -> tuple[Edition, list[Event]]:
        """Record an edition and apply it, or say why it is not applied."""
        with self._locked():
            declarations, declaration = self.declarations(), self.declared(name)
            if declaration.file:
                raise RefusedError(f"{name} is read from {declaration.file}; put the new content there")
            self._record(declaration, arrival, WorkingCalendar(declarations.calendar))
            events = self._settle(declaration) + self._publish(declarations)
            return self._rows(name)[0], events

    def roll_back(self, name: str, number: int, who: str) -> tuple[Edition, list[Event]]:
        """Serve an earlier edition again, as a new one."""
        declaration = self.declared(name)
        if declaration.file:
            raise RefusedError(f"{name} is read from {declaration.file}; put the earlier content there")
        earlier = next((each for each in self.store.editions(name) if each.number == number), None)
        if earlier is None:
            raise RefusedError(f"{name} has no edition {number}; see `tidegate blocklist history {name}`")
        octets = self._builder.content(name, earlier.sha256)
        if octets is None:
            raise RefusedError(f"the content of edition {number} is not kept any more; the last {KEPT_EDITIONS} are")
        arrival = Arrival(
            octets=octets,
            how="rollback",
            origin=earlier.origin,
            who=who,
            published=earlier.published,
            published_known=earlier.published_known,
            accepted=True,
        )
        return self.take_edition(name, arrival)

    def accept(self, name: str, who: str) -> tuple[Edition, list[Event]]:
        """Apply an edition that was held back."""
        with self._locked():
            declarations, declaration = self.declarations(), self.declared(name)
            newest = next(iter(self._rows(name)), None)
            if newest is None or newest.state is not State.HELD:
                raise RefusedError(f"no edition of {name} is held back")
            self.store.write([put_edition(replace(newest, accepted=True, who=who))])
            events = self._settle(declaration) + self._publish(declarations)
            return self._rows(name)[0], events

    def add(self, addition: Addition) -> list[Event]:
        """Put an entry on a list, or take it off, by an operator's word; a former word about the same entry ends."""
        with self._locked():
            declarations = self.declarations()
            self.declared(addition.list)
            now = self._clock.stamp().utc
            former = self._said_about(addition.list, addition.entry)
            ended = [end_addition(each.number, now, addition.who) for each in former]
            self.store.write([*ended, put_addition(addition)])
            return self._publish(declarations)

    def withdraw(self, name: str, entry: str, who: str) -> tuple[bool, list[Event]]:
        """End an operator's word about an entry; return whether there was one."""
        with self._locked():
            now = self._clock.stamp().utc
            former = self._said_about(name, entry)
            if not former:
                return False, []
            self.store.write([end_addition(each.number, now, who) for each in former])
            return True, self._publish(self.declarations())

    def replace_blocks(self, added: Sequence[Addition], ended: Sequence[str], who: str) -> list[Event]:
        """Begin and end blocks of incidents, all in one round; a former word about the same entry ends."""
        with self._locked():
            now = self._clock.stamp().utc
            over = {_meaning(entry) for entry in (*ended, *(each.entry for each in added))}
            standing = self.store.additions(INCIDENTS)
            writes = [end_addition(each.number, now, who) for each in standing if _meaning(each.entry) in over]
            self.store.write([*writes, *map(put_addition, added)])
            try:
                declarations = self.declarations()
            except ConfigError:
                return self._publish_blocks()
            return self._publish(declarations)

    def serves(self, name: str, additions: Sequence[Addition]) -> bool:
        """Whether the workers have these additions to a list: a former write of what is served may have failed."""
        served = next((each.additions for each in self._manifest()[0] if each.name == name), "")
        return served == (additions_file(name, additions) if additions else "")

    def _rows(self, name: str) -> list[Edition]:
        return self.store.editions(name, KEPT_EDITIONS)

    def _said_about(self, name: str, entry: str) -> list[Addition]:
        return [each for each in self.store.additions(name) if same_entry(each.entry, entry)]

    # Steps ------------------------------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + _LOCK_SECONDS
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StorageLocked(f"{self._home} is being worked on by another process") from None
                    time.sleep(_LOCK_PAUSE_SECONDS)
            yield
        finally:
            os.close(descriptor)

    def _due_at(self, declaration: ListDeclaration) -> float:
        """Return when a source is to be asked next; at once where the clock was ahead when it was asked last."""
        tried, now = self.store.fetches(declaration.name).tried, self._clock.stamp().utc
        return tried + declaration.every if tried <= now else now

    def _asked(self, declaration: ListDeclaration, asking: Asking) -> _Asked | None:
        """Ask a list's source on the web or in a folder, if it is time."""
        if declaration.file or not (declaration.url or declaration.watch) or asking is Asking.NONE:
            return None
        if asking is Asking.DUE and self._due_at(declaration) > self._clock.stamp().utc:
            return None
        before = self.store.fetches(declaration.name)
        return _Asked(before, self._fetch(declaration, before))

    def _bring_in(self, declaration: ListDeclaration, calendar: WorkingCalendar, asked: _Asked | None) -> list[Event]:
        """Record what a list's source has that is new."""
        if declaration.file:
            self._look_at_file(declaration, calendar)
        # Else another keeper has asked meanwhile, and recorded its answer.
        elif asked is not None and asked.before == self.store.fetches(declaration.name):
            return self._record_answer(declaration, calendar, asked)
        return []

    def _refused(self, declaration: ListDeclaration, why: str) -> list[Event]:
        """Refuse the newest edition of a list that could not be judged; it is tried again, and told once."""
        with self._locked():
            newest = next(iter(self._rows(declaration.name)), None)
            if newest is None or newest.state not in OPEN:
                return [self._withheld(declaration.name, 0, State.REFUSED, why)]
            refused = replace(newest, state=State.REFUSED, note=why)
            if refused == newest:
                return []
            self.store.write([put_edition(refused)])
        return [self._withheld(declaration.name, newest.number, State.REFUSED, why)]

    def _look_at_file(self, declaration: ListDeclaration, calendar: WorkingCalendar) -> None:
        path = self._folder / declaration.file
        try:
            octets, changed = path.read_bytes(), path.stat().st_mtime
        except OSError:
            # The manifest tells of it.
            return
        arrival = Arrival(
            octets=octets,
            how="file",
            origin=str(path),
            who=declaration.owner or SCHEDULE,
            published=changed,
            published_known=False,
        )
        self._record_new(declaration, arrival, calendar)

    def _record_answer(self, declaration: ListDeclaration, calendar: WorkingCalendar, asked: _Asked) -> list[Event]:
        before, outcome, now = asked.before, asked.outcome, self._clock.stamp().utc
        if isinstance(outcome, Failed):
            since = now if before.failing_since is None else before.failing_since
            failing = replace(before, tried=now, failing_since=since, error=outcome.reason)
            self.store.write([put_fetches(failing)])
            if before.failing_since is not None:
                return []
            return [self._withheld(declaration.name, 0, "unreachable", outcome.reason)]
        after = replace(before, tried=now, failing_since=None, error="")
        if isinstance(outcome, Fetched):
            self._record_new(declaration, self._arrived(declaration, outcome, now), calendar)
            # Only now, so that what could not be recorded is asked for again.
            after = replace(after, etag=outcome.etag, modified=outcome.modified)
        self.store.write([put_fetches(after)])
        return []

    def _arrived(self, declaration: ListDeclaration, fetched: Fetched, now: float) -> Arrival:
        dated = fetched.published is not None and fetched.published <= now
        return Arrival(
            octets=fetched.octets,
            how="url" if declaration.url else "watch",
            origin=fetched.origin,
            who=SCHEDULE,
            published=fetched.published if dated and fetched.published is not None else now,
            published_known=dated,
        )

    def _record_new(self, declaration: ListDeclaration, arrival: Arrival, calendar: WorkingCalendar) -> None:
        """Record an arrival, unless it is what arrived last: a rollback is not undone by the same content again."""
        last = next((each for each in self._rows(declaration.name) if each.how != "rollback"), None)
        if last is None or last.sha256 != digest_of(arrival.octets):
            self._record(declaration, arrival, calendar)

    def _record(self, declaration: ListDeclaration, arrival: Arrival, calendar: WorkingCalendar) -> None:
        rows, now = self._rows(declaration.name), self._clock.stamp().utc
        days = declaration.working_days if arrival.how != "rollback" else 0
        deadline = calendar.deadline(arrival.published, days) if days else None
        edition = Edition(
            list=declaration.name,
            number=rows[0].number + 1 if rows else 1,
            sha256=self._builder.keep(declaration.name, arrival.octets),
            how=arrival.how,
            origin=arrival.origin,
            who=arrival.who,
            published=arrival.published,
            published_known=arrival.published_known,
            fetched=now,
            deadline=deadline.at if deadline else None,
            deadline_official=deadline.official if deadline else True,
            accepted=arrival.accepted,
        )
        self.store.write([put_edition(edition)])
        served = self.store.served(declaration.name)
        recent = [edition, *rows][:KEPT_EDITIONS]
        self._builder.forget(declaration.name, (each.sha256 for each in (*recent, *([served] if served else []))))

    def _settle(self, declaration: ListDeclaration) -> list[Event]:
        """Apply the newest edition, or record why it is not; the one served before stays then."""
        rows = self._rows(declaration.name)
        if not rows or rows[0].state not in OPEN:
            return []
        newest, now = rows[0], self._clock.stamp().utc
        served = self.store.served(declaration.name)
        judged = self._builder.judge(declaration, newest, served, now)
        settled = replace(
            newest,
            state=judged.state,
            note=judged.note,
            entries=judged.entries,
            added=judged.added,
            removed=judged.removed,
            bad_lines=judged.bad_lines,
            applied=now if judged.state is State.APPLIED else None,
        )
        writes = [] if settled == newest else [put_edition(settled)]
        if judged.state is not State.APPLIED:
            self.store.write(writes)
            if settled == newest:
                return []
            return [self._withheld(newest.list, newest.number, judged.state, judged.note, judged.problems)]
        # What a later edition replaces is in the later one, and its deadline is kept or missed with it. One that was
        # published after what serves now is in nothing: it stays open, and becomes overdue.
        passed = [each for each in self.store.in_state(declaration.name, *OPEN) if _replaces(settled, each)]
        writes += [put_edition(replace(each, state=State.SUPERSEDED, applied=now)) for each in passed]
        self.store.write(writes)
        return [self._applied(settled, now, judged.problems)]

    def _publish(self, declarations: Declarations) -> list[Event]:
        """Write the manifest of what can be served now; return alarms that are new in it."""
        before = self._manifest()
        served = [self._stands(declaration) for declaration in declarations.lists]
        write_manifest(self._home, served, declarations.undeclared, self._files)
        self._builder.sweep(name for each in served for name in (each.compiled, each.additions))
        known = {each.name: each.state for each in before[0]}
        events: list[Event] = [
            self._withheld(each.name, each.edition, "missing", each.message)
            for each in served
            if each.state == "missing" and known.get(each.name) != "missing"
        ]
        return events + [
            self._withheld(name, 0, "undeclared", "neither lists.toml nor a head of its own says what it is")
            for name in declarations.undeclared
            if name not in before[1]
        ]

    def _publish_blocks(self) -> list[Event]:
        """Serve the blocks as they stand beside the lists as they are served: what is declared cannot be read."""
        served, undeclared = self._manifest()
        before = next((each for each in served if each.name == INCIDENTS), None)
        if before is None:
            blocks = self._stands(incidents_list())
        else:
            additions, now = self.store.additions(INCIDENTS), self._clock.stamp().utc
            file, entries = self._builder.ready_additions(INCIDENTS, additions, now)
            blocks = replace(before, additions=file, added_entries=entries)
        others = [each for each in served if each.name != INCIDENTS]
        write_manifest(self._home, [*others, blocks], undeclared, self._files)
        return []

    def _manifest(self) -> tuple[Sequence[Served], Sequence[str]]:
        try:
            return read_manifest(self._home)
        except ManifestError:
            return (), ()

    def _stands(self, declaration: ListDeclaration) -> Served:
        rows, now = self._rows(declaration.name), self._clock.stamp().utc
        current = self.store.served(declaration.name)
        ready = self._builder.ready(declaration, current, now) if current is not None else None
        additions = self.store.additions(declaration.name)
        added, added_entries = self._builder.ready_additions(declaration.name, additions, now)
        state, message = self._state(declaration, rows, is_lost=current is not None and ready is None)
        waiting = self.store.in_state(declaration.name, *OPEN)
        return Served(
            name=declaration.name,
            kind=declaration.kind,
            state=state,
            # A list that nothing was ever brought in for is empty; one whose content should be here is not.
            usable=ready is not None or state == "ok",
            message=message,
            weight=declaration.weight,
            action=declaration.action,
            reason=declaration.reason,
            source=declaration.source,
            owner=declaration.owner,
            until=declaration.until,
            identities=declaration.identities,
            door=declaration.door,
            compiled=ready[0] if ready else "",
            additions=added,
            entries=ready[1].head.entries if ready else 0,
            bad_lines=ready[1].head.bad_lines if ready else 0,
            added_entries=added_entries,
            edition=current.number if current else 0,
            published=current.published if current else None,
            applied=current.applied if current else None,
            due=min((each.deadline for each in waiting if each.deadline is not None), default=None),
            problems=ready[1].head.problems if ready else (),
        )

    def _state(self, declaration: ListDeclaration, rows: Sequence[Edition], *, is_lost: bool) -> tuple[str, str]:
        if declaration.file and not (self._folder / declaration.file).is_file():
            return "missing", f"{self._folder / declaration.file} is not there"
        if rows and rows[0].state in {State.HELD, State.REFUSED}:
            return rows[0].state, rows[0].note
        if declaration.url or declaration.watch:
            fetches = self.store.fetches(declaration.name)
            if fetches.failing_since is not None:
                return "unreachable", fetches.error
        if is_lost:
            return "missing", "the content of its edition is not kept any more"
        return "ok", ""

    def _overdue(self) -> list[Event]:
        """Tell, once each, of editions that are not applied although their deadline is over."""
        now = self._clock.stamp().utc
        late = self.store.late(now)
        if late:
            self.store.write([put_edition(replace(each, overdue_told=True)) for each in late])
        return [
            ListOverdue(
                at=now,
                list=each.list,
                edition=each.number,
                published_at=each.published,
                deadline_at=each.deadline or 0.0,
                reason=each.note,
            )
            for each in late
        ]

    def _withheld(
        self, name: str, edition: int, state: str, reason: str, problems: tuple[str, ...] = ()
    ) -> ListWithheld:
        now = self._clock.stamp().utc
        return ListWithheld(at=now, list=name, edition=edition, state=state, reason=reason, problems=problems)

    def _applied(self, edition: Edition, now: float, problems: tuple[str, ...]) -> ListApplied:
        return ListApplied(
            at=now,
            list=edition.list,
            edition=edition.number,
            entries=edition.entries,
            added=edition.added,
            removed=edition.removed,
            bad_lines=edition.bad_lines,
            published_at=edition.published,
            deadline_at=edition.deadline or 0.0,
            deadline=edition.met(now),
            operator=edition.who,
            problems=problems,
        )


def _replaces(newer: Edition, older: Edition) -> bool:
    if older.number >= newer.number:
        return False
    # What nobody dated is taken for what came next, but not for what was fetched back out of the past.
    undated = not older.published_known and newer.how != "rollback"
    return undated or older.published <= newer.published
