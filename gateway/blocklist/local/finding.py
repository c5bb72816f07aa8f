"""What the filters over local lists say: a finding a listing, and one for each list that is silent (invariant 8)."""

from collections.abc import Mapping

from gateway.blocklist.listing import Identity, Listing, ListKind
from gateway.blocklist.local.lists import Answer
from gateway.policy.action import Action
from gateway.policy.finding import TEMPERROR, Finding

LISTED, ALLOWED, TRUSTED = "listed", "allowed", "trusted"
# The results of lists that wish for an action, whatever the sum of scores.
WISHES: Mapping[Action, str] = {
    Action.TAG: "listed-tag",
    Action.QUARANTINE: "listed-quarantine",
    Action.DEFER: "listed-defer",
    Action.REJECT: "listed-reject",
}
RESULTS: Mapping[str, str] = {
    "listed": "on a block list, which gives the score by its `weight`",
    "listed-tag": "on a block list with `action` tag",
    "listed-quarantine": "on a block list with `action` quarantine",
    "listed-defer": "on a block list with `action` defer",
    "listed-reject": "on a block list with `action` reject",
}
ALLOWING: Mapping[str, str] = {
    "allowed": "on an allow list",
    "trusted": "on an allow list with a `weight`",
}
ON: Mapping[str, float | Action] = {LISTED: 1.0} | {result: action for action, result in WISHES.items()}
ALLOWING_ON: Mapping[str, float | Action] = {ALLOWED: Action.ACCEPT, TRUSTED: 1.0}


def findings(name: str, answer: Answer, score: float) -> tuple[Finding, ...]:
    """Return what a filter called ``name`` finds; ``score`` is for listings of lists without weight and action."""
    found = [_finding(name, listing, score) for listing in answer.blocked]
    allowing = answer.message_allowed
    if allowing is not None:
        found.append(_finding(name, allowing, score))
    unusable = [
        Finding(name, TEMPERROR, f"{which} cannot be asked: {why}", (("list", which),))
        for which, why in answer.unusable
    ]
    return (*found, *unusable)


def _finding(name: str, listing: Listing, score: float) -> Finding:
    return Finding(name, _result(listing), _told(listing), _detail(listing), _weight(listing, score))


def _result(listing: Listing) -> str:
    if listing.kind is ListKind.ALLOW:
        return ALLOWED if listing.weight is None else TRUSTED
    return WISHES.get(listing.action, LISTED) if listing.action is not None else LISTED


def _weight(listing: Listing, score: float) -> float:
    if listing.kind is ListKind.ALLOW:
        # An allow list lowers suspicion, however its weight is written.
        return 1.0 if listing.weight is None else -abs(listing.weight)
    if listing.action is not None:
        return 1.0
    return score if listing.weight is None else listing.weight


def _told(listing: Listing) -> str:
    """Return the reason as it stands in a reply: whose listing, where, in the list's words."""
    who = "" if listing.of is Identity.CLIENT else f"{listing.identity} "
    words = f": {listing.reason}" if listing.reason else ""
    return f"{who}listed by {listing.list}{words}"


def _detail(listing: Listing) -> tuple[tuple[str, str], ...]:
    told = {
        "list": listing.list,
        "entry": listing.entry,
        "of": listing.of.value,
        "identity": listing.identity,
        "code": listing.value,
        "since": _moment(listing.since),
        "until": _moment(listing.until),
    }
    return tuple((key, value) for key, value in told.items() if value)


def _moment(at: float | None) -> str:
    return "" if at is None else f"{at:.0f}"
