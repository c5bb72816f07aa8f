"""Allow rules count only for senders somebody vouches for.

A rule with ``accept`` and ``stop`` lets mail through whatever else was found, so a name that anyone can write into a
message must not be enough for it: what it asks of the From field holds only with an aligned pass of DMARC, what it
asks of the reverse-path only with a pass of SPF, what it asks of the HELO name only when the client's verified name
passes too, unless the rule says ``unauthenticated = true``. Below ``not`` a condition is left as it is: there a forged
name can only take the permission away. Below two of them it speaks for the permission again.
"""

from collections.abc import Callable
from dataclasses import replace

from gateway.policy.rule import AllOf, AnyOf, Clause, Condition, NotOf, Rule, SameValue

# Reply-To is the author's word as much as From is.
AUTHORS = frozenset({"from", "from_name", "from_domain", "reply_to", "header.from", "header.reply-to", "header.sender"})
PATHS = frozenset({"reverse_path"})
NAMES = frozenset({"helo"})

# RFC 9989: a pass is aligned by definition. RFC 7208 §2.6.3.
_ALIGNED = Clause(subject="dmarc", operator="is", values=("pass",))
_AUTHORISED = Clause(subject="spf", operator="is", values=("pass",))


def vouched(rule: Rule) -> Condition:
    """Return the rule's condition as it counts."""
    if not rule.is_allow or rule.unauthenticated:
        return rule.when
    return _changed(rule.when, _with_voucher, _unchanged)


def claimed(condition: Condition) -> frozenset[str]:
    """Return the subjects that speak for a condition, not those of which a forged value could only speak against it."""
    found: set[str] = set()

    def note(clauses: Clause | SameValue) -> Condition:
        found.update(_subjects(clauses))
        return clauses

    _changed(condition, note, _unchanged)
    return frozenset(found)


_Change = Callable[[Clause | SameValue], Condition]


def _changed(condition: Condition, here: _Change, below_not: _Change) -> Condition:
    if isinstance(condition, Clause | SameValue):
        return here(condition)
    if isinstance(condition, NotOf):
        return NotOf(_changed(condition.part, below_not, here))
    parts = tuple(_changed(part, here, below_not) for part in condition.parts)
    return AllOf(parts) if isinstance(condition, AllOf) else AnyOf(parts)


def _unchanged(condition: Clause | SameValue) -> Condition:
    return condition


def _with_voucher(condition: Clause | SameValue) -> Condition:
    subjects = _subjects(condition)
    if subjects & AUTHORS:
        return AllOf((condition, _ALIGNED))
    if subjects & PATHS:
        return AllOf((condition, _AUTHORISED))
    return AllOf((condition, _of_client(condition))) if subjects & NAMES else condition


def _of_client(condition: Clause | SameValue) -> Condition:
    """Return what was asked of the HELO name asked of the client's name in DNS, which it cannot choose freely."""
    if isinstance(condition, Clause):
        return replace(condition, subject="client_name")
    return SameValue(tuple(replace(clause, subject="client_name") for clause in condition.clauses))


def _subjects(condition: Clause | SameValue) -> frozenset[str]:
    clauses = (condition,) if isinstance(condition, Clause) else condition.clauses
    return frozenset(clause.subject for clause in clauses)
