"""What the commands share: ``--config``, ``--json``, and a configuration that loads or exit 78 with every error."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from gateway.config.problem import ConfigError
    from gateway.config.snapshot import Snapshot

# The answer is no: an address without a policy, a file that exists already.
EXIT_NEGATIVE = 1
# sysexits.h EX_CONFIG
EXIT_CONFIG = 78

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="TIDEGATE_CONFIG",
        metavar="FILE",
        help="The configuration; else ./tidegate.toml, /etc/tidegate/tidegate.toml, or the embedded default.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def config_path(option: Path | None) -> Path | None:
    """Return the configuration file that holds, None for the embedded default."""
    from gateway.config.loader import SYSTEM_PATH, find_config

    return find_config(option, os.environ, Path(), SYSTEM_PATH)


def load_snapshot(option: Path | None) -> "Snapshot":
    """Return the configuration; when it does not load, print every problem and exit 78."""
    from gateway.config.problem import ConfigError

    try:
        return try_snapshot(option)
    except ConfigError as error:
        print_problems(error)
        raise typer.Exit(EXIT_CONFIG) from None


def try_snapshot(option: Path | None) -> "Snapshot":
    """Return the configuration; raise ``ConfigError``."""
    from gateway.config.loader import load
    from gateway.filters import catalogue

    snapshot = load(config_path(option), catalogue())
    if snapshot.config.public_suffixes is not None:
        from gateway.config.suffixes import suffixes_of
        from gateway.mail.text import hosts

        # As the workers do, so that a command judges as they would.
        hosts.use(suffixes_of(snapshot))
    return snapshot


def print_problems(error: "ConfigError") -> None:
    """Print each problem on a line of its own, to standard error."""
    for problem in error.problems:
        typer.echo(str(problem), err=True)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def fail(text: str, code: int = EXIT_NEGATIVE) -> NoReturn:
    """Print why to standard error and end."""
    typer.echo(text, err=True)
    raise typer.Exit(code)
