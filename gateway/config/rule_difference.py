"""What a reload changes in the custom rules: one line a rule, each layer once however many policies inherit it."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from gateway.config.policy_set import PolicySet
from gateway.config.problem import quoted
from gateway.policy.rule import Rule, RuleLayer

# A file that somebody's program writes may change as a whole; the first changes tell.
MAX_LINES = 50
_COMPARED = tuple(field.name for field in fields(Rule) if field.name not in {"name", "place"})
_SHOWN = frozenset({"score", "action", "stop", "enabled", "ground", "comment", "reply"})


def rule_changes(old: PolicySet, new: PolicySet) -> Iterator[str]:
    """Yield ``file:line rule "name": what changed`` of every layer."""
    before, after = _layers(old), _layers(new)
    for source in dict.fromkeys((*before, *after)):
        lines = list(_layer_changes(before.get(source, _NONE), after.get(source, _NONE)))
        yield from lines[:MAX_LINES]
        if len(lines) > MAX_LINES:
            yield f"rules of {source}: {len(lines) - MAX_LINES} more changes"


_NONE = RuleLayer(source="", rules=())


def _layers(policies: PolicySet) -> Mapping[str, RuleLayer]:
    return {layer.source: layer for layer in policies.layers}


def _layer_changes(old: RuleLayer, new: RuleLayer) -> Iterator[str]:
    before, after = _by_name(old), _by_name(new)
    for name, rule in after.items():
        was = before.get(name)
        if was is None:
            yield f"{rule.place} rule {quoted(name)}: added"
        else:
            yield from (f"{rule.place} rule {quoted(name)}: {change}" for change in _changes(was, rule))
    for name, rule in before.items():
        if name not in after:
            yield f"{rule.place.rpartition(':')[0]} rule {quoted(name)}: removed"
    if [name for name in before if name in after] != [name for name in after if name in before]:
        yield f"{new.rules[0].place.rpartition(':')[0]} rule: in another order"


def _by_name(layer: RuleLayer) -> Mapping[str, Rule]:
    return {rule.name: rule for rule in layer.rules}


def _changes(old: Rule, new: Rule) -> Iterator[str]:
    for name in _COMPARED:
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            key = name.removesuffix("_utc")
            yield f"{key}: {_shown(was)} → {_shown(now)}" if name in _SHOWN else f"{key} changed"


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return str(getattr(value, "word", value))
