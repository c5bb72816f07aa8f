"""From what is on record to what bears on one customer's day of mail; and a digest that changes when that does."""

import hashlib
import json
from dataclasses import dataclass
from datetime import date, timedelta
from math import inf

from gateway.servicelevel.book import Book, TermsInForce
from gateway.servicelevel.exclusion import Clause
from gateway.servicelevel.fault import without_gateway
from gateway.servicelevel.figures import micros
from gateway.servicelevel.month import Month, day_of, day_span
from gateway.servicelevel.sample import Conditions

# Mail waits for five days in the queue by default; what lay longer in quarantine moves a day's horizon itself.
HORIZON_SECONDS = 6 * 86_400.0
# A domain is on record as a customer's with the first heartbeat after the workers take its mail.
SETTLING_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class DayKey:
    """One customer's civil day (ISO date) in a zone."""

    customer: str
    day: str
    zone: str

    @property
    def start(self) -> float:
        """Its first instant, UTC seconds."""
        return day_span(date.fromisoformat(self.day), self.zone)[0]

    @property
    def end(self) -> float:
        """The next day's first instant."""
        return day_span(date.fromisoformat(self.day), self.zone)[1]

    @property
    def beside(self) -> "tuple[DayKey, DayKey]":
        """The days before and after."""
        day = date.fromisoformat(self.day)
        before, after = ((day + timedelta(days=n)).isoformat() for n in (-1, 1))
        return DayKey(self.customer, before, self.zone), DayKey(self.customer, after, self.zone)

    @property
    def horizon(self) -> float:
        """Until when its mail has usually ended."""
        return self.end + HORIZON_SECONDS


class Bearing:
    """What one state of the book says about each day; conditions are made once a day and kept."""

    def __init__(self, book: Book, now: float) -> None:
        self.book = book
        self._down = without_gateway(book.faults.values(), now)
        self._conditions: dict[DayKey, Conditions] = {}
        self._claims: dict[str, list[str]] = {}
        for customer, history in book.terms.items():
            for domain in {domain for each in history for domain in each.owners}:
                self._claims.setdefault(domain, []).append(customer)
        # Those who were on record when records began: the ledger may have mail of theirs of before that.
        self._earliest = (book.started or 0.0) + SETTLING_SECONDS
        # What one customer has had all along, for counting in a hurry: since when, and what is answered.
        self._simple = {
            domain: (self._first_counted(first), (claimed[0], first.owners[domain]))
            for domain, claimed in self._claims.items()
            if len(claimed) == 1 and len(book.terms[claimed[0]]) == 1
            for first in book.terms[claimed[0]]
        }

    def _first_counted(self, first: TermsInForce) -> float:
        """Return from when on mail is a customer's whose first terms these are."""
        return -inf if first.since <= self._earliest else first.since - SETTLING_SECONDS

    def zone_of(self, customer: str) -> str | None:
        """Return a customer's zone by its latest terms, None for nobody's."""
        history = self.book.terms.get(customer)
        return history[-1].terms.zone if history else None

    def key(self, customer: str, utc: float) -> DayKey | None:
        """Return a customer's day of an instant."""
        zone = self.zone_of(customer)
        return DayKey(customer, day_of(utc, zone), zone) if zone else None

    def owner_of(self, domain: str, utc: float) -> tuple[str, str] | None:
        """Return who a domain belonged to at an instant, and who answers for its next hop; None for foreign domains.

        Before it was a customer's it was foreign: mail of that time is not counted for the customer.
        """
        simple = self._simple.get(domain)
        if simple is not None:
            since, answer = simple
            return answer if utc >= since else None
        return self._claimed(domain, utc, utc) or self._claimed(domain, utc, utc + SETTLING_SECONDS)

    def _claimed(self, domain: str, utc: float, told: float) -> tuple[str, str] | None:
        """Return who had a domain at an instant by what was on record at ``told``."""
        for customer in self._claims.get(domain, ()):
            in_force = self.book.terms_at(customer, told)
            if in_force is None or utc < self._first_counted(self.book.terms[customer][0]):
                continue
            if domain in in_force.owners:
                return customer, in_force.owners[domain]
        return None

    def conditions(self, key: DayKey) -> Conditions:
        """Return what bears on a day's copies, whenever they end."""
        found = self._conditions.get(key)
        if found is None:
            found = self._conditions[key] = self._made(key)
        return found

    def _made(self, key: DayKey) -> Conditions:
        # A month has one limit: that of its end, so that all of its days are counted alike (evidence.in_force).
        in_force = self.book.terms_at(key.customer, Month.at(key.start, key.zone).span[1])
        if in_force is None:
            raise KeyError(key.customer)
        terms = in_force.terms
        return Conditions(
            limit_us=micros(terms.maximum_delay),
            count_quarantine=terms.count_quarantine,
            count_greylisting=terms.count_greylisting,
            exclusions=self.book.excluding(Clause.DELAY, key.customer, (key.start, float("inf"))),
            down=tuple(each for each in self._down if each[1] > key.start),
            jumps=tuple(jump for jump in self.book.jumps if jump.at > key.start),
        )

    def digest(self, key: DayKey, until: float) -> str:
        """Return a text that is equal exactly when the same things bear on a day's copies that end before ``until``."""
        conditions = self.conditions(key)
        owners = [
            (each.since, sorted(each.owners.items()))
            for each in self.book.terms[key.customer]
            if each.since < key.end and key.start < self._replaced_at(key.customer, each.since)
        ]
        stated = [
            conditions.limit_us,
            conditions.count_quarantine,
            conditions.count_greylisting,
            [each.interval for each in conditions.exclusions if each.start < until],
            [each for each in conditions.down if each[0] < until],
            [(jump.at, jump.by) for jump in conditions.jumps if jump.at < until],
            owners if len(owners) > 1 else [entry for _, entry in owners],
        ]
        return hashlib.sha256(json.dumps(stated).encode()).hexdigest()[:32]

    def _replaced_at(self, customer: str, since: float) -> float:
        return min((each.since for each in self.book.terms[customer] if each.since > since), default=float("inf"))
