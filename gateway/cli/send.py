"""``tidegate send``: hand a message file to a gateway over SMTP, as any client would."""

import re
import smtplib
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from gateway.cli.options import ConfigOption

# sysexits.h; 2 is usage.
_USAGE, _BAD_DATA, _UNAVAILABLE, _TRY_AGAIN = 2, 65, 69, 75


def send(
    file: Annotated[
        Path,
        typer.Argument(
            help="The message: header section and body, any line ends.", exists=True, dir_okay=False, readable=True
        ),
    ],
    sender: Annotated[str, typer.Option("--from", help="The reverse-path; '' for the null reverse-path.")],
    recipients: Annotated[list[str], typer.Option("--to", help="A recipient; may be given several times.")],
    server: Annotated[str, typer.Option(help="host:port; default: the first listener of the configuration.")] = "",
    config: ConfigOption = None,
) -> None:
    """Send FILE and print the gateway's reply."""
    # A file on this machine ends its lines with LF; on the wire they end with CR LF (RFC 5321 §2.3.8).
    content = re.sub(rb"\r\n|\r|\n", b"\r\n", file.read_bytes())
    if not content.strip():
        _end(f"{file} is empty", _BAD_DATA)
    host, port = _address(server, config)
    for address in (sender, *recipients):
        if not address.isprintable():
            _end(f"{address!r} is no address", _USAGE)
    try:
        with smtplib.SMTP(host, port, timeout=60) as client:
            reply = _transfer(client, sender, recipients, content)
    except smtplib.SMTPResponseException as refused:
        _end(f"{host}:{port}: {refused.smtp_code} {_text(refused.smtp_error)}", _TRY_AGAIN)
    except smtplib.SMTPException as error:
        _end(f"{host}:{port}: {error}", _TRY_AGAIN)
    except OSError as error:
        _end(f"cannot reach {host}:{port}: {error.strerror or error}; is `tidegate serve` running?", _UNAVAILABLE)
    typer.echo(reply)
    if not reply.startswith("250"):
        raise typer.Exit(1)


def _transfer(client: smtplib.SMTP, sender: str, recipients: list[str], content: bytes) -> str:
    client.ehlo_or_helo_if_needed()
    options = []
    if not all(address.isascii() for address in (sender, *recipients)):
        # RFC 6531 §3.4: an address beyond ASCII goes as UTF-8, and the transaction says so.
        client.command_encoding, options = "utf-8", ["SMTPUTF8"]
    _expect(client.mail(sender, options))
    accepted = 0
    for recipient in recipients:
        code, text = client.rcpt(recipient)
        if code // 100 == 2:  # noqa: PLR2004 - RFC 5321 §4.2.1: 2yz accepts
            accepted += 1
        else:
            typer.echo(f"{recipient}: {code} {_text(text)}", err=True)
    if not accepted:
        raise typer.Exit(1)
    code, text = client.data(content)
    return f"{code} {_text(text)}"


def _text(octets: bytes | str) -> str:
    return octets if isinstance(octets, str) else octets.decode("ascii", "replace")


def _expect(answer: tuple[int, bytes]) -> None:
    code, text = answer
    if code // 100 != 2:  # noqa: PLR2004 - RFC 5321 §4.2.1: 2yz accepts
        _end(f"{code} {_text(text)}", 1)


def _address(server: str, config: Path | None) -> tuple[str, int]:
    if server:
        from gateway.config.fields import MAX_PORT

        host, _, port = server.rpartition(":")
        if not (host and port.isascii() and port.isdigit() and 0 < int(port) <= MAX_PORT):
            _end(f"--server {server}: host:port is wanted, such as 127.0.0.1:2525", _USAGE)
        return host.strip("[]"), int(port)
    from gateway.app.sockets import split_address
    from gateway.cli.options import load_snapshot

    host, number = split_address(load_snapshot(config).config.listen[0].address)
    return {"::": "::1", "0.0.0.0": "127.0.0.1"}.get(host, host), number  # noqa: S104 - the wildcard means this machine here


def _end(text: str, status: int) -> NoReturn:
    typer.echo(f"tidegate: {text}", err=True)
    raise typer.Exit(status)
