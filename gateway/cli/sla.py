"""``tidegate sla``: the contract's month: exclusions, faults, adjustments and bills recorded; status; the report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, fail, print_json
from gateway.cli.reach import data_folder
from gateway.cli.recording import (
    check_known,
    customers_book,
    instant,
    now_utc,
    span_of,
    the_book,
    told_record,
    writer,
    written,
    zone_of,
)

if TYPE_CHECKING:
    from gateway.servicelevel.book import Book
    from gateway.servicelevel.evaluation import Evaluation
    from gateway.servicelevel.result import ClauseResult

app = typer.Typer(no_args_is_help=True, help="What the contract promises: measured, judged, excluded, reported.")

CustomerOption = Annotated[str, typer.Option("--customer", metavar="NAME", help="The customer, as policies name it.")]
ByOption = Annotated[str, typer.Option("--by", metavar="WHO", help="Who records this; default: who is logged in.")]
FromOption = Annotated[
    str, typer.Option("--from", metavar="TIME", help="2026-11-20T10:00, in the customer's zone unless it names one.")
]
ToOption = Annotated[str, typer.Option("--to", metavar="TIME", help="The first moment after it.")]
MonthOption = Annotated[str, typer.Option("--month", metavar="YYYY-MM", help="Default: the month that runs.")]


_FORMS = ("text", "html", "csv", "json", "pdf")
# sysexits.h EX_UNAVAILABLE: what the command needs is not on this machine.
EXIT_UNAVAILABLE = 69


@app.command()
def exclude(
    *,
    clause: Annotated[str, typer.Option("--clause", help="connectivity or delay: the clauses that have exclusions.")],
    kind: Annotated[
        str,
        typer.Option(
            "--class",
            metavar="a..f",
            help="a agreed maintenance, b customer's equipment or lines, c customer's wrong operation, d customer's"
            " negligence, e carrier, f force majeure.",
        ),
    ],
    start: FromOption,
    end: ToOption,
    reason: Annotated[str, typer.Option("--reason", help="Why; the customer reads it in the report.")],
    customer: CustomerOption = "",
    by: ByOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record time that does not count, for one customer or for all; it can be withdrawn, never changed."""
    from gateway.servicelevel.exclusion import Clause, ExclusionClass

    data, book = customers_book(config, customer)
    try:
        found = Clause(clause), ExclusionClass(kind)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; allowed: connectivity, delay; classes a to f") from error
    span = span_of(book, customer, start, end)
    record = written(lambda: writer(data, by).exclude(*found, span, customer=customer, reason=reason))
    told_record(
        data, record, ("sla exclude", f"{clause} {kind}, {start} to {end}, {customer or 'all'}: {reason}"), as_json
    )


@app.command()
def withdraw(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The exclusion's number.")],
    reason: Annotated[str, typer.Option("--reason", help="Why it does not count after all.")],
    by: ByOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Withdraw an exclusion: it stays on record and counts no more."""
    data = data_folder(config)
    the_book(data)
    record = written(lambda: writer(data, by).withdraw(number, reason))
    told_record(data, record, ("sla withdraw", f"exclusion {number}: {reason}"), as_json)


@app.command()
def exclusions(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the exclusions on record, withdrawn ones too."""
    from dataclasses import asdict

    from gateway.cli.table import print_table
    from gateway.servicelevel.month import shown

    book = the_book(data_folder(config))
    if as_json:
        print_json([asdict(each) for each in book.exclusions.values()])
        return
    columns = ("number", "clause", "class", "from", "to", "customer", "reason", "by", "state")
    rows = [
        (
            str(each.number),
            each.clause.value,
            each.kind.value,
            shown(each.start, zone_of(book, each.customer)),
            shown(each.end, zone_of(book, each.customer)),
            each.customer or "all",
            each.reason,
            each.by,
            f"withdrawn by {each.withdrawn_by}" if each.withdrawn_at else "counts",
        )
        for each in book.exclusions.values()
    ]
    print_table(columns, rows)


@app.command()
def fault(
    *,
    reason: Annotated[str, typer.Option("--reason", help="What does not work.")] = "",
    start: FromOption = "",
    end: ToOption = "",
    close: Annotated[int, typer.Option("--close", metavar="NUMBER", help="Close an open fault at --to, or now.")] = 0,
    customer: CustomerOption = "",
    by: ByOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record a fault by hand, open unless --to is given, or close one."""
    data, book = customers_book(config, customer)
    if close:
        until = instant(book, customer, end) if end else now_utc()
        record = written(lambda: writer(data, by).close_fault(close, until))
        told_record(data, record, ("sla fault", f"fault {close} closed"), as_json)
        return
    if not reason or not start:
        raise typer.BadParameter("a fault needs --from and --reason; an open one is closed with --close NUMBER")
    since = instant(book, customer, start)
    until = instant(book, customer, end) if end else 0.0
    if end and until < since:
        raise typer.BadParameter("--to is before --from")
    record = written(lambda: writer(data, by).open_fault("operator", reason, since, customer=customer))
    if end:
        written(lambda: writer(data, by).close_fault(record.number, until))
    told_record(data, record, ("sla fault", f"fault from {start} to {end or 'now'}: {reason}"), as_json)


@app.command()
def adjust(
    *,
    start: FromOption,
    end: ToOption,
    what: Annotated[str, typer.Option("--what", help="What is changed.")],
    agreed_with: Annotated[str, typer.Option("--agreed-with", help="With whom at the customer it was agreed.")],
    customer: CustomerOption = "",
    by: ByOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record a planned change (an adjustment of the contract's clause 3)."""
    data, book = customers_book(config, customer)
    span = span_of(book, customer, start, end)
    record = written(lambda: writer(data, by).adjust(span, customer=customer, what=what, agreed_with=agreed_with))
    told_record(data, record, ("sla adjust", f"{start} to {end}, agreed with {agreed_with}: {what}"), as_json)


@app.command()
def billing(
    *,
    month: Annotated[str, typer.Option("--month", metavar="YYYY-MM", help="The month billed.")],
    billed: Annotated[int, typer.Option("--billed", help="Customers billed.")],
    wrong: Annotated[int, typer.Option("--wrong", help="Customers billed wrongly.")],
    by: ByOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record a month's billing figures; a later entry for the month replaces an earlier one."""
    from gateway.servicelevel.month import Month

    data = data_folder(config)
    the_book(data)
    try:
        Month.parse(month, "UTC")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    record = written(lambda: writer(data, by).bill(month, billed, wrong))
    told_record(data, record, ("sla billing", f"{month}: {wrong} of {billed} wrong"), as_json)


@app.command()
def report(
    *,
    customer: CustomerOption,
    month: MonthOption = "",
    language: Annotated[str, typer.Option("--lang", help="en or zh.")] = "en",
    form: Annotated[str, typer.Option("--format", help="text, html, csv, json or pdf.")] = "text",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write here, not to the screen.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Judge a customer's month by the contract, clause by clause, and print the report; exit 1 when one is missed."""
    from gateway.servicelevel.result import Outcome

    if language not in {"en", "zh"} or form not in _FORMS:
        raise typer.BadParameter(f"--lang is en or zh, --format {', '.join(_FORMS)}")
    if form == "pdf" and output is None:
        raise typer.BadParameter("--format pdf needs --output FILE")
    evaluation = _judged(data_folder(config), customer, month)
    rendered = _printed(evaluation, language) if form == "pdf" else _rendered(evaluation, language, form).encode()
    if output is None:
        typer.echo(rendered.decode(), nl=False)
    else:
        try:
            output.write_bytes(rendered)
        except OSError as error:
            fail(f"{output}: {error.strerror}")
    if any(result.decides and result.outcome is Outcome.MISSED for result in evaluation.results):
        raise typer.Exit(EXIT_NEGATIVE)


@app.command()
def status(customer: CustomerOption = "", config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Tell how this month stands so far, and what is near its limit or over it; exit 1 when something is missed."""
    from gateway.cli.table import print_table
    from gateway.servicelevel.deadline import DeadlineState
    from gateway.servicelevel.result import Outcome

    data, book = customers_book(config, customer)
    names = [customer] if customer else sorted(book.terms)
    if not names:
        fail("nothing is on record yet: customers are, once `tidegate serve` has run with their policies")
    judged = [_judged(data, name, "") for name in names]
    lines = [(evaluation, result) for evaluation in judged for result in evaluation.results if result.limit is not None]
    clocks = _urgent(book, customer)
    if as_json:
        print_json([*(_as_status(evaluation, result) for evaluation, result in lines), *clocks])
    else:
        told = [_as_status(evaluation, result) for evaluation, result in lines if result.outcome is not Outcome.NO_DATA]
        print_table(
            ("customer", "month", "clause", "measure", "limit", "so far", "samples", "standing"),
            [tuple("" if cell is None else str(cell) for cell in each.values()) for each in (*told, *clocks)],
        )
    missed = any(result.decides and result.outcome is Outcome.MISSED for _, result in lines)
    if missed or any(clock["standing"] == DeadlineState.OVERDUE for clock in clocks):
        raise typer.Exit(EXIT_NEGATIVE)


def _urgent(book: "Book", customer: str) -> list[dict[str, Any]]:
    """Return the clocks that are near their end or past it, the most urgent first, each as a line of the status."""
    from gateway.servicelevel.deadline import DeadlineState
    from gateway.servicelevel.month import shown

    now = now_utc()
    urgent = {DeadlineState.NEAR, DeadlineState.OVERDUE}
    return [
        {
            "customer": each.customer or "all",
            "month": "",
            "clause": each.clause,
            "measure": f"deadline-{each.kind} {each.number}: {each.subject}",
            "limit": f"due {shown(each.due, zone_of(book, each.customer))}",
            "value": None,
            "samples": None,
            "standing": each.state(now).value,
        }
        for each in sorted(book.deadlines.values(), key=lambda each: each.due)
        # Without a customer also of those who are none yet: their opening is promised before they are on record.
        if (not customer or each.customer in {"", customer}) and each.state(now) in urgent
    ]


def _as_status(evaluation: "Evaluation", result: "ClauseResult") -> dict[str, Any]:
    from gateway.reports.document import number
    from gateway.servicelevel.alarm import standing

    limit = f"{result.comparison} {number(result.limit or 0.0, result.unit)} {result.unit}"
    return {
        "customer": evaluation.customer,
        "month": str(evaluation.month),
        "clause": result.clause,
        "measure": result.measure,
        "limit": limit,
        "value": None if result.value is None else number(result.value, result.unit),
        "samples": result.samples,
        "standing": standing(result),
    }


def _printed(evaluation: "Evaluation", language: Any) -> bytes:
    from gateway.reports.pdf import PdfError, find_browser, pdf

    try:
        return pdf(_rendered(evaluation, language, "html"), find_browser())
    except PdfError as error:
        fail(str(error), EXIT_UNAVAILABLE)


def _rendered(evaluation: "Evaluation", language: Any, form: str) -> str:
    from gateway.reports.document import document
    from gateway.reports.page import page
    from gateway.reports.plain import as_csv, json_text, text

    if form == "json":
        return json_text(evaluation)
    content = document(evaluation, language)
    if form == "html":
        return page(evaluation, content)
    return as_csv(content) if form == "csv" else text(content)


def _judged(data: Path, customer: str, month: str) -> "Evaluation":
    from gateway.servicelevel.month import Month
    from gateway.servicelevel.reading import judge
    from gateway.storage import StorageError

    book = the_book(data)
    check_known(book, customer)
    zone, now = zone_of(book, customer), now_utc()
    try:
        wanted = Month.parse(month, zone) if month else Month.at(now, zone)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if wanted.span[0] > now:
        fail(f"{wanted} has not begun")
    try:
        return judge(data, customer, wanted, now)
    except (StorageError, OSError) as error:
        fail(f"the evidence cannot be read: {error}")
