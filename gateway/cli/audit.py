"""``tidegate audit``: who changed what, and when."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import ConfigOption, JsonOption, fail, print_json
from gateway.cli.reach import data_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.journal.events import Event

# Changes shown of one act: a reload may bring thousands of rules.
_MOST = 10


def audit(
    since: Annotated[str, typer.Option(metavar="DURATION", help="How far to look back.")] = "30d",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what operators did: queue operations, edited rules, reloads; the latest last."""
    from gateway.admin.audit import trail
    from gateway.cli.table import print_table
    from gateway.clock import SystemClock
    from gateway.config.units import parse_duration
    from gateway.journal.codec import as_dict

    try:
        begin = SystemClock().stamp().utc - parse_duration(since)
    except ValueError as error:
        fail(f"--since {since}: {error}", 2)
    events = list(trail(data_folder(config), begin))
    if as_json:
        print_json([as_dict(event) for event in events])
    else:
        print_table(("when", "operator", "operation", "target", "changes"), [_row(event) for event in events])
    if not events:
        fail(f"nothing was changed by a command in the last {since}")


def _row(event: "Event") -> tuple[str, str, str, str, str]:
    from gateway.journal.events import ConfigurationChanged, OperatorActed, QuarantineReleased, QueueChanged

    when = f"{datetime.fromtimestamp(event.at, UTC):%Y-%m-%d %H:%M:%S}Z"
    match event:
        case OperatorActed():
            return when, event.operator, event.operation, event.target, _some(event.changes)
        case QueueChanged():
            return when, event.operator, f"queue {event.operation}", event.trace_id, _some(event.recipients)
        case QuarantineReleased():
            told = [f"to {', '.join(event.recipients)}", f"scan: {event.outcome or 'none'}"]
            told += [f"although {event.objection}"] if event.objection else []
            return when, event.operator, "quarantine release", event.trace_id, _some(told)
        case ConfigurationChanged():
            done = "reload refused" if event.errors else "reload"
            return when, event.operator or "-", done, event.digest, _some(event.errors or event.changed)
        case _:
            return when, "-", event.kind, "", ""


def _some(told: "Sequence[str]") -> str:
    more = f"; and {len(told) - _MOST} more, --json has all that were kept" if len(told) > _MOST else ""
    return "; ".join(told[:_MOST]) + more
