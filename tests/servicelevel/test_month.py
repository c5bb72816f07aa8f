"""A simulated month equals an independent brute force, to the second: the figures a customer is paid by are right."""

import asyncio
from math import ceil
from pathlib import Path

import pytest

from gateway.config.service_level import ServiceTerms
from gateway.ledger import MIGRATIONS, rows
from gateway.servicelevel.book import Book, Writer
from gateway.servicelevel.conditions import Bearing
from gateway.servicelevel.evaluation import Evaluation
from gateway.servicelevel.exclusion import Clause, ExclusionClass
from gateway.servicelevel.fault import ClockJump
from gateway.servicelevel.month import Month
from gateway.servicelevel.reading import judge, read_book
from gateway.servicelevel.records import Records
from gateway.servicelevel.result import Outcome
from gateway.servicelevel.rollup import roll, unsummed
from gateway.servicelevel.store import Observed, StoreReader, open_store
from gateway.storage import Database
from tests.servicelevel import simulation as sim

COPIES = 200_000
NOW = sim.utc("2026-04-10T00:00")
CUSTOMERS = tuple(sim.ZONES)
# Whichever test begins has the month simulated, a minute and a half on a quiet machine.
pytestmark = pytest.mark.timeout(600)


class Simulated:
    """The month on disk, and the truth."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.played = sim.simulate(COPIES, seed=7)
        self.book_was: Book

    def write(self) -> None:
        records = Records(self.data)
        writer = Writer(records, sim.BEGIN, "simulation")
        for customer, zone in sim.ZONES.items():
            owners = {f"{customer}.example": sim.OWNERS[customer]}
            writer.set_terms(customer, ServiceTerms(zone=zone), owners)
        for start, end in sim.GATEWAY_DOWN:
            number = writer.open_fault("gateway", "did not run", sim.wall(start)).number
            writer.close_fault(number, sim.wall(end))
        writer.jump(ClockJump(sim.JUMP_AT, sim.JUMP_BY))
        asyncio.run(self._roll(writer))

    async def _roll(self, writer: Writer) -> None:
        """Count half of the mail before the exclusions are recorded: the days are made anew, and the rest is added."""
        shards = [Database(self.data / f"spool/shard-{n}.sqlite", MIGRATIONS, synchronous="NORMAL") for n in range(2)]
        store = open_store(self.data)
        ended = sorted(enumerate(self.played), key=lambda pair: pair[1].accepted)
        half = len(ended) // 2
        try:
            await self._insert(shards, ended[:half])
            await roll(self.data, Bearing(read_book(self.data), NOW), store)
            for clause, customer, start, end in sim.EXCLUSIONS:
                writer.exclude(
                    Clause(clause), ExclusionClass.MAINTENANCE, (start, end), customer=customer, reason="agreed"
                )
            await self._insert(shards, ended[half:])
            await roll(self.data, Bearing(read_book(self.data), NOW), store)
            await store.commit([run.write() for run in observed()])
        finally:
            for database in (*shards, store):
                await database.close()

    @staticmethod
    async def _insert(shards: list[Database], ended: list[tuple[int, sim.Played]]) -> None:
        for begin in range(0, len(ended), 4000):
            chunk = ended[begin : begin + 4000]
            for shard in range(2):
                writes = [w for number, copy in chunk if number % 2 == shard for w in rows(sim.record(copy, number))]
                await shards[shard].commit(writes)


def observed() -> list[Observed]:
    """What probes and heartbeat would have noted, each minute for itself."""
    found = []
    for customer in CUSTOMERS:
        for minute in range(int(sim.BEGIN) // 60, int(sim.END) // 60):
            state = sim.truth_of_minute(customer, minute * 60)
            receive = {"up": "up", "down": "down", "down-receive": "down"}.get(state)
            send = {"up": "up", "down": "down", "down-receive": "up"}.get(state)
            for direction, seen in (("receive", receive), ("send", send)):
                if seen is not None:
                    found.append(run(customer, direction, seen, (minute, minute)))
    return merged(found)


def run(customer: str, direction: str, state: str, minutes: tuple[int, int]) -> Observed:
    return Observed(customer=customer, direction=direction, state=state, first=minutes[0], last=minutes[1], reason="")


def merged(runs: list[Observed]) -> list[Observed]:
    still: dict[tuple[str, str], Observed] = {}
    done = []
    for each in runs:
        key = (each.customer, each.direction)
        before = still.get(key)
        if before and before.state == each.state and before.last + 1 == each.first:
            still[key] = run(*key, each.state, (before.first, each.last))
            continue
        if before:
            done.append(before)
        still[key] = each
    return [*done, *still.values()]


@pytest.fixture(scope="module")
def month(tmp_path_factory) -> Simulated:
    simulated = Simulated(tmp_path_factory.mktemp("month"))
    simulated.write()
    return simulated


@pytest.fixture(scope="module")
def judged(month) -> dict[str, Evaluation]:
    return {c: judge(month.data, c, Month(2026, 3, sim.ZONES[c]), NOW) for c in CUSTOMERS}


@pytest.mark.parametrize("customer", CUSTOMERS)
@pytest.mark.parametrize("direction", ["send", "receive"])
def test_every_delay_figure_is_the_brute_forces(month, judged, customer, direction):
    expected = sim.expected_delays(month.played, customer, outgoing=direction == "send", month="2026-03")
    figures = judged[customer].delays[direction]
    assert figures.doubtful == 0, "the jump is on record, so no copy's clocks may disagree"
    for column, found in enumerate((figures.before, figures.after)):
        values = sorted(pair[column] for pair in expected)
        assert found.count == len(values)
        assert found.sum_us == pytest.approx(sum(values) * 1000, abs=1_000_000)
        assert found.max_us == pytest.approx(values[-1] * 1000, abs=2_000)
        assert found.over == sum(value > 3_600_000 for value in values)
        for q in (0.5, 0.95, 0.99):
            rank = values[max(1, ceil(q * len(values))) - 1] / 1000
            assert found.quantile_seconds(q) == pytest.approx(rank, rel=0.0101, abs=0.0011)


def test_the_exclusions_made_a_difference_that_the_contract_sees(judged):
    """Otherwise the month above would prove little."""
    remote = judged["alpha"].delays["send"]
    assert remote.before.over > 100
    assert 0 < remote.after.over < remote.before.over, "two hours without the gateway are not the remote's"
    assert judged["alpha"].delays["receive"].after.over > 2
    outcomes = {(r.measure): r.outcome for r in judged["alpha"].results}
    assert outcomes["receive-over-maximum"] is Outcome.MISSED


@pytest.mark.parametrize("customer", CUSTOMERS)
def test_every_minute_has_the_brute_forces_state(month, judged, customer):
    evaluation = judged[customer]
    start, end = evaluation.month.span
    expected = sim.expected_minutes(customer, start, end, sim.minutes_with_mail(month.played, customer))
    assert 0 < expected["unknown"] < 30, "nobody probed half an hour, and in some minutes of it mail passed"
    found = {}
    for _, minutes, state in evaluation.minutes.runs():
        found[state.word] = found.get(state.word, 0) + minutes
    assert found == dict(expected)
    # Berlin's March has an hour less.
    assert len(evaluation.minutes.states) == {"gamma": 743 * 60}.get(customer, 744 * 60)


def test_fault_minutes_and_availability_follow_from_the_fault_log(judged):
    values = {r.measure: r.value for r in judged["alpha"].results}
    assert values["fault-minutes"] == 150
    assert values["operation-availability"] == pytest.approx(100 * (1 - 150 / 44_640))
    assert values["fault-free-days"] == 363


def test_what_was_counted_piecemeal_equals_what_is_counted_at_once(month, judged):
    """Summaries written in steps, with a day made anew between them, are those of the whole ledger, to the last bit."""
    whole = unsummed(month.data, Bearing(read_book(month.data), NOW), {})
    with StoreReader(month.data) as store:
        for customer in CUSTOMERS:
            for stored in store.days(customer, Month(2026, 3, sim.ZONES[customer]).days):
                assert stored.summary.encode() == whole[(stored.key, stored.direction)].encode()


def test_the_same_evidence_gives_the_same_digest_at_any_time(month, judged):
    again = judge(month.data, "alpha", Month(2026, 3, sim.ZONES["alpha"]), NOW + 86_400)
    assert again.digest == judged["alpha"].digest
    assert len(again.digest) == 64
