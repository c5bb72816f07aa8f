"""Why each rule did or did not fire: what ``tidegate explain`` and ``tidegate rule test`` print."""

from dataclasses import dataclass

from gateway.policy.rule import Rule
from gateway.rules.facts import MailFacts
from gateway.rules.judging import RuleSet


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
    """One rule: ``outcome`` is fired, not-fired, off, disabled, expired, behind-stop or temperror."""

    rule: Rule
    source: str
    outcome: str
    clauses: tuple[ClauseStory, ...] = ()
    seconds: float = 0.0


def explain(rules: RuleSet, facts: MailFacts) -> tuple[RuleStory, ...]:
    """Return the story of every rule in order, each condition judged in full, whatever stopped before it."""
    raise NotImplementedError
