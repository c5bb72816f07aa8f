"""One layer of rules, compiled."""

from gateway.policy.rule import Rule, RuleLayer
from gateway.rules.moment import Moment


class RuleGroup:
    """A compiled layer: immutable, shared by every policy and transaction that uses it.

    ``layer`` is what it was made of. ``earliest`` maps each rule to the moment it can be judged at; ``results`` names
    the filters whose results its conditions ask for (as in ``Results``, parameters left out); ``per_recipient`` tells
    whether any condition asks for ``recipient``, so that recipients must be judged one by one (``MailFacts.about``).
    """

    layer: RuleLayer
    results: frozenset[str]
    per_recipient: bool

    def moment_of(self, rule: Rule) -> Moment:
        """Return the earliest moment at which ``rule`` can be judged."""
        raise NotImplementedError


def compile_layer(layer: RuleLayer) -> RuleGroup:
    """Return the layer compiled: pure CPU, tens of milliseconds a thousand rules; call it in a thread."""
    raise NotImplementedError
