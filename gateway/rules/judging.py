"""Which rules fired, in order, over all layers of one policy.

``judge`` answers here and now; ``judged`` is for the loop: it judges a small message at once (a thread would cost more
than it saves) and a large one in a thread, where RE2 and the decoders give the interpreter's lock up.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.policy.rule import Rule
from gateway.rules.facts import MailFacts
from gateway.rules.group import CompiledRule, RuleGroup
from gateway.rules.moment import Moment
from gateway.rules.nodes import Node
from gateway.rules.pace import BUDGET_SECONDS, HurryError, TimeIsUpError
from gateway.rules.values import AnyValue, Text

# A matched text is shown to this length; evidence goes into events and headers.
MAX_EVIDENCE_CHARACTERS = 80
# Of one fired rule: three clauses tell why.
MAX_EVIDENCE = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a rule fired: the subject, the decoded text that matched, shortened, and where it stands."""

    subject: str
    text: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Fired:
    """A rule whose condition held."""

    rule: Rule
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a policy's rules said.

    ``fired`` in order, the last one being the one that stopped the rest when ``stopped``. ``temperror`` says why not
    all rules could be judged (the time was up), "" when they were; ``limits`` names each subject of which only a part
    was looked at.
    """

    fired: tuple[Fired, ...] = ()
    stopped: bool = False
    temperror: str = ""
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleSet:
    """A policy's rules: its groups, outermost first, and the names switched off (``DomainPolicy.rules_off``).

    Hashable by value.
    """

    groups: tuple[RuleGroup, ...]
    off: frozenset[str] = frozenset()


def judge(rules: RuleSet, facts: MailFacts, moment: Moment) -> Outcome:
    """Return which rules fired, here and now; for RCPT, commands and threads.

    Rules that cannot be judged yet at ``moment`` are passed over, but one that could stop the rest ends the judging:
    what stands behind it may not count. So what fires early fires at the end too, and RESULTS has the last word.
    """
    facts.pace.start(on_loop=False)
    return _outcome(rules, facts, moment)


async def judged(rules: Sequence[RuleSet], facts: MailFacts, moment: Moment) -> tuple[Outcome, ...]:
    """Return the outcome for each policy, as the pipeline asks after the final dot.

    A small message is judged at once; a large one, and a small one that takes long after all, in a thread, so that
    the loop goes on. What is known by then is kept.
    """
    if facts.is_light or moment is Moment.ENVELOPE:
        facts.pace.start(on_loop=True)
        try:
            return _each(rules, facts, moment)
        except HurryError:
            pass
    facts.pace.start(on_loop=False)
    return await asyncio.to_thread(_each, rules, facts, moment)


def _each(rules: Sequence[RuleSet], facts: MailFacts, moment: Moment) -> tuple[Outcome, ...]:
    return tuple(_outcome(each, facts, moment) for each in rules)


def _outcome(rules: RuleSet, facts: MailFacts, moment: Moment) -> Outcome:
    fired: list[Fired] = []
    temperror = ""
    try:
        # One by one, so that what fired before the time was up is kept.
        fired.extend(Fired(one.rule, evidence_of(one.node, facts)) for one in _firing(rules, facts, moment))
    except TimeIsUpError:
        temperror = f"not judged within {BUDGET_SECONDS:g} s"
    except OSError as error:
        # A spilled content that cannot be read: a broken disk, not a broken mail.
        temperror = f"the content cannot be read: {error.strerror or error}"
    finally:
        facts.pace.pause()
    stopped = not temperror and bool(fired) and fired[-1].rule.stop
    return Outcome(fired=tuple(fired), stopped=stopped, temperror=temperror, limits=facts.limits)


def evidence_of(node: Node, facts: MailFacts) -> tuple[Evidence, ...]:
    """Return what made a condition hold, shortened."""
    found: dict[Evidence, None] = {}
    for clause in node.clauses():
        match = clause.match(facts)
        if match is not None:
            value, (text, at) = match
            found[Evidence(clause.clause.subject, shortened(text), place_of(value, at))] = None
        if len(found) == MAX_EVIDENCE:
            break
    return tuple(found)


def shortened(text: str) -> str:
    """Return a text as evidence shows it."""
    return text if len(text) <= MAX_EVIDENCE_CHARACTERS else text[: MAX_EVIDENCE_CHARACTERS - 1] + "…"


def place_of(value: AnyValue, at: int) -> str:
    """Return where a match stands: ``part 2, character 141``; the value's place when it is the whole of it."""
    return f"{value.place}, character {at + 1}" if at >= 0 and isinstance(value, Text) else value.place


def _firing(rules: RuleSet, facts: MailFacts, moment: Moment) -> Iterator[CompiledRule]:
    now_utc = facts.clock.stamp().utc
    for group in rules.groups:
        barrier = group.barrier(moment, rules.off, now_utc)
        for number in group.candidates(facts, moment):
            if number > barrier:
                return
            facts.breathe()
            one = group.rules[number]
            if one.counts(rules.off, now_utc) and one.node.holds(facts):
                yield one
                if one.rule.stop:
                    return
        if barrier < len(group.rules):
            return
