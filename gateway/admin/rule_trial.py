"""Rules tried on stored mail, and what they did in the mail that passed: ``tidegate rule test`` and ``rule stats``.

A trial judges every rule for itself: one that is disabled, expired or switched off is tried as if it counted, and no
``stop`` holds back those behind it. No filter is asked, so conditions on results of filters do not hold, and an allow
rule is tried as if the author were vouched for.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

from gateway.admin.stored_mail import StoredMail, transaction_of
from gateway.clock import Clock
from gateway.config.policy_set import PolicySet
from gateway.journal.events import MessageJudged, RecipientRefused
from gateway.journal.reader import JournalReader
from gateway.policy.rule import Rule, RuleLayer
from gateway.rules.facts import MailFacts
from gateway.rules.group import compile_layer
from gateway.rules.judging import Fired, RuleSet, judge
from gateway.rules.moment import Moment
from gateway.rules.story import RuleStory, explain

RULE = "rule"
# Two rules overlap when the rarer of them fires together with the other on nearly all of its messages.
OVERLAP_SHARE = 0.8
# Of messages that fire hundreds of rules every pair would be counted; the first ones tell.
MAX_PAIRED = 100
# An id for what has none: trying is not receiving.
_TRACE_ID = "0" * 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One message: the rules that fired, how long judging took, and what could not be judged."""

    mail: str
    fired: tuple[Fired, ...]
    seconds: float
    temperror: str
    limits: tuple[str, ...]


class Trial:
    """Rules that are tried together; compiled once."""

    def __init__(self, layers: Iterable[RuleLayer], hostname: str, clock: Clock) -> None:
        self._clock = clock
        self._hostname = hostname
        self._rules = RuleSet(tuple(compile_layer(_in_force(layer)) for layer in layers))

    def judge(self, mail: StoredMail) -> Tried:
        """Try the rules on one message."""
        begun = self._clock.monotonic()
        said = judge(self._rules, self._facts(mail), Moment.RESULTS)
        seconds = self._clock.monotonic() - begun
        return Tried(mail=mail.name, fired=said.fired, seconds=seconds, temperror=said.temperror, limits=said.limits)

    def explain(self, mail: StoredMail) -> tuple[RuleStory, ...]:
        """Return why each rule did or did not fire."""
        return explain(self._rules, self._facts(mail))

    def _facts(self, mail: StoredMail) -> MailFacts:
        tx = transaction_of(mail, _TRACE_ID, self._hostname, self._clock.stamp())
        return MailFacts(tx, {}, self._clock)


def layers_of(policies: PolicySet) -> tuple[RuleLayer, ...]:
    """Return every layer of rules once, outermost first."""
    found = list(policies.default.rules)
    for file in policies.files:
        for policy in (file.policy, *(own for own, _ in file.mailboxes.values())):
            found += policy.rules
    return tuple(dict.fromkeys(found))


def only(layers: Iterable[RuleLayer], names: frozenset[str]) -> tuple[RuleLayer, ...]:
    """Return the layers with the rules of these names alone."""
    kept = (
        RuleLayer(source=layer.source, rules=tuple(rule for rule in layer.rules if rule.name in names))
        for layer in layers
    )
    return tuple(layer for layer in kept if layer.rules)


def _in_force(layer: RuleLayer) -> RuleLayer:
    rules = tuple(
        replace(rule, enabled=True, expires_utc=None, stop=False, unauthenticated=True) for rule in layer.rules
    )
    return RuleLayer(source=layer.source, rules=rules)


@dataclass(slots=True)
class Tally:
    """What many messages came to."""

    messages: int = 0
    seconds: float = 0.0
    slowest_seconds: float = 0.0
    slowest: str = ""
    partly: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    _together: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, tried: Tried) -> None:
        """Count one message."""
        self.messages += 1
        self.seconds += tried.seconds
        if tried.seconds > self.slowest_seconds:
            self.slowest_seconds, self.slowest = tried.seconds, tried.mail
        self.partly += bool(tried.temperror or tried.limits)
        names = sorted({fired.rule.name for fired in tried.fired})
        self.fired.update(names)
        self._together.update(combinations(names[:MAX_PAIRED], 2))

    def overlaps(self) -> list[tuple[str, str, int, float]]:
        """Return ``(rarer rule, other rule, messages of both, share of the rarer's)``, the largest share first."""
        found = []
        for (one, other), both in self._together.items():
            rarer, wider = sorted((one, other), key=lambda name: (self.fired[name], name))
            share = both / self.fired[rarer]
            if share >= OVERLAP_SHARE:
                found.append((rarer, wider, both, share))
        return sorted(found, key=lambda row: (-row[3], -row[2], row[0], row[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a rule did in the mail that passed: messages it fired on, UTC seconds of the last (0.0: never)."""

    rule: Rule
    source: str
    messages: int
    last_at: float


def usage(data: Path, layers: Sequence[RuleLayer], since: float) -> Iterator[Usage]:
    """Yield what each rule did since UTC second ``since``, by the journal, in the order of the layers."""
    counts: Counter[str] = Counter()
    last: dict[str, float] = {}
    names = frozenset(rule.name for layer in layers for rule in layer.rules)
    for at, fired in _firings(data, since, names):
        counts.update(fired)
        last |= {name: max(at, last.get(name, 0.0)) for name in fired}
    for layer in layers:
        for rule in layer.rules:
            name = rule.name
            yield Usage(rule=rule, source=layer.source, messages=counts[name], last_at=last.get(name, 0.0))


def _firings(data: Path, since: float, names: frozenset[str]) -> Iterator[tuple[float, frozenset[str]]]:
    reader = JournalReader(data / "journal")
    try:
        for event in reader.of_kind(MessageJudged.kind, since):
            if isinstance(event, MessageJudged):
                yield event.at, frozenset(result for _, name, result in map(_named, event.judgements) if name == RULE)
        for event in reader.of_kind(RecipientRefused.kind, since):
            if isinstance(event, RecipientRefused) and event.filter == RULE:
                yield event.at, _refusing(event.reason, names)
    finally:
        reader.close()


def _named(judgement: tuple[str, str, str, float, str]) -> tuple[str, str, str]:
    return judgement[:3]


def _refusing(reason: str, names: frozenset[str]) -> frozenset[str]:
    """Return the rule that a refusal at RCPT names: ``rule NAME`` or ``rule NAME: what matched``."""
    said = reason.removeprefix(f"{RULE} ")
    return frozenset(sorted((n for n in names if said == n or said.startswith(f"{n}: ")), key=len)[-1:])
