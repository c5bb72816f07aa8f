"""Incidents that nobody has to look after any more: quiet once their source has stopped, closed some time later.

Only what is not blocked: how a block ends says ``gateway.abuse.blocking``. Quiet is said on the same proof, time in
which this gateway was looking. What is open and was never confirmed, quiet, or lifted is closed when nothing came for
``incidents.close``, so that its evidence is kept as long as the configuration says, and not for ever; not while a
complaint about it is open.
"""

from collections.abc import Sequence

from gateway.config.units import format_duration
from gateway.incidents.blocks import watched_seconds
from gateway.incidents.book import Change
from gateway.incidents.values import Incident, Resolution, State

# Of one look, each half minute: a transaction of some tenths of a second.
MOST_A_LOOK = 100
_STOPPED = """
SELECT id, last_seen FROM incident WHERE state IN ('confirmed', 'reported') AND last_seen <= ? AND state_since <= ?
    AND NOT blocking AND NOT suspending ORDER BY last_seen LIMIT ?"""
_OVER = """
SELECT id, state FROM incident WHERE state IN ('open', 'quiet', 'lifted') AND last_seen <= ? AND state_since <= ?
    AND NOT blocking AND NOT suspending AND NOT EXISTS (
        SELECT 1 FROM ticket WHERE ticket.incident = incident.id AND ticket.state <> 'closed'
    ) ORDER BY last_seen LIMIT ?"""


def age(change: Change, *, quiet_seconds: float, close_seconds: float) -> Sequence[tuple[Incident, str]]:
    """Move on what has stopped or is over within a change; return each incident with why."""
    return [*_call_quiet(change, quiet_seconds), *_close(change, close_seconds)]


def _call_quiet(change: Change, seconds: float) -> list[tuple[Incident, str]]:
    begin = change.at - seconds
    found = []
    for number, last in change.execute(_STOPPED, (begin, begin, MOST_A_LOOK)):
        if watched_seconds(change.execute, last, change.at) >= seconds:
            why = f"it sent nothing for {format_duration(seconds)}, while this gateway was looking"
            found.append((change.move(number, State.QUIET, why), why))
    return found


def _close(change: Change, seconds: float) -> list[tuple[Incident, str]]:
    begin = change.at - seconds
    found = []
    for number, state in change.execute(_OVER, (begin, begin, MOST_A_LOOK)):
        resolution = Resolution.UNCONFIRMED if state == State.OPEN else Resolution.STOPPED
        why = f"nothing came of it for {format_duration(seconds)}"
        found.append((change.move(number, State.CLOSED, why, resolution), why))
    return found
