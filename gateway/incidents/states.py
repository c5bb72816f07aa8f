"""The states of an incident: which may follow which, and why (contract.md §4 a to c).

The usual way is open → confirmed → reported → blocked → quiet → lifted → closed. A row says what has to be true of
blocks and suspensions: a case is neither lifted nor closed while one stands, since nobody would ever end it. A source
that sends again while quiet goes back to where it was; one that was lifted is open anew. A closed case stays as it was
closed: mail from its source later opens another, which names it; only a person opens it again.
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway.incidents.values import State


class Block(StrEnum):
    """What a transition asks of blocks and suspensions."""

    ANY = "any"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Transition:
    """One legal step: what it means, and what it asks of blocks and suspensions."""

    meaning: str
    block: Block = Block.ANY


class IllegalTransition(Exception):  # noqa: N818 - the word of the design
    """A step that the table does not have, or not while a block or suspension stands.

    The text says where one may go; ``onward`` are those states, what waits for a block's end included.
    """

    def __init__(self, text: str, onward: tuple[State, ...] = ()) -> None:
        super().__init__(text)
        self.onward = onward


_S = State
TRANSITIONS: dict[tuple[State, State], Transition] = {
    (_S.OPEN, _S.CONFIRMED): Transition("confirmed by technique, by a complaint or by hand"),
    (_S.OPEN, _S.BLOCKED): Transition("blocked by hand before anything else, which confirms it"),
    (_S.OPEN, _S.CLOSED): Transition("false positive, or nothing came of it", Block.NONE),
    (_S.CONFIRMED, _S.OPEN): Transition("the confirmation was withdrawn", Block.NONE),
    (_S.CONFIRMED, _S.REPORTED): Transition("told the association, the operator or its network"),
    (_S.CONFIRMED, _S.BLOCKED): Transition("blocked or suspended"),
    (_S.CONFIRMED, _S.QUIET): Transition("sent nothing for the quiet time"),
    (_S.CONFIRMED, _S.CLOSED): Transition("false positive, or handled", Block.NONE),
    (_S.REPORTED, _S.BLOCKED): Transition("blocked or suspended"),
    (_S.REPORTED, _S.QUIET): Transition("sent nothing for the quiet time"),
    (_S.REPORTED, _S.CLOSED): Transition("false positive, or handled", Block.NONE),
    (_S.BLOCKED, _S.QUIET): Transition("tried nothing for the quiet time"),
    (_S.BLOCKED, _S.LIFTED): Transition("lifted by hand, expired, or restored on a guarantee", Block.NONE),
    (_S.QUIET, _S.CONFIRMED): Transition("sends again, and no block stands", Block.NONE),
    (_S.QUIET, _S.BLOCKED): Transition("sends again, and the block stands; or blocked by hand"),
    (_S.QUIET, _S.LIFTED): Transition("the block is lifted, with the proof of quiet", Block.NONE),
    (_S.QUIET, _S.CLOSED): Transition("stopped, never blocked", Block.NONE),
    (_S.LIFTED, _S.OPEN): Transition("sends again"),
    (_S.LIFTED, _S.BLOCKED): Transition("blocked again at once"),
    (_S.LIFTED, _S.CLOSED): Transition("done"),
    (_S.CLOSED, _S.OPEN): Transition("opened again by hand or by a complaint"),
}


def check(before: State, after: State, *, held: bool) -> Transition:
    """Return the transition; IllegalTransition says what is in the way, and what is legal.

    ``held``: a block or a suspension stands.
    """
    found = TRANSITIONS.get((before, after))
    if found is not None and (found.block is Block.ANY or not held):
        return found
    if before is after:
        told = f"it is {before} already"
    elif found is None:
        told = f"{before} → {after} is no step"
    else:
        told = f"{before} → {after} has to wait: a block or suspension of it stands"
    steps = {to: step for (start, to), step in TRANSITIONS.items() if start is before}
    waiting = [to for to, step in steps.items() if held and step.block is Block.NONE]
    allowed = ", ".join(to for to in steps if to not in waiting)
    then = f"; once nothing of it stands, to {', '.join(waiting)}" if waiting else ""
    raise IllegalTransition(f"{told}; from {before} it may go to {allowed or 'nothing'}{then}", tuple(steps))


def resumption(state: State, *, held: bool) -> State | None:
    """Return where an incident goes when its source sends again, None when it stays."""
    if state is State.QUIET:
        return State.BLOCKED if held else State.CONFIRMED
    return State.OPEN if state is State.LIFTED else None
