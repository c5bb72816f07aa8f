"""Asking whether a mailbox exists: what the pipeline wants; ``gateway.delivery`` asks the next hop (RFC 5321 §3.5)."""

from dataclasses import dataclass
from typing import Literal, Protocol

from gateway.policy.domain_policy import DomainPolicy
from gateway.smtp.address import Mailbox

Outcome = Literal["exists", "unknown", "undetermined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """``outcome`` as the next hop said; ``reply`` its words, for the journal."""

    outcome: Outcome
    reply: str = ""


class RecipientVerifier(Protocol):
    """Tells whether a mailbox exists; bounded in time, caches, and answers undetermined rather than raise."""

    async def verify(self, mailbox: Mailbox, policy: DomainPolicy) -> Verification:
        """Return what the mailbox's next hop says."""
        ...
