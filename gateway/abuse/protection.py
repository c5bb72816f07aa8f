"""Whom a block must never reach: ourselves, our users, the servers that we deliver to, and whom an operator allows.

A block that covers one of these would cut off our own mail, so it is refused with the reason, and that is on record
when nobody was there to hear it. Names of next hops are looked up when the protection is made, once an hour; one that
cannot be looked up protects by the addresses known before.
"""

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from gateway.blocklist.local.lists import LocalLists
from gateway.blocklist.local.question import ask_anything
from gateway.config.snapshot import Snapshot
from gateway.mail.connection import Role
from gateway.policy.domain_policy import DomainPolicy

Network = IPv4Network | IPv6Network
Resolve = Callable[[str], Iterable[str]]
"""From a host's name to its addresses; empty where it cannot be told. Blocks."""


@dataclass(frozen=True, slots=True)
class Protected:
    """A network that must not be blocked, and why."""

    network: Network
    why: str


def resolve(host: str) -> tuple[str, ...]:
    """Ask the system for a host's addresses."""
    try:
        return tuple({str(found[4][0]).partition("%")[0] for found in socket.getaddrinfo(host, None)})
    except OSError:
        return ()


class Protection:
    """The protected networks of a configuration, and the allow lists as they are at the moment of asking."""

    def __init__(self, snapshot: Snapshot, lists: LocalLists, hosts: Mapping[str, tuple[str, ...]]) -> None:
        """Take what ``host_names`` of the configuration resolve to."""
        self._networks = tuple(_protected(snapshot, hosts))
        self._lists = lists

    def objection(self, entry: str, clients: Iterable[str], now: float) -> str:
        """Return why a network cannot be blocked, "" when it can.

        ``clients`` are addresses within it that mail came from: for an IPv6 network the ones an allow list may know.
        """
        try:
            network = ip_network(entry, strict=False)
        except ValueError:
            return f"{entry} is no network"
        for each in self._networks:
            if each.network.version == network.version and each.network.overlaps(network):
                return f"{entry} covers {each.network}: {each.why}"
        return self._allowed(entry, (str(network.network_address), *clients), now)

    def _allowed(self, entry: str, addresses: Iterable[str], now: float) -> str:
        self._lists.refresh()
        for address in dict.fromkeys(addresses):
            question = ask_anything(address)
            allowed = self._lists.anywhere(question, now).allowed if question is not None else ()
            if allowed:
                return f"{entry} covers {address}: on the allow list {allowed[0].list} as {allowed[0].entry}"
        return ""


def host_names(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the names whose addresses are protected: our own, and the next hops'."""
    hops = (hop.host for policy in _policies(snapshot) for hop in policy.next_hop if hop.scheme in {"smtp", "lmtp"})
    return tuple(dict.fromkeys(host for host in (snapshot.config.hostname, *hops) if host and not _is_address(host)))


def _protected(snapshot: Snapshot, hosts: Mapping[str, tuple[str, ...]]) -> Iterator[Protected]:
    config = snapshot.config
    yield from _addresses((str(each) for each in config.own_listings.addresses), "one of our sending addresses")
    yield from _addresses(hosts.get(config.hostname, ()), "the address of our own name")
    for listen in config.listen:
        host = listen.address.rpartition(":")[0].strip("[]")
        if _is_address(host) and not ip_address(host).is_unspecified:
            yield Protected(_host_network(host), "an address that we listen on")
        if listen.role is Role.RELAY:
            yield from (Protected(network, "a relay network of ours") for network in listen.networks)
        proxies = (*listen.proxy_protocol_from, *listen.xclient_from)
        yield from (Protected(network, "a proxy of ours") for network in proxies)
    yield from (Protected(network, "a trusted forwarder") for network in config.incidents.forwarders)
    yield from (Protected(network, "incidents.protected") for network in config.incidents.protected)
    yield from _next_hops(snapshot, hosts)


def _next_hops(snapshot: Snapshot, hosts: Mapping[str, tuple[str, ...]]) -> Iterator[Protected]:
    for policy in _policies(snapshot):
        for hop in policy.next_hop:
            addresses = (hop.host,) if _is_address(hop.host) else hosts.get(hop.host, ())
            yield from _addresses(addresses, f"the next hop {hop.url} of policy {policy.name}")


def _policies(snapshot: Snapshot) -> Iterator[DomainPolicy]:
    policies = snapshot.policies
    yield from {id(each): each for each in (*policies.by_domain.values(), *policies.by_mailbox.values())}.values()


def _addresses(addresses: Iterable[str], why: str) -> Iterator[Protected]:
    return (Protected(_host_network(address), why) for address in addresses if _is_address(address))


def _host_network(address: str) -> Network:
    return ip_network(address)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
