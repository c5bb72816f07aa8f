"""Waiting that systems which are not ours caused, on the evidence of a copy's attempts (contract.md §2, exclusions).

An attempt that a next hop of somebody else's put off (4yz, refusal, time-out, greylisting) makes the copy
wait until the next attempt: that interval is excluded. An attempt that failed for a cause of ours, before any system
was reached (a name that could not be looked up may be our resolver's fault), or at a next hop that the operator
answers for, excludes nothing. Nor is a moment excluded in which the gateway itself did not run: it could have tried.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.ledger.finished import FinishedCopy
from gateway.servicelevel.exclusion import ExclusionClass
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


@dataclass(frozen=True, slots=True)
class Wait:
    """From the beginning of an attempt that was put off to the beginning of the next; UTC seconds."""

    interval: Interval
    system: str
    phase: str
    cause: str


def first_attempt_at(copy: FinishedCopy) -> float:
    """Return when the first attempt began, the transfer's start for a copy that needed no second one."""
    if copy.attempts:
        attempts = json.loads(copy.attempts)
        if attempts:
            return _begin(attempts[0])
    return copy.transfer_started_at or copy.finished_at


def caused_elsewhere(copy: FinishedCopy, end: float, owner: str) -> tuple[Wait, ...]:
    """Return the waits until ``end`` that somebody else's systems caused, in order."""
    if owner == OPERATOR or not copy.attempts:
        return ()
    attempts = json.loads(copy.attempts)
    found = []
    for place, attempt in enumerate(attempts):
        if not _put_off(attempt):
            continue
        following = attempts[place + 1 :]
        until = _begin(following[0]) if following else end
        found.append(
            Wait(interval=(_begin(attempt), until), system=attempt[2], phase=attempt[3], cause=_cause(attempt[4]))
        )
    return tuple(found)


def _put_off(attempt: Sequence[object]) -> bool:
    _, _, _, phase, _, status, _, own_fault = attempt
    return status == "deferred" and not own_fault and phase not in _NO_EVIDENCE


def _begin(attempt: Sequence[float]) -> float:
    at, seconds, phase = float(attempt[0]), float(attempt[6]), str(attempt[3])
    return at - seconds if phase in _STAMPED_AT_END else at


def _cause(reply: str) -> str:
    return reply[:_CAUSE_CHARACTERS]
