"""What commands that put things on record share: the book, times in a customer's zone, who writes, the audit trail."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from gateway.cli.options import fail, print_json
from gateway.cli.reach import data_folder

if TYPE_CHECKING:
    from gateway.servicelevel.book import Book, Writer
    from gateway.servicelevel.records import Record

# sysexits.h EX_DATAERR: what is on record cannot be believed.
EXIT_BROKEN = 65


def the_book(data: Path) -> "Book":
    """Return what is on record, or end: exit 65 when it cannot be believed."""
    from gateway.servicelevel.reading import read_book
    from gateway.servicelevel.records import RecordsBrokenError

    try:
        return read_book(data)
    except RecordsBrokenError as error:
        fail(str(error), EXIT_BROKEN)
    except OSError as error:
        _unreadable(error)


def _unreadable(error: OSError) -> NoReturn:
    fail(f"{error.filename}: {error.strerror}")


def check_known(book: "Book", customer: str) -> None:
    """End when nothing is on record of a customer; "" is everybody."""
    if customer and customer not in book.terms:
        known = ", ".join(sorted(book.terms)) or "nobody: customers are on record once `tidegate serve` has run"
        fail(f"nothing is on record of {customer}; known: {known}")


def customers_book(config: Path | None, customer: str) -> "tuple[Path, Book]":
    """Return the data folder and what is on record; end when nothing is of ``customer`` ("" is everybody)."""
    data = data_folder(config)
    book = the_book(data)
    check_known(book, customer)
    return data, book


def zone_of(book: "Book", customer: str) -> str:
    """Return a customer's zone, the first customer's for "" or nobody."""
    from gateway.config.service_level import ServiceTerms

    history = book.terms.get(customer) or next(iter(book.terms.values()), None)
    return history[-1].terms.zone if history else ServiceTerms().zone


def instant(book: "Book", customer: str, text: str) -> float:
    """Return UTC seconds of a time as an operator writes it: in the customer's zone, unless it names its own offset.

    What concerns customers of several zones must name it.
    """
    from datetime import datetime

    from gateway.servicelevel.month import parse_instant

    try:
        named = datetime.fromisoformat(text).tzinfo is not None
    except ValueError as error:
        raise typer.BadParameter(f"{text}: a time such as 2026-11-20T10:00 is wanted") from error
    try:
        moment = parse_instant(text, zone_of(book, customer))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    zones = {history[-1].terms.zone for history in book.terms.values()}
    if customer not in book.terms and not named and len(zones) > 1:
        raise typer.BadParameter(f"{text}: customers have several zones, name the offset: {text}+08:00")
    return moment


def span_of(book: "Book", customer: str, start: str, end: str) -> tuple[float, float]:
    """Return a span of time as an operator writes it."""
    return instant(book, customer, start), instant(book, customer, end)


def now_utc() -> float:
    """Return now, UTC seconds."""
    from gateway.clock import SystemClock

    return SystemClock().stamp().utc


def writer(data: Path, by: str) -> "Writer":
    """Return who writes, in whose name: the one named, or who is logged in."""
    import os

    from gateway.admin.control import user_name
    from gateway.servicelevel.book import Writer
    from gateway.servicelevel.records import Records

    return Writer(Records(data), now_utc(), by or user_name(os.getuid()))


def written(write: Any) -> "Record":
    """Return what was put on record; end with exit 2 when it is refused."""
    try:
        record: Record = write()
    except ValueError as error:
        fail(str(error), 2)
    except OSError as error:
        _unreadable(error)
    return record


def told_record(data: Path, record: "Record", done: tuple[str, str], as_json: bool) -> None:
    """Put the act into the audit trail, and say its number."""
    from gateway.cli.auditing import put_on_record

    operation, change = done
    put_on_record(data, operation, f"record {record.number}", [change])
    if as_json:
        print_json(
            {"number": record.number, "at": record.at, "by": record.by, "kind": record.kind}
            | {"values": dict(record.values)}
        )
    else:
        typer.echo(f"recorded as no. {record.number}")
