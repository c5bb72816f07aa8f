"""One mailbox's merged policy as plain values; ``gateway.config`` builds them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.policy.action import Action
from gateway.policy.incident_terms import USUAL_TERMS, IncidentTerms
from gateway.policy.rule import RuleLayer
from gateway.policy.signing import NO_SIGNING, Signing
from gateway.policy.verdict import Thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class NextHop:
    """One ``next_hop`` entry.

    ``scheme`` is smtp, lmtp, mx or maildir; ``host`` a name or address literal without brackets (for mx: the domain
    to look up, "" for the recipient's own), ``port`` 25 or as written; ``tls`` none, may or verify; ``path`` the
    Maildir's folder. ``url`` is the text as normalised, the key under which connections are pooled and concurrency is
    counted.
    """

    url: str
    scheme: str
    host: str = ""
    port: int = 25
    tls: str = "may"
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterSetting:
    """A ``[filters.NAME]`` table.

    ``options`` is the filter's own Options instance, ``on`` result → score or Action (None: ignore).
    """

    name: str
    enabled: bool
    options: object
    on: Mapping[str, float | Action | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientCheck:
    """``recipients``: mode any, list or callout; ``addresses`` a list's address keys, or ``@domain``."""

    mode: str = "any"
    source: str = ""
    addresses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainPolicy:
    """What holds for one recipient: its domain's policy with its mailbox's table merged in.

    ``name`` is the policy file's stem; ``customer`` whom the contract's clauses are counted for; ``next_hop_owner``
    (operator or customer) answers for the next hop; ``incidents`` when its mail confirms a spam source. Equal policies
    are one object, so recipients can be grouped by identity. ``rules`` are the custom rules, outermost first
    (default.toml, the domain's file, the mailbox's table); ``rules_off`` names those of them that an inner layer
    switches off. ``signing`` is the domain's, the same for all its mailboxes.
    """

    name: str
    domains: tuple[str, ...] = ()
    customer: str = ""
    next_hop: tuple[NextHop, ...] = ()
    next_hop_owner: str = "operator"
    incidents: IncidentTerms = USUAL_TERMS
    recipients: RecipientCheck = field(default_factory=RecipientCheck)
    thresholds: Thresholds = field(default_factory=Thresholds)
    subject_tag: str = ""
    max_message: int | None = None
    filters: Mapping[str, FilterSetting] = field(default_factory=lambda: MappingProxyType({}))
    rules: tuple[RuleLayer, ...] = ()
    rules_off: frozenset[str] = frozenset()
    signing: Signing = NO_SIGNING
