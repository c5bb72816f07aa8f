"""``tidegate status``: is the gateway there, does it take mail, what waits."""

from pathlib import Path
from typing import Any

import typer

from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, print_json
from gateway.cli.reach import call, data_folder, give_up

# The keeper looks several times a second; what is older than this is no look under way.
_BEHIND_SECONDS = 60.0


def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print workers, queue, rates and readiness; exit 0 when mail is taken, 1 when not, 69 when no gateway serves."""
    from gateway.admin.protocol import Done

    data = data_folder(config)
    outcome = call(data, "status", {})
    if not isinstance(outcome, Done):
        give_up(data, outcome)
    if as_json:
        print_json(outcome.result)
    else:
        _print(outcome.result, data)
    if not outcome.result["ready"]:
        raise typer.Exit(EXIT_NEGATIVE)


def _print(found: dict[str, Any], data: Path) -> None:
    from gateway.cli.table import print_table

    queue, rates = found["queue"], found["rates"]
    waiting = ", ".join(f"{count} {state}" for state, count in sorted(queue["recipients"].items())) or "empty"
    oldest = f"; the oldest has waited {_span(queue['oldest_seconds'])}" if queue["oldest_seconds"] else ""
    state = "takes mail" if found["ready"] else f"takes no mail: {found['reason']}"
    typer.echo(f"tidegate {found['version']} {state}")
    typer.echo(f"up        {_span(found['uptime_seconds'])}, configuration {found['digest']}, data in {data}")
    typer.echo(f"queue     {waiting}{oldest}")
    typer.echo(
        f"rates     {rates['messages_in']:.1f} messages/s in, {rates['recipients_out']:.1f} recipients/s delivered"
    )
    typer.echo(f"sessions  {found['sessions']}")
    typer.echo(f"abuse     {_desk(found.get('desk'))}")
    print_table(
        ("worker", "pid", "state", "sessions", "in/s", "out/s"),
        [
            (
                str(worker["worker"]),
                str(worker["pid"]),
                worker["state"] + (f" ({worker['reason']})" if worker.get("reason") else ""),
                str(worker["sessions"]),
                f"{worker['rates']['messages_in']:.1f}",
                f"{worker['rates']['recipients_out']:.1f}",
            )
            for worker in found["workers"]
        ],
    )


def _desk(desk: dict[str, Any] | None) -> str:
    """Return what is open at the abuse desk."""
    if desk is None:
        return "the incident record cannot be read: `tidegate incident verify` tells more"
    incidents = ", ".join(f"{count} {state}" for state, count in desk["incidents"].items() if count)
    tickets = f"tickets: {desk['tickets']} open" + (f", {desk['overdue']} OVERDUE" if desk["overdue"] else "")
    held = f"in force: {_counted(desk['blocks'], 'block')}, {_counted(desk['suspensions'], 'suspension')}"
    told = [f"incidents: {incidents or 'none open'}", held, tickets]
    told += [f"{desk['mails_waiting']} mails wait to be sent"] if desk["mails_waiting"] else []
    told += [f"BEHIND the journals by {_span(desk['lag_seconds'])}"] if desk["lag_seconds"] > _BEHIND_SECONDS else []
    return "; ".join(told)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _span(seconds: float) -> str:
    whole = int(seconds)
    parts = ((whole // 86_400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s"))
    shown = [f"{count}{unit}" for count, unit in parts if count]
    return " ".join(shown[:2]) or "0s"
