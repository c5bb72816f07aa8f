"""Which rules fired, in order, over all layers of one policy."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.policy.rule import Rule
from gateway.rules.facts import MailFacts
from gateway.rules.group import RuleGroup
from gateway.rules.moment import Moment


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
    """A policy's rules: its groups, outermost first, and the names it switches off (``DomainPolicy.rules_off``).

    A name that is switched off is skipped in every group but the last, which is the policy's own. Hashable by value.
    """

    groups: tuple[RuleGroup, ...]
    off: frozenset[str] = frozenset()


def judge(rules: RuleSet, facts: MailFacts, moment: Moment) -> Outcome:
    """Return which rules fired, here and now; for RCPT, commands and threads.

    Rules that cannot be judged yet at ``moment`` are passed over, but one that could stop the rest ends the judging:
    what stands behind it may not count. So what fires early fires at the end too, and RESULTS has the last word.
    """
    raise NotImplementedError


async def judged(rules: Sequence[RuleSet], facts: MailFacts, moment: Moment) -> tuple[Outcome, ...]:
    """Return the outcome for each policy, as the pipeline asks after the final dot.

    A small message is judged at once, a large one in a thread, so that the loop goes on.
    """
    raise NotImplementedError
