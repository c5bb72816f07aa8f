"""``tidegate queue``: what waits, is held or quarantined; through the gateway, or on its spool while none serves."""

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, fail, print_json
from gateway.cli.reach import EXIT_UNAVAILABLE, call, data_folder, give_up, on_terminal

if TYPE_CHECKING:
    from gateway.admin.protocol import Outcome, QueuedMessage, QueuedRecipient

app = typer.Typer(no_args_is_help=True, help="List and change what is queued, held and quarantined.")

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Trace ids of messages.")]
Recipient = Annotated[str, typer.Option(help="Only copies for this address.")]
Domain = Annotated[str, typer.Option(help="Only copies for recipients of this domain.")]
Route = Annotated[
    str, typer.Option("--next-hop", "--route", help="Only copies for this route, as `queue list` shows it.")
]
OlderThan = Annotated[
    str, typer.Option(metavar="DURATION", help="Only messages received longer ago, such as 30m or 2d.")
]
State = Annotated[list[str] | None, typer.Option(help="Only copies in this state: queued, held, quarantined.")]
All = Annotated[bool, typer.Option("--all", help="Every message that the options select.")]


@app.command("list")
def list_messages(
    *,
    recipient: Recipient = "",
    domain: Domain = "",
    route: Route = "",
    older_than: OlderThan = "",
    state: State = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Copies shown at most.")] = 1000,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what is in custody, oldest first, a line a recipient."""
    chosen = selection(recipient=recipient, domain=domain, route=route, older_than=older_than, states=state)
    result = ask("queue.list", chosen | {"limit": limit}, config)
    if as_json:
        print_json(result)
        return
    _print_list(result["messages"])
    if result["more"]:
        typer.echo(f"more than {limit} copies; narrow the selection or raise --limit", err=True)


@app.command()
def show(
    ids: Annotated[list[str], typer.Argument(metavar="ID...")], config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Print everything about messages in custody: envelope, attempts, the beginning of the header section."""
    result = ask("queue.show", {"ids": ids}, config)
    if as_json:
        print_json(result)
    else:
        for message in result["messages"]:
            _print_message(message)
    missing = sorted(set(ids) - {message["id"] for message in result["messages"]})
    if missing:
        fail(f"not in custody: {', '.join(missing)}; `tidegate trace ID` tells what became of a message")


@app.command()
def flush(
    ids: Ids = None,
    *,
    recipient: Recipient = "",
    domain: Domain = "",
    route: Route = "",
    older_than: OlderThan = "",
    config: ConfigOption = None,
) -> None:
    """Try to deliver queued copies now; all of them when nothing is selected."""
    _change("flush", selection(ids, recipient, domain, route, older_than), config)


@app.command()
def hold(
    ids: Ids = None,
    *,
    recipient: Recipient = "",
    domain: Domain = "",
    route: Route = "",
    older_than: OlderThan = "",
    config: ConfigOption = None,
) -> None:
    """Keep queued copies back until they are released; all of them when nothing is selected."""
    _change("hold", selection(ids, recipient, domain, route, older_than), config)


@app.command()
def release(
    ids: Ids = None,
    *,
    recipient: Recipient = "",
    domain: Domain = "",
    route: Route = "",
    older_than: OlderThan = "",
    state: State = None,
    everything: All = False,
    config: ConfigOption = None,
) -> None:
    """Deliver held copies; quarantined ones are scanned on their way out, by ``quarantine release``."""
    chosen = selection(ids, recipient, domain, route, older_than, state)
    if not chosen and not everything:
        fail("say which: ids, an option that selects, or --all", 2)
    _change("release", chosen | {"everything": everything}, config)


@app.command()
def drop(
    ids: Ids = None,
    *,
    recipient: Recipient = "",
    domain: Domain = "",
    route: Route = "",
    older_than: OlderThan = "",
    state: State = None,
    everything: All = False,
    config: ConfigOption = None,
) -> None:
    """Remove copies undelivered, without a notice to anybody; wants ids, or --all for everything the options select."""
    if not ids and not everything:
        fail("say which: ids, or --all for every message that the options select", 2)
    _change("drop", selection(ids, recipient, domain, route, older_than, state) | {"everything": everything}, config)


def selection(
    ids: Sequence[str] | None = None,
    recipient: str = "",
    domain: str = "",
    route: str = "",
    older_than: str = "",
    states: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return what is selected as arguments of a command: those that were given."""
    seconds = 0.0
    if older_than:
        from gateway.config.units import parse_duration

        try:
            seconds = parse_duration(older_than)
        except ValueError as error:
            fail(f"--older-than {older_than}: {error}", 2)
    given = {
        "ids": list(ids or ()),
        "recipient": recipient,
        "domain": domain,
        "route": route,
        "older_than_seconds": seconds,
        "states": list(states or ()),
    }
    return {name: value for name, value in given.items() if value}


def _change(operation: str, arguments: dict[str, Any], config: Path | None) -> None:
    changed = ask(f"queue.{operation}", arguments, config)["changed"]
    words = {"flush": "made due now", "hold": "held", "release": "released", "drop": "dropped"}
    typer.echo(f"{changed} {'copy' if changed == 1 else 'copies'} {words[operation]}")
    if not changed and arguments:
        if operation == "release":
            typer.echo("what is in quarantine is released by `tidegate quarantine release`", err=True)
        raise typer.Exit(EXIT_NEGATIVE)


def ask(command: str, arguments: dict[str, Any], config: Path | None) -> dict[str, Any]:
    """Return the result, from the gateway, or from its spool when none serves it."""
    from gateway.admin.protocol import Done

    data = data_folder(config)
    outcome = call(data, command, arguments)
    if not isinstance(outcome, Done) and outcome.code == "unavailable":
        outcome = _ask_spool(data, command, arguments)
    if not isinstance(outcome, Done):
        give_up(data, outcome)
    return outcome.result


def _ask_spool(data: Path, command: str, arguments: dict[str, Any]) -> "Outcome":
    from gateway.app.lock import is_held

    if is_held(data):
        fail(f"a gateway holds {data} but does not answer yet; it is starting or stopping, try again", EXIT_UNAVAILABLE)
    if not (data / "spool").is_dir():
        fail(f"there is no spool under {data}; --config names the configuration of the gateway meant", EXIT_UNAVAILABLE)
    return asyncio.run(_on_stopped(data, command, arguments))


async def _on_stopped(data: Path, command: str, arguments: dict[str, Any]) -> "Outcome":
    from gateway.admin.control import user_name
    from gateway.admin.dropped import dropped_rows
    from gateway.admin.protocol import Done, Failed, RefusedError
    from gateway.admin.quarantine import QuarantineDesk
    from gateway.admin.queue import QueueDesk
    from gateway.app.stores import shard_settings
    from gateway.clock import SystemClock
    from gateway.journal.sinks import Recorded
    from gateway.journal.store import Journal
    from gateway.spool.custody import Custody
    from gateway.storage import StorageError

    clock = SystemClock()
    try:
        # Nobody serves, so the first worker's journal is free for the audit.
        journal = Journal(data / "journal", 0, clock=clock, failures=Recorded())
        custody = await asyncio.to_thread(Custody.open_stopped, shard_settings(data, clock))
        try:
            queue = QueueDesk(custody, clock=clock, events=journal, records=dropped_rows(clock))
            kept = QuarantineDesk(custody, queue, clock=clock, events=journal, way_out=None)
            desk = queue if command.startswith("queue.") else kept
            return Done(await desk.handle(command, arguments | {"operator": user_name(os.getuid())}))
        finally:
            await journal.close()
            await asyncio.to_thread(custody.close_now)
    except RefusedError as error:
        return Failed("refused", str(error))
    except StorageError as error:
        return Failed("failed", str(error))


def _print_list(messages: "Sequence[QueuedMessage]") -> None:
    from gateway.cli.table import print_table

    rows = [_row(message, copy) for message in messages for copy in message["recipients"]]
    print_table(("id", "received", "octets", "state", "from", "to", "next hop", "next attempt", "last answer"), rows)
    if not rows and on_terminal():
        typer.echo("nothing in custody")


def _row(message: "QueuedMessage", copy: "QueuedRecipient") -> tuple[str, ...]:
    waiting = copy["state"] == "queued"
    return (
        message["id"],
        when(message["received_at"]),
        str(message["octets"]),
        copy["state"],
        f"<{message['reverse_path']}>",
        f"<{copy['recipient']}>",
        copy["route"],
        when(copy["due"]) if waiting else "-",
        (copy["last"] if waiting else copy["reason"]) or "-",
    )


def _print_message(message: "QueuedMessage") -> None:
    from gateway.admin.lines import printable

    lines = [
        f"{message['id']}  {message['origin']}, {message['octets']} octets, received {when(message['received_at'])}",
        f"  from      <{message['reverse_path']}>, client [{message['client']}], {message['message_id'] or '-'}",
    ]
    for copy in message["recipients"]:
        why = f", {copy['action']}, score {copy['score']:g}" + (f" ({copy['reason']})" if copy["reason"] else "")
        due = f", next attempt {when(copy['due'])}" if copy["state"] == "queued" else ""
        lines.append(f"  to        <{copy['recipient']}> {copy['state']}{due}, next hop {copy['route']}{why}")
        lines += [
            f"  attempt   {when(a['at'])} {a['status']} by {a['relay'] or a['next_hop']} at {a['phase']}: {a['reply']}"
            for a in copy.get("history", ())
        ]
    for line in lines:
        typer.echo(printable(line))
    for line in message.get("header", "").splitlines():
        typer.echo(f"  | {printable(line.expandtabs())}")


def when(at: float) -> str:
    """Return a time as listings show it."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}Z"
