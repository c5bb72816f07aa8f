"""What a zone's answer says: listed, not listed, ``dnsbl_error`` or temperror (RFC 5782 §2; invariant 8).

Eight mail filters have taken "you are refused" for "it is listed" and rejected all mail for a day. Here an answer is a
listing only when it lies in 127.0.0.0/8 and is none of the codes by which lists refuse.
"""

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network

from gateway.blocklist.dns.query import Subject
from gateway.blocklist.dns.zone import CompiledList
from gateway.blocklist.listing import Listing, ListKind
from gateway.dns.answer import Answer
from gateway.value import value

# RFC 5782 §2.1: "the A records … within 127.0.0.0/8"; anything else is a wildcard of an abandoned zone or a resolver
# that puts its own address in the place of NXDOMAIN.
_CODES = IPv4Network("127.0.0.0/8")


class Outcome(StrEnum):
    """The four kinds of answer."""

    LISTED = "listed"
    NOT_LISTED = "not-listed"
    ERROR = "dnsbl_error"
    TEMPERROR = "temperror"


@value(kw_only=True)
class Reading:
    """One zone about one subject.

    ``listing`` is set when it is listed; its weight is the policy's for this code, 0 where the policy has none.
    ``reason`` says what went wrong, "" where nothing did.
    """

    zone: str
    subject: Subject
    outcome: Outcome
    reason: str = ""
    listing: Listing | None = None


def read(answer: Answer, subject: Subject, asked: CompiledList) -> Reading:
    """Return what ``answer`` says of ``subject``."""
    if answer.is_temperror:
        return unread(asked.zone, subject, Outcome.TEMPERROR, f"{asked.zone}: {answer.reason}")
    if answer.is_absent:
        return unread(asked.zone, subject, Outcome.NOT_LISTED)
    codes = [IPv4Address(record) for record in answer.records]
    for code in codes:
        if code not in _CODES:
            reason = f"{asked.zone}: answers with {code}, which is no code: a wildcard, or a resolver that rewrites"
            return unread(asked.zone, subject, Outcome.ERROR, reason)
        if asked.is_error(code):
            return unread(asked.zone, subject, Outcome.ERROR, f"{asked.zone}: refuses to answer us ({code})")
    weighed = [(asked.weight(code), code) for code in codes]
    known = [(weight, code) for weight, code in weighed if weight is not None]
    weight, code = max(known, key=lambda pair: abs(pair[0]), default=(None, codes[0]))
    return Reading(
        zone=asked.zone, subject=subject, outcome=Outcome.LISTED, listing=_listing(asked.zone, subject, code, weight)
    )


def unread(zone: str, subject: Subject, outcome: Outcome, reason: str = "") -> Reading:
    """Return a reading without a listing."""
    return Reading(zone=zone, subject=subject, outcome=outcome, reason=reason)


def _listing(zone: str, subject: Subject, code: IPv4Address, weight: float | None) -> Listing:
    return Listing(
        list=zone,
        entry=subject.shown,
        kind=ListKind.ALLOW if weight is not None and weight < 0 else ListKind.BLOCK,
        weight=weight or 0.0,
        value=str(code),
        identity=subject.shown,
        of=subject.of,
    )
