"""All commands in one place; each module's heavy imports happen when its command runs."""

from typing import Annotated

import typer

from gateway.cli import (
    account,
    audit,
    av,
    backup,
    blocklist,
    complaint,
    config,
    deadline,
    dkim,
    dmarc,
    dnsbl,
    explain,
    guarantee,
    incident,
    init,
    policy,
    quarantine,
    queue,
    reload,
    report,
    rule,
    send,
    serve,
    sla,
    status,
    trace,
)

app = typer.Typer(
    name="tidegate",
    help="An SMTP gateway: filters, times and accounts for every message.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        from gateway import __version__

        typer.echo(f"tidegate {__version__}")
        raise typer.Exit


@app.callback()
def tidegate(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Serve, and ask what happened."""


app.command()(serve.serve)
app.command()(init.init)
app.command()(send.send)
app.command()(explain.explain)
app.command()(trace.trace)
app.command()(status.status)
app.command()(audit.audit)
app.command()(reload.reload)
app.add_typer(backup.app, name="backup")
app.add_typer(blocklist.app, name="blocklist")
app.add_typer(config.app, name="config")
app.add_typer(policy.app, name="policy")
app.add_typer(rule.app, name="rule")
app.add_typer(queue.app, name="queue")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(dnsbl.app, name="dnsbl")
app.add_typer(dkim.app, name="dkim")
app.add_typer(dmarc.app, name="dmarc")
app.add_typer(av.app, name="av")
app.add_typer(sla.app, name="sla")
app.add_typer(deadline.app, name="deadline")
app.add_typer(incident.app, name="incident")
app.add_typer(account.app, name="account")
app.add_typer(guarantee.app, name="guarantee")
app.add_typer(complaint.app, name="complaint")
app.add_typer(report.app, name="report")
