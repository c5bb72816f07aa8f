"""All policies of one snapshot, and the look-up of a recipient's."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.config.layers import Layered
from gateway.policy.domain_policy import DomainPolicy
from gateway.policy.rule import RuleLayer
from gateway.smtp.address import Mailbox


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """One policy as written: the domain's policy and its mailboxes', each with its layers for provenance.

    ``file`` is the policy file's name as shown in problems; ``mailboxes`` maps address keys.
    """

    file: str
    policy: DomainPolicy
    layered: Layered
    mailboxes: Mapping[str, tuple[DomainPolicy, Layered]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Whose mail is taken, and what holds for it.

    ``default`` holds for foreign domains (role relay) and for senders without a policy; its next hop is always the
    recipient's own MX. ``files`` are the policy files in order; ``domains`` all domains claimed, in normal form.
    """

    default: DomainPolicy
    default_layered: Layered
    files: tuple[PolicyFile, ...]
    by_domain: Mapping[str, DomainPolicy]
    # Only mailboxes whose policy differs from their domain's.
    by_mailbox: Mapping[str, DomainPolicy]
    with_mailboxes: frozenset[str]
    # What holds for the abuse desk's own mailboxes; None: there is no desk.
    desk: DomainPolicy | None = None

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains we take mail for, in the order of the files."""
        return tuple(self.by_domain)

    @property
    def layers(self) -> tuple[RuleLayer, ...]:
        """Every layer of custom rules, each once."""
        policies = (self.default, *(policy for file in self.files for policy in _policies_of(file)))
        return tuple(dict.fromkeys(layer for policy in policies for layer in policy.rules))

    @property
    def rule_count(self) -> int:
        """How many custom rules are written, in force or not."""
        return sum(len(layer.rules) for layer in self.layers)

    def for_mailbox(self, mailbox: Mailbox) -> DomainPolicy | None:
        """Return the policy of a mailbox: its own table's, else its domain's; None for a domain that no policy claims.

        A mailbox's table holds for exactly that address: ``boss+detail@`` has the domain's policy. The bare
        ``postmaster`` has no domain and so no policy; whose it is, is the pipeline's to say.
        """
        policy = self.by_domain.get(mailbox.domain)
        if mailbox.domain in self.with_mailboxes:
            return self.by_mailbox.get(mailbox.key, policy)
        return policy

    def for_domain(self, domain: str) -> DomainPolicy | None:
        """Return the policy of a domain in normal form, None when no policy claims it."""
        return self.by_domain.get(domain)

    def layers_of(self, mailbox: Mailbox) -> Layered:
        """Return where the mailbox's policy was written; the default's for a domain that no policy claims."""
        policy = self.by_domain.get(mailbox.domain)
        for file in self.files:
            if file.policy is policy:
                return file.mailboxes.get(mailbox.key, (policy, file.layered))[1]
        return self.default_layered


def _policies_of(file: PolicyFile) -> tuple[DomainPolicy, ...]:
    return (file.policy, *(policy for policy, _ in file.mailboxes.values()))
