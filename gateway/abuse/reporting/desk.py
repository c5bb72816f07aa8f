"""The report desk: a round writes what is due and puts it on record; ``gateway.abuse.post`` hands it to the gateway.

Nothing is written while ``[reporting] enabled`` is false. ``preview`` shows what would be, whatever the configuration
says; contacts are asked for, and nothing is changed.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gateway.abuse.identity import writer_of
from gateway.abuse.post import BY, new_token
from gateway.abuse.reporting import association, listings
from gateway.abuse.reporting.association import AssociationReports
from gateway.abuse.reporting.contacts import (
    RDAP,
    ZONE,
    Contacts,
    Lookup,
    remember,
    zone_lookup,
)
from gateway.abuse.reporting.draft import ASSOCIATION, LISTING, OPERATOR, Draft, keep
from gateway.abuse.reporting.inquiry import Inquiry
from gateway.abuse.reporting.operators import OperatorReports, day_of
from gateway.abuse.reporting.rdap import Registries
from gateway.clock import Clock
from gateway.config.snapshot import Snapshot
from gateway.dns.resolver import DnspythonResolver
from gateway.incidents import IncidentBook, IncidentReader
from gateway.journal.guard_events import OwnListingChanged

# A report is written in some milliseconds; complaints are answered between rounds.
OPERATORS_A_ROUND = 20
# Nobody reads a report the second it is due; what our own names are listed for is told at once.
LOOK_SECONDS = 30.0
KINDS = (ASSOCIATION, OPERATOR, LISTING)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What a round works with, by one snapshot."""

    operators: OperatorReports
    associations: AssociationReports


class ReportDesk:
    """Writes reports; blocking: called in a thread where mail flows. StorageError stops a round."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        book: IncidentBook,
        *,
        clock: Clock,
        lookups: Callable[[], tuple[tuple[str, Lookup], ...]] | None = None,
        patience_seconds: float = 0.0,
    ) -> None:
        """Take the parts; ``patience_seconds`` is how long a round waits for contacts that have to be asked for."""
        self._snapshot, self._book, self._clock, self._token = snapshot, book, clock, new_token
        self._lookups = lookups or self._configured
        self._inquiry, self._patience_seconds = Inquiry(clock), patience_seconds
        self._registries = Registries(snapshot().config.data, clock)
        self._looked_at = float("-inf")
        # When the first of several batches that follow one another was written.
        self._batch_begun: float | None = None
        # Whether something that was told of our own names may not have been put on record.
        self._behind = True

    def round(self, listed: Sequence[OwnListingChanged] = ()) -> Counter[str]:
        """Write what is due by the configuration; return how many reports of each kind.

        ``listed`` is what the journal has told of our own names since the last round.
        """
        settings = self._snapshot().config.reporting
        done: Counter[str] = Counter()
        if not settings.enabled:
            return done
        done[LISTING] += self._told_of_ourselves(listed)
        now = self._clock.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return +done
        self._looked_at = now
        if settings.operators:
            done[OPERATOR] += self.operators(OPERATORS_A_ROUND)
        # Last: a folder that cannot be written keeps no report from its operator.
        if association.is_due(settings.association, self._last_batch(), self._now()):
            done[ASSOCIATION] += self.association()
        return +done

    def _told_of_ourselves(self, listed: Sequence[OwnListingChanged]) -> int:
        """Write what is due about our own names; after a start or a failure, the journal tells it again."""
        if self._behind:
            missed = listings.changes(self._snapshot().config.data, self._now() - listings.LOOK_BACK_SECONDS)
            listed = [*missed, *listed]
        self._behind = True
        written = self.listings(listed)
        self._behind = False
        return written

    def association(self, by: str = BY) -> int:
        """Write a batch now; return how many reports it makes. One that is full leaves the next one due."""
        now = self._now()
        folder = self._snapshot().config.reporting.association.folder
        begun = math.inf if self._batch_begun is None else self._batch_begun
        batch = list(self._parts().associations.drafts(now, self._token, begun))
        full = len({number for draft, _ in batch for number in draft.incidents}) >= association.MOST_IN_A_BATCH
        for _, files in batch:
            if files and folder is not None:
                association.store(folder, files, now)
        with self._book.change(by, "report association") as change:
            for draft, _ in batch:
                keep(change, draft, day_of(now))
            if not full:
                change.execute(
                    "INSERT INTO desk_mark (name, at) VALUES (?, ?) ON CONFLICT DO UPDATE SET at = excluded.at",
                    (association.MARK, now),
                )
        self._batch_begun = min(begun, now) if full else None
        return len(batch)

    def operators(self, most: int, by: str = BY) -> int:
        """Write what is due to operators and networks, at most so many; return how many."""
        now, done = self._now(), 0
        for draft, contact in self._parts().operators.drafts(now, self._token):
            with self._book.change(by, "report operator") as change:
                remember(change, draft.source_key, contact)
                kept = keep(change, draft, day_of(now))
            done += kept is not None and draft.written is not None
            if done >= most:
                break
        return done

    def listings(self, listed: Sequence[OwnListingChanged], by: str = BY) -> int:
        """Write what is due about our own names on lists; return how many."""
        now, config = self._now(), self._snapshot().config
        found = list(listings.drafts(listed, config, writer_of(config), now, self._token))
        if found:
            with self._book.change(by, "report listing") as change:
                for draft in found:
                    keep(change, draft, day_of(now))
        return len(found)

    def preview(self, kind: str) -> Iterator[Draft]:
        """Yield what would be written of one kind now; nothing is put on record."""
        now, config = self._now(), self._snapshot().config
        if kind == ASSOCIATION:
            yield from (draft for draft, _ in self._parts().associations.drafts(now, self._token))
        elif kind == OPERATOR:
            yield from (draft for draft, _ in self._parts().operators.drafts(now, self._token))
        else:
            told = listings.changes(config.data, now - listings.LOOK_BACK_SECONDS)
            yield from listings.drafts(told, config, writer_of(config), now, self._token)

    def _parts(self) -> _Parts:
        snapshot = self._snapshot()
        config = snapshot.config
        writer, settings = writer_of(config), config.reporting
        contacts = Contacts(config.data, settings, self._lookups(), self._inquiry, self._patience_seconds)
        own = frozenset({*snapshot.policies.by_domain, config.hostname})
        operators = OperatorReports(config.data, settings, writer, contacts, own_domains=own)
        return _Parts(operators=operators, associations=AssociationReports(config.data, settings, writer, operators))

    def _configured(self) -> tuple[tuple[str, Lookup], ...]:
        config = self._snapshot().config
        found: list[tuple[str, Lookup]] = []
        if config.reporting.contact_zone:
            dns = config.dns
            zone = zone_lookup(
                config.reporting.contact_zone, lambda: DnspythonResolver(dns.servers, dns.timeout, self._clock)
            )
            found.append((ZONE, zone))
        if config.reporting.rdap:
            found.append((RDAP, self._registries.contact))
        return tuple(found)

    def _last_batch(self) -> float | None:
        with IncidentReader(self._snapshot().config.data) as reader:
            rows = reader.rows("SELECT at FROM desk_mark WHERE name = ?", (association.MARK,))
        return float(rows[0][0]) if rows else None

    def _now(self) -> float:
        return self._clock.stamp().utc
