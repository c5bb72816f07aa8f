"""``tidegate incident confirm|close|reopen|note``: a person decides about a spam source, with a reason."""

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.incident_record import NumberArgument, ReasonOption, decided
from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.reach import data_folder

if TYPE_CHECKING:
    from gateway.incidents import Change


def confirm(
    number: NumberArgument, reason: ReasonOption, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Confirm an incident by hand: it is reported and blocked as one that was confirmed by technique."""
    from gateway.incidents import State

    def act(change: "Change") -> str:
        change.move(number, State.CONFIRMED, reason)
        return f"confirmed: {reason}"

    decided(data_folder(config), number, "incident confirm", act, as_json=as_json)


def close(
    number: NumberArgument,
    reason: ReasonOption,
    resolution: Annotated[
        str, typer.Option("--as", help="stopped, false-positive, unconfirmed, duplicate or handled.")
    ] = "handled",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close an incident; a block must be lifted before. Mail from its source later opens another."""
    from gateway.incidents import Resolution, State

    try:
        resolved = Resolution(resolution)
    except ValueError as error:
        raise typer.BadParameter(f"--as {resolution}; allowed: {', '.join(Resolution)}") from error

    def act(change: "Change") -> str:
        change.move(number, State.CLOSED, reason, resolved)
        return f"closed as {resolved}: {reason}"

    decided(data_folder(config), number, "incident close", act, as_json=as_json)


def reopen(
    number: NumberArgument, reason: ReasonOption, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Open a closed or lifted incident again, or take a confirmation back."""
    from gateway.incidents import IllegalTransition, State

    def act(change: "Change") -> str:
        incident = change.incident(number)
        active = change.active(incident.source)
        if active is not None and active.id != number:
            raise IllegalTransition(f"incident {number}: its source has another incident by now: {active.id}")
        change.move(number, State.OPEN, reason)
        return f"open again: {reason}"

    decided(data_folder(config), number, "incident reopen", act, as_json=as_json)


def note(
    number: NumberArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is to be remembered; it can be searched.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a note about an incident; it stays as it is."""
    if not text.strip():
        raise typer.BadParameter("a note says something")

    def act(change: "Change") -> str:
        return f"note {change.note(number, text)}: {text}"

    decided(data_folder(config), number, "incident note", act, as_json=as_json)
