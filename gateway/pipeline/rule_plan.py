"""Which custom rules a policy asks, and when: compiled once a layer, whatever the number of policies that inherit it.

At RCPT those rules are judged whose subjects are known there, so that a refusal names one recipient. What they say
counts there only where nothing behind can change it: a rule that could stop them, or an allow rule that could
outweigh them and needs the content, leaves them to the final dot. All count at the final dot, but for the postmaster
only those that ask for the content (RFC 5321 §4.5.1).
"""

from dataclasses import dataclass

from gateway.policy.action import Action
from gateway.policy.domain_policy import DomainPolicy
from gateway.policy.rule import Rule, RuleLayer
from gateway.rules.group import RuleGroup, compile_layer
from gateway.rules.judging import RuleSet
from gateway.rules.moment import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRules:
    """A policy's rules: ``asked``, and of these ``for_postmaster`` those that need the content.

    ``at_rcpt``: some can be judged at RCPT; ``lets_in``: among them are allow rules; ``overruled_later``: what they say
    may be outweighed by an allow rule that cannot. ``results``: the filters that conditions name. ``per_recipient``:
    some condition names the recipient. ``can_outweigh_reject``: a rule that waits for filters' results could turn a
    rejection into something else.
    """

    asked: RuleSet
    for_postmaster: RuleSet
    at_rcpt: bool
    lets_in: bool
    overruled_later: bool
    results: frozenset[str]
    per_recipient: bool
    can_outweigh_reject: bool

    def of(self, *, postmaster: bool) -> RuleSet:
        """Return what is asked for a recipient."""
        return self.for_postmaster if postmaster else self.asked


class RulePlans:
    """Compiles each layer of a snapshot once, and each combination of layers."""

    def __init__(self) -> None:
        self._groups: dict[RuleLayer, RuleGroup] = {}
        self._plans: dict[tuple[tuple[RuleLayer, ...], frozenset[str]], PlanRules | None] = {}

    def of(self, policy: DomainPolicy) -> PlanRules | None:
        """Return the policy's rules, None when it has none."""
        key = (policy.rules, policy.rules_off)
        if key not in self._plans:
            self._plans[key] = self._compiled(policy) if _has_any(policy) else None
        return self._plans[key]

    @property
    def groups(self) -> tuple[RuleGroup, ...]:
        """Every layer compiled so far."""
        return tuple(self._groups.values())

    def every(self, policy: DomainPolicy) -> RuleSet:
        """Return all of a policy's rules, those that are switched off included, for ``explain``."""
        return RuleSet(tuple(self._group(layer) for layer in policy.rules), policy.rules_off)

    def _group(self, layer: RuleLayer) -> RuleGroup:
        if layer not in self._groups:
            self._groups[layer] = compile_layer(layer)
        return self._groups[layer]

    def _compiled(self, policy: DomainPolicy) -> PlanRules:
        groups = tuple(self._group(layer) for layer in policy.rules)
        timed = [
            (rule, group.moment_of(rule))
            for group in groups
            for rule in group.layer.rules
            if rule.enabled and rule.name not in policy.rules_off
        ]
        early = frozenset(rule.name for rule, moment in timed if moment is Moment.ENVELOPE)
        per_recipient = any(group.per_recipient for group in groups)
        # Judged for each recipient by itself, after everything else: none of it is known while filters are awaited.
        open_from = Moment.ENVELOPE if per_recipient else Moment.RESULTS
        return PlanRules(
            asked=RuleSet(groups, policy.rules_off),
            for_postmaster=RuleSet(groups, policy.rules_off | early),
            at_rcpt=bool(early),
            lets_in=any(rule.is_allow for rule, moment in timed if moment is Moment.ENVELOPE),
            overruled_later=any(rule.is_allow for rule, moment in timed if moment is not Moment.ENVELOPE),
            results=frozenset().union(*(group.results for group in groups)),
            per_recipient=per_recipient,
            can_outweigh_reject=any(_outweighs(rule) for rule, moment in timed if moment >= open_from),
        )


def _has_any(policy: DomainPolicy) -> bool:
    # What ships is switched off, and then costs nothing.
    return any(rule.enabled and rule.name not in policy.rules_off for layer in policy.rules for rule in layer.rules)


def _outweighs(rule: Rule) -> bool:
    return rule.is_allow or rule.action is Action.DISCARD or rule.score < 0
