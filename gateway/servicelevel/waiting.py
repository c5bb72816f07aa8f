"""Waiting that systems which are not ours caused, on the evidence of a copy's attempts (contract.md §2, exclusions).

An attempt that a next hop of somebody else's put off (4yz, refusal, time-out, greylisting) makes the copy
wait until the next attempt was due: that interval is excluded. When it was due was decided then, and stands in the
evidence; if the gateway came to it later, because it had other things to do, that time is the gateway's own. If it came
sooner, the wait ended there. An attempt that failed for a cause of ours, before any system
was reached (a name that could not be looked up may be our resolver's fault), or at a next hop that the operator
answers for, excludes nothing. Nor is a moment excluded in which the gateway itself did not run: it could have tried.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from gateway.ledger.finished import FinishedCopy
from gateway.servicelevel.exclusion import ExclusionClass
from gateway.servicelevel.fault import ClockJump, corrected
from gateway.servicelevel.interval import Interval

OPERATOR, CUSTOMER, REMOTE = "operator", "customer", "remote"
"""Who answers for a next hop."""

CLASSES = {REMOTE: ExclusionClass.MAINTENANCE, CUSTOMER: ExclusionClass.CUSTOMER_EQUIPMENT}
"""The contract's letter for waiting for it: a names "mail systems that are not ours" beside maintenance."""

# No system of somebody else's was spoken to.
_NO_EVIDENCE = frozenset({"lookup", "local"})
# Attempts that end before a transaction begins are stamped with their end.
_STAMPED_AT_END = frozenset({"connect", "greeting", "ehlo", "starttls", "lookup"})
_CAUSE_CHARACTERS = 60
# Its place in an attempt's list.
_DUE = 8


@dataclass(frozen=True, slots=True)
class Wait:
    """From the beginning of an attempt that was put off to when the next was due, or began before that.

    UTC seconds on the wall clock as it was set last.
    """

    interval: Interval
    system: str
    phase: str
    cause: str


def first_attempt_at(copy: FinishedCopy, jumps: Sequence[ClockJump]) -> float:
    """Return when the first attempt began, the transfer's start for a copy that needed no second one; corrected."""
    if copy.attempts:
        attempts = json.loads(copy.attempts)
        if attempts:
            return _begin(attempts[0], jumps)
    return corrected(copy.transfer_started_at or copy.finished_at, jumps)


def caused_elsewhere(copy: FinishedCopy, end: float, owner: str, jumps: Sequence[ClockJump]) -> tuple[Wait, ...]:
    """Return the waits until ``end``, corrected, that somebody else's systems caused, in order."""
    if owner == OPERATOR or not copy.attempts:
        return ()
    attempts = json.loads(copy.attempts)
    found = []
    for place, attempt in enumerate(attempts):
        if not _put_off(attempt):
            continue
        following = attempts[place + 1 :]
        begun, until = _begin(attempt, jumps), _begin(following[0], jumps) if following else end
        until = min(until, begun + _longest(attempt))
        found.append(Wait(interval=(begun, until), system=attempt[2], phase=attempt[3], cause=_cause(attempt[4])))
    return tuple(found)


def _put_off(attempt: Sequence[object]) -> bool:
    _, _, _, phase, _, status, _, own_fault, *_ = attempt
    return status == "deferred" and not own_fault and phase not in _NO_EVIDENCE


def _begin(attempt: Sequence[float], jumps: Sequence[ClockJump]) -> float:
    # First its stamp is corrected: the clock may have been set while it lasted.
    return corrected(float(attempt[0]), jumps) - _before_stamp(attempt)


def _before_stamp(attempt: Sequence[float]) -> float:
    return float(attempt[6]) if str(attempt[3]) in _STAMPED_AT_END else 0.0


def _longest(attempt: Sequence[float]) -> float:
    """Return the seconds from an attempt's beginning to when the next was due; no bound where the evidence is older."""
    return float(attempt[_DUE]) - float(attempt[0]) + _before_stamp(attempt) if len(attempt) > _DUE else inf


def _cause(reply: str) -> str:
    return reply[:_CAUSE_CHARACTERS]
