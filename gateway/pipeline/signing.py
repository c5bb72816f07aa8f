"""What leaves under our name: DKIM signatures on our users' mail, ARC seals on what we pass on (RFC 6376, RFC 8617).

Mail that a relay or submission listener took is signed with the keys of the author's domain, where that is a domain
of ours: one signature for each kind of key. Mail to our domains is sealed with the keys of the recipient's, always or
where we alter what its author may have signed; the seal says what we found before. Both cover what leaves: every
rendition gets its own. What the gateway itself writes, reports for example, is signed as our users' mail is.

Mail that is not from outside (this machine's, a trusted network's at an MX) is not sealed: nothing was found about it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from gateway.config.policy_set import PolicySet
from gateway.dns.resolver import Resolver
from gateway.mail.connection import Role
from gateway.mail.rendition import Edit, Rendition
from gateway.mail.transaction import Transaction
from gateway.policy.domain_policy import DomainPolicy
from gateway.policy.signing import SigningKey
from gateway.senderauth.arc.seal import seal_arc
from gateway.senderauth.authentication_results import results_text
from gateway.senderauth.dkim.canonical import SignedMessage
from gateway.senderauth.dkim.signing import sign_dkim
from gateway.senderauth.dmarc.author import author_domain
from gateway.senderauth.message import MessageAuth, is_from_outside
from gateway.spool.message import SpoolMessage, SpoolRecipient


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A rendition and the domain it is sealed for, "" for none."""

    rendition: int
    domain: str


class Signer:
    """Signs and seals by one snapshot's policies; ``is_idle`` where no policy has a key."""

    def __init__(self, policies: PolicySet, resolver: Resolver, hostname: str) -> None:
        self._policies = policies
        self._resolver = resolver
        self._hostname = hostname
        self.is_idle = not any(policy.signing.keys for policy in policies.by_domain.values())

    async def signed(self, tx: Transaction, message: SpoolMessage) -> SpoolMessage:
        """Return the message with its renditions signed or sealed, itself where nothing is to be signed."""
        if self.is_idle:
            return message
        if tx.connection.role is Role.MX:
            return await self._all_sealed(tx, message) if is_from_outside(tx) else message
        domain = author_domain(tx.content.header).domain
        policy = self._policies.for_domain(domain)
        keys = self._keys(tx, policy, domain) if policy else ()
        if not keys:
            return message
        return replace(message, renditions=tuple([await _signed(tx, r, keys) for r in message.renditions]))

    async def signed_own(self, message: SpoolMessage) -> SpoolMessage:
        """Return a mail that the gateway itself wrote, signed by its author's domain; itself where that has no key."""
        domain = author_domain(message.content.header).domain if message.content else ""
        policy = self._policies.for_domain(domain)
        second = int(message.stamps.received.utc)
        keys = _current(policy, domain, second) if policy else ()
        if not keys or message.content is None:
            return message
        leaving = SignedMessage.of(message.content)
        fields = b"".join([await sign_dkim(leaving, key, second) for key in keys])
        return replace(message, renditions=tuple(_in_front(rendition, fields) for rendition in message.renditions))

    def _keys(self, tx: Transaction, policy: DomainPolicy, domain: str) -> tuple[SigningKey, ...]:
        return _current(policy, domain, _second(tx))

    async def _all_sealed(self, tx: Transaction, message: SpoolMessage) -> SpoolMessage:
        wanted = [self._sealing(message, recipient) for recipient in message.recipients]
        if not any(sealed.domain for sealed in wanted):
            return message
        distinct = list(dict.fromkeys(wanted))
        renditions = [await self._sealed(tx, message.renditions[each.rendition], each.domain) for each in distinct]
        index: Mapping[_Sealed, int] = {each: number for number, each in enumerate(distinct)}
        pairs: Iterable[tuple[SpoolRecipient, _Sealed]] = zip(message.recipients, wanted, strict=True)
        recipients = tuple(replace(recipient, rendition=index[sealed]) for recipient, sealed in pairs)
        return replace(message, renditions=tuple(renditions), recipients=recipients)

    def _sealing(self, message: SpoolMessage, recipient: SpoolRecipient) -> _Sealed:
        domain = recipient.recipient.path.domain
        policy = self._policies.for_domain(domain)
        rendition = message.renditions[recipient.rendition]
        wants = policy is not None and policy.signing.keys and _is_to_be_sealed(policy, rendition)
        return _Sealed(recipient.rendition, domain if wants else "")

    async def _sealed(self, tx: Transaction, rendition: Rendition, domain: str) -> Rendition:
        policy = self._policies.for_domain(domain)
        keys = self._keys(tx, policy, domain) if policy else ()
        if not keys:
            return rendition
        auth = MessageAuth.of(tx, self._resolver)
        chain = await auth.arc()
        leaving = SignedMessage.of(tx.content, rendition)
        # One seal: a set has one algorithm, and RSA, which comes first, is the one every validator knows.
        fields = await seal_arc(leaving, keys[0], chain, results_text(self._hostname, auth.results()), _second(tx))
        return _in_front(rendition, b"".join(fields))


async def _signed(tx: Transaction, rendition: Rendition, keys: tuple[SigningKey, ...]) -> Rendition:
    leaving = SignedMessage.of(tx.content, rendition)
    return _in_front(rendition, b"".join([await sign_dkim(leaving, key, _second(tx)) for key in keys]))


def _is_to_be_sealed(policy: DomainPolicy, rendition: Rendition) -> bool:
    if policy.signing.seal == "altered":
        # What stands before the content is ours and breaks nobody's signature.
        return any(edit.end > 0 for edit in rendition.edits)
    return policy.signing.seal == "always"


def _in_front(rendition: Rendition, fields: bytes) -> Rendition:
    if not fields:
        return rendition
    first = rendition.edits[0] if rendition.edits else Edit(0, 0)
    if (first.start, first.end) != (0, 0):
        return Rendition((Edit(0, 0, fields), *rendition.edits))
    return Rendition((Edit(0, 0, fields + first.replacement), *rendition.edits[1:]))


def _current(policy: DomainPolicy, domain: str, second: int) -> tuple[SigningKey, ...]:
    return policy.signing.current(domain, datetime.fromtimestamp(second, UTC).date())


def _second(tx: Transaction) -> int:
    return int((tx.received or tx.connection.connected).utc)
