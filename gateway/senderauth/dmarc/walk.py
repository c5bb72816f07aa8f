"""The DNS tree walk (RFC 9989 §4.10): which records stand above a domain, and whose it is.

Eight questions at most, however many labels. ``TreeError`` when DNS does not answer one of them: then nothing about
the domain is known (§5.3.6).
"""

from collections.abc import Iterator, Sequence

from gateway.dns.resolver import Resolver
from gateway.senderauth.dmarc.record import DmarcRecord, is_dmarc, parse_dmarc
from gateway.value import value

# RFC 9989 §4.10, step 4
MAX_LABELS = 8


class TreeError(Exception):
    """DNS did not answer; the message says which question."""


@value(kw_only=True)
class Found:
    """A record and the domain it was found at."""

    domain: str
    record: DmarcRecord


async def record_at(resolver: Resolver, domain: str) -> DmarcRecord | None:
    """Return the one valid record of ``domain`` (RFC 9989 §4.10, step 2); raise ``TreeError``."""
    answer = await resolver.query(f"_dmarc.{domain}", "TXT")
    if answer.is_temperror:
        raise TreeError(f"TXT of _dmarc.{domain}: {answer.reason}")
    texts = [text for text in answer.records if is_dmarc(text)]
    # Several are all discarded.
    return parse_dmarc(texts[0]) if len(texts) == 1 else None


async def walk(resolver: Resolver, domain: str) -> tuple[Found, ...]:
    """Return the records at and above ``domain``, the longest name first; raise ``TreeError``."""
    found = []
    for target in targets(domain):
        record = await record_at(resolver, target)
        if record is None:
            continue
        found.append(Found(domain=target, record=record))
        if record.psd != "u":
            break
    return tuple(found)


def targets(domain: str) -> Iterator[str]:
    """Yield the domains that are asked, in order (RFC 9989 §4.10, steps 1, 4 and 7)."""
    yield domain
    labels = domain.split(".")
    start = 1 if len(labels) < MAX_LABELS else len(labels) - (MAX_LABELS - 1)
    for at in range(start, len(labels)):
        yield ".".join(labels[at:])


def organisational_domain(domain: str, found: Sequence[Found]) -> str:
    """Return whose ``domain`` is, by the records of its walk (RFC 9989 §4.10.2)."""
    for each in found:
        if each.record.psd == "n":
            return each.domain
        if each.record.psd == "y" and each.domain != domain:
            return one_label_below(domain, each.domain)
    # The name with the fewest labels, else where the walk began.
    return found[-1].domain if found else domain


def one_label_below(domain: str, above: str) -> str:
    """Return the domain one label below ``above`` on the way to ``domain``."""
    labels = domain.split(".")
    return ".".join(labels[-(above.count(".") + 2) :])
