"""``tidegate dkim genkey`` and ``dkim check``: keys to sign with, and whether DNS has their public halves."""

import asyncio
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, fail, load_snapshot, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config.models import Dns
    from gateway.policy.signing import SigningKey
    from gateway.senderauth.dkim.publication import Publication

app = typer.Typer(no_args_is_help=True, help="Keys for DKIM signatures and ARC seals.")

# sysexits.h EX_CANTCREAT
EXIT_CANNOT_CREATE = 73
# sysexits.h EX_TEMPFAIL: nothing is known to be wrong, and not every record could be looked up.
EXIT_UNKNOWN = 75
# RFC 1035 §3.3: a character-string has 255 octets at most; a record has several.
_STRING_OCTETS = 255
_OWNER_ONLY = 0o600


@app.command()
def genkey(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="The domain whose mail is to be signed.")],
    selector: Annotated[str, typer.Argument(metavar="SELECTOR", help="The key's name, such as s2026a.")],
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="rsa (2048 bits) or ed25519.")] = "rsa",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where the key goes; default SELECTOR.DOMAIN.pem here.")
    ] = None,
) -> None:
    """Make a private key, readable by its owner only, and print the DNS record to publish."""
    from gateway.policy.signing import generate_key, read_signing_key
    from gateway.smtp.domain import DomainError, normalise_domain

    if kind not in {"rsa", "ed25519"}:
        raise typer.BadParameter("rsa and ed25519 are allowed", param_hint="--kind")
    try:
        name = normalise_domain(domain)
        label = normalise_domain(f"{selector}.{name}").removesuffix(f".{name}")
    except DomainError as error:
        raise typer.BadParameter(str(error)) from error
    file = out or Path(f"{label}.{name}.pem")
    pem = generate_key(kind)
    try:
        _write_new(file, pem)
    except OSError as error:
        fail(f"{file}: {error.strerror}", EXIT_CANNOT_CREATE)
    key = read_signing_key(pem, name, label)
    typer.echo(f"; the private key is in {file}; publish this record, then name the key in [signing] of the policy")
    typer.echo(f"{key.name}. IN TXT {_strings(key.record)}")


@app.command()
def check(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="One of our domains.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the keys of a domain's policy with DNS; exit 1 when one is not as published, 75 when unknown."""
    from gateway.senderauth.dkim.publication import State
    from gateway.smtp.domain import DomainError, normalise_domain

    snapshot = load_snapshot(config)
    try:
        name = normalise_domain(domain)
    except DomainError as error:
        raise typer.BadParameter(f"{domain} is no domain: {error}") from error
    policy = snapshot.policies.for_domain(name)
    if policy is None:
        fail(f"{name} is no domain of ours: no policy claims it")
    keys = policy.signing.all_for(name)
    if not keys:
        fail(f"the policy of {name} has no keys; [signing] keys = […] names them")
    found = asyncio.run(_compared(keys, snapshot.config.dns))
    if as_json:
        print_json({"domain": name, "keys": [asdict(one) for one in found]})
    else:
        _print(found)
    states = {one.state for one in found}
    if states - {State.PUBLISHED, State.UNKNOWN}:
        raise typer.Exit(EXIT_NEGATIVE)
    if State.UNKNOWN in states:
        raise typer.Exit(EXIT_UNKNOWN)


async def _compared(keys: "Sequence[SigningKey]", settings: "Dns") -> "list[Publication]":
    from gateway.clock import SystemClock
    from gateway.dns.resolver import DnspythonResolver
    from gateway.senderauth.dkim.publication import publication

    resolver = DnspythonResolver(settings.servers, settings.timeout, SystemClock())
    return list(await asyncio.gather(*(publication(resolver, key) for key in keys)))


def _print(found: "Sequence[Publication]") -> None:
    from gateway.cli.table import print_table

    rows = [[one.name, one.kind, one.since, one.state.value, one.reason] for one in found]
    print_table(("record", "kind", "since", "state", "reason"), rows)


def _write_new(file: Path, pem: bytes) -> None:
    # Never over another key: the old one may still be in use.
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    with open(descriptor, "wb") as stream:  # noqa: PTH123 - a descriptor, opened for its mode
        stream.write(pem)


def _strings(record: str) -> str:
    pieces = [record[at : at + _STRING_OCTETS] for at in range(0, len(record), _STRING_OCTETS)]
    return " ".join(f'"{piece}"' for piece in pieces)
