"""Who may be sent a domain's reports (RFC 9990 §4): its own mailboxes, and others' that say they want them.

Without the second anybody could publish a policy that has everybody's reports sent to somebody he dislikes. A mailbox
outside the domain's organisation is asked for at ``DOMAIN._report._dmarc.ITS-DOMAIN``; a rua= found there takes the
mailbox's place, within the same host. What DNS does not tell is *unknown* and is asked again, never taken as a yes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.dns.resolver import Resolver
from gateway.senderauth.dmarc.record import ReportAddress, has_rua, is_dmarc, report_addresses
from gateway.senderauth.dmarc.walk import TreeError, organisational_domain, walk
from gateway.smtp.domain import DomainError, normalise_domain

# RFC 1035 §2.3.4: 255 octets on the wire are 253 characters.
_MAX_NAME = 253


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """One mailbox of rua=: ``refused`` says why it gets nothing, ``unknown`` which question DNS did not answer."""

    address: str
    max_octets: int | None = None
    refused: str = ""
    unknown: str = ""


async def destinations(
    resolver: Resolver, policy_domain: str, addresses: Sequence[ReportAddress]
) -> tuple[Destination, ...]:
    """Return what becomes of each mailbox that ``policy_domain``'s record names; one address stands once."""
    found: dict[str, Destination] = {}
    for wanted in addresses:
        for one in await _of(resolver, policy_domain, wanted):
            known = found.get(one.address.lower())
            if known is None or known.refused:
                found[one.address.lower()] = one
    return tuple(found.values())


async def _of(resolver: Resolver, policy_domain: str, wanted: ReportAddress) -> tuple[Destination, ...]:
    try:
        host = normalise_domain(wanted.domain)
    except DomainError as error:
        return (Destination(address=wanted.address, refused=f"no domain: {error}"),)
    try:
        if await _is_own(resolver, policy_domain, host):
            return (Destination(address=wanted.address, max_octets=wanted.max_octets),)
    except TreeError as error:
        return (Destination(address=wanted.address, unknown=str(error)),)
    return await _authorised(resolver, policy_domain, host, wanted)


async def _is_own(resolver: Resolver, policy_domain: str, host: str) -> bool:
    if host == policy_domain:
        return True
    if host.rpartition(".")[2] != policy_domain.rpartition(".")[2]:
        return False
    return await _organisation(resolver, host) == await _organisation(resolver, policy_domain)


async def _organisation(resolver: Resolver, domain: str) -> str:
    return organisational_domain(domain, await walk(resolver, domain))


async def _authorised(
    resolver: Resolver, policy_domain: str, host: str, wanted: ReportAddress
) -> tuple[Destination, ...]:
    name = f"{policy_domain}._report._dmarc.{host}"
    if len(name) > _MAX_NAME:
        return (Destination(address=wanted.address, refused=f"{name[:40]}… is too long to be asked for"),)
    answer = await resolver.query(name, "TXT")
    if answer.is_temperror:
        return (Destination(address=wanted.address, unknown=f"TXT of {name}: {answer.reason}"),)
    confirming = [text for text in answer.records if is_dmarc(text)]
    if not confirming:
        return (Destination(address=wanted.address, refused=f"{host} does not say at {name} that it wants them"),)
    overriding = [text for text in confirming if has_rua(text)]
    if not overriding:
        return (Destination(address=wanted.address, max_octets=wanted.max_octets),)
    instead = [address for text in overriding for address in report_addresses(text)]
    # RFC 9990 §4: the overriding URI must use the same host, else neither gets a report.
    if not instead or any(address.domain != host for address in instead):
        return (Destination(address=wanted.address, refused=f"{name} names mailboxes outside {host}"),)
    return tuple(Destination(address=one.address, max_octets=one.max_octets) for one in instead)
