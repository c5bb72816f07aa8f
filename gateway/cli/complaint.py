"""``tidegate complaint``: tickets of what was complained of to the abuse addresses: listed, shown, answered."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.incident_record import CsvOption, dated, print_rows
from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, fail, load_snapshot, print_json
from gateway.cli.reach import data_folder

if TYPE_CHECKING:
    from gateway.abuse.complaints.ticket import Ticket

app = typer.Typer(no_args_is_help=True, help="Complaints to the abuse addresses: tickets with the contract's clocks.")

NumberArgument = Annotated[int, typer.Argument(metavar="TICKET", help="The ticket's number.")]
# sysexits.h EX_DATAERR and EX_TEMPFAIL
_EXIT_BROKEN, _EXIT_BUSY = 65, 75
_STATES = ("open", "answered", "undelivered", "closed")


@app.command("list")
def list_(
    *,
    state: Annotated[
        str, typer.Option("--state", help="open, answered, undelivered or closed; default: those not closed.")
    ] = "",
    reporter: Annotated[str, typer.Option("--reporter", metavar="ADDRESS", help="Whose complaints.")] = "",
    incident: Annotated[int | None, typer.Option("--incident", metavar="N", help="Those about an incident.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Closed ones, too.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="The most lines.")] = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """List tickets, the most urgent first. Exit 1 for none."""
    from gateway.abuse.complaints.ticket import Tickets
    from gateway.cli.table import print_table
    from gateway.storage import StorageError

    if state not in ("", *_STATES):
        raise typer.BadParameter(f"{state} is no state; allowed: {', '.join(_STATES)}")
    try:
        with Tickets(data_folder(config)) as tickets:
            found = tickets.find(state, reporter, incident, limit)
    except StorageError as error:
        fail(str(error), _EXIT_BROKEN)
    found = [each for each in found if state or every or each.state != "closed"]
    if as_json or as_csv:
        rows = [asdict(each) | {"about": each.about} for each in found]
        print_rows(rows, {}, as_json=as_json, as_csv=as_csv)
    else:
        columns = ("ticket", "state", "response by", "outcome by", "format", "reporter", "incident", "about", "subject")
        print_table(columns, [_line(each) for each in found])
    if not found:
        raise typer.Exit(EXIT_NEGATIVE)


@app.command()
def show(
    number: NumberArgument,
    *,
    mail: Annotated[
        bool, typer.Option("--mail", help="Print the complaint's mail as it came, and nothing else.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one ticket: what is complained of, its clocks, what was written to and fro. Exit 1 for none."""
    from gateway.abuse.complaints.ticket import Tickets
    from gateway.admin.lines import printable
    from gateway.storage import StorageError

    data = data_folder(config)
    try:
        with Tickets(data) as tickets:
            ticket, mails = tickets.one(number), tickets.mails(number)
    except StorageError as error:
        fail(str(error), _EXIT_BROKEN)
    if ticket is None:
        fail(f"there is no ticket {number}")
    if mail:
        _print_mail(data, ticket)
        return
    if as_json:
        print_json(dated(asdict(ticket) | {"mails": [asdict(each) for each in mails]}))
        return
    for name, value in _facts(ticket):
        if value:
            typer.echo(f"{name:<14}{printable(value)}")
    typer.echo("")
    for each in mails:
        typer.echo(printable(f"{_when(each.at)}  {each.kind:<16}{each.party}  {each.subject}  {each.state}".rstrip()))


def _print_mail(data: Path, ticket: "Ticket") -> None:
    """Print a complaint's mail, octet by octet."""
    from gateway.abuse.complaints.filing import original_mail
    from gateway.abuse.complaints.folder import find
    from gateway.incidents import IncidentReader
    from gateway.incidents.evidence import EvidenceBrokenError, EvidenceStore
    from gateway.storage import StorageError

    try:
        with IncidentReader(data) as reader:
            kept = original_mail(reader, EvidenceStore(data), ticket.trace_id)
        if kept is None and (path := find(data, ticket.trace_id)) is not None:
            # One that was read before complaints were filed as evidence.
            kept = path.read_bytes()
    except (EvidenceBrokenError, StorageError, OSError) as error:
        fail(str(error), _EXIT_BROKEN)
    if kept is None:
        fail(f"the mail of ticket {ticket.id} is not kept any more")
    typer.get_binary_stream("stdout").write(kept)


@app.command()
def answer(
    number: NumberArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say; - reads it from standard input.")],
    *,
    interim: Annotated[
        bool, typer.Option("--interim", help="A first response; the outcome follows and the ticket stays open.")
    ] = False,
    no_mail: Annotated[bool, typer.Option("--no-mail", help="They were told otherwise; send nothing.")] = False,
    to: Annotated[str, typer.Option("--to", metavar="ADDRESS", help="Another address of whoever complained.")] = "",
    lang: Annotated[str, typer.Option("--lang", help="en or zh; default: the complaint's.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a complaint: the outcome, which closes the ticket and stops its clocks, or a first response."""
    from gateway.abuse.complaints.closing import OUTCOME, RESPONSE, Answer, UnanswerableError, give
    from gateway.abuse.complaints.deadlines import TicketClocks
    from gateway.abuse.complaints.desk import calendar_of
    from gateway.abuse.identity import writer_of
    from gateway.blocklist.local.workdays import WorkingCalendar
    from gateway.cli.auditing import place, put_on_record
    from gateway.cli.incident_record import operator, the_book
    from gateway.storage import StorageError

    if lang not in ("", "en", "zh"):
        raise typer.BadParameter(f"{lang} is no language of answers; allowed: en, zh")
    said = typer.get_text_stream("stdin").read() if text == "-" else text
    snapshot, data = load_snapshot(config), data_folder(config)
    calendar = calendar_of(snapshot.config)
    kind = RESPONSE if interim else OUTCOME
    given = Answer(
        ticket=number,
        kind=kind,
        text=said,
        by=operator(),
        place=place(),
        language=lang,
        mailed=not no_mail,
        to=to,
    )
    try:
        ticket = give(
            the_book(data),
            given,
            writer_of(snapshot.config),
            calendar.zone,
            TicketClocks(data, WorkingCalendar(calendar)),
        )
    except UnanswerableError as error:
        fail(str(error), 2)
    except StorageError as error:
        fail(str(error), _EXIT_BUSY)
    reached = "" if no_mail else to or ticket.reporter
    told = f"{kind} to {reached}" if reached else f"{kind} noted"
    put_on_record(data, "complaint answer", f"ticket {number}", [told])
    if as_json:
        print_json({"ticket": number, "kind": kind, "to": reached})
    else:
        typer.echo(f"ticket {number}: {told}")


def _line(ticket: "Ticket") -> tuple[str, ...]:
    return (
        str(ticket.id),
        ticket.state,
        _when(ticket.response_due) if ticket.responded_at is None else "met",
        _when(ticket.outcome_due) if ticket.outcome_at is None else "met",
        ticket.format,
        ticket.reporter,
        str(ticket.incident or ""),
        ticket.about,
        ticket.subject,
    )


def _facts(ticket: "Ticket") -> list[tuple[str, str]]:
    return [
        ("ticket", f"{ticket.id} {ticket.state}"),
        ("received", f"{_when(ticket.opened_at)} at {ticket.address}"),
        ("from", ticket.reporter),
        ("format", f"{ticket.format} {ticket.feedback_type}"),
        ("subject", ticket.subject),
        ("about", f"{ticket.about} (by {ticket.matched_by})" if ticket.matched_by else ticket.about),
        ("source", f"{ticket.source_kind} {ticket.source_key}".strip()),
        ("incident", str(ticket.incident or "")),
        ("response", _clock(ticket.response_due, ticket.responded_at)),
        ("outcome", _clock(ticket.outcome_due, ticket.outcome_at)),
        ("answered", f"{ticket.outcome} (by {ticket.answered_by})" if ticket.outcome else ""),
        ("not answered", f"by itself: {ticket.unanswerable}" if ticket.unanswerable else ""),
        ("defects", "; ".join(ticket.facts.get("defects", ()))),
        ("mail", f"{ticket.trace_id} {ticket.octets} octets, sha256 {ticket.sha256[:16]}…"),
    ]


def _clock(due: float, met: float | None) -> str:
    if met is None:
        return f"due {_when(due)}"
    return f"{_when(met)}, {'in time' if met <= due else 'late'}"


def _when(utc: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(utc, UTC):%Y-%m-%d %H:%M}Z"
