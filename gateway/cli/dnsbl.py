"""``tidegate dnsbl check`` and ``dnsbl health``: ask the DNS lists of the policies by hand."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, fail, load_snapshot, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.blocklist.dns.configured import ConfiguredList
    from gateway.blocklist.dns.health import WatchedZone, ZoneHealth
    from gateway.blocklist.dns.query import Subject
    from gateway.blocklist.dns.reading import Reading
    from gateway.config.models import Dns

app = typer.Typer(no_args_is_help=True, help="Ask the lists in the DNS: is something listed, are the lists well.")

# sysexits.h EX_TEMPFAIL: nothing is known to be listed, and not every list could tell.
EXIT_UNKNOWN = 75
# A person waits; lists that take longer are told as such.
_BUDGET_SECONDS = 10.0

ZoneOption = Annotated[
    list[str] | None,
    typer.Option("--zone", metavar="ZONE", help="Ask this zone, and only those given so; several are allowed."),
]


@app.command()
def check(
    identity: Annotated[
        str, typer.Argument(metavar="IDENTITY", help="An IP address, a domain, an address in one, or a URL.")
    ],
    zone: ZoneOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look an address or a domain up on every list; exit 1 when it is on one with a positive score, 75 when unknown.

    A name is asked about as mail would be: by its registrable domain, and whole.
    """
    from gateway.blocklist.dns.query import all_of_text
    from gateway.blocklist.dns.reading import Outcome
    from gateway.smtp.domain import DomainError

    snapshot = load_snapshot(config)
    try:
        subjects = all_of_text(identity)
    except DomainError as error:
        raise typer.BadParameter(f"{identity} is neither an IP address nor a domain nor a URL: {error}") from error
    readings = asyncio.run(_ask(subjects, _lists(snapshot.policies, zone, subjects[-1]), snapshot.config.dns))
    # Two filters may ask one list; where they weigh it differently, both are told.
    rows = [dict(row) for row in dict.fromkeys(tuple(_row(reading).items()) for reading in readings)]
    if as_json:
        print_json({"identity": subjects[-1].shown, "lists": rows})
    else:
        _print(("identity", "zone", "result", "code", "score", "text"), rows)
    if any(reading.listing and (reading.listing.weight or 0.0) > 0 for reading in readings):
        raise typer.Exit(EXIT_NEGATIVE)
    if any(reading.outcome in (Outcome.ERROR, Outcome.TEMPERROR) for reading in readings):
        raise typer.Exit(EXIT_UNKNOWN)


@app.command()
def health(zone: ZoneOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Ask every list for its test entries (RFC 5782 section 5); exit 1 when one cannot be believed."""
    from gateway.blocklist.dns.configured import configured_lists, watched_zones
    from gateway.blocklist.dns.health import State, WatchedZone

    snapshot = load_snapshot(config)
    zones: Sequence[WatchedZone] = watched_zones(configured_lists(snapshot.policies))
    if zone:
        known = {one.zone: one for one in zones}
        zones = [known.get(name) or WatchedZone(zone=name) for name in zone]
    if not zones:
        fail(_NO_LISTS)
    found = asyncio.run(_probe(zones, snapshot.config.dns))
    rows = [
        {"zone": one.zone, "lists": one.kind.value, "state": one.state.value, "reason": one.reason} for one in found
    ]
    if as_json:
        print_json(rows)
    else:
        _print(("zone", "lists", "state", "reason"), rows)
    if any(one.state is not State.HEALTHY for one in found):
        raise typer.Exit(EXIT_NEGATIVE)


_NO_LISTS = "no policy names a DNS list; write [filters.dnsbl] lists = […] into one, or give --zone ZONE"


def _lists(policies: Any, zones: list[str] | None, subject: "Subject") -> "list[ConfiguredList]":
    """Return the lists to ask: those given, weighed as policies have them; else those that list such a thing."""
    from gateway.blocklist.dns.configured import ConfiguredList, configured_lists
    from gateway.blocklist.dns.health import Kind
    from gateway.blocklist.dns.zone import DnsList
    from gateway.blocklist.listing import Identity

    configured = configured_lists(policies)
    if zones:
        known = {one.list.zone: one for one in configured}
        try:
            return [
                known.get(name)
                or ConfiguredList(list=DnsList(zone=name, score=1.0), kind=Kind.ADDRESSES, filter="dnsbl")
                for name in zones
            ]
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--zone") from error
    is_address = subject.of is Identity.CLIENT
    # Lists of links have addresses too; a list of clients has no names.
    fitting = [one for one in configured if one.filter == "uribl" or (one.kind is Kind.ADDRESSES) is is_address]
    if not fitting:
        fail(_NO_LISTS)
    return fitting


async def _ask(subjects: "Sequence[Subject]", lists: "list[ConfiguredList]", settings: "Dns") -> "tuple[Reading, ...]":
    from gateway.blocklist.dns.client import AllUsable, ask
    from gateway.blocklist.dns.zone import CompiledList
    from gateway.clock import SystemClock
    from gateway.dns.resolver import DnspythonResolver

    resolver = DnspythonResolver(settings.servers, settings.timeout, SystemClock())
    compiled = [CompiledList(one.list) for one in lists]
    return await ask(resolver, subjects, compiled, budget_seconds=_BUDGET_SECONDS, usable=AllUsable())


async def _probe(zones: "Sequence[WatchedZone]", settings: "Dns") -> "list[ZoneHealth]":
    from gateway.blocklist.dns.health import ZoneHealth, probe
    from gateway.clock import SystemClock
    from gateway.dns.resolver import DnspythonResolver

    clock = SystemClock()
    resolver = DnspythonResolver(settings.servers, settings.timeout, clock)
    states = await asyncio.gather(*(probe(resolver, zone) for zone in zones))
    now = clock.stamp().utc
    return [
        ZoneHealth(zone=zone.zone, kind=zone.kind, state=state, reason=reason, since=now)
        for zone, (state, reason) in zip(zones, states, strict=True)
    ]


def _row(reading: "Reading") -> dict[str, Any]:
    listing = reading.listing
    return {
        "identity": reading.subject.shown,
        "zone": reading.zone,
        "result": reading.outcome.value,
        "code": listing.value if listing else "",
        "score": listing.weight if listing else None,
        "text": listing.reason if listing else reading.reason,
    }


def _print(columns: "Sequence[str]", rows: list[dict[str, Any]]) -> None:
    from gateway.cli.table import print_table

    print_table(columns, [[_cell(row[column]) for column in columns] for row in rows])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
