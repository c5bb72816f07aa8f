"""``tidegate report``: reports about spam sources, shown before they leave, sent now, and looked up afterwards."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.incident_record import CsvOption, print_rows
from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, fail, load_snapshot, print_json
from gateway.cli.reach import data_folder

if TYPE_CHECKING:
    from gateway.abuse.reporting.draft import Draft

app = typer.Typer(no_args_is_help=True, help="Reports to the Internet association, and to spam sources' operators.")

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would leave; change nothing.")]
MailsOption = Annotated[bool, typer.Option("--mails", help="With --dry-run, print the mails whole.")]
# sysexits.h EX_DATAERR and EX_TEMPFAIL
_EXIT_BROKEN, _EXIT_BUSY = 65, 75
# Contacts of some hundred sources; whose is not known then is asked for by the next command, or by the gateway.
_PATIENCE_SECONDS = 60.0
# Of the view ``reports_sent``, which has them as texts in UTC.
_TIMES = frozenset({"at", "bounced_at", "answered_at"})


@app.command()
def association(
    *,
    dry_run: DryRunOption = False,
    mails: MailsOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the association's batch now, or show it; a dry run while [reporting] enabled is false. Exit 1: none."""
    _report("association", dry_run, mails, config, as_json)


@app.command()
def operator(
    *,
    dry_run: DryRunOption = False,
    mails: MailsOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what is due to operators and networks now, or show it. Exit 1 when nothing is due."""
    _report("operator", dry_run, mails, config, as_json)


@app.command()
def listing(*, mails: MailsOption = False, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what the association would be told about our own names on lists; the gateway tells it at once."""
    _report("listing", True, mails, config, as_json)


@app.command("list")
def list_(
    *,
    kind: Annotated[str, typer.Option("--kind", help="association, operator or listing.")] = "",
    state: Annotated[
        str, typer.Option("--state", help="composed, queued, refused, bounced, answered, written, nobody.")
    ] = "",
    incident: Annotated[int | None, typer.Option("--incident", metavar="N", help="Those that tell of it.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="The most lines.")] = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """List the reports on record, the latest first: to whom, about what, what came of them. Exit 1 for none."""
    from gateway.abuse.reporting.record import COLUMNS, reports
    from gateway.cli.table import print_table
    from gateway.storage import StorageError

    try:
        found = reports(data_folder(config), kind=kind, state=state, incident=incident, limit=limit)
    except StorageError as error:
        fail(str(error), _EXIT_BROKEN)
    if as_json or as_csv:
        print_rows([_dated(each) for each in found], {}, as_json=as_json, as_csv=as_csv)
    else:
        shown = ("report", "at", "kind", "format", "recipient", "source", "incident", "state", "bounce")
        print_table(shown, [[_text(name, each[name]) for name in shown if name in COLUMNS] for each in found])
    if not found:
        raise typer.Exit(EXIT_NEGATIVE)


def _report(kind: str, dry_run: bool, mails: bool, config: Any, as_json: bool) -> None:
    from gateway.abuse.reporting.desk import ReportDesk
    from gateway.cli.auditing import put_on_record
    from gateway.cli.incident_record import operator as who
    from gateway.cli.incident_record import the_book
    from gateway.clock import SystemClock
    from gateway.storage import StorageError

    snapshot, data = load_snapshot(config), data_folder(config)
    desk = ReportDesk(lambda: snapshot, the_book(data), clock=SystemClock(), patience_seconds=_PATIENCE_SECONDS)
    enabled = snapshot.config.reporting.enabled
    try:
        if dry_run or not enabled:
            shown = _shown(desk.preview(kind), mails, as_json)
            if not (dry_run or as_json):
                typer.echo("[reporting] enabled is false: nothing was sent", err=True)
            if not shown:
                raise typer.Exit(EXIT_NEGATIVE)
            return
        done = desk.association(who()) if kind == "association" else desk.operators(1000, who())
    except StorageError as error:
        fail(str(error), _EXIT_BUSY)
    if done:
        put_on_record(data, f"report {kind}", "reports", [f"{done} written"])
    if as_json:
        print_json({"kind": kind, "reports": done})
    else:
        typer.echo(f"{done} reports written; the gateway sends them")
    if not done:
        raise typer.Exit(EXIT_NEGATIVE)


def _shown(drafts: "Iterable[Draft]", mails: bool, as_json: bool) -> int:
    found = list(drafts)
    if as_json:
        print_json([_values(draft, mails) for draft in found])
        return len(found)
    for draft in found:
        size = f"{len(draft.written.octets)} octets" if draft.written else draft.file or "nobody to tell"
        about = ", ".join(f"incident {number}" for number in draft.incidents[:5]) or draft.source_key
        typer.echo(f"{draft.kind}\t{draft.format}\t{draft.recipient}\t{draft.origin}\t{about}\t{size}")
        if mails and draft.written:
            typer.echo(draft.written.octets.decode("utf-8", "replace"))
    return len(found)


def _values(draft: "Draft", mails: bool) -> dict[str, Any]:
    written = draft.written
    return {
        "kind": draft.kind,
        "format": draft.format,
        "recipient": draft.recipient,
        "origin": draft.origin,
        "source": draft.source_key,
        "incidents": list(draft.incidents),
        "subject": written.subject if written else "",
        "octets": len(written.octets) if written else 0,
        "mail": written.octets.decode("utf-8", "replace") if written and mails else "",
    }


def _dated(row: dict[str, Any]) -> dict[str, Any]:
    """Return a report for programs: the view's times as the other commands write them."""
    return {
        name: f"{value.replace(' ', 'T')}.000Z" if value and name in _TIMES else value for name, value in row.items()
    }


def _text(name: str, value: object) -> str:
    return f"{value}Z" if value and name in _TIMES else "" if value is None else str(value)
