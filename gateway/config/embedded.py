"""What ships with the program: the embedded default, and the starting configuration that ``tidegate init`` writes out.

The embedded default runs without any file, without root and without another server: 127.0.0.1:2525, role mx, data
under ``./var``, the shipped policies, whose ``example.test`` (RFC 6761: never a real domain) goes to a Maildir under
``./var/maildir``. A clamd that listens on a usual socket is used.
"""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gateway.config.source import Source, parse_source

NAME = "embedded default"
TEMPLATE = Path(__file__).with_name("template.toml")

_PACKAGE = Path(__file__).parent.parent
_TEXT = """\
hostname = "localhost"
data = "var"
policies = {policies}
blocklists = {blocklists}

[[listen]]
address = "127.0.0.1:2525"
role = "mx"
{clamd}"""
# Where Debian's and Fedora's clamd listen.
_USUAL_SCANNERS = ("/run/clamav/clamd.ctl", "/run/clamd.scan/clamd.sock")


class InitError(Exception):
    """The starting configuration cannot be written; the text says why."""


def shipped(name: str) -> Path:
    """Return the folder of shipped data (policies, blocklists): inside the wheel, or at the top of a source tree."""
    inside = _PACKAGE / "shipped" / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def embedded_source(folder: Path) -> Source:
    """Return the embedded default with its data under ``folder``."""
    text = _TEXT.format(
        policies=json.dumps(str(shipped("policies"))),
        blocklists=json.dumps(str(shipped("blocklists"))),
        clamd="".join(f'[clamd]\naddress = "unix:{path}"\n' for path in _usual_scanner()),
    )
    return parse_source(text, name=NAME, folder=folder)


def _usual_scanner() -> Iterator[str]:
    """Yield the first usual socket on which somebody listens."""
    for path in _USUAL_SCANNERS:
        with socket.socket(socket.AF_UNIX) as sock, suppress(OSError):
            sock.settimeout(1.0)
            sock.connect(path)
            yield path
            return


def write_starting_configuration(folder: Path) -> tuple[Path, ...]:
    """Write tidegate.toml, policies/ and blocklists/ into ``folder`` and return the files; ``InitError``."""
    contents = {folder / "tidegate.toml": TEMPLATE.read_bytes()}
    for name in ("policies", "blocklists"):
        contents |= {
            folder / name / file.name: file.read_bytes() for file in sorted(shipped(name).iterdir()) if file.is_file()
        }
    existing = [str(path) for path in contents if path.exists()]
    if existing:
        raise InitError(f"nothing written, since these exist already: {', '.join(existing)}")
    try:
        for path, octets in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            # "x" never follows what appeared in between.
            with path.open("xb") as file:
                file.write(octets)
    except OSError as error:
        raise InitError(f"{error.filename} cannot be written: {error.strerror}") from error
    return tuple(contents)
