"""How the commands reach the gateway: its data folder, its control socket, and what to say when it is not there."""

import asyncio
import os
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gateway.cli.options import EXIT_NEGATIVE, config_path, fail

if TYPE_CHECKING:
    from gateway.admin.protocol import Failed, Outcome

# sysexits.h EX_UNAVAILABLE, EX_NOPERM and EX_CONFIG
EXIT_UNAVAILABLE = 69
EXIT_FORBIDDEN = 77
_EXIT_CONFIG = 78
_EXITS = {"unavailable": EXIT_UNAVAILABLE, "timeout": EXIT_UNAVAILABLE, "version": EXIT_UNAVAILABLE}


def data_folder(option: Path | None) -> Path:
    """Return the data folder that the configuration names; end where who runs the command may not look into it.

    Only that one key is read: a gateway must be reachable while its configuration is broken.
    """
    path = config_path(option)
    if path is None:
        return reachable(Path("var").absolute())
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8")).get("data")
    except OSError as error:
        fail(f"{path}: cannot be read: {error.strerror}", _EXIT_CONFIG)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fail(f"{path}: {error}", _EXIT_CONFIG)
    if not isinstance(written, str):
        from gateway.config.models import GatewayConfig

        written = str(GatewayConfig.model_fields["data"].default)
    return reachable((path.parent / written).absolute())


def reachable(data: Path) -> Path:
    """Return a data folder; end with 77 where who runs the command may not look into it.

    One that is not there is nobody's secret: whoever wants something of it finds that out.
    """
    try:
        # Not Path.exists: of Python 3.14 on it says of a closed folder, too, that it is not there.
        data.stat()
        closed = not os.access(data, os.R_OK | os.X_OK)
    except PermissionError:
        closed = True
    except OSError:
        closed = False
    if closed:
        from gateway.admin.control import user_name

        who = user_name(os.getuid())
        fail(f"{data}: {who} may not look into it; run this as root or as the gateway's user", EXIT_FORBIDDEN)
    return data


def call(data: Path, command: str, arguments: dict[str, Any]) -> "Outcome":
    """Return the gateway's answer to one command."""
    from gateway.admin.control import ControlClient

    return asyncio.run(ControlClient(data / "control.sock").call(command, **arguments))


def give_up(data: Path, failed: "Failed") -> NoReturn:
    """Say what failed and what to do, and end with its exit status."""
    if failed.code == "unavailable":
        fail(f"no gateway serves {data} ({failed.message}); start one with `tidegate serve`", EXIT_UNAVAILABLE)
    fail(failed.message, _EXITS.get(failed.code, EXIT_NEGATIVE))


def on_terminal() -> bool:
    """Whether a person reads: tables with lines and colours; else plain text, one thing a line."""
    return sys.stdout.isatty()
