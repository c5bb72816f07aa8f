"""Asking DNS: the ``Resolver`` protocol, and the one that asks real servers.

``DnspythonResolver`` asks the configured recursive servers, else the system's, over UDP with EDNS, again over TCP
when an answer is truncated. One lifetime covers the whole question. It keeps no cache: put a ``CachingResolver``
before it. It trusts its servers: they should be on this host or its network, and validate DNSSEC themselves.
"""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Protocol

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rdtypes.ANY.MX
import dns.rdtypes.ANY.TXT
import dns.resolver

from gateway.clock import Clock
from gateway.dns.answer import Answer, found, no_such_name, no_such_record, temperror
from gateway.smtp.domain import DomainError, normalise_domain


class Resolver(Protocol):
    """Anything that answers a question."""

    async def query(self, name: str, rdtype: str) -> Answer:
        """Return the answer for ``name`` (with or without the final dot) and ``rdtype`` (``A``, ``MX``, ``TXT`` …).

        Never raises for anything that a name or a server can be; cancellation passes through.
        """
        ...

    def known(self, name: str, rdtype: str) -> Answer | None:  # noqa: ARG002 - for those that remember
        """Return the answer where it is at hand, None where it takes asking.

        For who has many questions: of those that are answered here none needs a task.
        """
        return None


# DNS Flag Day 2020: larger UDP answers are fragmented, and fragments get lost or forged.
_EDNS_OCTETS = 1232

# After a server failed and another answered, that one is asked first: long enough that a dead server costs one
# question in hundreds, short enough that the administrator's order soon counts again.
_FAILOVER_SECONDS = 30.0

_DNS_PORT = 53


class DnspythonResolver(Resolver):
    """Asks ``servers`` (``host:port``, IP addresses; empty: the system's) within ``timeout_seconds`` a question."""

    def __init__(self, servers: Sequence[str], timeout_seconds: float, clock: Clock) -> None:
        self._clock = clock
        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._resolver.use_edns(0, 0, _EDNS_OCTETS)
        self._resolver.lifetime = timeout_seconds
        self._timeout_seconds = timeout_seconds
        self._servers = _nameservers(servers)
        # Each server once and the first again: one lost datagram does not use up the lifetime.
        self._resolver.timeout = timeout_seconds / (len(self._servers) + 1)
        self._resolver.nameservers = self._servers
        self._first = self._servers[0]
        self._preferred_until = 0.0
        self._backend = dns.asyncbackend.get_backend("asyncio")

    async def query(self, name: str, rdtype: str) -> Answer:
        """Return the answer; never raises for DNS conditions."""
        try:
            qname = _qname(name)
        except (dns.exception.DNSException, DomainError) as error:
            # What is no domain name cannot exist.
            return no_such_name(name, rdtype, 0, f"not a domain name: {error}")
        try:
            # dnspython sleeps between tries without regard to its lifetime, and measures that by the wall clock.
            async with asyncio.timeout(self._timeout_seconds):
                return await self._ask(qname, name, rdtype)
        except dns.resolver.NXDOMAIN as error:
            return no_such_name(name, rdtype, _nxdomain_ttl(error, qname))
        except (TimeoutError, dns.resolver.LifetimeTimeout):
            return temperror(name, rdtype, "timeout")
        except dns.resolver.NoNameservers as error:
            return temperror(name, rdtype, _failures(error))
        except (dns.exception.DNSException, OSError) as error:
            return temperror(name, rdtype, f"{type(error).__name__}: {error}")

    async def _ask(self, qname: dns.name.Name, name: str, rdtype: str) -> Answer:
        self._restore_order()
        result = await self._resolver.resolve(
            qname, rdtype, raise_on_no_answer=False, search=False, backend=self._backend
        )
        self._prefer(result.nameserver, result.port)
        ttl_seconds = result.chaining_result.minimum_ttl
        if result.rrset is None:
            if _is_referral(result.response):
                return temperror(name, rdtype, "the server does not recurse")
            return no_such_record(name, rdtype, ttl_seconds)
        return found(name, rdtype, tuple(_text(rdata) for rdata in result.rrset), ttl_seconds)

    def _restore_order(self) -> None:
        if self._preferred_until and self._clock.monotonic() >= self._preferred_until:
            self._preferred_until = 0.0
            self._put_first(self._servers[0])

    def _prefer(self, address: str | None, port: int | None) -> None:
        if (self._first.address, self._first.port) == (address, port):
            return
        self._preferred_until = self._clock.monotonic() + _FAILOVER_SECONDS
        self._put_first(next(s for s in self._servers if (s.address, s.port) == (address, port)))

    def _put_first(self, server: dns.nameserver.Do53Nameserver) -> None:
        self._first = server
        self._resolver.nameservers = [server, *(other for other in self._servers if other is not server)]


def parse_server(text: str) -> tuple[str, int]:
    """Return address and port of ``host:port``, ``[v6]:port`` or an address alone; raise ``ValueError``."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host and not host.startswith("[")):
        host, port = text, str(_DNS_PORT)
    address = str(ip_address(host.removeprefix("[").removesuffix("]")))
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:  # noqa: PLR2004 - RFC 768: 16 bits
        raise ValueError(f"{port!r} is not a port")
    return address, int(port)


def _nameservers(servers: Sequence[str]) -> list[dns.nameserver.Do53Nameserver]:
    pairs = [parse_server(server) for server in servers] or _system_servers()
    return [dns.nameserver.Do53Nameserver(address, port) for address, port in pairs]


def _system_servers() -> list[tuple[str, int]]:
    try:
        system = dns.resolver.Resolver(configure=True)
    except dns.resolver.NoResolverConfiguration:
        # resolv.conf(5): without the file or a nameserver line, the name server on the local machine.
        return [("127.0.0.1", _DNS_PORT)]
    return [(str(address), system.port) for address in system.nameservers]


def _qname(name: str) -> dns.name.Name:
    if not name.isascii():
        name = normalise_domain(name.removesuffix("."))
    return dns.name.from_text(name, dns.name.root)


def _nxdomain_ttl(error: dns.resolver.NXDOMAIN, qname: dns.name.Name) -> int:
    try:
        response: dns.message.QueryMessage = error.kwargs["responses"][qname]
        return response.resolve_chaining().minimum_ttl
    except (dns.exception.DNSException, KeyError):
        return 0


def _failures(error: dns.resolver.NoNameservers) -> str:
    failures = [(failure[0], failure[3]) for failure in error.kwargs.get("errors", [])]
    return "; ".join(f"{server}: {_cause(cause)}" for server, cause in failures) or "no name server could be asked"


def _cause(cause: object) -> str:
    return cause if isinstance(cause, str) else f"{type(cause).__name__}: {cause}"


def _is_referral(response: dns.message.Message) -> bool:
    # RFC 1034 §4.3.1: neither authoritative nor willing to recurse; nothing was said about the name.
    return not response.flags & (dns.flags.AA | dns.flags.RA)


def _text(rdata: dns.rdata.Rdata) -> str:
    match rdata:
        case dns.rdtypes.ANY.MX.MX(preference=preference, exchange=exchange):
            return f"{preference} {_name_text(exchange)}"
        case dns.rdtypes.ANY.TXT.TXT(strings=strings):
            return b"".join(strings).decode("latin-1")
    target = getattr(rdata, "target", None)
    if isinstance(target, dns.name.Name) and rdata.rdtype in _TARGET_ONLY:
        return _name_text(target)
    return str(rdata.to_text())


_TARGET_ONLY = frozenset([dns.rdatatype.PTR, dns.rdatatype.CNAME, dns.rdatatype.NS])


def _name_text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else "."
