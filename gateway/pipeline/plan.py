"""A snapshot's policies, compiled: which filters each one asks, at which stage, and what it makes of their results.

Equal settings share one filter instance, so a message is examined once however many recipients and policies it has.
Filters that do not wait run in the policy's order, before those that do.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from gateway.config.policy_set import PolicySet
from gateway.filters.size import Options as SizeOptions
from gateway.pipeline.rule_plan import PlanRules, RulePlans
from gateway.policy.action import Action, Stage
from gateway.policy.catalogue import Catalogue
from gateway.policy.domain_policy import DomainPolicy, FilterSetting
from gateway.policy.filter import Filter
from gateway.rules.group import RuleGroup
from gateway.rules.judging import RuleSet

AnyFilter = Filter[Any]
_STAGES = tuple(Stage)


@dataclass(frozen=True, slots=True)
class Step:
    """One filter as one policy uses it: its place, and result → reaction."""

    filter: AnyFilter
    order: int
    on: Mapping[str, float | Action | None]


@dataclass(frozen=True, slots=True)
class Questions:
    """The filters to ask at one stage.

    ``direct`` answer at once and are asked again at each later stage; ``waiting`` wait for something and are asked at
    their own stage only; ``each`` are asked for every recipient by itself.
    """

    direct: tuple[AnyFilter, ...] = ()
    waiting: tuple[AnyFilter, ...] = ()
    each: tuple[AnyFilter, ...] = ()

    @classmethod
    def at(cls, stage: Stage, filters: Iterable[AnyFilter]) -> Self:
        """Return what is asked at ``stage``."""
        reached = _STAGES[: _STAGES.index(stage) + 1]
        due = [f for f in filters if f.stage in reached]
        return cls(
            direct=tuple(f for f in due if not f.io and not f.per_recipient),
            waiting=tuple(f for f in due if f.io and not f.per_recipient and f.stage is stage),
            each=tuple(f for f in due if f.per_recipient and f.stage is stage),
        )

    def __or__(self, other: "Questions") -> "Questions":
        """Return both without repetition, in order."""
        return Questions(
            tuple(dict.fromkeys(self.direct + other.direct)),
            tuple(dict.fromkeys(self.waiting + other.waiting)),
            tuple(dict.fromkeys(self.each + other.each)),
        )


NO_QUESTIONS = Questions()


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One policy, compiled; ``route`` is the queue's key of its next hops, "" when that depends on the domain.

    ``rules`` is None when it has none. ``can_outweigh_reject`` tells whether a filter that waits, or a rule that waits
    for it, could still turn a rejection into something else; ``one_by_one`` whether recipients are judged by
    themselves.
    """

    policy: DomainPolicy
    steps: Mapping[AnyFilter, Step]
    connect: Questions
    envelope: Questions
    data: Questions
    route: str
    can_outweigh_reject: bool
    one_by_one: bool
    rules: PlanRules | None = None


class Plans:
    """Every policy of a snapshot, compiled; looked up by the policy's identity."""

    def __init__(self, policies: PolicySet, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._instances: dict[str, list[AnyFilter]] = {}
        self._plans: dict[int, Plan] = {}
        self._rules = RulePlans()
        for policy in (policies.default, *policies.by_domain.values(), *policies.by_mailbox.values()):
            if id(policy) not in self._plans:
                self._plans[id(policy)] = self._compiled(policy)
        # The abuse desk's asks nothing, so it has no say about connections.
        self._desk: tuple[Plan, ...] = (self._compiled(policies.desk),) if policies.desk else ()

    def __iter__(self) -> Iterator[Plan]:
        """Yield the plans that have a say about every connection."""
        return iter(self._plans.values())

    @property
    def every(self) -> tuple[Plan, ...]:
        """Every plan, the abuse desk's too."""
        return (*self._plans.values(), *self._desk)

    def of(self, policy: DomainPolicy) -> Plan:
        """Return the plan of a policy of this snapshot."""
        return self._plans.get(id(policy)) or self._desk[0]

    @property
    def rule_groups(self) -> tuple[RuleGroup, ...]:
        """Every layer of rules, compiled."""
        return self._rules.groups

    def rules_of(self, policy: DomainPolicy) -> RuleSet:
        """Return all of a policy's rules, those that are switched off included."""
        return self._rules.every(policy)

    def _compiled(self, policy: DomainPolicy) -> Plan:
        enabled = [s for s in policy.filters.values() if s.enabled and s.name in self._catalogue]
        steps = {}
        for order, setting in enumerate(enabled):
            instance = self._instance(setting.name, _options(setting, policy))
            if not instance.is_idle:
                steps[instance] = Step(instance, order, setting.on)
        rules = self._rules.of(policy)
        envelope = Questions.at(Stage.ENVELOPE, steps)
        return Plan(
            policy=policy,
            steps=steps,
            connect=Questions.at(Stage.CONNECT, steps),
            envelope=envelope,
            data=Questions.at(Stage.DATA, steps),
            route=_route(policy),
            can_outweigh_reject=any(_outweighs(s) for s in steps.values() if s.filter.io)
            or (rules is not None and rules.can_outweigh_reject),
            one_by_one=bool(envelope.each) or (rules is not None and rules.per_recipient),
            rules=rules,
        )

    def _instance(self, name: str, options: object) -> AnyFilter:
        known = self._instances.setdefault(name, [])
        for instance in known:
            if instance.options == options:
                return instance
        known.append(self._catalogue[name](options))
        return known[-1]


def _options(setting: FilterSetting, policy: DomainPolicy) -> object:
    # A policy's `max_message` is the size filter's `maximum` by another name; the filter's own setting is the more
    # particular.
    options = setting.options
    if isinstance(options, SizeOptions) and not options.maximum and policy.max_message:
        return replace(options, maximum=policy.max_message)
    return options


def _outweighs(step: Step) -> bool:
    return any(_lightens(reaction) for reaction in step.on.values())


def _lightens(reaction: float | Action | None) -> bool:
    if isinstance(reaction, Action):
        return reaction in (Action.ACCEPT, Action.DISCARD)
    return reaction is not None and reaction < 0


def _route(policy: DomainPolicy) -> str:
    if not policy.next_hop or any(hop.scheme == "mx" and not hop.host for hop in policy.next_hop):
        return ""
    return " ".join(hop.url for hop in policy.next_hop)
