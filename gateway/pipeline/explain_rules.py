"""The custom rules' part of ``tidegate explain``: why each did or did not fire, and which of them are told of."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gateway.rules.story import ClauseStory, RuleStory

# Of thousands of rules nearly all have nothing in common with a mail: a screenful of those that have.
MAX_NEAR = 20
FIRED, NEAR, ALL = "fired", "near", "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedClause:
    """One clause of a condition, ``depth`` levels deep: as written, whether it held, for which decoded text, where.

    ``values`` is what the subject was when it did not hold.
    """

    depth: int
    condition: str
    held: bool
    matched: str
    place: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRule:
    """One rule for one recipient: ``outcome`` fired, not-fired, off, disabled, expired, behind-stop or temperror.

    ``place`` is its ``file:line``, ``layer`` whose it is; ``held`` whether its condition did, whatever came of it.
    """

    name: str
    place: str
    layer: str
    outcome: str
    held: bool
    score: float
    action: str
    ground: str
    comment: str
    clauses: tuple[ExplainedClause, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class ToldRules:
    """The rules that are told of, in order, and how many are not."""

    rules: tuple[ExplainedRule, ...] = ()
    not_told: int = 0


def told(stories: Iterable[RuleStory], choice: str) -> ToldRules:
    """Return the stories chosen: ``fired``, ``near``, ``all``, or a pattern of names such as ``fapiao*``.

    ``near``: what fired, what was kept from it (switched off, expired, behind a stop), and the first MAX_NEAR of which
    a part held.
    """
    kept: list[ExplainedRule] = []
    near = not_told = 0
    for story in stories:
        rank = _rank(story)
        near += rank == _NEARLY
        if _is_chosen(story, rank, choice) and (choice != NEAR or rank != _NEARLY or near <= MAX_NEAR):
            kept.append(_explained(story))
        else:
            not_told += 1
    return ToldRules(tuple(kept), not_told)


_FAR, _NEARLY, _HELD, _FIRED = range(4)


def _rank(story: RuleStory) -> int:
    if story.outcome in ("fired", "temperror"):
        return _FIRED
    if story.clauses and story.clauses[0].held:
        return _HELD
    # A "not" holds for nearly every mail: what tells is a text that was found.
    return _NEARLY if any(clause.held and clause.matched for clause in story.clauses) else _FAR


def _is_chosen(story: RuleStory, rank: int, choice: str) -> bool:
    if choice == ALL:
        return True
    if choice in (FIRED, NEAR):
        return rank >= (_FIRED if choice == FIRED else _NEARLY)
    return fnmatchcase(story.rule.name, choice)


def _explained(story: RuleStory) -> ExplainedRule:
    rule = story.rule
    return ExplainedRule(
        name=rule.name,
        place=rule.place,
        layer=story.source,
        outcome=story.outcome,
        held=bool(story.clauses and story.clauses[0].held),
        score=rule.score,
        action="" if rule.action is None else rule.action.word,
        ground=rule.ground.value if rule.ground else "",
        comment=rule.comment,
        clauses=tuple(_clause(clause) for clause in story.clauses),
        seconds=story.seconds,
    )


def _clause(clause: ClauseStory) -> ExplainedClause:
    return ExplainedClause(
        depth=clause.depth,
        condition=clause.condition,
        held=clause.held,
        matched=clause.matched,
        place=clause.place,
        values=clause.values,
    )
