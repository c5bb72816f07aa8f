"""An incident on one screen: what it is, its clocks, its evidence, its timeline, its last sightings."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from gateway.admin.lines import printable
from gateway.cli.incident_record import as_value, moment
from gateway.cli.incident_timeline import told
from gateway.incidents import Incident, IncidentReader
from gateway.incidents.blocks import blocks_of
from gateway.incidents.suspensions import suspensions_of
from gateway.incidents.values import GROUNDS

_MAX_TIMELINE = 40
# Of what does not fit into a line; on a terminal narrower than this nothing is folded.
_HANGING, _NARROW = 4, 40


def value_of(reader: IncidentReader, incident: Incident, sightings: int) -> dict[str, Any]:
    """Return everything for programs."""
    return as_value(incident) | {
        "clocks": [asdict(each) for each in reader.clocks(incident.id, running=False)],
        "evidence": [asdict(each) for each in reader.evidence(incident.id)],
        "notes": [asdict(each) for each in reader.notes(incident.id)],
        "recipient_domains": dict(reader.domains(incident.id, "recipient")),
        "sender_domains": dict(reader.domains(incident.id, "sender")),
        "last_sightings": [asdict(each) for each in reader.sightings(incident.id, sightings)],
        "timeline": [
            {name: row.fields.get(name) for name in ("at", "by", "place", "operation", "kind")} | {"facts": row.facts}
            for row in reader.timeline(incident.id)
        ],
    }


def screen(reader: IncidentReader, incident: Incident, sightings: int) -> Iterator[str]:
    """Yield the lines of the screen."""
    yield f"incident {incident.id}  {incident.state.upper()}  {incident.source}"
    yield from _about(reader, incident)
    yield from _titled("clocks", _clocks(reader, incident))
    yield from _titled("evidence", _evidence(reader, incident))
    yield from _titled("timeline (UTC)", _timeline(reader, incident))
    yield from _titled("last sightings", _sightings(reader, incident, sightings))


def folded(line: str, columns: int) -> Iterator[str]:
    """Yield a line as rows of a terminal, broken between words; Chinese characters take two columns each."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    if cell_len(line) <= columns or columns < _NARROW:
        yield line
        return
    indent = len(line) - len(line.lstrip())
    text = Text(line[indent:])
    rows = text.wrap(Console(width=columns), columns - indent - _HANGING)
    for place, row in enumerate(rows):
        yield " " * (indent + (_HANGING if place else 0)) + row.plain.rstrip()


def _titled(title: str, lines: Iterator[str]) -> Iterator[str]:
    for place, line in enumerate(lines):
        if place == 0:
            yield ""
            yield title
        yield f"  {line}"


def _about(reader: IncidentReader, incident: Incident) -> Iterator[str]:
    """Yield a line for each thing that is known."""
    known = {
        "since": moment(incident.state_since) + (f", {incident.resolution}" if incident.resolution else ""),
        "network": " ".join(filter(None, (f"AS{incident.asn}" if incident.asn else "", printable(incident.network)))),
        "seen": f"{moment(incident.first_seen)} to {moment(incident.last_seen)}" if incident.sightings else "never",
        "sightings": f"{incident.sightings}, {incident.viruses} with viruses, {incident.octets} octets"
        if incident.sightings
        else "",
        "grounds": ", ".join(f"{g} {n}" for g, n in zip(GROUNDS, incident.counts, strict=True) if n),
        "recipients": ", ".join(f"{printable(d)} {n}" for d, n in reader.domains(incident.id, "recipient")),
        "senders": ", ".join(f"{printable(d)} {n}" for d, n in reader.domains(incident.id, "sender")),
        "before": f"incident {incident.previous}" if incident.previous else "",
        "again": f"sent again {incident.resumed} times after it was quiet or lifted" if incident.resumed else "",
    }
    for name, value in known.items():
        if value:
            yield f"  {name:<11}{value}"
    for held in _held(reader, incident):
        yield f"  {'in force':<11}{held}"


def _held(reader: IncidentReader, incident: Incident) -> Iterator[str]:
    """Yield what stands: it has to be lifted or restored before the case is closed."""
    for block in blocks_of(reader.rows, incident.id):
        if block.ended_at is None:
            yield f"block of {block.entry} until {moment(block.until)}{_refused(block.attempts)}"
    for each in suspensions_of(reader.rows, incident.id):
        if each.ended_at is None:
            yield printable(f"suspension of {each.sender} since {moment(each.began_at)}{_refused(each.attempts)}")


def _refused(attempts: int) -> str:
    """Return what was kept out meanwhile, "" for nothing."""
    return f", {attempts} {'attempt' if attempts == 1 else 'attempts'} refused" if attempts else ""


def _clocks(reader: IncidentReader, incident: Incident) -> Iterator[str]:
    for clock in reader.clocks(incident.id, running=False):
        end = f"done {moment(clock.met_at)}" if clock.met_at is not None else f"due {moment(clock.due_at)}"
        yield f"{clock.kind:<22}{end}  {printable(clock.subject)}"


def _evidence(reader: IncidentReader, incident: Incident) -> Iterator[str]:
    for row in reader.evidence(incident.id):
        gone = f"removed {moment(row.removed_at)}" if row.removed_at else f"{row.octets} octets"
        yield f"{row.id:<6}{moment(row.at)}  {printable(row.trace_id)}  {gone}  sha256 {row.sha256[:16]}…"


def _timeline(reader: IncidentReader, incident: Incident) -> Iterator[str]:
    rows = [row for row in reader.timeline(incident.id) if row.kind != "evidence"]
    if len(rows) > _MAX_TIMELINE:
        yield f"… {len(rows) - _MAX_TIMELINE} earlier, see --json"
    for row in rows[-_MAX_TIMELINE:]:
        at, by = row.fields.get("at"), row.fields.get("by", "")
        yield f"{moment(at)}  {printable(str(by)):<10} {told(row)}"


def _sightings(reader: IncidentReader, incident: Incident, limit: int) -> Iterator[str]:
    for stored in reader.sightings(incident.id, limit):
        sighting = stored.sighting
        yield f"{moment(sighting.at)}  {printable(sighting.trace_id)}  {sighting.action}  {printable(sighting.subject)}"
        rest = len(sighting.recipients) - 1
        more = f" and {rest} more" if rest > 0 else ""
        first = sighting.recipients[0] if sighting.recipients else ""
        yield printable(f"    <{sighting.reverse_path}> to <{first}>{more} by {sighting.client} ({sighting.helo})")
        for finding in sighting.findings[:3]:
            yield f"    {printable(finding)}"
