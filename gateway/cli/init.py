"""``tidegate init DIR``: a starting configuration to edit."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import fail


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder, made when it is missing.")],
) -> None:
    """Write tidegate.toml, policies/ and blocklists/ into DIR; nothing is ever overwritten."""
    from gateway.config.embedded import InitError, write_starting_configuration

    try:
        written = write_starting_configuration(directory)
    except InitError as error:
        fail(str(error))
    for path in written:
        typer.echo(f"wrote {path}")
    typer.echo(
        f"next: edit {directory / 'tidegate.toml'}, then tidegate config check --config {directory / 'tidegate.toml'}"
    )
