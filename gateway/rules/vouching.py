"""Allow rules count only for senders somebody vouches for.

A rule with ``accept`` and ``stop`` lets mail through whatever else was found, so a name that anyone can write into a
message must not be enough for it: what it asks of the From field holds only with an aligned pass of DMARC, what it
asks of the reverse-path only with a pass of SPF, unless the rule says ``unauthenticated = true``. Below ``not`` a
condition is left as it is: there a forged name can only take the permission away.
"""

from gateway.policy.rule import AllOf, AnyOf, Clause, Condition, NotOf, Rule, SameValue

# Reply-To is the author's word as much as From is.
AUTHORS = frozenset({"from", "from_name", "from_domain", "reply_to", "header.from", "header.reply-to", "header.sender"})
PATHS = frozenset({"reverse_path"})

# RFC 9989: a pass is aligned by definition. RFC 7208 §2.6.3.
_ALIGNED = Clause(subject="dmarc", operator="is", values=("pass",))
_AUTHORISED = Clause(subject="spf", operator="is", values=("pass",))


def vouched(rule: Rule) -> Condition:
    """Return the rule's condition as it counts."""
    return _vouched(rule.when) if rule.is_allow and not rule.unauthenticated else rule.when


def _vouched(condition: Condition) -> Condition:
    if isinstance(condition, Clause):
        return _with_voucher(condition, {condition.subject})
    if isinstance(condition, SameValue):
        return _with_voucher(condition, {clause.subject for clause in condition.clauses})
    if isinstance(condition, NotOf):
        return condition
    parts = tuple(_vouched(part) for part in condition.parts)
    return AllOf(parts) if isinstance(condition, AllOf) else AnyOf(parts)


def _with_voucher(condition: Clause | SameValue, subjects: set[str]) -> Condition:
    if subjects & AUTHORS:
        return AllOf((condition, _ALIGNED))
    return AllOf((condition, _AUTHORISED)) if subjects & PATHS else condition
