"""What the filters over DNS lists say: one finding a listing, weighed by its code; failures apart (invariant 8)."""

from collections.abc import Iterable, Mapping, Sequence

from gateway.blocklist.dns.reading import Outcome, Reading
from gateway.blocklist.listing import Identity, Listing, ListKind
from gateway.policy.finding import TEMPERROR, Finding

LISTED, ALLOWED, ERROR = "listed", "allowed", "dnsbl_error"
# Further identities named in a finding; the trace need not hold a newsletter's.
MOST_OTHERS = 5
# A reaction of 1.0 times the finding's weight: the score that `codes` gives.
ON: Mapping[str, float] = {LISTED: 1.0, ALLOWED: 1.0}


def findings(name: str, readings: Iterable[Reading]) -> tuple[Finding, ...] | None:
    """Return what a filter called ``name`` finds; listings without weight are nobody's business.

    A zone speaks once for and once against the mail: of several identities that it lists (a domain and a host in it)
    the strongest counts, and the detail ``also`` names the others.
    """
    spoken: dict[tuple[str, str], list[Reading]] = {}
    for reading in readings:
        if result := _result(reading):
            spoken.setdefault((reading.zone, result), []).append(reading)
    return tuple(_finding(name, result, said) for (_, result), said in spoken.items()) or None


def _result(reading: Reading) -> str:
    match reading.outcome:
        case Outcome.ERROR:
            return ERROR
        case Outcome.TEMPERROR:
            return TEMPERROR
    listing = reading.listing
    if listing is None or not listing.weight:
        return ""
    return ALLOWED if listing.kind is ListKind.ALLOW else LISTED


def _finding(name: str, result: str, said: Sequence[Reading]) -> Finding:
    strongest = max(said, key=_strength)
    detail = {"zone": strongest.zone, "identity": strongest.subject.shown}
    others = [reading.subject.shown for reading in said if reading is not strongest][:MOST_OTHERS]
    also = {"also": " ".join(others)} if others else {}
    listing = strongest.listing
    if listing is None:
        return Finding(name, result, strongest.reason, tuple((detail | also).items()))
    detail |= {"code": listing.value, "of": listing.of.value, "text": listing.reason}
    return Finding(name, result, _told(listing), tuple((detail | also).items()), listing.weight or 0.0)


def _strength(reading: Reading) -> float:
    return abs(reading.listing.weight or 0.0) if reading.listing else 0.0


def _told(listing: Listing) -> str:
    """Return the reason as it stands in a reply: whose listing, where, with which code, in the list's words."""
    who = "" if listing.of is Identity.CLIENT else f"{listing.identity} "
    words = f": {listing.reason}" if listing.reason else ""
    return f"{who}listed by {listing.list} ({listing.value}){words}"
