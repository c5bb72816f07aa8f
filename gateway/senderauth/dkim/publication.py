"""Is a key that we sign with published? RFC 6376 §3.6.2.

A signature whose key is not in DNS is worth less than none: it fails at everybody who looks. Asked before a key takes
over, and by ``tidegate dkim check``.
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway.dns.resolver import Resolver
from gateway.policy.signing import SigningKey, public_octets
from gateway.senderauth.dkim.key import KeyFault, first_key


class State(StrEnum):
    """How DNS and the key agree."""

    PUBLISHED = "published"
    MISSING = "missing"
    DIFFERENT = "different"
    UNUSABLE = "unusable"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """The state of one key; ``record`` is what is to be published where it is not."""

    name: str
    kind: str
    since: str
    state: State
    reason: str
    record: str


async def publication(resolver: Resolver, key: SigningKey) -> Publication:
    """Return whether DNS has this key."""
    state, reason = await _compared(resolver, key)
    since = "" if key.since == key.since.min else key.since.isoformat()
    return Publication(name=key.name, kind=key.kind, since=since, state=state, reason=reason, record=key.record)


async def _compared(resolver: Resolver, key: SigningKey) -> tuple[State, str]:
    answer = await resolver.query(key.name, "TXT")
    if answer.is_temperror:
        return State.UNKNOWN, answer.reason
    if not answer.records:
        return State.MISSING, "DNS has no such record"
    found = first_key(answer.records)
    if isinstance(found, KeyFault):
        return State.UNUSABLE, found.reason
    if found.kind != key.kind or public_octets(found.material) != public_octets(key.material):
        return State.DIFFERENT, "DNS has another key there"
    if len(answer.records) > 1:
        # RFC 6376 §3.6.2.2: the result is undefined.
        return State.UNUSABLE, f"DNS has {len(answer.records)} records there"
    return State.PUBLISHED, "in test mode (t=y)" if found.testing else ""
