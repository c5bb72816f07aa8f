"""What is open at the abuse desk now, in numbers: for ``tidegate status`` and for monitoring."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.incidents import IncidentReader, State

# Closed cases are the many, and nobody's work.
_OPEN = tuple(state.value for state in State if state is not State.CLOSED)
_INCIDENTS = f"SELECT state, count(*) FROM incident WHERE state IN ({', '.join('?' * len(_OPEN))}) GROUP BY state"  # noqa: S608 - constants
_BLOCKS = "SELECT count(*) FROM block WHERE ended_at IS NULL"
_SUSPENSIONS = "SELECT count(*) FROM suspension WHERE ended_at IS NULL"
_TICKETS = "SELECT count(*) FROM ticket WHERE state <> 'closed'"
_OVERDUE = "SELECT count(DISTINCT ticket) FROM clock WHERE met_at IS NULL AND ticket IS NOT NULL AND due_at < ?"
_WAITING = "SELECT count(*) FROM desk_mail WHERE state = 'composed'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The desk's work: ``incidents`` by state, closed ones left out; ``overdue`` tickets are among ``tickets``.

    ``mails_waiting`` are reports and answers that no worker has taken into custody yet.
    """

    incidents: Mapping[str, int]
    blocks: int
    suspensions: int
    tickets: int
    overdue: int
    mails_waiting: int


def standing(data: Path, now: float) -> Standing:
    """Return how the desk of a data folder stands at a UTC second; raise StorageError. Blocking."""
    with IncidentReader(data) as reader:

        def count(sql: str, *values: object) -> int:
            rows = reader.rows(sql, values)
            return int(rows[0][0]) if rows else 0

        found = {str(state): int(number) for state, number in reader.rows(_INCIDENTS, _OPEN)}
        return Standing(
            incidents={state: found.get(state, 0) for state in _OPEN},
            blocks=count(_BLOCKS),
            suspensions=count(_SUSPENSIONS),
            tickets=count(_TICKETS),
            overdue=count(_OVERDUE, now),
            mails_waiting=count(_WAITING),
        )
