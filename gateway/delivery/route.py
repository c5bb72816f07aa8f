"""Where a recipient's mail goes: the current policy's next hops, and the hosts behind them (RFC 5321 §5.1, RFC 7505).

A route is the key under which mail waits together: the policy's next-hop URLs joined by a space, ``mx:`` with the
recipient's own domain filled in. It is worked out from the snapshot of the moment, so that mail which waited follows a
corrected configuration.

MX lookup: a null MX refuses permanently (556 5.1.10); no MX means the domain's own addresses; equal preferences are
shuffled; our own name in the list cuts it at our preference, and a list that is then empty is a loop (554 5.4.6). DNS
that does not answer defers: unknown is never absent.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Protocol

from gateway.config.abuse_desk import DESK_DOMAIN
from gateway.config.snapshot import Snapshot
from gateway.delivery import causes
from gateway.delivery.transfer import Failure, Target
from gateway.dns.address import addresses
from gateway.dns.answer import Answer, MxRecord, mx_records
from gateway.dns.resolver import Resolver
from gateway.policy.domain_policy import DomainPolicy, NextHop
from gateway.smtp.address import Mailbox
from gateway.smtp.reply import Reply
from gateway.value import value

_OWN_MX = NextHop(url="mx:", scheme="mx")

# RFC 5321 §5.1 wants a limit on addresses tried "to at least two"; beyond ten hosts a domain is not going to answer.
MOST_HOSTS = 10


class Randomness(Protocol):
    """The part of ``random.Random`` that delivery needs."""

    def random(self) -> float:
        """Return a number from 0 to 1."""
        ...

    def shuffle(self, x: list[MxRecord]) -> None:
        """Put a list into random order."""
        ...

    def randbytes(self, n: int) -> bytes:
        """Return ``n`` random octets."""
        ...


@value(kw_only=True)
class Route:
    """``key`` names it in the spool; ``hops`` are in order of preference, every ``mx`` with its domain."""

    key: str
    hops: tuple[NextHop, ...]
    customer: str = ""


def policy_of(snapshot: Snapshot, mailbox: Mailbox) -> DomainPolicy:
    """Return what holds for ``mailbox`` as a recipient."""
    policies = snapshot.policies
    if mailbox.domain:
        own = policies.for_mailbox(mailbox)
        if own is None and mailbox.domain == DESK_DOMAIN:
            own = policies.desk
        return own or policies.default
    # RFC 5321 §4.5.1: the bare postmaster is ours, and [contact] says who that is.
    _, _, domain = snapshot.config.contact.postmaster.rpartition("@")
    named = Mailbox("postmaster", domain or snapshot.config.hostname, mailbox.wire)
    return policies.for_mailbox(named) or policies.default


def route_of(policy: DomainPolicy, domain: str) -> Route:
    """Return the route of a recipient at ``domain`` under ``policy``."""
    hops = tuple(_filled(hop, domain) for hop in policy.next_hop or (_OWN_MX,))
    return Route(key=" ".join(hop.url for hop in hops), hops=hops, customer=policy.customer)


def _filled(hop: NextHop, domain: str) -> NextHop:
    if hop.scheme != "mx" or hop.host:
        return hop
    scheme, _, rest = hop.url.partition(":")
    return replace(hop, url=f"{scheme}:{domain}{rest}", host=domain)


class Router:
    """Turns next hops into hosts and hosts into addresses."""

    def __init__(self, resolver: Resolver, random: Randomness, own_name: Callable[[], str]) -> None:
        self._resolver = resolver
        self._random = random
        self._own_name = own_name

    async def targets(self, hops: Sequence[NextHop]) -> tuple[Target, ...] | Failure:
        """Return the hosts to try, in order; a failure when there is none to try."""
        found: list[Target] = []
        failure = Failure(phase="lookup", reply=causes.NO_NEXT_HOP, own_fault=True)
        for hop in hops:
            answer = await self._behind(hop)
            if isinstance(answer, Failure):
                failure = answer
            else:
                found += answer
        return tuple(found[:MOST_HOSTS]) if found else failure

    async def addresses(self, target: Target) -> tuple[str, ...] | Failure:
        """Return the addresses of a target's host, IPv6 and IPv4 in turn."""
        answer = await addresses(self._resolver, target.host)
        if answer.addresses:
            return answer.addresses
        if answer.outcome == "temperror":
            reply = causes.LOOKUP_FAILED.saying(f"no addresses for {target.host}: {answer.reason}")
            return Failure(phase="lookup", reply=reply, relay=target.name)
        reply = causes.NEXT_HOP_UNKNOWN.saying(f"no addresses for {target.host}")
        return Failure(phase="lookup", reply=reply, relay=target.name, own_fault=True)

    async def _behind(self, hop: NextHop) -> list[Target] | Failure:
        if hop.scheme != "mx":
            return [Target(scheme=hop.scheme, host=hop.host, port=hop.port, tls=hop.tls, path=hop.path)]
        literal = _literal(hop.host)
        if literal:
            return [_smtp(literal, hop)]
        if not hop.host:
            return Failure(phase="lookup", reply=causes.NO_NEXT_HOP, own_fault=True)
        return await self._by_mx(hop)

    async def _by_mx(self, hop: NextHop) -> list[Target] | Failure:
        answer = await self._resolver.query(hop.host, "MX")
        if answer.is_temperror:
            return Failure(phase="lookup", reply=causes.LOOKUP_FAILED.saying(f"MX of {hop.host}: {answer.reason}"))
        if answer.is_absent:
            return await self._implicit(hop, answer)
        records = list(mx_records(answer))
        # RFC 7505 §3: a null MX stands alone; beside others it is an error of the zone and names no host.
        if all(record.is_null for record in records):
            return _refused(causes.NULL_MX, hop)
        records = [record for record in records if not record.is_null]
        usable = self._before_us(records)
        if not usable:
            return _refused(causes.LOOP, hop)
        return await self._with_addresses([_smtp(record.exchange, hop) for record in usable], hop)

    async def _implicit(self, hop: NextHop, mx: Answer) -> list[Target] | Failure:
        # RFC 5321 §5.1: without MX records the domain's own address is its mail host.
        if mx.nxdomain:
            return _refused(causes.NO_SUCH_DOMAIN, hop)
        if hop.host == self._own_name().lower():
            return _refused(causes.LOOP, hop)
        return await self._with_addresses([_smtp(hop.host, hop)], hop)

    async def _with_addresses(self, targets: list[Target], hop: NextHop) -> list[Target] | Failure:
        """Return the targets that have addresses; permanent only when DNS says that none has."""
        failure: Failure | None = None
        found = []
        for target in targets[:MOST_HOSTS]:
            answer = await self.addresses(target)
            if not isinstance(answer, Failure):
                found.append(target)
            elif not answer.own_fault:
                failure = answer
        # RFC 5321 §5.1: MX records of which none is usable are an error, as is a domain with no address at all.
        return found or failure or _refused(causes.NO_MAIL_HOST, hop)

    def _before_us(self, records: list[MxRecord]) -> list[MxRecord]:
        """Return the records in the order to try, those at our own preference and behind it left out."""
        # RFC 5321 §5.1: to pass mail on to an equal or less preferred host would be a loop.
        own_name = self._own_name().lower()
        ours = min((record.preference for record in records if record.exchange == own_name), default=None)
        usable = [record for record in records if ours is None or record.preference < ours]
        # RFC 5321 §5.1: equal preferences are tried in random order; the sort is stable.
        self._random.shuffle(usable)
        return sorted(usable, key=lambda record: record.preference)


def _smtp(host: str, hop: NextHop) -> Target:
    return Target(scheme="smtp", host=host, port=hop.port, tls=hop.tls)


def _refused(reply: Reply, hop: NextHop) -> Failure:
    return Failure(phase="lookup", reply=reply.saying(f"{hop.host}: {reply.text}"), permanent=True)


def _literal(domain: str) -> str:
    # RFC 5321 §4.1.3: "[192.0.2.1]" and "[IPv6:2001:db8::1]".
    if not domain.startswith("["):
        return ""
    text = domain[1:-1]
    try:
        return str(ip_address(text[5:] if text[:5].lower() == "ipv6:" else text))
    except ValueError:
        return ""
