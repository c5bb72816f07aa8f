"""Who may send to whom (RFC 5321 §3.6.2, §4.5.1, §4.5.5, §7): no open relay, and always a postmaster.

Role mx takes recipients of configured domains only; role relay takes its trusted networks' mail to anywhere. Refused
with 550 5.7.1: other domains (address literals, look-alikes and subdomains that nobody configured among them), source
routes, and at our own domains local parts that an older mail server behind us would read as another address
(``user%other@``, ``other!user@``, ``"user@other"@``). Refused with 553 5.1.3: local parts at our own domains that a
shell, a pipe or a path would read.

``postmaster`` in any case, at any configured domain, is accepted without further questions (RFC 5321 §4.5.1). Without
a domain it is the ``contact.postmaster`` mailbox where its domain is ours, else the postmaster of the first
configured domain; while no domain is configured there is nobody to read it, and it is refused as unknown.

The abuse addresses (RFC 2142 §4, ``[complaints]``) hear everybody as the postmaster does, so that whoever is refused
can complain; whether the mailbox exists is asked. What comes back to our reports, ``report+TOKEN@`` our host name, is
the abuse desk's own (``gateway.config.abuse_desk``); its other mailboxes are nobody's to name.

Departure: a recipient at our own address literal (RFC 1123 §5.2.17) is refused, because the literal says nothing
about whose mail it is.
"""

import re
from collections.abc import Sequence

from gateway.config.abuse_desk import DESK_DOMAIN, desk_mailbox
from gateway.config.fields import mailbox
from gateway.config.models import GatewayConfig
from gateway.config.policy_set import PolicySet
from gateway.mail.connection import Connection, Role
from gateway.mail.envelope import Envelope, Recipient
from gateway.pipeline.verifier import RecipientVerifier, Verification
from gateway.policy.domain_policy import DomainPolicy
from gateway.smtp import replies
from gateway.smtp.address import Mailbox
from gateway.smtp.domain import DomainError, normalise_domain
from gateway.smtp.reply import Reply
from gateway.value import value

_POSTMASTER = "postmaster"

# Percent hack, bang path, and an address within the local part: second-hand relaying through the next hop.
_ROUTED = re.compile(r"[@%!]")
# What a shell or a path reads: a pipe, a redirection, an escape, a command or variable substitution, a separator of
# folders or commands, quotes (which only a quoted-string can hold), and an option's dash or a home folder's tilde in
# front.
_UNSAFE = re.compile(r"^[-~]|[|`/\\;<>\"]|\$[({]")


@value()
class Destination:
    """Where a recipient's mail goes.

    ``mailbox`` is the recipient's, for the bare postmaster somebody's; ``own``: a policy claims its domain;
    ``complaints``: what it gets is read as complaints too. The postmaster and these hear everybody.
    """

    mailbox: Mailbox
    policy: DomainPolicy
    own: bool
    postmaster: bool = False
    complaints: bool = False

    @property
    def party(self) -> int:
        """Which of a plan's parties it belongs to (``inquiry.Party.all_of``)."""
        return 2 if self.complaints else int(self.postmaster)


class Admission:
    """Answers from the configuration alone, but for recipients that the next hop must be asked about."""

    def __init__(self, config: GatewayConfig, policies: PolicySet, verifier: RecipientVerifier) -> None:
        self._policies = policies
        self._verifier = verifier
        self._postmaster = _postmaster_mailbox(config.contact.postmaster, policies)
        self._abuse = abuse_keys(config)
        self._hostname = config.hostname

    @property
    def desk(self) -> DomainPolicy | None:
        """What holds for the abuse desk's own mailboxes."""
        return self._policies.desk

    def destination(self, mailbox: Mailbox) -> Destination:
        """Return where mail for ``mailbox`` goes; a foreign domain has the default policy."""
        bare = not mailbox.domain
        if bare and self._postmaster is not None:
            mailbox = self._postmaster
        if self._policies.desk is not None and (to_desk := desk_mailbox(mailbox, self._hostname)):
            return Destination(to_desk, self._policies.desk, own=True, postmaster=True)
        policy = self._policies.for_mailbox(mailbox)
        if policy is None:
            return Destination(mailbox, self._policies.default, own=False)
        postmaster = bare or mailbox.local_part.casefold() == _POSTMASTER
        return Destination(mailbox, policy, own=True, postmaster=postmaster, complaints=self._reads(mailbox))

    def _reads(self, mailbox: Mailbox) -> bool:
        """Whether what a mailbox of ours gets is read as complaints."""
        return bool(self._abuse) and mailbox.key in self._abuse

    def refusal(
        self,
        connection: Connection,
        envelope: Envelope,
        recipient: Recipient,
        accepted: Sequence[Recipient],
    ) -> Reply | None:
        """Return the reply that refuses a recipient whatever its mailbox, or None."""
        path = recipient.path
        if path.source_route:
            return replies.SOURCE_ROUTE_DENIED
        to = self.destination(path.mailbox)
        if not to.own:
            if not path.domain:
                return replies.USER_UNKNOWN.because("no postmaster: no domain is configured")
            if connection.role is Role.MX or not connection.trusted or path.domain == DESK_DOMAIN:
                return replies.RELAY_DENIED
        elif not to.postmaster and (denied := _refused_here(connection, path.mailbox)):
            return denied
        # RFC 5321 §4.5.5: notifications, which a null reverse-path carries, have one recipient.
        if envelope.reverse_path.is_null and accepted:
            return replies.NULL_SENDER_ONE_RECIPIENT
        return None

    async def unknown(self, to: Destination) -> Reply | None:
        """Return the refusal of a mailbox that does not exist, or of which nobody can tell; None when it exists."""
        check = to.policy.recipients
        if check.mode == "any" or to.postmaster or not to.own:
            return None
        if check.mode == "list":
            mailbox = to.mailbox
            known = mailbox.key in check.addresses or f"@{mailbox.domain}" in check.addresses
            return None if known else replies.USER_UNKNOWN.because(f"not in {check.source}")
        return _reply_to(await self._verifier.verify(to.mailbox, to.policy))


def abuse_keys(config: GatewayConfig) -> frozenset[str]:
    """Return the comparison forms of the abuse addresses: those of ``[complaints]``, else the contact's."""
    given = config.complaints.addresses or (config.contact.abuse,)
    return frozenset(mailbox(address).key for address in given if address)


def _refused_here(connection: Connection, mailbox: Mailbox) -> Reply | None:
    if connection.role is not Role.MX and not connection.trusted:
        # A relay listener is for its networks; others have the mx listener.
        return replies.RELAY_DENIED
    if _ROUTED.search(mailbox.local_part):
        return replies.RELAY_DENIED.because("a routed local part")
    return replies.UNSAFE_LOCAL_PART if _UNSAFE.search(mailbox.local_part) else None


def _reply_to(verification: Verification) -> Reply | None:
    match verification.outcome:
        case "exists":
            return None
        case "unknown":
            return replies.USER_UNKNOWN.because(f"the next hop says: {verification.reply}")
        case _:
            # Invariant 8: what the next hop cannot tell is not known to exist.
            return replies.RECIPIENT_UNVERIFIED.because(f"the next hop says: {verification.reply}")


def _postmaster_mailbox(contact: str, policies: PolicySet) -> Mailbox | None:
    local_part, _, domain = contact.rpartition("@")
    if local_part:
        try:
            normal = normalise_domain(domain)
        except DomainError:
            normal = ""
        if policies.for_domain(normal) is not None:
            return Mailbox(local_part, normal, contact)
    for domain in policies.by_domain:
        return Mailbox(_POSTMASTER, domain, f"{_POSTMASTER}@{domain}")
    return None
