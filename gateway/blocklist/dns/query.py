"""What is asked of a zone: the reversed address or the name, before the zone's name (RFC 5782 §2.1, §2.4, §3)."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from gateway.blocklist.listing import Identity
from gateway.mail.text.hosts import canonical, registrable
from gateway.smtp.domain import DomainError, normalise_domain
from gateway.value import value

IpAddress = IPv4Address | IPv6Address


@value(kw_only=True)
class Subject:
    """One identity to look up: ``shown`` as people write it, ``label`` as it stands before a zone's name."""

    shown: str
    label: str
    of: Identity = Identity.CLIENT

    def at(self, zone: str) -> str:
        """Return the name to ask for."""
        return f"{self.label}.{zone}"


def of_address(address: IpAddress, of: Identity = Identity.CLIENT) -> Subject:
    """Return an address as a subject: four octets or 32 nibbles, the last one first; an IPv4-mapped one as IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    ip = mapped or address
    return Subject(shown=str(ip), label=reversed_label(ip), of=of)


def of_name(name: str, of: Identity) -> Subject:
    """Return a domain name as a subject."""
    return Subject(shown=name, label=name, of=of)


def of_text(text: str) -> Subject:
    """Return what an operator writes, an address or a name, as a subject; ``DomainError`` when it is neither."""
    try:
        return of_address(ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        name = normalise_domain(text.rpartition("@")[2].removesuffix("."))
        return of_name(name, Identity.REVERSE_PATH)


def all_of_text(text: str) -> tuple[Subject, ...]:
    """Return what filters look up of an address, a name, a mailbox or a URL: a name by its registrable domain first."""
    if "://" in text:
        text = canonical(_host(text)) or text
    subject = of_text(text)
    domain = registrable(subject.shown) if subject.of is not Identity.CLIENT else ""
    if domain in ("", subject.shown):
        return (subject,)
    return of_name(domain, subject.of), subject


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def name_or_none(text: str) -> str | None:
    """Return a name in normal form when it is a domain of two labels or more that lists could know, else None."""
    try:
        name = normalise_domain(text.removesuffix("."))
    except DomainError:
        return None
    return name if "." in name and not name.rpartition(".")[2].isdigit() else None


def reversed_label(address: IpAddress) -> str:
    """Return the octets or nibbles of an address, the last one first, with dots."""
    # RFC 3596 §2.5 and RFC 1035 §3.5 reverse the same way below their own roots.
    return address.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
