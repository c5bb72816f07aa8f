"""Events of the journal → sightings: who sent a spam or virus verdict's mail, and what was found.

The source is the client's network; for mail that came through a listed forwarder the first hop that nobody vouches for
(``MessageJudged.origin``), or the forwarder itself where its fields do not tell; for mail from a relay network the
account, which is the reverse-path's mailbox where its domain is ours, else the relay client.

A recipient refused at RCPT is a sighting where the refusal has a ground of the contract; refusals for other reasons,
and those that say "try again", are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from gateway.abuse.verdicts import action_of, grounds_of, spam_recipients, virus_of
from gateway.config.snapshot import Snapshot
from gateway.incidents.values import Sighting, Source, SourceKind
from gateway.journal.events import MessageJudged, RecipientRefused
from gateway.mail.connection import Role
from gateway.mail.received import Network, is_within
from gateway.mail.text.words import decode_header
from gateway.pipeline.admission import abuse_keys
from gateway.smtp.domain import DomainError, normalise_domain

# What a sighting keeps of the recipients: enough to know whom to tell.
MAX_RECIPIENTS = 50
# The filters that refuse whoever is blocked or suspended.
BY_LIST, BY_SUSPENSION = "blocklist", "suspended"
KEPT_OUT = frozenset({BY_LIST, BY_SUSPENSION})
# Clients of a busy minute.
_address = lru_cache(maxsize=4096)(ip_address)
_OUTGOING = frozenset({Role.RELAY.value, Role.SUBMISSION.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """Who is ours: relay networks, domains, abuse addresses; and whose word about a mail's way is believed."""

    relay_networks: tuple[Network, ...] = ()
    forwarders: tuple[Network, ...] = ()
    domains: frozenset[str] = frozenset()
    abuse: frozenset[str] = frozenset()

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Neighbourhood":
        """Return what a configuration says."""
        config = snapshot.config
        relays = [network for listen in config.listen if listen.role is Role.RELAY for network in listen.networks]
        return cls(
            relay_networks=tuple(relays),
            forwarders=config.incidents.forwarders,
            domains=frozenset(snapshot.policies.by_domain),
            abuse=abuse_keys(config),
        )

    def is_local(self, client: str, role: str = "") -> bool:
        """Whether a client is one of ours."""
        return role in _OUTGOING or (bool(self.relay_networks) and is_within(_address(client), self.relay_networks))

    def source(self, client: str, reverse_path: str, *, role: str = "", origin: str = "") -> Source:
        """Return who sent a mail."""
        if self.is_local(client, role):
            account = self.account(reverse_path)
            return Source(SourceKind.ACCOUNT, account) if account else Source.at(client, SourceKind.CLIENT)
        if origin:
            return Source.at(origin, SourceKind.HOP)
        return Source.at(client)

    def account(self, address: str) -> str:
        """Return the comparison form of a mailbox of ours, "" for any other address."""
        key = address_key(address)
        return key if key.rpartition("@")[2] in self.domains else ""


# Recipients and senders of a busy minute.
@lru_cache(maxsize=4096)
def address_key(wire: str) -> str:
    """Return the comparison form of an address as an event has it, "" for the null reverse-path."""
    local, at, domain = wire.rpartition("@")
    if not at:
        return ""
    try:
        return f"{local.casefold()}@{normalise_domain(domain)}"
    except DomainError:
        return f"{local.casefold()}@{domain.lower()}"


def judged_sighting(event: MessageJudged, near: Neighbourhood) -> Sighting | None:
    """Return the sighting in a verdict, None where it is no spam verdict."""
    # A complaint carries the spam or the virus that it is about: whoever complains is no source of it.
    virus = virus_of(event)
    recipients = spam_recipients(event, virus)
    if near.abuse:
        recipients = tuple([each for each in recipients if address_key(each) not in near.abuse])
    if not recipients:
        return None
    return Sighting(
        trace_id=event.trace_id,
        at=event.at,
        source=near.source(event.client, event.reverse_path, role=event.role, origin=event.origin),
        client=event.client,
        helo=event.helo,
        reverse_path=event.reverse_path,
        recipients=recipients[:MAX_RECIPIENTS],
        recipient_domain=_domain(recipients),
        message_id=event.message_id,
        # As its reader saw it: most spam in Chinese has encoded-words, and is to be found by what they say.
        subject=_subject(event.subject),
        grounds=grounds_of(event, recipients, virus),
        findings=tuple([_told(name, result, reason) for name, result, reason in event.findings]),
        action=action_of(event),
        octets=event.octets,
        virus=virus,
    )


def refused_sighting(event: RecipientRefused, near: Neighbourhood) -> Sighting | None:
    """Return the sighting in a refusal at RCPT, None where it has no ground or is for the moment only.

    What a list or a suspension keeps out is no verdict about the mail: it is counted for the block.
    """
    if not event.grounds or not event.reply.startswith("5") or event.filter in KEPT_OUT:
        return None
    return Sighting(
        trace_id=event.trace_id,
        at=event.at,
        source=near.source(event.client, event.reverse_path),
        client=event.client,
        helo=event.helo,
        reverse_path=event.reverse_path,
        recipients=(event.recipient,),
        recipient_domain=_domain((event.recipient,)),
        grounds=event.grounds,
        findings=(event.reason,),
        action="reject",
    )


def _domain(recipients: Sequence[str]) -> str:
    return address_key(recipients[0]).rpartition("@")[2]


# A campaign has a few.
@lru_cache(maxsize=1024)
def _subject(text: str) -> str:
    return decode_header(text.encode("utf-8", "replace"))


def _told(name: str, result: str, reason: str) -> str:
    return f"{name} {result}: {reason}" if reason else f"{name} {result}"
