"""The custom rules' lines of ``tidegate explain``: each condition as a tree, what matched and where."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.pipeline.explain import ExplainedRecipient
    from gateway.pipeline.explain_rules import ExplainedClause, ExplainedRule

_INDENT = " " * 10


def rule_lines(recipient: "ExplainedRecipient") -> list[str]:
    """Return the lines of one recipient's rules."""
    lines = [line for rule in recipient.rules for line in lines_of(rule)]
    if recipient.rules_not_told:
        more = "more " if recipient.rules else ""
        count = recipient.rules_not_told
        lines.append(f"rules     {count} {more}did not fire; --rules all tells why, --rules 'NAME*' of some")
    return lines


def lines_of(rule: "ExplainedRule") -> Iterator[str]:
    """Yield one rule's lines."""
    worth = rule.action or f"{rule.score:+g}"
    ground = f"  ground {rule.ground}" if rule.ground else ""
    yield _printable(
        f"rule      {_OUTCOMES.get(rule.outcome, rule.outcome)}: {rule.name}  {worth}{ground}  {rule.place}"
    )
    if rule.comment:
        yield _printable(f"{_INDENT}# {rule.comment}")
    for clause in rule.clauses:
        yield _printable(f"{_INDENT}{'  ' * clause.depth}{_clause(clause)}")


_OUTCOMES = {
    "not-fired": "did not fire",
    "off": "switched off here",
    "behind-stop": "behind a rule that stopped it",
}


def _clause(clause: "ExplainedClause") -> str:
    text = f"{'+' if clause.held else '-'} {clause.condition}"
    if clause.matched:
        text += f"  found: {clause.matched}"
    elif clause.values:
        text += f"  was: {', '.join(clause.values)}"
    return text + (f"  ({clause.place})" if clause.place else "")


def _printable(text: str) -> str:
    """Return text from outside as a terminal may have it; Chinese stays readable."""
    from gateway.admin.lines import printable

    return printable(text)
