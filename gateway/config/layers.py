"""Layers of tables: the merge, and for each key of the result the file and line it came from.

The merge keeps nothing but values; where a key came from is found afterwards, by looking through the layers from the
top. So loading a thousand policies pays nothing for provenance that nobody asks for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path as FilePath
from typing import Any

from gateway.config.problem import Path, Problem, dotted
from gateway.config.source import Source

Table = Mapping[str, Any]

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written; ``file`` "built-in" and ``line`` 0 for a default of the program."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


BUILT_IN = Origin("built-in", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One table of a file: the whole of it, or what stands under ``prefix``, without the keys in ``apart``."""

    source: Source
    prefix: Path = ()
    apart: frozenset[str] = frozenset()

    @property
    def table(self) -> Table:
        """The layer's keys but those in ``apart``; an empty table when what stands at ``prefix`` is none."""
        found = self.whole
        return {key: value for key, value in found.items() if key not in self.apart} if self.apart else found

    @property
    def whole(self) -> Table:
        """The layer's keys, those in ``apart`` included."""
        found = _at(self.source.data, self.prefix)
        return found if isinstance(found, Mapping) else {}

    @property
    def is_table(self) -> bool:
        """Whether there is a table at ``prefix``."""
        return isinstance(_at(self.source.data, self.prefix), Mapping)

    def has(self, path: Path) -> bool:
        """Whether the layer sets ``path``."""
        return _at(self.table, path) is not _ABSENT

    def origin(self, path: Path) -> Origin:
        """Return where ``path`` stands, or the nearest table around it."""
        return Origin(self.source.name, self.source.line(self.prefix + path))


@dataclass(frozen=True, slots=True)
class Layered:
    """Layers over the built-in defaults, lowest first."""

    layers: tuple[Layer, ...] = ()

    def merged(self) -> dict[str, Any]:
        """Return the merged table: tables key by key, lists and scalars replaced."""
        return reduce(merge, (layer.table for layer in self.layers), {})

    def origin(self, path: Path) -> Origin:
        """Return where the value at ``path`` came from."""
        setter = self.setter(path)
        return setter.origin(path) if setter else BUILT_IN

    def setter_folder(self, path: Path) -> FilePath:
        """Return the folder of the file that set ``path``, where relative names in its value start."""
        return (self.setter(path) or self.layers[-1]).source.folder

    def problem(self, path: Path, text: str) -> Problem:
        """Return a problem at the place that set ``path``, or the nearest table around it, or the top layer's file."""
        for length in range(len(path), 0, -1):
            setter = self.setter(path[:length])
            if setter:
                return _problem(setter, path, text)
        return _problem(self.layers[-1], path, text)

    def setter(self, path: Path) -> Layer | None:
        """Return the highest layer that sets ``path``."""
        for layer in reversed(self.layers):
            if layer.has(path):
                return layer
        return None


def merge(low: Table, high: Table) -> dict[str, Any]:
    """Return ``low`` with ``high`` laid over it; neither is changed."""
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _problem(layer: Layer, path: Path, text: str) -> Problem:
    origin = layer.origin(path)
    return Problem(origin.file, origin.line, dotted(layer.prefix + path), text)


def _at(value: Any, path: Path) -> Any:
    for part in path:
        if isinstance(part, str):
            found = value.get(part, _ABSENT) if isinstance(value, Mapping) else _ABSENT
        else:
            found = value[part] if isinstance(value, list) and part < len(value) else _ABSENT
        if found is _ABSENT:
            return _ABSENT
        value = found
    return value
