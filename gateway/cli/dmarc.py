"""``tidegate dmarc …``: what we tell domains of mail in their name (RFC 9990), and what others tell us of ours."""

import sys
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, fail, load_snapshot, print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.config.models import GatewayConfig
    from gateway.config.policy_set import PolicySet
    from gateway.senderauth.dmarc.aggregate import Day
    from gateway.senderauth.dmarc.ingest import ReceivedReport
    from gateway.senderauth.dmarc.sent import SentReport

app = typer.Typer(no_args_is_help=True, help="DMARC aggregate reports (RFC 9990), sent and received.")

# sysexits.h
EXIT_BAD_DATA = 65
EXIT_NO_INPUT = 66
EXIT_CANNOT_CREATE = 73
EXIT_TRY_AGAIN = 75
# A folder of reports of a year has some thousands.
_MAX_FILES = 20_000

DayOption = Annotated[str, typer.Option("--date", metavar="YYYY-MM-DD", help="The day, UTC.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="So many rows at most.")]


@app.command()
def report(
    domain: Annotated[str, typer.Option("--domain", metavar="DOMAIN", help="Whose policy the mail was judged by.")],
    day: DayOption,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Write it there, gzipped, under the RFC's name.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Print the aggregate report that a domain asks for, from the journal; exit 1 when there is nothing to report."""
    from gateway.app.dmarc_reports import reporter_of
    from gateway.senderauth.dmarc.report import file_name, packed, report_xml

    begin, name = _begin(day), _domain(domain)
    node = load_snapshot(config).config
    days = _days(node, begin, name)
    if name not in days:
        fail(f"no mail was judged by the policy of {name} on {day}, or it wants no reports")
    reporter = reporter_of(node)
    xml = report_xml(days[name], name, begin, reporter)
    if out is None:
        sys.stdout.write(xml.decode("utf-8"))
        return
    path = out / file_name(name, begin, reporter)
    try:
        path.write_bytes(packed(xml))
    except OSError as error:
        fail(f"{path}: {error.strerror}", EXIT_CANNOT_CREATE)
    typer.echo(f"wrote {path}")


@app.command()
def send(
    day: DayOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only ask DNS and say what would be sent.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a day's reports to the domains that ask for them, each once; exit 1 when one failed, 75 when none could be.

    As the gateway does by itself every day where [dmarc_reports] send is on.
    """
    import asyncio

    from gateway.clock import SystemClock
    from gateway.config.dmarc_reports import unsigned_reports
    from gateway.senderauth.dmarc.aggregate import DAY_SECONDS
    from gateway.storage import StorageError

    begin = _begin(day)
    snapshot = load_snapshot(config)
    node = snapshot.config
    if not dry_run:
        if begin + DAY_SECONDS > SystemClock().stamp().utc:
            # What was sent counts as done, and the rest of the day would never be reported.
            raise typer.BadParameter(f"{day} is not over yet (UTC)", param_hint="--date")
        signed = node.dmarc_reports.model_copy(update={"send": True})
        if not signed.author:
            fail("[dmarc_reports] author is missing: nobody signs the reports", EXIT_TRY_AGAIN)
        for complaint in unsigned_reports(signed, snapshot.policies):
            fail(f"[dmarc_reports] author: {complaint.text}", EXIT_TRY_AGAIN)
    days = _days(node, begin)
    try:
        rows = asyncio.run(_previewed(node, days, begin) if dry_run else _sent(node, days, begin))
    except (StorageError, OSError) as error:
        fail(str(error), EXIT_TRY_AGAIN)
    _print_sent(rows, as_json)
    if any(row.state == "failed" for row in rows):
        raise typer.Exit(EXIT_NEGATIVE)


@app.command()
def sent(config: ConfigOption = None, as_json: JsonOption = False, limit: LimitOption = 1000) -> None:
    """List what became of the reports that were due, the latest day first."""
    from gateway.cli.reach import data_folder
    from gateway.senderauth.dmarc.sent import read_latest

    _print_sent(_read(lambda: read_latest(data_folder(config), limit)), as_json)


@app.command()
def ingest(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="XML, gzip, zip, mails with such, or folders of them.")
    ],
    any_domain: Annotated[
        bool, typer.Option("--any-domain", help="Take reports about domains that no policy claims, too.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read reports about our own domains into the table that `dmarc senders` shows; each report counts once.

    Exit 65 when a file is none, 66 when one cannot be read; the others are taken all the same.
    """
    import asyncio

    from gateway.storage import StorageError

    snapshot = load_snapshot(config)
    files = [file for path in paths for file in _files(path)]
    policies = None if any_domain else snapshot.policies
    try:
        rows = asyncio.run(_ingested(snapshot.config.data, files, policies))
    except (StorageError, OSError) as error:
        fail(str(error), EXIT_TRY_AGAIN)
    if as_json:
        print_json(rows)
    else:
        columns = ("file", "state", "reporter", "domain", "day", "messages", "passing", "reason")
        _print_rows(columns, rows)
    states = {row["state"] for row in rows}
    if "unreadable" in states:
        raise typer.Exit(EXIT_NO_INPUT)
    if "no report" in states:
        raise typer.Exit(EXIT_BAD_DATA)


@app.command()
def senders(
    domain: Annotated[str, typer.Option("--domain", metavar="DOMAIN", help="This author's domain and below it.")] = "",
    days: Annotated[int, typer.Option("--days", min=1, help="Of so many days back.")] = 30,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    limit: LimitOption = 1000,
) -> None:
    """Tell who sends in our name, from the reports that were read in; what fails most first."""
    from gateway.cli.reach import data_folder
    from gateway.clock import SystemClock
    from gateway.senderauth.dmarc.received import read_senders

    name = _domain(domain) if domain else ""
    since = SystemClock().stamp().utc - days * 86_400
    found = _read(lambda: read_senders(data_folder(config), name, since, limit))
    if as_json:
        print_json([asdict(sender) for sender in found])
        return
    columns = ("author", "client", "messages", "passing", "dkim", "spf", "refused", "signers", "envelopes", "reporters")
    _print_rows(columns, [asdict(sender) for sender in found])


async def _sent(node: "GatewayConfig", days: "Mapping[str, Day]", begin: int) -> "list[SentReport]":
    from gateway.app.dmarc_reports import report_run
    from gateway.clock import SystemClock
    from gateway.senderauth.dmarc.sent import SentReports

    record = SentReports(node.data)
    try:
        await report_run(node, SystemClock()).day(days, begin, record)
        return record.of_day(begin)
    finally:
        await record.close()


async def _previewed(node: "GatewayConfig", days: "Mapping[str, Day]", begin: int) -> "list[SentReport]":
    from gateway.app.dmarc_reports import report_run
    from gateway.clock import SystemClock

    return await report_run(node, SystemClock()).preview(days, begin)


async def _ingested(data: Path, files: "Sequence[Path]", policies: "PolicySet | None") -> list[dict[str, Any]]:
    """Take the reports in ``files``; return a row for each report, or each file without one."""
    from gateway.clock import SystemClock
    from gateway.senderauth.dmarc.ingest import MAX_PACKED_OCTETS, ReportError, read_reports
    from gateway.senderauth.dmarc.received import ReceivedReports

    table = ReceivedReports(data)
    now = SystemClock().stamp().utc
    rows: list[dict[str, Any]] = []
    try:
        for file in files:
            try:
                with file.open("rb") as stream:
                    found = read_reports(stream.read(MAX_PACKED_OCTETS + 1))
            except OSError as error:
                rows.append({"file": str(file), "state": "unreadable", "reason": error.strerror})
                continue
            except ReportError as error:
                rows.append({"file": str(file), "state": "no report", "reason": str(error)})
                continue
            for one in found:
                state = _state(one, policies, known=table.is_known(one))
                if state == "taken":
                    await table.add(one, file.name, now)
                rows.append({"file": str(file), "state": state} | _told(one))
    finally:
        await table.close()
    return rows


def _state(one: "ReceivedReport", policies: "PolicySet | None", *, known: bool) -> str:
    if known:
        return "known"
    return "taken" if policies is None or _is_ours(one.domain, policies) else "not ours"


def _is_ours(domain: str, policies: "PolicySet") -> bool:
    """Tell whether a policy claims a domain, one above it or one below: records stand at any of them."""
    if any(claimed.endswith(f".{domain}") for claimed in policies.by_domain):
        return True
    labels = domain.split(".")
    return any(policies.for_domain(".".join(labels[at:])) is not None for at in range(len(labels)))


def _told(one: "ReceivedReport") -> dict[str, Any]:
    return {
        "reporter": one.reporter,
        "domain": one.domain,
        "day": f"{datetime.fromtimestamp(one.begin, UTC):%Y-%m-%d}" if one.begin else "",
        "messages": one.messages,
        "passing": sum(row.count for row in one.rows if row.passes),
    }


def _print_sent(rows: "Sequence[SentReport]", as_json: bool) -> None:
    told = [asdict(row) | {"day": f"{datetime.fromtimestamp(row.begin, UTC):%Y-%m-%d}"} for row in rows]
    if as_json:
        print_json(told)
    else:
        _print_rows(("day", "domain", "address", "state", "messages", "octets", "trace_id", "reason"), told)


def _print_rows(columns: tuple[str, ...], rows: "Sequence[Mapping[str, Any]]") -> None:
    from gateway.cli.table import print_table

    print_table(columns, [[_shown(row.get(column, "")) for column in columns] for row in rows])


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _days(node: "GatewayConfig", begin: int, only: str = "") -> "dict[str, Day]":
    from gateway.app.dmarc_reports import days_of

    days, unreadable = days_of(node.data, begin, only)
    for path, reason in unreadable.items():
        typer.echo(f"{path}: {reason}", err=True)
    return days


def _read(read: "Callable[[], Any]") -> Any:
    from gateway.storage import StorageError

    try:
        return read()
    except StorageError as error:
        fail(str(error), EXIT_TRY_AGAIN)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.is_file())
    if len(found) > _MAX_FILES:
        fail(f"{path}: {len(found)} files, more than {_MAX_FILES} at a time", EXIT_BAD_DATA)
    return found


def _domain(text: str) -> str:
    from gateway.smtp.domain import DomainError, normalise_domain

    try:
        return normalise_domain(text)
    except DomainError as error:
        raise typer.BadParameter(f"{text} is no domain: {error}") from error


def _begin(day: str) -> int:
    try:
        return int(datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp())
    except ValueError as error:
        raise typer.BadParameter('a day such as "2026-01-31" is wanted', param_hint="--date") from error
