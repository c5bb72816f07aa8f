"""``tidegate account``: senders of ours suspended after spam, and restored on a written guarantee (contract.md §4)."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.incident_record import (
    EXIT_BUSY,
    CsvOption,
    Done,
    ReasonOption,
    changed,
    moment,
    operator,
    print_rows,
    say,
    the_reader,
)
from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, fail, load_snapshot
from gateway.cli.reach import data_folder, reachable

if TYPE_CHECKING:
    from gateway.config.snapshot import Snapshot
    from gateway.incidents import Change, Source

app = typer.Typer(no_args_is_help=True, help="Senders of ours: suspended after spam, restored on a written guarantee.")

Sender = Annotated[
    str,
    typer.Argument(metavar="SENDER", help="A mailbox, a whole domain, or a relay client's address or network."),
]
IncidentOption = Annotated[
    int | None, typer.Option("--incident", metavar="NUMBER", help="For which incident; default: the sender's own.")
]


@app.command()
def suspend(
    sender: Sender,
    reason: ReasonOption,
    *,
    incident: IncidentOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse a sender of ours in all workers within a second, with 550 5.7.1 and the abuse contact."""
    from gateway.abuse import suspending
    from gateway.abuse.blocking import BY_HAND
    from gateway.incidents.suspensions import suspensions

    snapshot = load_snapshot(config)
    reachable(snapshot.config.data)
    source = ours(sender, snapshot)

    def act(change: "Change") -> Done:
        case = change.incident(incident) if incident is not None else None
        number = suspending.suspend(change, source, how=BY_HAND, reason=reason, incident=case)
        found = next(each for each in suspensions(change.execute) if each.id == number)
        told = {"sender": found.sender, "incident": found.incident, "suspension": number}
        return Done((*(f"{name}: {value}" for name, value in told.items()), f"reason: {reason}"), told)

    done = changed(snapshot.config.data, "account suspend", source.key, act)
    publish(snapshot.config.data)
    _keep_data(snapshot, source, reason)
    say(done, f"{source.key} is suspended for incident {done.value['incident']}", as_json=as_json)


@app.command()
def restore(
    sender: Sender,
    *,
    guarantee: Annotated[
        int | None, typer.Option("--guarantee", metavar="NUMBER", help="On which; default: the newest that fits.")
    ] = None,
    override: Annotated[
        str, typer.Option("--override", metavar="REASON", help="Restore without one; the reason is on record.")
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a suspended sender send again: on a written guarantee that is on record and covers it; exit 1 without."""
    from gateway.abuse import suspending
    from gateway.incidents.guarantees import Letters
    from gateway.incidents.schema import FOLDER

    if override and not override.strip():
        raise typer.BadParameter("--override: a reason says something")
    if guarantee is not None and override:
        raise typer.BadParameter("--guarantee and --override exclude each other")
    data = data_folder(config)
    source = source_of(sender)

    def act(change: "Change") -> Done:
        before = suspending.restore(change, source, Letters(data / FOLDER), on=guarantee, override=override)
        ended = change.execute("SELECT guarantee FROM suspension WHERE id = ?", (before.id,))[0][0]
        on = f"without a guarantee: {override}" if override else f"on guarantee {ended}"
        told = {"sender": before.sender, "incident": before.incident, "guarantee": ended, "restored": on}
        return Done((f"incident: {before.incident}", f"restored: {on}"), told)

    done = changed(data, "account restore", source.key, act)
    publish(data)
    say(done, f"{source.key} is restored {done.value['restored']}", as_json=as_json)


@app.command("list")
def list_(
    *,
    ended: Annotated[bool, typer.Option("--all", help="Those that were restored as well.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """List suspended senders, with what they still tried. Exit 1 for none."""
    from gateway.incidents.suspensions import suspensions

    with the_reader(data_folder(config)) as reader:
        rows = [asdict(each) for each in suspensions(reader.rows, ended=ended)]
    columns: dict[str, Callable[[Any], str]] = {
        "sender": str,
        "incident": str,
        "began_at": moment,
        "by": str,
        "reason": str,
        "attempts": str,
        "ended_at": moment,
    }
    print_rows(rows, columns, as_json=as_json, as_csv=as_csv)
    if not rows:
        raise typer.Exit(EXIT_NEGATIVE)


# Steps ----------------------------------------------------------------------------------------------------------------


def source_of(sender: str) -> "Source":
    """Return who is meant: a network is a relay client, anything else an account; ends where it is neither."""
    from ipaddress import ip_network

    from gateway.config.fields import domain_name, mailbox
    from gateway.incidents import Source, SourceKind

    try:
        network = ip_network(sender, strict=False)
    except ValueError:
        pass
    else:
        if network.num_addresses == 1:
            return Source.at(str(network.network_address), SourceKind.CLIENT)
        return Source(SourceKind.CLIENT, str(network))
    try:
        if "@" in sender.removeprefix("@"):
            return Source(SourceKind.ACCOUNT, mailbox(sender).key)
        return Source(SourceKind.ACCOUNT, "@" + domain_name(sender.removeprefix("@")))
    except ValueError as error:
        raise typer.BadParameter(f"{sender}: a mailbox, a domain, an IP address or a network is wanted") from error


def ours(sender: str, snapshot: "Snapshot") -> "Source":
    """Return who of our own senders is meant; ends with status 2 where no policy or relay listener knows it."""
    from ipaddress import ip_network

    from gateway.abuse.sightings import Neighbourhood
    from gateway.incidents import SourceKind

    source, near = source_of(sender), Neighbourhood.of(snapshot)
    if source.kind is SourceKind.ACCOUNT and source.key.rpartition("@")[2] not in near.domains:
        fail(f"{source.key} is no sender of ours: no policy has its domain", 2)
    if source.kind is SourceKind.CLIENT:
        network = ip_network(source.key)
        if not any(each.version == network.version and each.overlaps(network) for each in near.relay_networks):
            fail(f"{source.key} is no sender of ours: no relay listener takes mail from it; block its incident", 2)
    return source


def publish(data: Path) -> None:
    """Write what the workers follow; a gateway that serves does it too, at its next start."""
    from gateway.abuse import suspending
    from gateway.incidents.schema import FOLDER
    from gateway.storage import StorageError

    try:
        with the_reader(data) as reader:
            suspending.publish(reader.rows, data / FOLDER)
    except (StorageError, OSError) as error:
        fail(f"it is on record, but the workers cannot be told: {error}", EXIT_BUSY)


def _keep_data(snapshot: "Snapshot", source: "Source", reason: str) -> None:
    """Have a locked account's data kept (contract.md §7)."""
    from gateway.app.incidents import keep_data
    from gateway.backup.errors import BackupError
    from gateway.clock import SystemClock

    if "@" not in source.key:
        return
    account = source.key.removeprefix("@")
    try:
        kept = keep_data(snapshot.config, account, reason, operator(), SystemClock().stamp().utc)
    except (BackupError, OSError) as error:
        typer.echo(f"the data of {account} is not kept: {error}; see `tidegate backup keep`", err=True)
        return
    if not kept:
        typer.echo(f"no [backup] folder is configured: nothing keeps the data of {account} for 90 days", err=True)
