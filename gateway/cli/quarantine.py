"""``tidegate quarantine``: what is kept back, why, and letting it out; through the gateway, or on a stopped spool.

Release needs a serving gateway, because mail is scanned on its way out.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, fail, print_json
from gateway.cli.queue import All, Domain, Ids, OlderThan, Recipient, ask, selection, when
from gateway.cli.reach import data_folder, on_terminal

if TYPE_CHECKING:
    from gateway.admin.protocol import QuarantinedMessage, QuarantinedRecipient, Released

app = typer.Typer(no_args_is_help=True, help="List, show, release and delete what is kept in quarantine.")

Why = Annotated[str, typer.Option(help="Only copies kept for this: virus, unscanned or policy.")]
_WHYS = ("virus", "unscanned", "policy")
# How many are listed to be released or deleted at once; the rest is said to be there.
_MOST = 10_000


@app.command("list")
def list_copies(
    *,
    recipient: Recipient = "",
    domain: Domain = "",
    older_than: OlderThan = "",
    why: Why = "",
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="Copies shown at most.")] = 1000,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what is in quarantine, oldest first, a line a recipient."""
    result = ask("quarantine.list", _selected(None, recipient, domain, older_than, why) | {"limit": limit}, config)
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
    """Print everything about quarantined messages: why they are kept, findings, parts, header section."""
    messages = [m for m in ask("quarantine.show", {"ids": ids}, config)["messages"] if m["recipients"]]
    findings = {message["id"]: _findings(data_folder(config), message["id"]) for message in messages}
    if as_json:
        print_json({"messages": [message | {"findings": findings[message["id"]]} for message in messages]})
    else:
        for message in messages:
            _print_message(message, findings[message["id"]])
    missing = sorted(set(ids) - set(findings))
    if missing:
        fail(f"not in quarantine: {', '.join(missing)}; `tidegate trace ID` tells what became of a message")


@app.command()
def release(
    ids: Ids = None,
    *,
    recipient: Recipient = "",
    domain: Domain = "",
    older_than: OlderThan = "",
    why: Why = "",
    everything: All = False,
    to: Annotated[str, typer.Option(metavar="ADDRESS", help="Send a copy there; what is kept stays kept.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Although it has a virus or could not be scanned.")] = False,
    again: Annotated[bool, typer.Option("--again", help="With --to: although that address has had a copy.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Scan quarantined mail again and deliver it: all that the options select with --all, or by id."""
    chosen = _chosen(ids, _selected(ids, recipient, domain, older_than, why), config, everything=everything)
    given = {"recipient": recipient, "domain": domain, "why": why, "to": to}
    wanted = {name: value for name, value in given.items() if value}
    done: list[Released] = []
    # One at a time: each is scanned, and what is done is told when it is done.
    for trace_id in chosen:
        arguments = wanted | {"ids": [trace_id], "force": force, "again": again}
        answers = ask("quarantine.release", arguments, config)["released"] or [_absent(trace_id)]
        for one in answers:
            done.append(one)
            if not as_json:
                _print_released(one)
    if as_json:
        print_json({"released": done})
    went = sum(bool(one["recipients"]) for one in done)
    if len(done) > 1 and not as_json:
        typer.echo(f"{went} of {len(done)} released", err=went < len(done))
    if not done or went < len(done):
        raise typer.Exit(EXIT_NEGATIVE)


def _absent(trace_id: str) -> "Released":
    return {"id": trace_id, "recipients": [], "outcome": "", "objection": "it is not in quarantine", "remedy": ""}


@app.command()
def delete(
    ids: Ids = None,
    *,
    recipient: Recipient = "",
    domain: Domain = "",
    older_than: OlderThan = "",
    why: Why = "",
    everything: All = False,
    config: ConfigOption = None,
) -> None:
    """Remove quarantined copies, without a notice to anybody; wants ids, or --all for everything that is selected."""
    chosen = _chosen(ids, _selected(ids, recipient, domain, older_than, why), config, everything=everything)
    given = {"recipient": recipient, "domain": domain, "why": why}
    wanted = {name: value for name, value in given.items() if value}
    changed = ask("quarantine.delete", wanted | {"ids": chosen}, config)["changed"] if chosen else 0
    typer.echo(f"{changed} {'copy' if changed == 1 else 'copies'} deleted")
    if not changed:
        raise typer.Exit(EXIT_NEGATIVE)


def _selected(ids: list[str] | None, recipient: str, domain: str, older_than: str, why: str) -> dict[str, Any]:
    if why and why not in _WHYS:
        fail(f"--why {why}: one of {', '.join(_WHYS)}", 2)
    return selection(ids, recipient, domain, "", older_than) | ({"why": why} if why else {})


def _chosen(ids: list[str] | None, selected: dict[str, Any], config: Path | None, *, everything: bool) -> list[str]:
    """Return the ids of what is meant; what options select only with ``--all``."""
    if not ids and not everything:
        fail("say which: ids, or --all for every message that the options select", 2)
    if ids and set(selected) == {"ids"}:
        return list(dict.fromkeys(ids))
    result = ask("quarantine.list", selected | {"limit": _MOST}, config)
    if result["more"]:
        typer.echo(f"more than {_MOST} copies; the rest stays, ask again", err=True)
    return [message["id"] for message in result["messages"]]


def _findings(data: Path, trace_id: str) -> list[dict[str, str]]:
    """Return what filters said of a message, as the journal has it; none when it is older than the journal."""
    from gateway.journal.events import MessageJudged
    from gateway.journal.reader import JournalReader

    reader = JournalReader(data / "journal")
    try:
        judged = [event for event in reader.of_trace(trace_id) if isinstance(event, MessageJudged)]
    finally:
        reader.close()
    return [{"filter": f, "result": result, "reason": reason} for e in judged for f, result, reason in e.findings]


def _print_list(messages: "list[QuarantinedMessage]") -> None:
    from gateway.cli.table import print_table

    rows = [_row(message, copy) for message in messages for copy in message["recipients"]]
    print_table(("id", "received", "octets", "why", "from", "to", "reason"), rows)
    if not rows and on_terminal():
        typer.echo("nothing in quarantine")


def _row(message: "QuarantinedMessage", copy: "QuarantinedRecipient") -> tuple[str, ...]:
    return (
        message["id"],
        when(message["received_at"]),
        str(message["octets"]),
        copy["why"],
        f"<{message['reverse_path']}>",
        f"<{copy['recipient']}>",
        copy["reason"] or "-",
    )


def _print_message(message: "QuarantinedMessage", findings: list[dict[str, str]]) -> None:
    from gateway.admin.lines import printable

    lines = [
        f"{message['id']}  {message['octets']} octets, received {when(message['received_at'])}",
        f"  from      <{message['reverse_path']}>, client [{message['client']}], {message['message_id'] or '-'}",
    ]
    for copy in message["recipients"]:
        since = f" since {when(copy['held_since'])}" if copy["held_since"] else ""
        lines.append(f"  to        <{copy['recipient']}> kept{since} for {copy['why']}: {copy['reason'] or '-'}")
    lines += [f"  found     {f['filter']} {f['result']}: {f['reason'] or '-'}" for f in findings]
    lines += [
        f"  part      {part['type']}, {part['octets']} octets, {part['kind']}, {part['name'] or '-'}"
        for part in message.get("parts", ())
    ]
    for line in lines:
        typer.echo(printable(line))
    for line in message.get("header", "").splitlines():
        typer.echo(f"  | {printable(line.expandtabs())}")


def _print_released(one: "Released") -> None:
    from gateway.admin.lines import printable

    scan = f"scan: {one['outcome']}" if one["outcome"] else "not scanned: no scanner is configured"
    if one["recipients"]:
        although = f", although {one['objection']}" if one["objection"] else ""
        typer.echo(printable(f"{one['id']} released to {', '.join(one['recipients'])}; {scan}{although}"))
    else:
        remedy = f"; --{one['remedy']} releases it" if one["remedy"] else ""
        typer.echo(printable(f"{one['id']} not released: {one['objection']}{remedy}"), err=True)
