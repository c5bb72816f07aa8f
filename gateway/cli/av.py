"""``tidegate av``: the virus scanners and their signatures; asks clamd itself, whether or not a gateway serves."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, fail, load_snapshot, print_json
from gateway.cli.reach import EXIT_UNAVAILABLE

if TYPE_CHECKING:
    from gateway.antivirus.inspection import ScannerReport
    from gateway.antivirus.message import MessageScan
    from gateway.config.snapshot import Snapshot

app = typer.Typer(no_args_is_help=True, help="Ask the virus scanners, show the history of signatures, scan a file.")

# sysexits.h EX_TEMPFAIL: nobody could tell.
EXIT_UNKNOWN = 75
# What clamd's thread statistics are good for: the first lines.
_STATISTICS_LINES = 5


@app.command()
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print each scanner's engine, signatures, their age, a self-test and its limit; exit 1 when something is wrong."""
    from gateway.antivirus.inspection import inspect_scanners

    snapshot = _configured(config)
    reports = asyncio.run(inspect_scanners(_settings(snapshot), history=_history(snapshot)))
    if as_json:
        print_json([asdict(report) | {"problems": report.problems} for report in reports])
    else:
        for report in reports:
            _print_report(report)
    if any(report.problems for report in reports):
        raise typer.Exit(EXIT_NEGATIVE)


@app.command()
def updates(
    *,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Changes shown at most, the latest first.")] = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print each change of signatures that the gateway saw: when, which scanner, from what, to what."""
    from gateway.antivirus.history import read_changes
    from gateway.cli.table import print_table
    from gateway.storage import StorageError

    try:
        changes = read_changes(_history(load_snapshot(config)), limit)
    except StorageError as error:
        fail(str(error), EXIT_UNAVAILABLE)
    if as_json:
        print_json([asdict(change) for change in changes])
        return
    print_table(
        ("seen", "scanner", "from", "to", "built"),
        [(_date(c.seen_at), c.scanner, c.before or "-", c.after, _date(c.built_at)) for c in changes],
    )
    if not changes:
        typer.echo("no change of signatures was seen yet", err=True)


@app.command()
def scan(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A mail as it travels.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Scan a mail as the gateway would; exit 0 clean, 1 when anything was found, 75 when it could not be scanned."""
    from gateway.antivirus.inspection import scan_file
    from gateway.antivirus.result import Outcome

    try:
        found = asyncio.run(scan_file(_settings(_configured(config)), file))
    except OSError as error:
        fail(f"{file}: {error.strerror or error}", EXIT_UNKNOWN)
    if as_json:
        print_json(_scan_table(found))
    else:
        _print_scan(found)
    if found.result.outcome is Outcome.TEMPERROR:
        raise typer.Exit(EXIT_UNKNOWN)
    if not found.result.clean:
        raise typer.Exit(EXIT_NEGATIVE)


@app.command("reload")
def reload_signatures(config: ConfigOption = None) -> None:
    """Have every scanner load its signatures anew."""
    from gateway.antivirus import control

    failed = False
    for address in _settings(_configured(config)).scanners:
        told = control.ask(address, "reload", 10.0)
        failed |= isinstance(told, control.Unanswered)
        typer.echo(f"{address}: {told.text.lower() if isinstance(told, control.Told) else told.reason}")
    if failed:
        raise typer.Exit(EXIT_NEGATIVE)


def _configured(config: Path | None) -> "Snapshot":
    snapshot = load_snapshot(config)
    if not snapshot.config.clamd.address:
        fail("no scanner is configured: [clamd] of tidegate.toml has no address", EXIT_UNAVAILABLE)
    return snapshot


def _settings(snapshot: "Snapshot") -> Any:
    from gateway.app.antivirus import antivirus_settings

    return antivirus_settings(snapshot.config)


def _history(snapshot: "Snapshot") -> Path:
    from gateway.app.antivirus import history_folder

    return history_folder(snapshot.config)


def _print_report(report: "ScannerReport") -> None:
    typer.echo(report.scanner)
    rows = [
        ("state", "answers" if report.answers else "does not answer"),
        ("version", report.version or "-"),
        (
            "signatures",
            f"{report.freshness}" + ("" if report.age_days is None else f", {report.age_days:.1f} days old"),
        ),
        ("self-test", "EICAR found" if report.test_passed else "failed"),
        ("limit", f"{report.stream_limit} octets a stream" if report.stream_limit else "not known"),
        ("looks at", str(report.reach or "")),
        ("statistics", "; ".join(report.statistics.splitlines()[:_STATISTICS_LINES])),
        *(("problem", problem) for problem in report.problems),
    ]
    for name, value in rows:
        if value:
            typer.echo(f"  {name:<11} {value}")


def _print_scan(found: "MessageScan") -> None:
    from gateway.admin.lines import printable

    for row in (_scan_table(found), *_scan_table(found)["parts"]):
        name = row.get("file") or row.get("type") or "whole message"
        typer.echo(printable(f"{row['outcome']:<12} {name}" + (f"  {row['reason']}" if row["reason"] else "")))


def _scan_table(found: "MessageScan") -> dict[str, Any]:
    return {
        "outcome": found.result.outcome.value,
        "name": found.result.name,
        "reason": found.result.reason,
        "version": found.result.version or found.whole.version,
        "ambiguities": list(found.ambiguities),
        "parts": [
            {
                "outcome": part.result.outcome.value,
                "name": part.result.name,
                "reason": part.result.reason,
                "file": part.leaf.part.filename,
                "type": part.leaf.part.media_type,
                "octets": part.size,
                "inside": ["/".join(entry.path) for entry in part.archive.entries] if part.archive else [],
            }
            for part in found.parts
        ],
    }


def _date(utc: float | None) -> str:
    return datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if utc else "-"
