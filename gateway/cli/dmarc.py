"""``tidegate dmarc report`` and ``dmarc ingest``: what we can tell a domain of its mail, and others us of ours."""

import sys
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import ConfigOption, JsonOption, fail, load_snapshot, print_json

if TYPE_CHECKING:
    from gateway.senderauth.dmarc.ingest import ReportedRow

app = typer.Typer(no_args_is_help=True, help="DMARC aggregate reports (RFC 9990).")

# sysexits.h
EXIT_BAD_DATA = 65
EXIT_NO_INPUT = 66


@app.command()
def report(
    domain: Annotated[str, typer.Option("--domain", metavar="DOMAIN", help="Whose policy the mail was judged by.")],
    day: Annotated[str, typer.Option("--date", metavar="YYYY-MM-DD", help="The day, UTC.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Write it there, gzipped, under the RFC's name.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Print the aggregate report that a domain asks for, from the journal; exit 1 when there is nothing to report."""
    from gateway import __version__
    from gateway.cli.reach import data_folder
    from gateway.journal.events import MessageJudged
    from gateway.journal.reader import JournalReader
    from gateway.senderauth.dmarc.aggregate import Reporter, aggregate, report_xml

    begin = _begin(day)
    node = load_snapshot(config).config
    reader = JournalReader(data_folder(config) / "journal")
    try:
        events = (event for event in reader.of_kind(MessageJudged.kind, begin) if isinstance(event, MessageJudged))
        rows = aggregate(events, domain.lower(), begin)
    finally:
        reader.close()
    for path, reason in reader.unreadable.items():
        typer.echo(f"{path}: {reason}", err=True)
    if not rows:
        fail(f"no mail was judged by the policy of {domain} on {day}, or it wants no reports")
    reporter = Reporter(
        organisation=node.hostname,
        email=node.contact.postmaster or f"postmaster@{node.hostname}",
        generator=f"Tidegate {__version__}",
    )
    xml = report_xml(rows, domain.lower(), begin, reporter)
    if out is None:
        sys.stdout.write(xml.decode("utf-8"))
        return
    typer.echo(f"wrote {_written(out, f'{node.hostname}!{domain.lower()}!{begin}!{begin + 86_399}.xml.gz', xml)}")


@app.command()
def ingest(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="XML, gzip, zip, or mails with such.")],
    as_json: JsonOption = False,
) -> None:
    """Tell who sends in our name, from reports that others sent us; failing sources first."""
    from gateway.cli.table import print_table
    from gateway.senderauth.dmarc.ingest import MAX_PACKED_OCTETS, ReportError, read_reports

    rows: list[ReportedRow] = []
    for file in files:
        try:
            with file.open("rb") as stream:
                rows += read_reports(stream.read(MAX_PACKED_OCTETS + 1))
        except OSError as error:
            fail(f"{file}: {error.strerror}", EXIT_NO_INPUT)
        except ReportError as error:
            fail(f"{file}: {error}", EXIT_BAD_DATA)
    sources = _sources(rows)
    if as_json:
        print_json(sources)
        return
    columns = ("author", "client", "messages", "passing", "dkim", "spf", "reporters")
    print_table(columns, [[str(source[column]) for column in columns] for source in sources])


def _sources(rows: "list[ReportedRow]") -> list[dict[str, Any]]:
    """Return a row for each client and author's domain."""
    counts: Counter[tuple[str, str, str]] = Counter()
    reporters: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        source = (row.author, row.client)
        reporters.setdefault(source, set()).add(row.reporter)
        said = {"messages": True, "passing": row.passes, "dkim": row.dkim == "pass", "spf": row.spf == "pass"}
        for name, counted in said.items():
            counts[(*source, name)] += row.count if counted else 0
    told = [
        {"author": author, "client": client}
        | {name: counts[author, client, name] for name in ("messages", "passing", "dkim", "spf")}
        | {"reporters": ", ".join(sorted(names))}
        for (author, client), names in reporters.items()
    ]
    return sorted(told, key=lambda source: (source["passing"] - source["messages"], source["author"], source["client"]))


def _begin(day: str) -> int:
    try:
        return int(datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp())
    except ValueError as error:
        raise typer.BadParameter('a day such as "2026-01-31" is wanted', param_hint="--date") from error


def _written(folder: Path, name: str, xml: bytes) -> Path:
    import gzip

    path = folder / name
    try:
        path.write_bytes(gzip.compress(xml, mtime=0))
    except OSError as error:
        fail(f"{path}: {error.strerror}", 73)
    return path
