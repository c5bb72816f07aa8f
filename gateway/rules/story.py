"""Why each rule did or did not fire: what ``tidegate explain`` and ``tidegate rule test`` print."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gateway.policy.rule import Clause, Rule
from gateway.rules.facts import MailFacts
from gateway.rules.group import CompiledRule
from gateway.rules.judging import RuleSet, place_of, shortened
from gateway.rules.nodes import AllNode, AnyNode, ClauseNode, Node, NotNode, SameNode
from gateway.rules.pace import BUDGET_SECONDS, TimeIsUpError
from gateway.rules.values import AnyValue, Text

# Values shown of a clause that did not hold.
MAX_VALUES = 5
# Values of an operator written out: ``in`` may have thousands.
MAX_WRITTEN = 5

_WORDS: tuple[tuple[type, str], ...] = ((SameNode, "same"), (AllNode, "all"), (AnyNode, "any"), (NotNode, "not"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseStory:
    """One clause of a condition: whether it held, for which text, where.

    ``depth`` is how deep in the condition's tree it stands; ``condition`` the clause as written (``subject contains
    "发票"``) or ``all``, ``any``, ``not``, ``same``. ``values`` is what the subject was, shortened, when it did not
    hold; ``matched`` the decoded text that did, ``place`` where (``part 2, character 140``).
    """

    depth: int
    condition: str
    held: bool
    matched: str = ""
    place: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleStory:
    """One rule: ``outcome`` is fired, not-fired, off, disabled, expired, behind-stop or temperror.

    ``source`` is its layer's; ``seconds`` what judging it took, what earlier rules have decoded left out.
    """

    rule: Rule
    source: str
    outcome: str
    clauses: tuple[ClauseStory, ...] = ()
    seconds: float = 0.0


def explain(
    rules: RuleSet, facts: MailFacts, monotonic: Callable[[], float] = time.perf_counter
) -> tuple[RuleStory, ...]:
    """Return the story of every rule in order, each condition judged in full, whatever stopped before it."""
    facts.pace.start(on_loop=False)
    told: list[RuleStory] = []
    stopped = False
    for group in rules.groups:
        for one in group.rules:
            story = _story(one, group.layer.source, _standing(one, rules, facts, stopped=stopped), facts, monotonic)
            told.append(story)
            stopped = stopped or (story.outcome == "fired" and one.rule.stop)
    return tuple(told)


def written(clause: Clause) -> str:
    """Return a clause as an administrator reads it."""
    if clause.source:
        return f"{clause.subject} {clause.operator} {clause.source}"
    values = [f'"{value}"' if isinstance(value, str) else _plain(value) for value in clause.values[:MAX_WRITTEN]]
    more = f" and {len(clause.values) - MAX_WRITTEN} more" if len(clause.values) > MAX_WRITTEN else ""
    return f"{clause.subject} {clause.operator} {' | '.join(values)}{more}"


def _plain(value: object) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value).lower()


def _standing(one: CompiledRule, rules: RuleSet, facts: MailFacts, *, stopped: bool) -> str:
    """Return why the rule cannot fire whatever its condition says, or ""."""
    rule = one.rule
    if not rule.enabled:
        return "disabled"
    if rule.name in rules.off:
        return "off"
    if not one.counts(rules.off, facts.clock.stamp().utc):
        return "expired"
    return "behind-stop" if stopped else ""


def _story(
    one: CompiledRule, source: str, standing: str, facts: MailFacts, monotonic: Callable[[], float]
) -> RuleStory:
    began = monotonic()
    try:
        clauses = tuple(_told(one.node, facts, 0))
        held = one.node.holds(facts)
    except TimeIsUpError:
        text = f"not judged within {BUDGET_SECONDS:g} s"
        return RuleStory(
            rule=one.rule,
            source=source,
            outcome=standing or "temperror",
            clauses=(ClauseStory(depth=0, condition=text, held=False),),
            seconds=monotonic() - began,
        )
    outcome = standing or ("fired" if held else "not-fired")
    return RuleStory(rule=one.rule, source=source, outcome=outcome, clauses=clauses, seconds=monotonic() - began)


def _told(node: Node, facts: MailFacts, depth: int) -> Iterator[ClauseStory]:
    if isinstance(node, ClauseNode):
        yield _clause(node, facts, depth)
        return
    word = next(word for kind, word in _WORDS if isinstance(node, kind))
    yield ClauseStory(depth=depth, condition=word, held=node.holds(facts))
    if isinstance(node, SameNode | AllNode | AnyNode | NotNode):
        for part in node.parts:
            yield from _told(part, facts, depth + 1)


def _clause(node: ClauseNode, facts: MailFacts, depth: int) -> ClauseStory:
    condition = written(node.clause)
    match = node.match(facts)
    if match is None:
        values = tuple(_value(value) for value in facts.values(node.clause.subject)[:MAX_VALUES])
        return ClauseStory(depth=depth, condition=condition, held=node.holds(facts), values=values)
    value, (text, at) = match
    return ClauseStory(depth=depth, condition=condition, held=True, matched=shortened(text), place=place_of(value, at))


def _value(value: AnyValue) -> str:
    return shortened(value.shown) if isinstance(value, Text) else _plain(value.value)
