"""What the incident commands share: the record opened, who acts and from where, a change made and put on record."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import EXIT_NEGATIVE, fail, print_json

if TYPE_CHECKING:
    from gateway.incidents import Change, Incident, IncidentBook, IncidentReader, State

# sysexits.h EX_DATAERR and EX_TEMPFAIL: the record cannot be believed; somebody else is writing it.
EXIT_BROKEN = 65
EXIT_BUSY = 75
EXIT_USAGE = 2
# The values that are times, whatever row they stand in.
_TIMES = frozenset(
    {
        *("at", "began_at", "blocked_at", "closed_at", "confirmed_at", "due_at", "ended_at", "first_seen"),
        *("last_attempt", "last_seen", "lifted_at", "met_at", "opened_at", "recorded_at", "removed_at", "reported_at"),
        *("outcome_at", "outcome_due", "responded_at", "response_due"),
        *("started_at", "state_since", "until"),
    }
)
# By which a person takes an incident to a state; to the others it comes by what happens.
_COMMANDS = {
    "open": "incident reopen",
    "confirmed": "incident confirm",
    "blocked": "incident block",
    "lifted": "incident lift",
    "closed": "incident close",
}


def _said(text: str) -> str:
    """Refuse a reason that says nothing: it is what the audit is read for."""
    if not text.strip():
        raise typer.BadParameter("a reason says something")
    return text.strip()


CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV with a head line.")]
NumberArgument = Annotated[int, typer.Argument(metavar="NUMBER", help="The incident's number.")]
ReasonOption = Annotated[
    str, typer.Option("--reason", callback=_said, help="Why; it stands in the incident's timeline.")
]


@contextmanager
def the_reader(data: Path) -> "Iterator[IncidentReader]":
    """Open the record for reading; end where it cannot be read."""
    from gateway.incidents import IncidentReader
    from gateway.storage import StorageError

    try:
        with IncidentReader(data) as reader:
            yield reader
    except StorageError as error:
        fail(str(error), EXIT_BROKEN)


def the_book(data: Path) -> "IncidentBook":
    """Return the record for writing."""
    from gateway.clock import SystemClock
    from gateway.incidents import IncidentBook

    return IncidentBook(data, clock=SystemClock())


def operator() -> str:
    """Return the login name of who runs the command."""
    from gateway.admin.control import user_name

    return user_name(os.getuid())


@dataclass(frozen=True, slots=True)
class Done:
    """What a change did: ``changes`` for the audit trail, a line each; ``value`` for ``--json``."""

    changes: tuple[str, ...]
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the answer is no, and the exit status that says so; what was put on record of it stays there."""

    why: str
    status: int = EXIT_NEGATIVE


def changed(data: Path, operation: str, target: str, act: "Callable[[Change], Done | Refused]") -> Done:
    """Make a change in the caller's name, put it into the audit trail, and return what it did.

    A refusal is audited as one, with its reason, and ends the command: with status 2 where the incident is not there or
    its state does not allow it. Ends with 75 where somebody else is writing, 65 where the record cannot be believed.
    """
    from gateway.abuse.suspending import NotRestoredError
    from gateway.cli.auditing import place, put_on_record
    from gateway.incidents import IllegalTransition
    from gateway.incidents.book import NoSuchIncidentError
    from gateway.storage import StorageError, StorageLocked

    outcome: Done | Refused
    try:
        with the_book(data).change(operator(), operation, place()) as change:
            outcome = act(change)
    except NotRestoredError as error:
        outcome = Refused(str(error))
    except NoSuchIncidentError as error:
        outcome = Refused(str(error), EXIT_USAGE)
    except IllegalTransition as error:
        outcome = Refused(f"{error}{_by_hand(error.onward)}", EXIT_USAGE)
    except StorageLocked as error:
        fail(str(error), EXIT_BUSY)
    except StorageError as error:
        fail(str(error), EXIT_BROKEN)
    with the_reader(data) as reader:
        # The chain's head in the journal is an anchor outside the record (`incident verify` reads it).
        where = f"chain {reader.head()}"
    if isinstance(outcome, Refused):
        put_on_record(data, f"{operation} refused", target, [outcome.why, where])
        fail(outcome.why, outcome.status)
    put_on_record(data, operation, target, [*outcome.changes, where])
    return outcome


def _by_hand(onward: "Sequence[State]") -> str:
    """Return the commands that lead on from an incident's state."""
    commands = [f"`{_COMMANDS[state.value]}`" for state in onward if state.value in _COMMANDS]
    return f"; by hand: {', '.join(commands)}" if commands else ""


def say(done: Done, text: str, *, as_json: bool) -> None:
    """Print what was done: ``text`` for people."""
    if as_json:
        print_json(done.value)
    else:
        typer.echo(text)


def decided(data: Path, number: int, operation: str, act: "Callable[[Change], str]", *, as_json: bool) -> None:
    """Make a change to one incident and say what was done, as ``act`` tells it."""

    def noted(change: "Change") -> Done:
        told = act(change)
        return Done((told,), {"incident": number, "done": told})

    done = changed(data, operation, f"incident {number}", noted)
    say(done, f"incident {number}: {done.value['done']}", as_json=as_json)


def moment(utc: float | None) -> str:
    """Return a time as people read it, UTC."""
    from datetime import UTC, datetime

    return "" if utc is None else f"{datetime.fromtimestamp(utc, UTC):%Y-%m-%d %H:%M:%S}Z"


def since(text: str, now: float) -> float:
    """Return the UTC second that ``7d`` or ``2026-11-20`` means; ends where it is neither."""
    from gateway.config.units import parse_duration
    from gateway.servicelevel.month import parse_instant

    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_instant(text, "UTC")
    except ValueError as error:
        raise typer.BadParameter(
            f"{text}: a duration such as 7d or a time such as 2026-11-20T10:00 is wanted"
        ) from error


def as_value(incident: "Incident") -> dict[str, Any]:
    """Return an incident for programs."""
    from dataclasses import asdict

    from gateway.incidents.values import GROUNDS

    value = asdict(incident)
    value["counts"] = dict(zip(GROUNDS, incident.counts, strict=True))
    value["grounds"] = list(incident.grounds)
    source = value.pop("source")
    return {"id": value.pop("id"), "source_kind": str(source["kind"]), "source": source["key"]} | value


def dated(value: Any) -> Any:
    """Return rows for programs: times as RFC 3339 has them, in UTC, as in the log; in whatever they are nested."""
    if isinstance(value, Mapping):
        return {name: instant(each) if name in _TIMES else dated(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [dated(each) for each in value]
    return value


def instant(utc: Any) -> Any:
    """Return UTC seconds as ``2026-11-22T10:00:00.250Z``; what is no time stays as it is."""
    from datetime import UTC, datetime

    if not isinstance(utc, float | int):
        return utc
    return datetime.fromtimestamp(utc, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Callable[[Any], str]], *, as_json: bool, as_csv: bool
) -> None:
    """Print rows as JSON, as CSV with every value, or as a table of ``columns``, each with how its value is shown.

    Times are UTC, in JSON and CSV as ``dated`` writes them.
    """
    from gateway.cli.table import print_table

    if as_json:
        print_json(dated(rows))
    elif as_csv:
        _print_csv(dated(rows))
    else:
        heads = tuple(_head(name) for name in columns)
        print_table(heads, [tuple(show(row[name]) for name, show in columns.items()) for row in rows])


def _head(name: str) -> str:
    """Return a column's head; what is a time says in which zone."""
    return f"{name.removeprefix('source_').replace('_', ' ')}{' (UTC)' if name in _TIMES else ''}"


def _print_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    import csv

    if not rows:
        return
    writer = csv.writer(sys.stdout)
    writer.writerow(rows[0])
    writer.writerows([[_cell(value) for value in row.values()] for row in rows])


def _cell(value: Any) -> Any:
    """Return a cell; a text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if isinstance(value, dict):
        return " ".join(f"{key}={each}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value
