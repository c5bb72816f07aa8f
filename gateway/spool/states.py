"""The states of a recipient's copy and the legal transitions between them.

    (stored) ──► queued ⇄ held            queued: waiting for its due time or being attempted
        │          │  └──► delivered · failed · expired · dropped
        ├──► held ─┤       (a copy held while an attempt was under way may still be delivered or fail)
        ├──► quarantined ──► queued (released) · dropped · expired
        └──► discarded                    ends at once, never enters the queue

A terminal state ends custody: the copy leaves the queue, its ledger row remains.
"""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.spool.message import RecipientState as State


class IllegalTransitionError(Exception):
    """A bug: a copy was to go where the table does not lead."""


TERMINAL = frozenset({State.DELIVERED, State.FAILED, State.EXPIRED, State.DISCARDED, State.DROPPED})

INITIAL = frozenset({State.QUEUED, State.HELD, State.QUARANTINED, State.DISCARDED})

TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.QUEUED: frozenset(
            {State.QUEUED, State.HELD, State.DELIVERED, State.FAILED, State.EXPIRED, State.DROPPED},
        ),
        State.HELD: frozenset(
            {State.HELD, State.QUEUED, State.DELIVERED, State.FAILED, State.EXPIRED, State.DROPPED},
        ),
        State.QUARANTINED: frozenset({State.QUEUED, State.DROPPED, State.EXPIRED}),
    },
)


def check_transition(source: State, target: State) -> None:
    """Raise IllegalTransitionError unless ``source`` may become ``target``."""
    if target not in TRANSITIONS.get(source, frozenset()):
        raise IllegalTransitionError(f"{source} cannot become {target}")


def check_initial(state: State) -> None:
    """Raise IllegalTransitionError unless a copy may enter the spool in ``state``."""
    if state not in INITIAL:
        raise IllegalTransitionError(f"a copy does not enter the spool as {state}")


def sources_of(target: State) -> frozenset[State]:
    """Return the states from which ``target`` can be reached."""
    return frozenset(source for source, targets in TRANSITIONS.items() if target in targets)
