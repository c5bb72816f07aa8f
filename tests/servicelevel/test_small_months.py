"""Random small months, second by second: what the simulated month has not, held against a brute force of its own.

The edge of two months in a zone of its own, and whatever can bear on it there: domains that come, go and change hands,
senders and recipients of several customers, mail given up, in quarantine and greylisted, exclusions withdrawn, faults
that overlap, adjustments written down before and after, settings either way. Everything happens at whole seconds, and
``Truth`` counts them one by one; it knows the contract and the README, and nothing of gateway.servicelevel.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.config.service_level import ServiceTerms
from gateway.ledger.finished import FinishedCopy
from gateway.servicelevel.book import Book, Writer
from gateway.servicelevel.conditions import Bearing
from gateway.servicelevel.evaluation import Evaluation, evaluate
from gateway.servicelevel.evidence import Evidence
from gateway.servicelevel.exclusion import Clause, ExclusionClass
from gateway.servicelevel.month import Month
from gateway.servicelevel.records import Record
from gateway.servicelevel.rollup import summed
from gateway.servicelevel.store import Observed

HOURS = 3600
LIMIT = 1800
CUSTOMERS = ("one", "two")
HOPS = {"one.test": "one", "uno.test": "one", "two.test": "two"}
Span = tuple[int, int]
_PHASES = {"dns": "lookup"}
# A story that fails is told as it was found: making it smaller takes minutes.
QUICKLY = (Phase.explicit, Phase.reuse, Phase.generate)


@dataclass(frozen=True)
class Mail:
    """One copy: seconds from the edge of the months; ``tries`` are (begin, whose fault, due) of attempts put off."""

    received: int
    ended: int
    domain: str
    sender: str = ""
    tries: tuple[tuple[int, str, int], ...] = ()
    quarantined: int = 0
    greylisted: int = 0
    delivered: bool = True

    def copy(self, number: int, edge: int) -> FinishedCopy:
        attempts = [
            [edge + at, "h", "r", _PHASES.get(whose, "rcpt"), "451", "deferred", 0.0, whose == "own", edge + due]
            for at, whose, due in self.tries
        ]
        if self.delivered:
            attempts.append([edge + self.ended, "h", "r", "end-of-data", "250 ok", "sent", 0.0, False])
        end = float(edge + self.ended)
        delay = float(self.ended - self.received)
        return FinishedCopy(
            id=number,
            trace_id=f"{number:026}",
            number=0,
            customer="",
            domain=self.domain,
            reverse_path=f"user@{self.sender}" if self.sender else "",
            role="relay" if self.sender else "mx",
            origin="smtp",
            action="quarantine" if self.quarantined else "accept",
            received_at=float(edge + self.received),
            filtered_seconds=0.0,
            durable_seconds=0.0,
            antivirus_seconds=0.0,
            held_seconds=float(self.quarantined),
            greylisted_seconds=float(self.greylisted),
            transfer_started_at=end if self.delivered else None,
            accepted_at=end if self.delivered else None,
            send_delay_seconds=delay if self.delivered else None,
            receive_delay_seconds=delay if self.delivered else None,
            finished_at=end,
            status="delivered" if self.delivered else "expired",
            next_hop="h",
            relay="r",
            attempts=json.dumps(attempts) if self.tries or not self.delivered else "",
        )


@dataclass(frozen=True)
class Excluded:
    clause: str
    customer: str
    span: Span
    withdrawn: bool


@dataclass(frozen=True)
class Story:
    """Everything that happens; ``moved`` is when uno.test goes from one to two, ``came`` when two begins."""

    zone: str
    year: int
    month: int
    came: int
    moved: int
    theirs: bool
    terms: ServiceTerms
    mail: tuple[Mail, ...]
    exclusions: tuple[Excluded, ...]
    down: tuple[Span, ...]
    faults: tuple[tuple[str, Span], ...]
    adjustments: tuple[tuple[str, Span, bool], ...]
    seen: tuple[tuple[str, str, str, Span], ...] = field(default=())

    @property
    def edge(self) -> int:
        """The first second of the later month."""
        return int(datetime(self.year, self.month, 1, tzinfo=ZoneInfo(self.zone)).timestamp())


# The product ----------------------------------------------------------------------------------------------------------


class Shelf:
    """Records in memory, for ``Writer``."""

    def __init__(self) -> None:
        self.entries: list[Record] = []

    def append(self, kind, values, *, at, by) -> Record:
        record = Record(number=len(self.entries) + 1, at=at, by=by, kind=kind, values=dict(values))
        self.entries.append(record)
        return record

    def read(self) -> list[Record]:
        return self.entries


def book_of(story: Story) -> Book:
    shelf, edge = Shelf(), story.edge
    owner = "customer" if story.theirs else "operator"

    def at(when: int) -> Writer:
        return Writer(shelf, float(edge + when), "x")

    at(-60 * 24 * HOURS).set_terms("one", story.terms, {"one.test": "operator", "uno.test": "operator"})
    came, gone = {"two.test": owner}, {"one.test": "operator"}
    at(story.came).set_terms("two", story.terms, came)
    at(story.moved).set_terms("one", story.terms, gone)
    at(story.moved).set_terms("two", story.terms, {**came, "uno.test": "operator"})
    for each in story.exclusions:
        span = (float(edge + each.span[0]), float(edge + each.span[1]))
        kind = ExclusionClass.FORCE_MAJEURE
        record = at(9 * HOURS).exclude(Clause(each.clause), kind, span, customer=each.customer, reason="r")
        if each.withdrawn:
            at(9 * HOURS).withdraw(record.number, "wrong")
    for start, end in story.down:
        at(end).close_fault(at(end).open_fault("gateway", "x", float(edge + start)).number, float(edge + end))
    for customer, (start, end) in story.faults:
        number = at(end).open_fault("receive", "x", float(edge + start), customer=customer).number
        at(end).close_fault(number, float(edge + end))
    for customer, (start, end), before in story.adjustments:
        span = (float(edge + start), float(edge + end))
        at(start if before else end).adjust(span, customer=customer, what="w", agreed_with="Ms Li")
    return Book.of(shelf.entries)


def judged(story: Story, customer: str, later: bool) -> Evaluation:  # noqa: FBT001 - which of two months
    edge, book = story.edge, book_of(story)
    now = float(edge + 40 * 24 * HOURS)
    before = (story.year, story.month - 1) if story.month > 1 else (story.year - 1, 12)
    month = Month(*((story.year, story.month) if later else before), story.zone)
    days = summed([mail.copy(n, edge) for n, mail in enumerate(story.mail)], Bearing(book, now))
    observed = [
        Observed(customer=who, direction=way, state=state, first=edge // 60 + a, last=edge // 60 + b - 1, reason="")
        for who, way, state, (a, b) in story.seen
        if who == customer and a < b
    ]
    mine = {(d, key.day): s for (key, d), s in days.items() if key.customer == customer and key.day in month.days}
    return evaluate(
        Evidence(customer=customer, month=month, now=now, book=book, days=mine, observed=observed, stale_days=())
    )


# The brute force ------------------------------------------------------------------------------------------------------


class Truth:
    """What the contract says of a story, for one customer and month."""

    def __init__(self, story: Story, customer: str, later: bool) -> None:  # noqa: FBT001 - which of two months
        self.story, self.customer, self.later = story, customer, later

    def in_month(self, second: int) -> bool:
        return (second >= 0) is self.later

    def _applying(self, clause: str) -> list[range]:
        return [
            range(*each.span)
            for each in self.story.exclusions
            if each.clause == clause and each.customer in ("", self.customer) and not each.withdrawn
        ]

    def owner(self, domain: str, second: int) -> str:
        if domain == "uno.test":
            return "one" if second < self.story.moved else "two"
        return {"one.test": "one", "two.test": "two"}.get(domain, "") if self._was_there(domain, second) else ""

    def _was_there(self, domain: str, second: int) -> bool:
        return domain != "two.test" or second >= self.story.came

    def delays(self, direction: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return (before, after) of what was delivered, and of what was given up, in seconds."""
        delivered, given_up = [], []
        for mail in self.story.mail:
            domain = mail.domain if direction == "receive" else mail.sender.lower()
            if self.in_month(mail.received) and self.owner(domain, mail.received) == self.customer:
                (delivered if mail.delivered else given_up).append(self._counted(mail, direction))
        return delivered, given_up

    def _counted(self, mail: Mail, direction: str) -> tuple[int, int]:
        story, terms = self.story, self.story.terms
        seconds = range(mail.received, mail.ended)
        excluded = {s for spell in self._applying("delay") for s in seconds if s in spell}
        if not terms.count_quarantine:
            excluded |= set(range(mail.received, min(mail.ended, mail.received + mail.quarantined)))
        if self._not_the_operators(mail):
            begins = [at for at, _, _ in mail.tries] + [mail.ended]
            for place, (at, whose, due) in enumerate(mail.tries):
                if whose == "theirs":
                    waited = set(range(at, min(begins[place + 1], due)))
                    excluded |= {s for s in waited if not any(a <= s < b for a, b in story.down)}
        greylisted = mail.greylisted if terms.count_greylisting and direction == "receive" else 0
        return len(seconds), len(seconds) - len(excluded & set(seconds)) + greylisted

    def _not_the_operators(self, mail: Mail) -> bool:
        to = self.owner(mail.domain, mail.received)
        # A foreign server; or two's own, which is two's equipment, and for others a system that is not ours.
        return not to or (mail.domain == "two.test" and self.story.theirs)

    def served(self) -> range:
        first = self.story.came if self.customer == "two" else -60 * 24 * HOURS
        return range(max(first, 0), 10**9) if self.later else range(max(first, -(10**9)), 0)

    def faulty(self) -> set[int]:
        mine = {s for who, span in self.story.faults if who in ("", self.customer) for s in range(*span)}
        return mine | {s for span in self.story.down for s in range(*span)}

    def planned(self, *, beforehand: bool) -> set[int]:
        return {
            second
            for who, span, before in self.story.adjustments
            if who in ("", self.customer) and (before or not beforehand)
            for second in range(*span)
        }

    def fault_seconds(self) -> int:
        return sum(s in self.served() for s in self.faulty() - self.planned(beforehand=True))

    def adjustment_seconds(self) -> int:
        return sum(s in self.served() for s in self.planned(beforehand=False))

    def lost_minutes(self, minutes: range) -> tuple[int, int]:
        """Return how many of some minutes were unreachable, before and after exclusions."""
        spells = self._applying("connectivity")
        before = after = 0
        for minute in minutes:
            states = [self.seen(way, minute) for way in ("send", "receive")]
            lost = "down" in states or (states != ["up", "up"] and self.story.terms.count_unknown)
            covered = all(any(s in spell for spell in spells) for s in range(minute * 60, minute * 60 + 60))
            before += lost
            after += lost and not covered
        return before, after

    def seen(self, way: str, minute: int) -> str:
        mine = [(state, span) for who, to, state, span in self.story.seen if (who, to) == (self.customer, way)]
        found = {state for state, (begin, after) in mine if begin <= minute < after}
        return "down" if "down" in found else "up" if "up" in found or self._mailed(way, minute) else ""

    def _mailed(self, way: str, minute: int) -> bool:
        return any(
            mail.delivered
            and mail.received // 60 == mail.ended // 60 == minute
            and self.in_month(mail.received)
            and self.owner(mail.domain if way == "receive" else mail.sender.lower(), mail.received) == self.customer
            for mail in self.story.mail
        )


# Stories --------------------------------------------------------------------------------------------------------------

moments = st.integers(-2 * HOURS, 2 * HOURS)
lengths = st.one_of(st.integers(1, 90), st.integers(1, 2 * HOURS))


@st.composite
def spans(draw) -> Span:
    start = draw(moments)
    return start, start + draw(lengths)


@st.composite
def mails(draw, came: int, moved: int) -> Mail:
    # What comes within the minute before terms are on record is the next owner's: a rule of its own, tested by itself.
    calm = moments.filter(lambda s: not any(edge - 61 <= s < edge for edge in (came, moved)))
    received = draw(calm)
    quarantined = draw(st.one_of(st.just(0), st.integers(1, 2 * HOURS)))
    at, tries = received + quarantined + draw(st.integers(0, 3)), []
    for whose in draw(st.lists(st.sampled_from(["theirs", "theirs", "own", "dns"]), max_size=3)):
        due = at + draw(st.integers(1, HOURS))
        tries.append((at, whose, due))
        at = draw(st.one_of(st.just(due), st.integers(at + 1, due + HOURS)))
    return Mail(
        received=received,
        ended=at + draw(st.integers(0, 2)) if not tries else at,
        domain=draw(st.sampled_from(["one.test", "uno.test", "two.test", "far.test"])),
        sender=draw(st.sampled_from(["", "", "one.test", "two.test", "Uno.TEST", "far.test"])),
        tries=tuple(tries),
        quarantined=quarantined,
        greylisted=draw(st.sampled_from([0, 0, 300])),
        delivered=draw(st.integers(0, 5)) > 0,
    )


whose = st.sampled_from(["", "one", "two"])


@st.composite
def stories(draw) -> Story:
    came = draw(moments)
    moved = draw(st.integers(came, 3 * HOURS))
    year, month = draw(st.sampled_from([(2026, 11), (2027, 1), (2026, 3), (2024, 3)]))
    ways, states = st.sampled_from(["send", "receive"]), st.sampled_from(["up", "up", "down"])
    stretch = st.tuples(st.integers(-100, 100), st.integers(-100, 100))
    zone = draw(st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"]))
    return Story(
        zone=zone,
        year=year,
        month=month,
        came=came,
        moved=moved,
        theirs=draw(st.booleans()),
        terms=ServiceTerms(
            zone=zone,
            maximum_delay=f"{LIMIT}s",
            over_maximum=draw(st.sampled_from([">2", ">=2"])),
            count_quarantine=draw(st.booleans()),
            count_greylisting=draw(st.booleans()),
            count_unknown=draw(st.booleans()),
        ),
        mail=tuple(draw(st.lists(mails(came, moved), max_size=8))),
        exclusions=tuple(
            draw(
                st.lists(
                    st.builds(Excluded, st.sampled_from(["delay", "connectivity"]), whose, spans(), st.booleans()),
                    max_size=5,
                )
            )
        ),
        down=tuple(draw(st.lists(spans(), max_size=3))),
        faults=tuple(draw(st.lists(st.tuples(whose, spans()), max_size=4))),
        adjustments=tuple(draw(st.lists(st.tuples(whose, spans(), st.booleans()), max_size=4))),
        seen=tuple(draw(st.lists(st.tuples(st.sampled_from(CUSTOMERS), ways, states, stretch), max_size=8))),
    )


@given(story=stories(), customer=st.sampled_from(CUSTOMERS), later=st.booleans())
@settings(max_examples=40, phases=QUICKLY, suppress_health_check=list(HealthCheck))
def test_every_figure_of_a_small_month_is_the_brute_forces(story, customer, later):
    evaluation, truth = judged(story, customer, later), Truth(story, customer, later)
    lines = {line.measure: line for line in evaluation.results}
    for direction in ("send", "receive"):
        held_delays(evaluation, lines, truth, direction)
    held_operation(lines, truth, evaluation)
    held_minutes(lines, truth, evaluation)


def held_delays(evaluation, lines, truth: Truth, direction: str) -> None:
    delivered, given_up = truth.delays(direction)
    figures = evaluation.delays[direction]
    for place, found in enumerate((figures.before, figures.after)):
        values = [pair[place] for pair in delivered]
        lost = [pair[place] for pair in given_up]
        assert (found.count, found.sum_us, found.max_us) == (
            len(values),
            sum(values) * 1_000_000,
            max(values, default=0) * 1_000_000,
        )
        assert found.exceeded == sum(value > LIMIT for value in values + lost)
    over = sum(after > LIMIT for _, after in delivered + given_up)
    allowed = 2 if truth.story.terms.over_maximum == ">2" else 1
    line = lines[f"{direction}-over-maximum"]
    expected = "no-data" if not delivered + given_up else "missed" if over > allowed else "kept"
    assert line.outcome == expected
    assert line.credit == ("double-service-time" if expected == "missed" else "")
    average = lines[f"{direction}-average"]
    if delivered:
        mean = sum(after for _, after in delivered) / len(delivered)
        assert average.value == pytest.approx(mean)
        assert average.outcome == ("kept" if mean <= 60 else "missed")
    else:
        assert (average.value, average.outcome) == (None, "no-data")


def held_operation(lines, truth: Truth, evaluation: Evaluation) -> None:
    served = truth.served()
    start, end = evaluation.month.span
    if not served:
        assert lines["fault-minutes"].value is None
        return
    assert lines["fault-minutes"].value * 60 == pytest.approx(truth.fault_seconds())
    assert lines["adjustment-minutes"].value * 60 == pytest.approx(truth.adjustment_seconds())
    share = 100 * (1 - truth.fault_seconds() / (end - start))
    assert lines["operation-availability"].value == pytest.approx(share, abs=1e-9)


def held_minutes(lines, truth: Truth, evaluation: Evaluation) -> None:
    edge = truth.story.edge
    near = range(-200, 200)
    first, after = ((int(side) - edge) for side in evaluation.span)
    minutes = [m for m in near if -(-first // 60) <= m < -(-after // 60)]
    before, left = truth.lost_minutes(minutes)
    # Far from the edge nothing was seen at all.
    far = len(evaluation.minutes.states) - len(minutes)
    far = far if truth.story.terms.count_unknown else 0
    line = lines["unreachable-minutes"]
    if line.outcome == "no-data":
        looks = [{truth.seen(way, minute) for way in ("send", "receive")} for minute in minutes]
        assert all(look != {"up"} and "down" not in look for look in looks)
        return
    assert (line.before, line.value) == (before + far, left + far)
    length = (evaluation.month.span[1] - evaluation.month.span[0]) / 60
    assert lines["availability"].value == pytest.approx(100 * (1 - line.value / length), abs=1e-9)
