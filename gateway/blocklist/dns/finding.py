"""What the filters over DNS lists say: one finding a listing, weighed by its code; failures apart (invariant 8)."""

from collections.abc import Iterable, Mapping

from gateway.blocklist.dns.reading import Outcome, Reading
from gateway.blocklist.listing import Identity, Listing, ListKind
from gateway.policy.finding import TEMPERROR, Finding

LISTED, ALLOWED, ERROR = "listed", "allowed", "dnsbl_error"
# A reaction of 1.0 times the finding's weight: the score that `codes` gives.
ON: Mapping[str, float] = {LISTED: 1.0, ALLOWED: 1.0}


def findings(name: str, readings: Iterable[Reading]) -> tuple[Finding, ...] | None:
    """Return what a filter called ``name`` finds; listings without weight are nobody's business."""
    found = tuple(finding for reading in readings if (finding := _finding(name, reading)) is not None)
    return found or None


def _finding(name: str, reading: Reading) -> Finding | None:
    zone = (("zone", reading.zone), ("identity", reading.subject.shown))
    match reading.outcome:
        case Outcome.ERROR:
            return Finding(name, ERROR, reading.reason, zone)
        case Outcome.TEMPERROR:
            return Finding(name, TEMPERROR, reading.reason, zone)
    listing = reading.listing
    if listing is None or not listing.weight:
        return None
    result = ALLOWED if listing.kind is ListKind.ALLOW else LISTED
    detail = (*zone, ("code", listing.value), ("of", listing.of.value), ("text", listing.reason))
    return Finding(name, result, _told(listing), detail, listing.weight)


def _told(listing: Listing) -> str:
    """Return the reason as it stands in a reply: whose listing, where, with which code, in the list's words."""
    who = "" if listing.of is Identity.CLIENT else f"{listing.identity} "
    words = f": {listing.reason}" if listing.reason else ""
    return f"{who}listed by {listing.list} ({listing.value}){words}"
