"""``tidegate deadline``: the contract's other clocks: list them, start one, say that it was met."""

from dataclasses import asdict
from typing import Annotated

import typer

from gateway.cli.incident_record import moment
from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, load_snapshot, print_json
from gateway.cli.reach import data_folder
from gateway.cli.recording import customers_book, instant, now_utc, the_book, told_record, writer, written
from gateway.cli.sla import ByOption, CustomerOption

app = typer.Typer(
    no_args_is_help=True, help="Clocks of the contract: provisioning, tickets, complaints, lists, backups."
)


@app.command("list")
def list_(
    *,
    every: Annotated[bool, typer.Option("--all", help="Those that are done, too.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the clocks that run, the most urgent first, in UTC; exit 1 when one is overdue."""
    from gateway.cli.table import print_table
    from gateway.servicelevel.deadline import DeadlineState

    book, now = the_book(data_folder(config)), now_utc()
    found = sorted(
        (each for each in book.deadlines.values() if every or each.met_at is None), key=lambda each: each.due
    )
    if as_json:
        print_json([asdict(each) | {"state": each.state(now).value} for each in found])
    else:
        columns = ("number", "state", "due (UTC)", "kind", "subject", "customer", "since (UTC)", "by")
        rows = [
            (
                str(each.number),
                each.state(now).value,
                moment(each.due) + ("" if each.official else " (calendar supposed)"),
                each.kind,
                each.subject,
                each.customer or "all",
                moment(each.start),
                each.by,
            )
            for each in found
        ]
        print_table(columns, rows)
    if any(each.state(now) is DeadlineState.OVERDUE for each in found):
        raise typer.Exit(EXIT_NEGATIVE)


@app.command("open")
def open_(
    *,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="provisioning, complaint-response, ticket-response …")],
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="What is to be done: a ticket's or list's name.")],
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="When it began; default: now.")] = "",
    customer: CustomerOption = "",
    by: ByOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a clock; working days are the Chinese calendar's, with the days of blocklists/lists.toml."""
    from gateway.servicelevel.clocks import calendar_of, new_deadline
    from gateway.servicelevel.deadline import KINDS, PROVISIONING

    if kind not in KINDS:
        raise typer.BadParameter(f"{kind} is no kind of clock; allowed: {', '.join(KINDS)}")
    snapshot = load_snapshot(config)
    # Who is to be provisioned is no customer on record yet.
    data, book = customers_book(config, "" if KINDS[kind].clause == PROVISIONING else customer)
    began = instant(book, customer, start) if start else now_utc()
    deadline = new_deadline(KINDS[kind], subject, customer, began, calendar_of(snapshot.config.blocklists))
    record = written(lambda: writer(data, by).open_deadline(deadline))
    told_record(data, record, ("deadline open", f"{kind} {subject}"), as_json)


@app.command()
def met(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The clock's number.")],
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="When it was done; default: now.")] = "",
    by: ByOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a clock: what it was for is done."""
    data = data_folder(config)
    book = the_book(data)
    done = instant(book, "", at) if at else now_utc()
    record = written(lambda: writer(data, by).meet_deadline(number, done))
    told_record(data, record, ("deadline met", f"deadline {number}"), as_json)
