"""The name servers of some domains, as questions to local lists: by their names and by their addresses.

Who runs hundreds of throw-away domains runs few name servers. Bounded, since the domains are the sender's choice.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from gateway.blocklist.listing import Identity
from gateway.blocklist.local.question import Question, ask_address, ask_name
from gateway.dns.answer import Answer
from gateway.dns.resolver import Resolver

# RFC 2182 §5: more than seven for one domain are of no use; some domains of one mail share theirs.
MOST_SERVERS = 16


@dataclass(frozen=True, slots=True)
class NameServers:
    """``questions`` about the servers found, and in ``failures`` what DNS could not tell."""

    questions: tuple[Question, ...]
    failures: tuple[str, ...]


async def name_servers(resolver: Resolver, domains: Iterable[str]) -> NameServers:
    """Ask for the servers of each domain, then for their addresses; each step all at once."""
    delegations = await asyncio.gather(*(resolver.query(domain, "NS") for domain in domains))
    servers = _records(delegations)[:MOST_SERVERS]
    addresses = await asyncio.gather(*(resolver.query(name, rdtype) for name in servers for rdtype in ("A", "AAAA")))
    named = (ask_name(Identity.NAME_SERVER, name) for name in servers)
    return NameServers(
        (
            *(question for question in named if question is not None),
            *(ask_address(Identity.NAME_SERVER, ip_address(address)) for address in _records(addresses)),
        ),
        (*_failures("name servers", delegations), *_failures("addresses", addresses)),
    )


def _records(answers: Sequence[Answer]) -> list[str]:
    return list(dict.fromkeys(record for answer in answers if answer.is_found for record in answer.records))


def _failures(what: str, answers: Sequence[Answer]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{what} of {each.name}: {each.reason}" for each in answers if each.is_temperror))
