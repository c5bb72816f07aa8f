r"""One layer of rules, compiled: an index finds the few rules a message may fire, and only those are judged.

Every rule whose condition has necessary keys or texts (``nodes.Anchor``) is found by them: keys in a table, texts by
one pass over each subject. What a message costs follows what it has in common with the rules, not how many there are.
Rules without (only ``not``, only numbers, a pattern such as ``\d{11}``) are judged for every message. Where such
patterns are compiled by hyperscan (``use``), rules are found by them too.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from types import MappingProxyType

from gateway.policy.rule import Rule, RuleLayer
from gateway.rules import parts
from gateway.rules.automaton import Automaton
from gateway.rules.facts import MailFacts
from gateway.rules.moment import Moment
from gateway.rules.nodes import Anchor, Needle, Node, compile_condition, every_clause
from gateway.rules.prefilter import Prefilter
from gateway.rules.values import AnyValue, Text
from gateway.rules.vouching import vouched

# Names an index within the hits that a message's facts keep.
_numbers = count()
_NONE: Mapping[str, Prefilter] = MappingProxyType({})
# Subjects whose parameter, if any, is a filter's name or what its results are about.
_RESULTS = frozenset({"spf", "dkim", "dmarc", "virus", "dnsbl"})


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    """A rule with its condition, its place in the layer and the earliest moment it can be judged at."""

    rule: Rule
    node: Node
    number: int
    moment: Moment

    def counts(self, off: frozenset[str], now_utc: float) -> bool:
        """Tell whether the rule is in force: enabled, not expired, not switched off."""
        rule = self.rule
        return rule.enabled and rule.name not in off and (rule.expires_utc is None or now_utc < rule.expires_utc)


class RuleGroup:
    """A compiled layer: its answers never change, and every policy and transaction that uses it shares it.

    ``layer`` is what it was made of, ``rules`` in the same order. ``results`` names the filters whose results its
    conditions ask for (as in ``Results``, parameters left out); ``per_recipient`` tells whether any condition asks for
    ``recipient``, so that recipients must be judged one by one (``MailFacts.about``).
    """

    def __init__(self, layer: RuleLayer) -> None:
        self.layer = layer
        self.rules = tuple(_compiled(rule, number) for number, rule in enumerate(layer.rules))
        asked = {clause.clause.subject for one in self.rules for clause in every_clause(one.node)}
        self.results = frozenset(_filter_of(subject) for subject in asked) - {""}
        self.per_recipient = "recipient" in asked
        parts.warm(asked)
        self._enabled = tuple(one for one in self.rules if one.rule.enabled)
        # Those whose index changes with ``use`` apart, so that it takes as long as they are many.
        self._by_patterns = tuple(one for one in self._enabled if _has_pattern(one))
        self._by_texts = _indexed(one for one in self._enabled if not _has_pattern(one))
        self._indexes = self._by_texts + _indexed(self._by_patterns)
        self._stopping = tuple(one for one in self._enabled if one.rule.stop)
        self._moments = {one.rule: one.moment for one in self.rules}

    def without_text(self) -> dict[str, set[str]]:
        """Return the patterns, by subject, that rules judged for every message could be found by."""
        found: dict[str, set[str]] = {}
        for one in self._by_patterns:
            for needle in one.node.anchor.needles if one.node.anchor else ():
                if needle.is_pattern:
                    found.setdefault(needle.subject, set()).add(needle.text)
        return found

    def use(self, prefilters: Mapping[str, Prefilter]) -> None:
        """Find rules by these too, each over its subject, from the next question on."""
        self._indexes = self._by_texts + _indexed(self._by_patterns, prefilters)

    def moment_of(self, rule: Rule) -> Moment:
        """Return the earliest moment at which ``rule`` can be judged."""
        return self._moments[rule]

    def candidates(self, facts: MailFacts, moment: Moment) -> list[int]:
        """Return the numbers of the enabled rules that may fire, in order; raise ``TimeIsUpError``."""
        found: set[int] = set()
        for due, index in self._indexes:
            if due <= moment:
                index.add_to(found, facts)
        return sorted(found)

    def barrier(self, moment: Moment, off: frozenset[str], now_utc: float) -> int:
        """Return the number of the first rule that could stop the rest but cannot be judged yet, else their count."""
        for one in self._stopping:
            if one.moment > moment and one.counts(off, now_utc):
                return one.number
        return len(self.rules)


def compile_layer(layer: RuleLayer) -> RuleGroup:
    """Return the layer compiled: pure CPU, tens of milliseconds a thousand rules; call it in a thread."""
    return RuleGroup(layer)


def _compiled(rule: Rule, number: int) -> CompiledRule:
    node = compile_condition(vouched(rule))
    return CompiledRule(rule, node, number, node.moment)


def _has_pattern(one: CompiledRule) -> bool:
    anchor = one.node.anchor
    return anchor is not None and any(needle.is_pattern for needle in anchor.needles)


def _indexed(
    rules: Iterable[CompiledRule], prefilters: Mapping[str, Prefilter] = _NONE
) -> tuple[tuple[Moment, "_Index"], ...]:
    by_moment: dict[Moment, list[CompiledRule]] = {}
    for one in rules:
        by_moment.setdefault(one.moment, []).append(one)
    return tuple((moment, _Index(found, prefilters)) for moment, found in by_moment.items())


def _filter_of(subject: str) -> str:
    head, _, name = subject.partition(".")
    return name if head == "filter" else head if head in _RESULTS else ""


class _Index:
    """The rules of one moment by what a message must have for them."""

    def __init__(self, rules: Iterable[CompiledRule], prefilters: Mapping[str, Prefilter]) -> None:
        self._number = next(_numbers)
        always: list[int] = []
        keys: dict[str, dict[str, list[int]]] = {}
        texts: dict[str, dict[bytes, list[int]]] = {}
        patterns: dict[str, dict[str, list[int]]] = {}
        for one in rules:
            anchor = one.node.anchor
            if anchor is None or not _is_found(anchor, prefilters):
                always.append(one.number)
                continue
            for needle in anchor.needles:
                if needle.is_pattern:
                    patterns.setdefault(needle.subject, {}).setdefault(needle.text, []).append(one.number)
                else:
                    _place(needle, keys, texts).append(one.number)
        self._always = frozenset(always)
        self._searches: dict[str, Callable[[tuple[AnyValue, ...]], frozenset[int]]] = {
            subject: partial(_search, keys.get(subject, {}), Automaton(texts[subject]) if subject in texts else None)
            for subject in (*keys, *texts)
        }
        self._scans = {
            subject: (next(_numbers), partial(_scan, prefilters[subject], numbers))
            for subject, numbers in patterns.items()
        }

    def add_to(self, found: set[int], facts: MailFacts) -> None:
        """Add the rules that a message may fire."""
        found |= self._always
        for subject, search in self._searches.items():
            found |= facts.hits(self._number, subject, search)
        for subject, (number, scan) in self._scans.items():
            found |= facts.hits(number, subject, scan)


def _is_found(anchor: Anchor, prefilters: Mapping[str, Prefilter]) -> bool:
    return all(
        needle.subject in prefilters and needle.text in prefilters[needle.subject].sources
        for needle in anchor.needles
        if needle.is_pattern
    )


def _place(
    needle: Needle, keys: dict[str, dict[str, list[int]]], texts: dict[str, dict[bytes, list[int]]]
) -> list[int]:
    if needle.is_key:
        return keys.setdefault(needle.subject, {}).setdefault(needle.text, [])
    octets = needle.text.encode("utf-8", "replace")
    return texts.setdefault(needle.subject, {}).setdefault(octets, [])


def _search(keys: dict[str, list[int]], automaton: Automaton | None, values: tuple[AnyValue, ...]) -> frozenset[int]:
    found: set[int] = set()
    for value in values:
        if isinstance(value, Text):
            for key in value.keys if keys else ():
                found.update(keys.get(key, ()))
            if automaton is not None:
                found |= automaton.numbers(value.folded_octets)
    return frozenset(found)


def _scan(prefilter: Prefilter, numbers: dict[str, list[int]], values: tuple[AnyValue, ...]) -> frozenset[int]:
    found: set[int] = set()
    for value in values:
        if isinstance(value, Text):
            for source in prefilter.candidates(value.octets):
                found.update(numbers.get(source, ()))
    return frozenset(found)
