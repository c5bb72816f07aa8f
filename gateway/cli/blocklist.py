"""``tidegate blocklist``: what the local lists say and hold, additions, editions and their deadlines."""

import os
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from gateway.cli.auditing import put_on_record
from gateway.cli.blocklist_showing import (
    deadline_text,
    listing_row,
    print_additions,
    print_editions,
    print_listings,
    print_lists,
    say_alarms,
)
from gateway.cli.options import (
    EXIT_NEGATIVE,
    ConfigOption,
    JsonOption,
    config_path,
    fail,
    print_json,
    print_problems,
)
from gateway.cli.reach import EXIT_UNAVAILABLE, data_folder

if TYPE_CHECKING:
    from gateway.blocklist.local.editions import Edition
    from gateway.blocklist.local.keeping import ListKeeper
    from gateway.blocklist.local.lists import LocalLists
    from gateway.blocklist.local.workdays import WorkingCalendar
    from gateway.journal.events import Event

app = typer.Typer(no_args_is_help=True, help="Show and change the local block and allow lists.")

# sysexits.h EX_DATAERR, EX_NOINPUT and EX_CONFIG
_EXIT_DATA, _EXIT_NO_INPUT, _EXIT_CONFIG = 65, 66, 78

T = TypeVar("T")

Entry = Annotated[str, typer.Argument(help="Address, network, range, domain, mailbox, URL or SHA-256.")]
ListName = Annotated[str, typer.Argument(metavar="LIST", help="A list's name, as `blocklist list` shows it.")]
ListOption = Annotated[str, typer.Option("--list", metavar="LIST", help="The list's name.")]
Reason = Annotated[str, typer.Option(help="Why, as the reply to a refused mail may say it.")]


# Looking --------------------------------------------------------------------------------------------------------------


@app.command("list")
def list_lists(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print every list: how many entries it has, which edition serves, and what keeps it from being up to date."""
    lists = _lists(config)
    if as_json:
        faults = dict(lists.faults)
        rows = [asdict(each) | {"fault": faults.get(each.name, "")} for each in lists.served]
        print_json({"lists": rows, "undeclared": lists.undeclared})
        return
    print_lists(lists)


@app.command()
def check(
    identity: Annotated[str, typer.Argument(help="IP address, name, mailbox, URL or SHA-256 of an attachment.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print every listing of an identity, with list, entry, reason and times; exit 1 when no list has it."""
    from gateway.blocklist.local.question import ask_anything
    from gateway.clock import SystemClock

    question = ask_anything(identity)
    if question is None:
        fail(f"{identity}: an IP address, a domain, a mailbox, a URL or a SHA-256 is wanted", 2)
    answer = _lists(config).anywhere(question, SystemClock().stamp().utc)
    if as_json:
        unusable = [{"list": name, "why": why} for name, why in answer.unusable]
        print_json(
            {
                "identity": question.text,
                "listings": [listing_row(each) for each in answer.listings],
                "allowed": bool(answer.allowed),
                "unusable": unusable,
            }
        )
    else:
        print_listings(answer.listings)
        for name, why in answer.unusable:
            typer.echo(f"{name} cannot answer: {why}", err=True)
    if not answer.listings:
        if not as_json:
            typer.echo(f"{question.text} is on no list", err=True)
        raise typer.Exit(EXIT_NEGATIVE)


@app.command()
def history(
    name: Annotated[str, typer.Argument(metavar="[LIST]", help="Only this list.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print every edition: published, applied, its deadline met or missed; and what operators added and removed."""
    from gateway.clock import SystemClock

    keeper, now = _keeper(config), SystemClock().stamp().utc
    editions = _done(lambda: keeper.store.editions(name))
    additions = _done(lambda: keeper.store.additions(name, ended=True))
    if as_json:
        rows = [asdict(each) | {"met": each.met(now)} for each in editions]
        print_json({"editions": rows, "additions": [asdict(each) for each in additions]})
        return
    print_editions(editions, now, _calendar(keeper))
    print_additions(additions)
    if not editions and not additions:
        fail(f"nothing is on record{f' for {name}' if name else ''}")


# Changing -------------------------------------------------------------------------------------------------------------


@app.command()
def add(
    entry: Entry,
    *,
    name: ListOption,
    reason: Reason,
    owner: Annotated[str, typer.Option(help="Who answers for it; default: you.")] = "",
    until: Annotated[str, typer.Option(metavar="DATE", help="When it ends: 2027-01-31, or with a time.")] = "",
    config: ConfigOption = None,
) -> None:
    """Put an entry on a list, beside what its source says; it serves within seconds."""
    ends = _until(until)
    keeper = _keeper(config)
    _check_width(entry)
    _tell(_done(lambda: keeper.add(_addition(entry, name, reason, owner, ends, excluded=False))), config)
    typer.echo(f"{entry} is on {name} now{f' until {until}' if until else ''}")
    put_on_record(
        data_folder(config), "blocklist add", name, [f"{entry}: {reason}{f', until {until}' if until else ''}"]
    )


@app.command()
def remove(
    entry: Entry,
    *,
    name: ListOption,
    reason: Reason = "",
    owner: Annotated[str, typer.Option(help="Who answers for it; default: you.")] = "",
    until: Annotated[str, typer.Option(metavar="DATE", help="When the list's source may say it again.")] = "",
    in_advance: Annotated[
        bool, typer.Option("--in-advance", help="Exclude it although the list's source does not say it, or not yet.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Take an entry off a list: what was added ends; what the source says is excluded, for which a reason is wanted."""
    ends = _until(until)
    keeper = _keeper(config)
    _check_entry(entry)
    _done(lambda: keeper.declared(name))
    added, excluded = _said_by_command(keeper, entry, name)
    if added:
        _tell(_done(lambda: keeper.withdraw(name, entry, _who()))[1], config)
        typer.echo(f"what was added to {name} by command is gone: {entry}")
        put_on_record(data_folder(config), "blocklist remove", name, [entry])
        if not _source_says(entry, name, config):
            return
        typer.echo(f"the source of {name} says {entry} too", err=True)
    elif not in_advance and not excluded and not _source_says(entry, name, config):
        fail(
            f"{name} does not list {entry}: there is nothing to remove. `tidegate blocklist check {entry}` shows who "
            f"lists it; --in-advance excludes it from what the source of {name} may say later"
        )
    if not reason:
        fail("an entry of the list's source is excluded by --reason REASON", 2)
    _tell(_done(lambda: keeper.add(_addition(entry, name, reason, owner, ends, excluded=True))), config)
    typer.echo(f"{entry} is excluded from {name} now{f' until {until}' if until else ''}")
    put_on_record(data_folder(config), "blocklist remove", name, [f"{entry} excluded: {reason}"])


@app.command("import")
def import_edition(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The edition, in any format that lists have.")],
    *,
    source: Annotated[str, typer.Option(help="Whose list: `source` of its declaration, such as association.")] = "",
    name: ListOption = "",
    published: Annotated[
        str, typer.Option(metavar="TIME", help="When it was published, such as 2026-11-20T10:00; default: now.")
    ] = "",
    config: ConfigOption = None,
) -> None:
    """Record an edition of a list and put it into force; exit 65 when it is held back or refused."""
    from gateway.blocklist.local.keeping import Arrival
    from gateway.clock import SystemClock

    keeper = _keeper(config)
    target = name or _named_by_source(keeper, source)
    now = SystemClock().stamp().utc
    at = _published(published, _calendar(keeper), now)
    arrival = Arrival(
        octets=_octets(file),
        how="import",
        origin=str(file),
        who=_who(),
        published=at,
        published_known=bool(published),
    )
    edition, events = _done(lambda: keeper.take_edition(target, arrival))
    _report(keeper, edition, events, "import", config)


@app.command()
def accept(name: ListName, config: ConfigOption = None) -> None:
    """Put the newest edition into force although it was held back: it jumped, or lists half the world."""
    keeper = _keeper(config)
    edition, events = _done(lambda: keeper.accept(name, _who()))
    _report(keeper, edition, events, "accept", config)


@app.command()
def rollback(
    name: ListName,
    edition: Annotated[int, typer.Argument(help="The number of an edition, as `blocklist history` shows it.")],
    config: ConfigOption = None,
) -> None:
    """Serve an earlier edition of a list again; the record says so."""
    keeper = _keeper(config)
    found, events = _done(lambda: keeper.roll_back(name, edition, _who()))
    _report(keeper, found, events, f"rollback to {edition}", config)


@app.command()
def update(config: ConfigOption = None) -> None:
    """Bring every list up to date now, asking every source; exit 65 when one could not be."""
    from gateway.blocklist.local.keeping import Asking
    from gateway.journal.guard_events import ListOverdue, ListWithheld

    keeper = _keeper(config)
    events = _done(lambda: keeper.update(Asking.ALL))
    _tell(events, config)
    lists = _lists(config)
    print_lists(lists)
    if any(isinstance(event, ListWithheld | ListOverdue) for event in events):
        raise typer.Exit(_EXIT_DATA)


# Steps ----------------------------------------------------------------------------------------------------------------


def lists_folder(option: Path | None) -> Path:
    """Return the folder of lists that the configuration names; only that key is read, as ``data_folder`` does."""
    from gateway.config.embedded import shipped
    from gateway.config.models import GatewayConfig

    path = config_path(option)
    if path is None:
        return shipped("blocklists")
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8")).get("blocklists")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fail(f"{path}: {error}", _EXIT_CONFIG)
    default = str(GatewayConfig.model_fields["blocklists"].default)
    return (path.parent / (written if isinstance(written, str) else default)).absolute()


def _keeper(config: Path | None) -> "ListKeeper":
    from gateway.blocklist.local.keeping import ListKeeper
    from gateway.clock import SystemClock

    return ListKeeper(lists_folder(config), data_folder(config), clock=SystemClock())


def _lists(config: Path | None) -> "LocalLists":
    from gateway.blocklist.local.lists import LocalLists

    data = data_folder(config)
    lists = LocalLists(data)
    if not lists.refresh():
        fail(f"no list was ever kept under {data}; `tidegate blocklist update` does it", EXIT_UNAVAILABLE)
    return lists


def _done(work: Callable[[], T]) -> T:
    """Return what some work with the keeper gives; end with what it was refused for."""
    from gateway.blocklist.local.keeping import RefusedError
    from gateway.config.problem import ConfigError
    from gateway.storage import StorageError

    try:
        return work()
    except RefusedError as error:
        fail(str(error))
    except ConfigError as error:
        print_problems(error)
        raise typer.Exit(_EXIT_CONFIG) from None
    except (StorageError, OSError) as error:
        fail(str(error), EXIT_UNAVAILABLE)


def _calendar(keeper: "ListKeeper") -> "WorkingCalendar":
    from gateway.blocklist.local.workdays import WorkingCalendar

    return WorkingCalendar(_done(keeper.declarations).calendar)


def _named_by_source(keeper: "ListKeeper", source: str) -> str:
    if not source:
        fail("say whose list it is: --source association, or --list LIST", 2)
    names = [each.name for each in _done(keeper.declarations).lists if each.source == source and not each.file]
    if not names:
        fail(f'no list without a file of its own has source = "{source}" in lists.toml')
    if len(names) > 1:
        fail(f"several lists have the source {source}: {', '.join(names)}; say which by --list", 2)
    return names[0]


def _addition(entry: str, name: str, reason: str, owner: str, until: float | None, *, excluded: bool) -> Any:
    from gateway.blocklist.local.collected import clean
    from gateway.blocklist.local.editions import Addition
    from gateway.clock import SystemClock

    _check_entry(entry)
    who = _who()
    return Addition(
        list=name,
        entry=entry,
        excluded=excluded,
        reason=clean(reason),
        owner=clean(owner) or who,
        who=who,
        since=SystemClock().stamp().utc,
        until=until,
    )


def _check_entry(entry: str) -> None:
    from gateway.blocklist.local.entry import EntryError, parse_entry

    try:
        parse_entry(entry)
    except EntryError as error:
        fail(f"{entry}: {error}", 2)


def _check_width(entry: str) -> None:
    from gateway.blocklist.local.entry import Span, is_too_wide, parse_entry

    _check_entry(entry)
    target = parse_entry(entry)
    if isinstance(target, Span) and is_too_wide(target.version, target.breadth):
        fail(f"{entry}: more addresses than an IPv4 /8 or an IPv6 /12 has; add its parts if they are meant", 2)


def _said_by_command(keeper: "ListKeeper", entry: str, name: str) -> tuple[bool, bool]:
    """Return whether an operator has added the entry to the list, and whether one has excluded it."""
    from gateway.blocklist.local.entry import same_entry

    words = [each.excluded for each in _done(lambda: keeper.store.additions(name)) if same_entry(each.entry, entry)]
    return False in words, True in words


def _source_says(entry: str, name: str, config: Path | None) -> bool:
    from gateway.blocklist.local.source import says
    from gateway.clock import SystemClock

    source = _lists(config).source_of(name)
    return source is not None and says(source, entry, SystemClock().stamp().utc)


def _until(text: str) -> float | None:
    from gateway.blocklist.local.fields import instant
    from gateway.clock import SystemClock

    try:
        ends = instant(text, last=True)
    except ValueError as error:
        fail(f"--until {text}: {error}", 2)
    if ends is not None and ends <= SystemClock().stamp().utc:
        fail(f"--until {text} is over", 2)
    return ends


def _published(text: str, calendar: "WorkingCalendar", now: float) -> float:
    if not text:
        return now
    try:
        at = calendar.parse(text)
    except ValueError:
        fail(f"--published {text}: a time such as 2026-11-20T10:00 or 2026-11-20T10:00+08:00 is wanted", 2)
    if at > now:
        fail(f"--published {text} lies in the future", 2)
    return at


def _octets(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        fail(f"{file}: {error.strerror}", _EXIT_NO_INPUT)


def _tell(events: Sequence["Event"], config: Path | None) -> None:
    """Say alarms, and have the journal, the log and the metrics tell of them as if the gateway had done the work."""
    from gateway.blocklist.local.telling import COMMAND
    from gateway.cli.telling import tell

    say_alarms(events)
    if events:
        tell(data_folder(config), COMMAND, events)


def _who() -> str:
    from gateway.admin.control import user_name

    return user_name(os.getuid())


def _report(
    keeper: "ListKeeper", edition: "Edition", events: Sequence["Event"], what: str, config: Path | None
) -> None:
    from gateway.blocklist.local.editions import State
    from gateway.clock import SystemClock

    _tell(events, config)
    told = f"edition {edition.number} of {edition.list}: {edition.state}, {edition.entries} entries"
    if edition.state is State.APPLIED:
        told += f", {edition.added} added, {edition.removed} removed"
    told += deadline_text(edition, SystemClock().stamp().utc, _calendar(keeper))
    typer.echo(told)
    put_on_record(data_folder(config), f"blocklist {what}", edition.list, [told])
    if edition.state is not State.APPLIED:
        raise typer.Exit(_EXIT_DATA)
