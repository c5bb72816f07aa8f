"""Custom rules as values: what an administrator wrote under ``[[rule]]``, read and checked (configuration.md).

``gateway.rules`` reads, compiles and judges them; here they only are. A rule's condition is a tree: ``Clause`` asks one
thing of one subject; ``AllOf``, ``AnyOf`` and ``NotOf`` are ``all``, ``any`` and ``not``; ``SameValue`` holds when
one and the same value (one attachment, one URL) passes every one of its clauses.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Union

from gateway.policy.action import Action, Ground
from gateway.smtp.reply import Reply

# A text or pattern; a count, octets or seconds; yes or no; a network of the client's address.
Value = str | float | bool | IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One operator on one subject; it holds when one of ``values`` does, for one of the subject's values.

    ``subject`` is its name as documented, parameters in lower case: ``subject``, ``header.list-id``,
    ``attachment.name``, ``dnsbl.zen.example``. ``operator`` is the word as written, ``is`` where none was. Sizes are
    octets, durations and times of day seconds; for ``between`` the values are the two ends. ``source`` is the file of
    an ``in_list``, whose entries are then ``values``.
    """

    subject: str
    operator: str
    values: tuple[Value, ...]
    source: str = ""


@dataclass(frozen=True, slots=True)
class SameValue:
    """Clauses about one thing (an attachment, a header field, a URL) that must hold for one and the same of them."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """``all``, and the keys of every table: each part must hold."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """``any``: one part must hold."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class NotOf:
    """``not``: the part must not hold. Of a subject with several values: none of them may pass it."""

    part: "Condition"


Condition = Union[Clause, SameValue, AllOf, AnyOf, NotOf]  # noqa: UP007 - the names above are forward references


# Identity, not equality: rules are many and large, and one is the same only where it stands.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """One ``[[rule]]``.

    Exactly one of ``score`` and ``action`` says something (the other is 0.0 or None). ``reply`` is what a refusal
    says, None for the usual words; only with reject and defer. ``stop`` ends the rules after it. ``expires_utc`` is
    the instant, in seconds since 1970, from which the rule counts no more; None: never. ``unauthenticated`` lets an
    allow rule trust a From that nobody vouches for. ``place`` is ``file:line``.
    """

    name: str
    when: Condition
    score: float = 0.0
    action: Action | None = None
    reply: Reply | None = None
    ground: Ground | None = None
    stop: bool = False
    enabled: bool = True
    expires_utc: float | None = None
    unauthenticated: bool = False
    comment: str = ""
    place: str = ""

    @property
    def is_allow(self) -> bool:
        """Whether the rule lets mail through whatever else was found: ``accept`` with ``stop``."""
        return self.stop and self.action is Action.ACCEPT


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RuleLayer:
    """The rules written in one file or mailbox table, in order; all policies that inherit them share the object.

    ``source`` is ``default``, a policy file's stem, or a mailbox's address.
    """

    source: str
    rules: tuple[Rule, ...]
