"""``tidegate incident``: who sent spam: found, shown, ranked, searched, exported, verified, and decided by hand."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.grouping import grouped
from gateway.cli.incident_blocking import block, lift
from gateway.cli.incident_deciding import close, confirm, note, reopen
from gateway.cli.incident_proving import export, verify
from gateway.cli.incident_record import (
    CsvOption,
    NumberArgument,
    as_value,
    dated,
    moment,
    print_rows,
    since,
    the_reader,
)
from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, fail, print_json
from gateway.cli.reach import data_folder, on_terminal

if TYPE_CHECKING:
    from gateway.incidents.reader import IncidentQuery

app = typer.Typer(no_args_is_help=True, help="Spam sources on record: evidence, states, clocks.")

LimitOption = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="The most lines.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Which incidents; all that are given must hold."""

    ip: Annotated[str, typer.Option("--ip", metavar="ADDRESS", help="Sources at an address or in a network.")] = ""
    asn: Annotated[int | None, typer.Option("--asn", metavar="N", help="Sources in an autonomous system.")] = None
    domain: Annotated[str, typer.Option("--domain", help="Whose recipients or senders are of a domain.")] = ""
    ground: Annotated[
        str, typer.Option("--ground", help="advertising, no-opt-out, hidden-sender, false-source or harmful.")
    ] = ""
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Last seen since: 7d, 2026-11-20 (UTC).")] = ""
    state: Annotated[
        list[str], typer.Option("--state", help="open, confirmed, reported, blocked, quiet, lifted, closed; repeat.")
    ] = field(default_factory=list)


@app.command("list")
@grouped
def list_(
    conditions: Conditions,
    *,
    limit: LimitOption = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """List incidents, the last seen first; all conditions given must hold. Times are UTC. Exit 1 for none."""
    rows = _found(data_folder(config), _query(conditions, limit))
    columns: dict[str, Callable[[Any], str]] = {
        "id": str,
        "state": str,
        "source_kind": str,
        "source": str,
        "sightings": str,
        "grounds": " ".join,
        "last_seen": moment,
        "network": str,
    }
    print_rows(rows, columns, as_json=as_json, as_csv=as_csv)
    if not rows:
        raise typer.Exit(EXIT_NEGATIVE)


def _query(conditions: Conditions, limit: int) -> "IncidentQuery":
    from gateway.clock import SystemClock
    from gateway.incidents import State
    from gateway.incidents.reader import IncidentQuery

    try:
        states = tuple(State(each) for each in conditions.state)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; allowed: {', '.join(State)}") from error
    return IncidentQuery(
        ip=conditions.ip,
        asn=conditions.asn,
        domain=conditions.domain,
        ground=conditions.ground,
        since=since(conditions.since, SystemClock().stamp().utc) if conditions.since else None,
        states=states,
        limit=limit,
    )


def _found(data: Path, query: "IncidentQuery") -> list[dict[str, object]]:
    try:
        with the_reader(data) as reader:
            return [as_value(incident) for incident in reader.find(query)]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@app.command()
def top(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="sources, grounds, domains or sender-domains.")
    ] = "sources",
    *,
    period: Annotated[str, typer.Option("--period", help="day, week (ISO) or month, in UTC.")] = "week",
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="A moment in the period; default: now.")] = "",
    limit: LimitOption = 20,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Rank by sightings in one day, week or month. Exit 1 for none."""
    from gateway.clock import SystemClock
    from gateway.incidents.reader import PERIODS, RANKINGS

    if what not in RANKINGS or period not in PERIODS:
        raise typer.BadParameter(f"WHAT is one of {', '.join(RANKINGS)}; --period one of {', '.join(PERIODS)}")
    now = SystemClock().stamp().utc
    with the_reader(data_folder(config)) as reader:
        ranked = reader.top(what, period, since(at, now) if at else now, limit)
    rows = [asdict(each) for each in ranked]
    columns: dict[str, Callable[[Any], str]] = {"name": str, "sightings": str, "octets": str}
    if what == "sources":
        columns["incident"] = str
    print_rows(rows, columns, as_json=as_json, as_csv=as_csv)
    if not rows:
        raise typer.Exit(EXIT_NEGATIVE)


@app.command()
def search(
    words: Annotated[
        list[str],
        typer.Argument(metavar="WORDS", help="All must occur in one text; WORD* begins one.", show_default=False),
    ],
    *,
    limit: LimitOption = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Search subjects, addresses, host names and notes, the newest first; Chinese as well. Exit 1 for none."""
    # Each argument is one phrase, as the shell's quotes kept it together.
    text = " ".join(f'"{word.rstrip("*")}"{"*" if word.endswith("*") else ""}' for word in words)
    with the_reader(data_folder(config)) as reader:
        rows = [asdict(found) for found in reader.search(text, limit)]
    print_rows(rows, {"incident": str, "kind": str, "text": str}, as_json=as_json, as_csv=as_csv)
    if not rows:
        raise typer.Exit(EXIT_NEGATIVE)


@app.command()
def show(
    number: NumberArgument,
    *,
    sightings: Annotated[int, typer.Option("--sightings", metavar="N", min=0, help="So many of the last ones.")] = 5,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one incident: what it is, its clocks, its evidence, its timeline. Exit 1 when there is none."""
    from shutil import get_terminal_size

    from gateway.cli.incident_showing import folded, screen, value_of

    with the_reader(data_folder(config)) as reader:
        incident = reader.incident(number)
        if incident is None:
            fail(f"there is no incident {number}")
        if as_json:
            print_json(dated(value_of(reader, incident, sightings)))
        else:
            columns = get_terminal_size().columns if on_terminal() else 0
            for line in screen(reader, incident, sightings):
                for row in folded(line, columns) if columns else (line,):
                    typer.echo(row)


for _command in (confirm, block, lift, close, reopen, note, export, verify):
    app.command()(_command)
