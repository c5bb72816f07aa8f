"""What the filters over DNS lists say: one finding a listing, weighed by its code; failures apart (invariant 8)."""

from collections.abc import Iterable, Mapping, Sequence

from gateway.blocklist.dns.client import AllUsable, ask_each
from gateway.blocklist.dns.health import Health
from gateway.blocklist.dns.query import Subject
from gateway.blocklist.dns.reading import Outcome, Reading
from gateway.blocklist.dns.zone import CompiledList
from gateway.blocklist.listing import Identity, Listing, ListKind
from gateway.policy.filter import Context
from gateway.policy.finding import TEMPERROR, Finding

LISTED, ALLOWED, ERROR = "listed", "allowed", "dnsbl_error"
# Further identities named in a finding; the trace need not hold a newsletter's.
MOST_OTHERS = 5
# A reaction of 1.0 times the finding's weight: the score that `codes` gives.
ON: Mapping[str, float] = {LISTED: 1.0, ALLOWED: 1.0}
RESULTS: Mapping[str, str] = {
    LISTED: "listed with a code that `codes` or `score` gives a positive score",
    ALLOWED: "listed with a code of negative score: an allow list",
    ERROR: "the list refuses to answer us, gives an answer that is no listing, or failed its probe",
}
# Longer than the two seconds of `dns.timeout`, so that a failure is told as what it is.
USUAL_BUDGET_SECONDS = 3.0


async def found_on(
    name: str, ctx: Context, pairs: Sequence[tuple[Subject, CompiledList]], budget_seconds: float
) -> tuple[Finding, ...] | None:
    """Return what a filter called ``name`` finds when it asks each list about its subject, all at the same time."""
    usable = ctx.service(Health) or AllUsable()
    return findings(name, await ask_each(ctx.resolver, pairs, budget_seconds=budget_seconds, usable=usable))


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
