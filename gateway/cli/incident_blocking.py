"""``tidegate incident block|lift``: a source is kept out, and let in again, by hand."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.incident_record import (
    EXIT_BUSY,
    Done,
    NumberArgument,
    ReasonOption,
    Refused,
    changed,
    moment,
    say,
    the_reader,
)
from gateway.cli.options import ConfigOption, JsonOption, fail, load_snapshot
from gateway.cli.reach import reachable

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
    reachable(snapshot.config.data)
    seconds = _seconds(for_) if for_ else snapshot.config.incidents.block
    protection = _protection(snapshot)

    def act(change: "Change") -> Done | Refused:
        incident, until = change.incident(number), change.at + seconds
        why = blocking.block(change, incident, protection, how=blocking.BY_HAND, reason=reason, until=until)
        if why:
            return Refused(f"incident {number}: not blocked: {why}")
        told = f"{incident.source} blocked until {moment(until)}: {reason}"
        return Done((told,), {"incident": number, "done": told})

    done = changed(snapshot.config.data, "incident block", f"incident {number}", act)
    _enforce(snapshot)
    say(done, f"incident {number}: {done.value['done']}", as_json=as_json)


def lift(
    number: NumberArgument, reason: ReasonOption, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Lift the block of an incident's source; exit 1 when none stands."""
    from gateway.abuse import blocking
    from gateway.incidents.suspensions import suspensions_of

    snapshot = load_snapshot(config)
    reachable(snapshot.config.data)

    def act(change: "Change") -> Done | Refused:
        incident = change.incident(number)
        ended = blocking.lift(change, incident, reason)
        held = [each.sender for each in suspensions_of(change.execute, number) if each.ended_at is None]
        still = f"; suspended for it: {', '.join(held)}, see `account restore`" if held else ""
        if not ended:
            return Refused(f"incident {number}: no block of {incident.source.key} stands{still}")
        told = f"block of {incident.source.key} lifted: {reason}{still}"
        return Done((told,), {"incident": number, "done": told})

    done = changed(snapshot.config.data, "incident lift", f"incident {number}", act)
    _enforce(snapshot)
    say(done, f"incident {number}: {done.value['done']}", as_json=as_json)


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
