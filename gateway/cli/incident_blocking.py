"""``tidegate incident block|lift``: a source is kept out, and let in again, by hand."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.incident_record import EXIT_BUSY, NumberArgument, ReasonOption, changed, the_reader
from gateway.cli.options import ConfigOption, JsonOption, fail, load_snapshot, print_json

if TYPE_CHECKING:
    from gateway.abuse.protection import Protection
    from gateway.config.snapshot import Snapshot
    from gateway.incidents import Change


def block(
    number: NumberArgument,
    reason: ReasonOption,
    *,
    for_: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long at most; default: incidents.block.")
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Block an incident's source in all workers within a second; exit 1 where it covers what must not be blocked."""
    from gateway.abuse import blocking

    snapshot = load_snapshot(config)
    seconds = _seconds(for_) if for_ else snapshot.config.incidents.block
    protection = _protection(snapshot)
    refusal = ""

    def act(change: "Change") -> str:
        nonlocal refusal
        incident, until = change.incident(number), change.at + seconds
        refusal = blocking.block(change, incident, protection, how=blocking.BY_HAND, reason=reason, until=until)
        return f"not blocked: {refusal}" if refusal else f"{incident.source} blocked: {reason}"

    told = changed(snapshot.config.data, number, "incident block", act)
    if refusal:
        fail(f"incident {number}: {told}")
    _enforce(snapshot)
    _tell(told, number, as_json=as_json)


def lift(
    number: NumberArgument, reason: ReasonOption, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Lift the block of an incident's source; exit 1 when none stands."""
    from gateway.abuse import blocking

    snapshot = load_snapshot(config)
    ended = 0

    def act(change: "Change") -> str:
        nonlocal ended
        ended = blocking.lift(change, change.incident(number), reason)
        return f"block lifted: {reason}" if ended else "no block stands"

    told = changed(snapshot.config.data, number, "incident lift", act)
    if not ended:
        fail(f"incident {number}: {told}")
    _enforce(snapshot)
    _tell(told, number, as_json=as_json)


def _seconds(text: str) -> float:
    from gateway.config.units import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"--for {text}: {error}") from error
    if not seconds:
        raise typer.BadParameter("--for: a block lasts for some time")
    return seconds


def _protection(snapshot: "Snapshot") -> "Protection":
    from gateway.abuse.protection import Protection, host_names, resolve
    from gateway.blocklist.local.lists import LocalLists

    hosts = {name: resolve(name) for name in host_names(snapshot)}
    return Protection(snapshot, LocalLists(snapshot.config.data), hosts)


def _enforce(snapshot: "Snapshot") -> None:
    """Make the local list say what is on record; a gateway that serves does it too, when it next looks."""
    from gateway.abuse.blocking import enforce
    from gateway.blocklist.local.keeping import ListKeeper
    from gateway.clock import SystemClock
    from gateway.config.problem import ConfigError
    from gateway.storage import StorageError

    data: Path = snapshot.config.data
    clock = SystemClock()
    try:
        with the_reader(data) as reader:
            enforce(reader.rows, ListKeeper(snapshot.config.blocklists, data, clock=clock), clock)
    except (StorageError, ConfigError, OSError) as error:
        fail(f"it is on record, but the lists cannot be written: {error}", EXIT_BUSY)


def _tell(done: str, number: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"incident": number, "done": done})
    else:
        typer.echo(f"incident {number}: {done}")
