"""What the incident commands share: the record opened, who acts and from where, a change made and put on record."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import fail, print_json

if TYPE_CHECKING:
    from gateway.incidents import Change, Incident, IncidentBook, IncidentReader

# sysexits.h EX_DATAERR and EX_TEMPFAIL: the record cannot be believed; somebody else is writing it.
EXIT_BROKEN = 65
EXIT_BUSY = 75


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


def place() -> str:
    """Return from where a command is run: the client of an SSH session, the terminal, or nothing to name."""
    client = os.environ.get("SSH_CLIENT", "").split(" ", 1)[0]
    try:
        terminal = os.ttyname(sys.stdin.fileno())
    except (OSError, ValueError):
        terminal = ""
    return " ".join(filter(None, (client, terminal))) or "no terminal"


def changed(data: Path, number: int, operation: str, act: "Callable[[Change], str]") -> str:
    """Make a change in the caller's name and put it into the audit trail; return what ``act`` says was done.

    Ends with status 2 where the incident is not there or does not allow it, 75 where somebody else is writing.
    """
    from gateway.cli.auditing import put_on_record
    from gateway.incidents import IllegalTransition
    from gateway.incidents.book import NoSuchIncidentError
    from gateway.storage import StorageError, StorageLocked

    book = the_book(data)
    try:
        with book.change(operator(), operation, place()) as change:
            told = act(change)
        with the_reader(data) as reader:
            head = reader.head()
    except (NoSuchIncidentError, IllegalTransition) as error:
        fail(str(error), 2)
    except StorageLocked as error:
        fail(str(error), EXIT_BUSY)
    except StorageError as error:
        fail(str(error), EXIT_BROKEN)
    # The chain's head in the journal is an anchor outside the record (`incident verify` reads it).
    put_on_record(data, operation, f"incident {number}", [told, f"from {place()}", f"chain {head}"])
    return told


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


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Callable[[Any], str]], *, as_json: bool, as_csv: bool
) -> None:
    """Print rows as JSON, as CSV with every value, or as a table of ``columns``, each with how its value is shown."""
    from gateway.cli.table import print_table

    if as_json:
        print_json(list(rows))
    elif as_csv:
        _print_csv(rows)
    else:
        print_table(tuple(columns), [tuple(show(row[name]) for name, show in columns.items()) for row in rows])


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
