"""The mailbox that whole probe messages go to: a domain of the gateway's own, whose name nobody can guess.

Made anew at each start of the gateway and told to the workers alone: it stands in no configuration, no customer owns
it, so that nothing sent to it is anybody's sample, and it has no mail server but a Maildir below ``data``, which is
emptied after each probe. Mail to its postmaster passes the door, the filters that can fail to answer (the virus
scanner), the spool and delivery, as a customer's does; what is found about connection and envelope never refuses a
postmaster, and no rule or score is asked.

``invalid`` is a name that the DNS never has (RFC 6761 §6.4): what is left of a probe after a restart goes nowhere.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.config.filter_settings import ANTIVIRUS
from gateway.config.snapshot import Snapshot
from gateway.filters import catalogue
from gateway.policy.action import Stage
from gateway.policy.domain_policy import DomainPolicy, NextHop, RecipientCheck
from gateway.servicelevel.records import FOLDER

# 128 bits: a name that nobody guesses.
_NAME_OCTETS = 16
_MAILDIR = "probes"


@dataclass(frozen=True, slots=True)
class ProbeMailbox:
    """The ``domain`` of one life of the gateway, and the ``folder`` its Maildirs are below."""

    domain: str
    folder: Path

    @classmethod
    def new(cls, data: Path, random_octets: Callable[[int], bytes]) -> "ProbeMailbox":
        """Return a mailbox with a name of its own."""
        return cls(f"{random_octets(_NAME_OCTETS).hex()}.probe.invalid", data / FOLDER / _MAILDIR)

    @property
    def address(self) -> str:
        """Where probe messages are sent."""
        return f"postmaster@{self.domain}"

    def arrived(self, trace_id: str) -> Path | None:
        """Return the file of a message that was delivered; None until it is there."""
        return next((self.folder / self.domain / "postmaster" / "new").glob(f"{trace_id}.*"), None)


def with_probe_mailbox(snapshot: Snapshot, domain: str) -> Snapshot:
    """Return a snapshot that takes mail for a probe mailbox's domain too; as it is without one, or without policies."""
    policies = snapshot.policies
    if not domain or not policies.by_domain:
        return snapshot
    by_domain = {**policies.by_domain, domain: _policy(policies.default, domain, snapshot.config.data)}
    return replace(snapshot, policies=replace(policies, by_domain=by_domain))


def _policy(default: DomainPolicy, domain: str, data: Path) -> DomainPolicy:
    folder = str(data / FOLDER / _MAILDIR)
    hop = NextHop(url=f"maildir:{folder}", scheme="maildir", port=0, tls="none", path=folder)
    known = catalogue()
    # What is found before the content stays: the door turns a connection away only where all policies agree.
    filters = {
        name: setting
        for name, setting in default.filters.items()
        if name == ANTIVIRUS or (name in known and known[name].stage is not Stage.DATA)
    }
    return replace(
        default,
        name="probe",
        domains=(domain,),
        customer="",
        next_hop=(hop,),
        recipients=RecipientCheck(),
        rules=(),
        filters=filters,
    )
