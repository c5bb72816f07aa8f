"""``[rules] hyperscan``: the rules that serve are compiled once, the line says so, and what is replaced is left."""

import asyncio

import pytest

from gateway.app.acceleration import RuleAcceleration
from gateway.clock import FakeClock
from gateway.journal.events import WorkerChanged
from gateway.policy.rule import Clause, Rule, RuleLayer
from gateway.rules.group import RuleGroup, compile_layer

pytest.importorskip("hyperscan", reason="hyperscan is not installed: pip install 'tidegate[hyperscan]'")


def group(patterns: int) -> RuleGroup:
    whens = [
        Clause(subject="text", operator="matches", values=(f"[0-9]{{{count}}}",)) for count in range(3, 3 + patterns)
    ]
    rules = tuple(Rule(name=str(number), when=when, score=1.0) for number, when in enumerate(whens))
    return compile_layer(RuleLayer(source="x", rules=rules))


class Sink(asyncio.Queue):
    def emit(self, event):
        self.put_nowait(event)


async def test_a_worker_says_what_came_of_it_and_compiles_the_same_rules_once():
    sink = Sink()
    rules = RuleAcceleration(1, FakeClock(), sink)
    groups = (group(12),)
    rules.use(groups)
    event = await sink.get()
    assert isinstance(event, WorkerChanged)
    assert (event.worker, event.state) == (1, "accelerated")
    assert event.detail.startswith("hyperscan: 12 of 12 patterns without fixed text, in ")
    rules.use(groups)
    await rules.stop()
    assert sink.empty()


async def test_a_reload_replaces_what_is_being_compiled():
    sink = Sink()
    rules = RuleAcceleration(1, FakeClock(), sink)
    rules.use((group(40),))
    rules.use((group(11),))
    assert "11 of 11" in (await sink.get()).detail
    rules.use(())
    await rules.stop()
    assert sink.empty()
