"""How ``tidegate blocklist`` shows lists, listings, editions and additions."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from gateway.cli.reach import on_terminal

if TYPE_CHECKING:
    from gateway.blocklist.listing import Listing
    from gateway.blocklist.local.editions import Addition, Edition
    from gateway.blocklist.local.lists import LocalLists
    from gateway.blocklist.local.manifest import Served
    from gateway.blocklist.local.workdays import WorkingCalendar
    from gateway.journal.events import Event


def deadline_text(edition: "Edition", now: float, calendar: "WorkingCalendar") -> str:
    """Return an edition's deadline and what became of it, "" without one."""
    if edition.deadline is None:
        return ""
    supposed = "" if edition.deadline_official else " (calendar not official yet: Monday to Friday supposed)"
    return f"; deadline {calendar.shown(edition.deadline)} {edition.met(now)}{supposed}"


def say_alarms(events: Sequence["Event"]) -> None:
    """Print alarms and bad lines to standard error."""
    from gateway.journal.guard_events import ListApplied, ListOverdue, ListWithheld

    for event in events:
        if isinstance(event, ListWithheld):
            typer.echo(f"{event.list or 'lists.toml'}: {event.state}: {event.reason}", err=True)
        if isinstance(event, ListWithheld | ListApplied):
            for problem in event.problems:
                typer.echo(problem, err=True)
        if isinstance(event, ListApplied) and event.bad_lines:
            typer.echo(f"{event.list}: {event.bad_lines} bad lines were skipped", err=True)
        elif isinstance(event, ListOverdue):
            typer.echo(f"{event.list}: edition {event.edition} is overdue: {event.reason}", err=True)


def print_lists(lists: "LocalLists") -> None:
    """Print what each list is and holds, a line each."""
    from gateway.cli.table import print_table

    faults = dict(lists.faults)
    columns = ("list", "kind", "entries", "added", "edition", "applied", "state", "source", "owner")
    print_table(columns, [_list_row(each, faults.get(each.name, "")) for each in lists.served])
    for name in lists.undeclared:
        typer.echo(f"{name}: not used; neither lists.toml nor a head of its own says what it is", err=True)
    if not lists.served and on_terminal():
        typer.echo("no list is declared; see blocklists/README.md")


def _list_row(each: "Served", fault: str) -> tuple[str, ...]:
    state = f"{each.state}: {each.message}" if each.message else each.state
    bad = f" ({each.bad_lines} bad lines)" if each.bad_lines else ""
    return (
        each.name,
        each.kind,
        f"{each.entries}{bad}",
        str(each.added_entries),
        str(each.edition or "-"),
        _when(each.applied),
        f"{state}; unusable: {fault}" if fault else state,
        each.source or "-",
        each.owner or "-",
    )


def listing_row(each: "Listing") -> dict[str, Any]:
    """Return a listing for JSON."""
    row = asdict(each)
    return row | {"action": each.action.word if each.action is not None else None}


def print_listings(listings: Sequence["Listing"]) -> None:
    """Print listings, a line each."""
    from gateway.cli.table import print_table

    rows = [
        (each.list, each.kind, each.entry, each.value or "-", each.reason or "-", _when(each.since), _when(each.until))
        for each in listings
    ]
    print_table(("list", "kind", "entry", "value", "reason", "since", "until"), rows)


def print_editions(editions: Sequence["Edition"], now: float, calendar: "WorkingCalendar") -> None:
    """Print editions, a line each."""
    from gateway.cli.table import print_table

    rows = [
        (
            each.list,
            str(each.number),
            each.state,
            calendar.shown(each.published) + ("" if each.published_known else " (supposed)"),
            calendar.shown(each.applied) if each.applied is not None else "-",
            deadline_text(each, now, calendar).removeprefix("; deadline ") or "-",
            f"{each.entries} (+{each.added} -{each.removed})",
            each.sha256[:12],
            f"{each.how} {each.who}",
            each.note or "-",
        )
        for each in editions
    ]
    columns = ("list", "edition", "state", "published", "applied", "deadline", "entries", "sha256", "by", "note")
    print_table(columns, rows)


def _addition_row(each: "Addition") -> tuple[str, ...]:
    ended = f"removed {_when(each.removed_at)} by {each.removed_by}" if each.removed_at is not None else "-"
    what = "excluded" if each.excluded else "added"
    return each.list, what, each.entry, _when(each.since), each.who, each.owner, each.reason, _when(each.until), ended


def print_additions(additions: Sequence["Addition"]) -> None:
    """Print what operators added and removed, a line each."""
    from gateway.cli.table import print_table

    columns = ("list", "what", "entry", "since", "by", "owner", "reason", "until", "ended")
    print_table(columns, [_addition_row(each) for each in additions])


def _when(at: float | None) -> str:
    return "-" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}Z"
