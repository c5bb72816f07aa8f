"""What is asked of lists: one identity, made into what the tables are searched for once, however many lists there are.

A name is looked up itself, then as below each of its parents, so that the longest entry speaks; a mailbox as itself,
then its domain as ``@domain``, then the domain; a URL as itself, then its host.
"""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from gateway.blocklist.listing import Identity
from gateway.blocklist.local.entry import (
    EntryError,
    Keys,
    Span,
    below_key,
    digest_key,
    mailbox_key,
    name_key,
    normal_url,
    parse_entry,
    parse_span,
    url_key,
)
from gateway.blocklist.local.layout import key_hash
from gateway.smtp.domain import DomainError, normalise_domain

# Names are remembered with their hashes: some 2 KB each.
_REMEMBERED_NAMES = 4096


@dataclass(frozen=True, slots=True)
class Wanted:
    """One key to look for: its hash, and the entry that it is, plain and when written with a dot in front."""

    hash: int
    entry: str
    dotted: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """``address`` is searched among ranges (version and number), ``wanted`` among keys; the first that is found ends.

    ``text`` is the identity as people read it.
    """

    of: Identity
    text: str
    version: int = 0
    number: int = 0
    wanted: tuple[Wanted, ...] = ()


def ask_address(of: Identity, address: IPv4Address | IPv6Address) -> Question:
    """Return the question about an IP address."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return Question(of=of, text=str(address), version=6, number=int(address))
        address = address.ipv4_mapped
    return Question(of=of, text=str(address), version=4, number=int(address))


def ask_name(of: Identity, name: str) -> Question | None:
    """Return the question about a domain or host name, or an address literal; None for what is neither."""
    if name.startswith("[") and name.endswith("]"):
        return _literal(of, name)
    try:
        normal = normalise_domain(name.removesuffix("."))
    except DomainError:
        return None
    return Question(of=of, text=normal, wanted=_names(normal))


def ask_mailbox(of: Identity, key: str) -> Question | None:
    """Return the question about a mailbox in comparison form (``Mailbox.key``); None for what has no domain."""
    local, _, domain = key.rpartition("@")
    if not local or not domain or domain.startswith("["):
        return None
    try:
        domain = normalise_domain(domain)
    except DomainError:
        return None
    key = f"{local.casefold()}@{domain}"
    own = Wanted(key_hash(mailbox_key(key)), key)
    return Question(of=of, text=key, wanted=(own, *_mailbox_domains(domain), *_names(domain)))


def ask_url(of: Identity, url: str) -> Question | None:
    """Return the question about a URL with its scheme; None for what has no host."""
    try:
        host, normal = normal_url(url)
    except EntryError:
        return None
    own = Wanted(key_hash(url_key(normal)), normal)
    try:
        span = parse_span(host) if ":" in host or host.replace(".", "").isdecimal() else None
    except EntryError:
        return None
    if span is not None:
        return Question(of=of, text=url, version=span.version, number=span.first, wanted=(own,))
    return Question(of=of, text=url, wanted=(own, *_names(host)))


def ask_digest(of: Identity, sha256: str) -> Question:
    """Return the question about a SHA-256 in hexadecimal."""
    return Question(of=of, text=sha256, wanted=(Wanted(key_hash(digest_key(sha256)), sha256.lower()),))


def ask_anything(text: str) -> Question | None:
    """Return the question about an identity as an operator writes it; None when it is none."""
    if "://" in text:
        return ask_url(Identity.URL, text)
    if "@" in text:
        return ask_mailbox(Identity.REVERSE_PATH, text)
    try:
        target = parse_entry(text.strip("[]").removeprefix("IPv6:"))
    except EntryError:
        return None
    if isinstance(target, Span):
        return Question(of=Identity.CLIENT, text=text, version=target.version, number=target.first)
    return ask_digest(Identity.ATTACHMENT, text) if _is_digest(target) else ask_name(Identity.CLIENT_NAME, text)


def _is_digest(target: Keys) -> bool:
    return target.keys[0].startswith("s:")


def _literal(of: Identity, name: str) -> Question | None:
    try:
        span = parse_span(name[1:-1].removeprefix("IPv6:"))
    except EntryError:
        return None
    return Question(of=of, text=name, version=span.version, number=span.first)


@lru_cache(maxsize=_REMEMBERED_NAMES)
def _names(name: str) -> tuple[Wanted, ...]:
    own = Wanted(key_hash(name_key(name)), name, f".{name}")
    return (own, *(Wanted(key_hash(below_key(p)), f"*.{p}", f".{p}") for p in _parents(name)))


@lru_cache(maxsize=_REMEMBERED_NAMES)
def _mailbox_domains(name: str) -> tuple[Wanted, ...]:
    own = Wanted(key_hash(mailbox_key(f"@{name}")), f"@{name}", f"@.{name}")
    return (own, *(Wanted(key_hash(mailbox_key(f"@*.{p}")), f"@*.{p}", f"@.{p}") for p in _parents(name)))


def _parents(name: str) -> list[str]:
    labels = name.split(".")
    return [".".join(labels[at:]) for at in range(1, len(labels))]
