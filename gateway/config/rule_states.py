"""How each rule of a policy stands: on, off or expired, and who switched it off; for ``policy show``."""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.config.layers import Layered
from gateway.config.rule_layers import OFF
from gateway.policy.domain_policy import DomainPolicy
from gateway.policy.rule import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleState:
    """``state`` is on, off or expired; ``because`` says what switched it off, with its place; "" when it is on."""

    rule: Rule
    layer: str
    state: str
    because: str = ""


def rule_states(policy: DomainPolicy, layered: Layered, now_utc: float) -> Iterator[RuleState]:
    """Yield each rule in the order in which they are asked."""
    places = _switched_off(layered)
    for layer in policy.rules:
        for rule in layer.rules:
            state, because = "on", ""
            if not rule.enabled:
                state, because = "off", "enabled = false"
            elif rule.name in places:
                state, because = "off", f"rules_off, {places[rule.name]}"
            elif rule.expires_utc is not None and rule.expires_utc <= now_utc:
                state = "expired"
            yield RuleState(rule=rule, layer=layer.source, state=state, because=because)


def _switched_off(layered: Layered) -> dict[str, str]:
    found: dict[str, str] = {}
    for layer in layered.layers:
        for index, name in enumerate(layer.whole.get(OFF, ())):
            found.setdefault(name, str(layer.origin((OFF, index))))
    return found
