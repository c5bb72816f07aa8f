"""``tidegate explain``: what the pipeline would do with a message, each finding and reply, without sending it."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.explain_rules import rule_lines
from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, fail, load_snapshot, print_json

if TYPE_CHECKING:
    from gateway.config.snapshot import Snapshot
    from gateway.mail.connection import Connection
    from gateway.mail.transaction import Transaction
    from gateway.pipeline.explain import ExplainedFinding, ExplainedRecipient, Explanation

_USAGE = 2
_ROLES = ("mx", "relay")


def explain(
    file: Annotated[
        Path,
        typer.Argument(
            help="The message: header section and body, any line ends.", exists=True, dir_okay=False, readable=True
        ),
    ],
    *,
    client_ip: Annotated[str, typer.Option("--client-ip", help="The client's IP address.")],
    helo: Annotated[str, typer.Option(help="What the client says with EHLO.")],
    sender: Annotated[str, typer.Option("--from", help="The reverse-path; '' for the null reverse-path.")],
    recipients: Annotated[list[str], typer.Option("--rcpt", help="A recipient; may be given several times.")],
    role: Annotated[str, typer.Option(help="The listener's role: mx or relay.")] = "mx",
    smtputf8: Annotated[bool, typer.Option("--smtputf8", help="As with MAIL's parameter SMTPUTF8.")] = False,
    rules: Annotated[
        str,
        typer.Option(
            help="Custom rules told of: fired; near, also those of which a part held; all; or names such as 'fapiao*'."
        ),
    ] = "near",
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show every finding, rule, score, action and reply for FILE; nothing is sent or stored.

    Exit 1 when it is refused.
    """
    snapshot = load_snapshot(config)
    connection = _connection(snapshot, client_ip, helo, role)
    tx = _transaction(connection, file, sender, recipients, smtputf8=smtputf8)
    explanation = asyncio.run(_explained(snapshot, tx, rules))
    if as_json:
        print_json(asdict(explanation))
    else:
        typer.echo("\n".join(_lines(explanation)))
    if not explanation.taken:
        raise typer.Exit(EXIT_NEGATIVE)


async def _explained(snapshot: "Snapshot", tx: "Transaction", rules: str) -> "Explanation":
    from gateway.antivirus.desk import Antivirus
    from gateway.app.antivirus import antivirus_settings
    from gateway.app.resolving import CurrentResolver
    from gateway.blocklist.local.lists import LocalLists
    from gateway.clock import SystemClock
    from gateway.filters import catalogue
    from gateway.journal.sinks import Recorded
    from gateway.pipeline.explain import NotAsked
    from gateway.pipeline.explain import explain as explained
    from gateway.pipeline.gate import Gate

    clock, verifier = SystemClock(), NotAsked()
    resolver = CurrentResolver(snapshot.config.dns, clock)
    lists = LocalLists(snapshot.config.data)
    lists.refresh()
    antivirus = Antivirus(antivirus_settings(snapshot.config), clock=clock, events=Recorded())
    gate = Gate(
        snapshot,
        filters=catalogue(),
        resolver=resolver,
        clock=clock,
        verifier=verifier,
        events=Recorded(),
        services={LocalLists: lists, Antivirus: antivirus},
    )
    try:
        return await explained(gate, tx, verifier, rules=rules)
    finally:
        await antivirus.stop()
        await resolver.close()


def _connection(snapshot: "Snapshot", client_ip: str, helo: str, role: str) -> "Connection":
    import os
    from ipaddress import ip_address

    from gateway.clock import SystemClock
    from gateway.mail.connection import Connection, Role
    from gateway.mail.trace_id import new_trace_id

    if role not in _ROLES:
        fail(f"--role {role}: allowed: {', '.join(_ROLES)}", _USAGE)
    try:
        client, listener = ip_address(client_ip), Role(role)
    except ValueError:
        fail(f"--client-ip {client_ip}: an IPv4 or IPv6 address is wanted", _USAGE)
    networks = [network for listen in snapshot.config.listen if listen.role is listener for network in listen.networks]
    now = SystemClock().stamp()
    return Connection(
        session_id=new_trace_id(now.utc, os.urandom),
        client_address=client,
        client_port=0,
        local_address="",
        local_port=25,
        role=listener,
        connected=now,
        hostname=snapshot.config.hostname,
        helo=helo,
        esmtp=True,
        trusted=any(client in network for network in networks),
    )


def _transaction(
    connection: "Connection", file: Path, sender: str, recipients: list[str], *, smtputf8: bool
) -> "Transaction":
    import os
    import re

    from gateway.mail.content import Content
    from gateway.mail.envelope import Envelope, Recipient
    from gateway.mail.trace_id import new_trace_id
    from gateway.mail.transaction import Transaction
    from gateway.smtp.path import AddressError, parse_forward_path, parse_reverse_path

    # RFC 5321 §2.3.8: what comes over SMTP has CR LF and nothing else.
    octets = re.sub(rb"\r\n|\r|\n", b"\r\n", file.read_bytes())
    try:
        path, _ = parse_reverse_path(f"<{sender}>".encode(), smtputf8=smtputf8)
        paths = [parse_forward_path(f"<{recipient}>".encode(), smtputf8=smtputf8)[0] for recipient in recipients]
    except AddressError as error:
        fail(f"--from or --rcpt: {error.reply}", EXIT_NEGATIVE)
    return Transaction(
        trace_id=new_trace_id(connection.connected.utc, os.urandom),
        connection=connection,
        envelope=Envelope(reverse_path=path, smtputf8=smtputf8, declared_octets=len(octets)),
        recipients=tuple(Recipient(path=path) for path in paths),
        content=Content(octets),
        enveloped=connection.connected,
        received=connection.connected,
    )


def _lines(explanation: "Explanation") -> list[str]:
    lines = [f"connect   {explanation.connect_reply or 'accepted'}"]
    for recipient in explanation.recipients:
        lines += ["", *_recipient_lines(recipient)]
    if explanation.not_asked_about:
        lines += ["", f"no next hop was asked about {', '.join(explanation.not_asked_about)}; taken for existing"]
    if explanation.removed_fields:
        lines += ["", "removed   (untrusted copies of our own fields)"]
        lines += [f"          {_shown(field)}" for field in explanation.removed_fields]
    return [*lines, "", f"reply     {explanation.reply}"]


def _recipient_lines(recipient: "ExplainedRecipient") -> list[str]:
    policy = f"policy {recipient.policy}, customer {recipient.customer or 'nobody'}"
    lines = [f"rcpt      {_shown(recipient.recipient)}  ({policy})", f"          {recipient.rcpt_reply}"]
    lines += [f"finding   {_finding_text(finding)}" for finding in recipient.findings]
    lines += rule_lines(recipient)
    if recipient.action:
        grounds = f"  grounds {', '.join(recipient.grounds)}" if recipient.grounds else ""
        lines.append(f"action    {recipient.action}  {_shown(recipient.reason) or 'nothing found'}{grounds}")
    if recipient.state:
        lines.append(f"state     {recipient.state}  next hop {recipient.route}")
    return lines + [f"field     {line}" for line in recipient.fields.rstrip("\n").split("\n") if line]


def _finding_text(finding: "ExplainedFinding") -> str:
    worth: Any = finding.action or (f"{finding.score:+g}" if finding.score else "ignored")
    ground = f"  ground {finding.ground}" if finding.ground else ""
    # A rule's reason begins with its name, which is its result.
    said = finding.reason if finding.reason.startswith(finding.result) else f"{finding.result}: {finding.reason}"
    return f"{finding.filter} {_shown(said)}  {worth}{ground}"


def _shown(text: str) -> str:
    """Return text from outside as a terminal may have it."""
    from gateway.admin.lines import printable

    return printable(text)
