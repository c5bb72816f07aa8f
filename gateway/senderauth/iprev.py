"""Does the client's address have a name, and the name that address? RFC 8601 §3.

*pass*: a name from the reverse tree has the client's address. *fail*: there are names, and none has it. *temperror*:
DNS did not tell. *permerror*: the address has no name.

Also the ``ptr`` mechanism's and ``%{p}`` macro's validated names (RFC 7208 §5.5), which are the same question.
"""

from ipaddress import IPv4Address, IPv6Address

from gateway.dns.answer import Answer
from gateway.dns.resolver import Resolver
from gateway.senderauth.word import Word
from gateway.smtp.domain import DomainError, normalise_domain
from gateway.value import value

# RFC 7208 §4.6.4 and RFC 8601 §3: more names than that are not looked up; who controls a reverse zone could else
# make us ask without end.
MAX_NAMES = 10


@value(kw_only=True)
class IprevResult:
    """The result for ``client``; ``name`` is the validated one, "" unless *pass*."""

    result: Word
    reason: str
    client: str
    name: str = ""


@value(kw_only=True)
class ReverseNames:
    """What the reverse tree says: ``names`` that exist at all, ``validated`` those with the client's address.

    ``failure`` is why DNS did not tell everything, "" when it did.
    """

    names: tuple[str, ...] = ()
    validated: tuple[str, ...] = ()
    failure: str = ""
    absent: bool = False


async def check_iprev(resolver: Resolver, client: IPv4Address | IPv6Address) -> IprevResult:
    """Return whether reverse and forward tree agree about ``client``."""
    found = await reverse_names(resolver, client)
    if found.validated:
        name = found.validated[0]
        return IprevResult(result=Word.PASS, reason=f"{name} has {client}", client=str(client), name=name)
    if found.failure:
        return IprevResult(result=Word.TEMPERROR, reason=found.failure, client=str(client))
    if found.absent:
        # RFC 8601 §2.7.3: no PTR data are published.
        return IprevResult(result=Word.PERMERROR, reason=f"{client} has no name", client=str(client))
    return IprevResult(result=Word.FAIL, reason=f"{', '.join(found.names)}: none has {client}", client=str(client))


async def reverse_names(resolver: Resolver, client: IPv4Address | IPv6Address) -> ReverseNames:
    """Return the names of ``client``, MAX_NAMES at most, and which of them have its address."""
    answer = await resolver.query(client.reverse_pointer, "PTR")
    if answer.is_temperror:
        return ReverseNames(failure=f"PTR of {client}: {answer.reason}")
    names = tuple(name for name in answer.records if _is_name(name))[:MAX_NAMES]
    if not names:
        return ReverseNames(absent=True)
    rdtype = "A" if client.version == 4 else "AAAA"  # noqa: PLR2004 - the IP version
    forward = [(name, await resolver.query(name, rdtype)) for name in names]
    return ReverseNames(
        names=names,
        validated=tuple(name for name, addresses in forward if str(client) in addresses.records),
        failure=_failure(forward),
    )


def _failure(forward: list[tuple[str, Answer]]) -> str:
    return "; ".join(f"{answer.rdtype} of {name}: {answer.reason}" for name, answer in forward if answer.is_temperror)


def _is_name(name: str) -> bool:
    try:
        normalise_domain(name)
    except DomainError:
        return False
    return True
