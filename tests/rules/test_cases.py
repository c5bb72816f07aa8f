"""Every subject and operator by golden cases: whether a condition holds for a mail, and what the evidence says."""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from rule_mails import MAILS, Sent, transaction

from gateway.clock import FakeClock
from gateway.policy.rule import AllOf, AnyOf, Clause, Condition, NotOf, RuleLayer, SameValue
from gateway.rules.facts import MailFacts
from gateway.rules.group import compile_layer
from gateway.rules.judging import RuleSet, judge
from gateway.rules.moment import Moment
from gateway.rules.operators import OPERATORS
from gateway.rules.story import explain
from gateway.rules.subjects import SUBJECTS, split

CASES = [
    pytest.param(case, id=f"{path.stem}-{number}")
    for path in sorted((Path(__file__).parent / "cases").glob("*.toml"))
    for number, case in enumerate(tomllib.loads(path.read_text(encoding="utf-8"))["case"], 1)
]


def ruled(case: dict[str, Any], reading: Any) -> tuple[Any, MailFacts]:
    table = {"name": "the case", "when": case["when"], "score": 1.0}
    found = reading([table], case.get("lists"))
    assert found.complaints == ()
    sent = {name: tuple(value) if isinstance(value, list) else value for name, value in case.get("sent", {}).items()}
    tx = transaction(MAILS[case.get("mail", "bare")], Sent(**sent))
    results = {name: tuple(words) for name, words in case.get("results", {}).items()}
    return compile_layer(RuleLayer(source="case", rules=found.rules)), MailFacts(tx, results, FakeClock())


@pytest.mark.parametrize("case", CASES)
def test_a_condition_holds_as_written(case, reading):
    group, facts = ruled(case, reading)
    fired = judge(RuleSet((group,)), facts, Moment.RESULTS).fired
    assert bool(fired) is case["fires"]
    if "matched" in case:
        assert case["matched"] in [evidence.text for evidence in fired[0].evidence]
    if "place" in case:
        assert case["place"] in [evidence.place for evidence in fired[0].evidence]


@pytest.mark.parametrize("case", CASES)
def test_explain_comes_to_the_same(case, reading):
    group, facts = ruled(case, reading)
    story = explain(RuleSet((group,)), facts)[0]
    assert story.outcome == ("fired" if case["fires"] else "not-fired")
    assert story.clauses[0].held is case["fires"]


def clauses(condition: Condition) -> list[Clause]:
    if isinstance(condition, Clause):
        return [condition]
    if isinstance(condition, NotOf):
        return clauses(condition.part)
    if isinstance(condition, SameValue):
        return list(condition.clauses)
    assert isinstance(condition, AllOf | AnyOf)
    return [clause for part in condition.parts for clause in clauses(part)]


def test_every_subject_and_operator_has_cases_both_ways(reading):
    seen: dict[bool, set[str]] = {True: set(), False: set()}
    for param in CASES:
        case = param.values[0]
        found = reading([{"name": "x", "when": case["when"], "score": 1.0}], case.get("lists"))
        for clause in clauses(found.rules[0].when):
            seen[case["fires"]] |= {split(clause.subject)[0].name, clause.operator}
    wanted = set(SUBJECTS) | set(OPERATORS)
    assert wanted - seen[True] == set()
    assert wanted - seen[False] == set()


def test_cases_say_nothing_that_is_not_read():
    keys = {"mail", "sent", "when", "fires", "matched", "place", "lists", "results"}
    sent = {field.name for field in fields(Sent)}
    for param in CASES:
        assert set(param.values[0]) <= keys
        assert set(param.values[0].get("sent", {})) <= sent
