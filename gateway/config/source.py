"""Where configuration texts come from, and one of them as read: its table, the line of each key when somebody asks.

``Disk`` reads the files. ``Kept`` gives again what an earlier load read, so that a snapshot can be made a second time
although its files have changed since.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any, Protocol

from gateway.config.linemap import key_lines
from gateway.config.problem import ConfigError, Path, Problem

# Larger than any configuration written by people; a wrong path (a mailbox, a device) must not fill the memory.
MAX_OCTETS = 64 * 1024**2

_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


# No slots: the line map is made on demand and kept, since most files load without anybody asking for a line.
@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """``name`` is how problems call the file; ``folder`` what relative paths in it start from; ``data`` its table."""

    name: str
    folder: FilePath
    text: str
    data: Mapping[str, Any]

    @cached_property
    def lines(self) -> Mapping[Path, int]:
        """Path → line."""
        return key_lines(self.text)

    def line(self, path: Path) -> int:
        """Return the line of ``path``, or of the nearest table around it, or 1."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class Files(Protocol):
    """Texts by file name."""

    def text(self, path: FilePath) -> str:
        """Return a file's text; raise ``ConfigError``."""
        ...

    def names(self, folder: FilePath) -> list[str]:
        """Return the names in a folder; raise ``OSError``."""
        ...


class Disk:
    """The files as they are now."""

    def text(self, path: FilePath) -> str:
        """Return a file's text; raise ``ConfigError``."""
        return read_text(path)

    def names(self, folder: FilePath) -> list[str]:
        """Return the names in a folder; raise ``OSError``."""
        return [entry.name for entry in folder.iterdir()]


class Kept:
    """The texts of a snapshot (``Snapshot.texts``), whatever the files say now."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def text(self, path: FilePath) -> str:
        """Return a file's text; raise ``ConfigError`` for one that was not read then."""
        text = self._texts.get(str(path))
        if text is None:
            raise ConfigError([Problem(str(path), 0, "", "is no part of the configuration that was kept")])
        return text

    def names(self, folder: FilePath) -> list[str]:
        """Return the names of those files of a folder that were read."""
        paths = (FilePath(name) for name in self._texts)
        return [path.name for path in paths if path.parent == folder]


def read_source(path: FilePath, files: Files) -> Source:
    """Return the file; raise ``ConfigError`` when it cannot be read or is no TOML."""
    return parse_source(files.text(path), name=str(path), folder=path.parent)


def read_text(path: FilePath) -> str:
    """Return the file's text (UTF-8, a byte order mark is ignored); raise ``ConfigError``."""
    name = str(path)
    try:
        # Reading a named pipe or a terminal may wait for ever.
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ConfigError([Problem(name, 0, "", "is no ordinary file")])
        with path.open("rb") as file:
            octets = file.read(MAX_OCTETS + 1)
    except OSError as error:
        raise ConfigError([Problem(name, 0, "", f"cannot be read: {error.strerror or error}")]) from error
    if len(octets) > MAX_OCTETS:
        raise ConfigError([Problem(name, 0, "", "larger than 64 MiB, so this is not a configuration file")])
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(name, line, "", "not UTF-8; the file must be saved as UTF-8")]) from error


def parse_source(text: str, *, name: str, folder: FilePath) -> Source:
    """Return the source of a TOML text; raise ``ConfigError`` with the line of a syntax error."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_problem(name, text, str(error))]) from error
    except RecursionError as error:
        raise ConfigError([Problem(name, 0, "", "arrays or tables are nested too deeply")]) from error
    return Source(name=name, folder=folder, text=text, data=data)


def _syntax_problem(name: str, text: str, message: str) -> Problem:
    position = _POSITION.search(message)
    what = message[: position.start()] if position else message
    where = f", column {position[2]}" if position and position[2] else ""
    line = int(position[1]) if position and position[1] else text.rstrip("\n").count("\n") + 1
    return Problem(name, line, "", f"TOML syntax{where}: {what[:1].lower()}{what[1:]}")
