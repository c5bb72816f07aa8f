"""``[[rule]]`` and ``rules_off``: the rules of each file and mailbox table, which add to those they inherit.

Rules are no part of the merge: an inner layer puts its own behind the inherited ones, and switches inherited ones off
by name. So a name is unique along a policy's layers. A layer is read once and is one object in every policy that
inherits it, however many there are.
"""

import difflib
import re
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from gateway.config.layers import Layer, Layered
from gateway.config.problem import ConfigError, Path, Problem, dotted
from gateway.config.recipient_list import ListReader
from gateway.config.source import Source
from gateway.policy.catalogue import Catalogue
from gateway.policy.finding import PERMERROR, TEMPERROR
from gateway.policy.rule import RuleLayer
from gateway.rules.reading import Surroundings, read_rules

RULE, OFF = "rule", "rules_off"
# What the pipeline itself says in the place of a rule's name.
RESERVED = frozenset({TEMPERROR, PERMERROR})

# A header line of top-level rules; only in a text of several lines can such a line be anything else.
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*rule[ \t]*\]\]", re.MULTILINE)
_SEVERAL_LINES = re.compile(r"\"\"\"|'''")


@dataclass(frozen=True, slots=True)
class PolicyRules:
    """A policy's layers of rules, outermost first, and the names of those that inner layers switch off."""

    layers: tuple[RuleLayer, ...] = ()
    off: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Written:
    """One table's rules and what it switches off; ``places`` is where each name stands, of broken rules too."""

    layer: RuleLayer
    off: tuple[tuple[int, str], ...]
    names: tuple[tuple[int, str], ...]
    places: dict[str, str]


class RuleReader:
    """Reads the rules of one load; what is wrong is added to ``problems``, each place once."""

    def __init__(self, catalogue: Catalogue, lists: ListReader, problems: list[Problem]) -> None:
        self._results = {name: frozenset([*kind.results, TEMPERROR, PERMERROR]) for name, kind in catalogue.items()}
        self._lists = lists
        self._problems = problems
        self._read: dict[tuple[str, Path], _Written | None] = {}

    def read(self, layered: Layered) -> PolicyRules:
        """Return the rules of a policy's layers; the names of the top one are checked against the inherited."""
        written = [(layer, found) for layer in layered.layers if (found := self._written(layer)) is not None]
        return PolicyRules(
            layers=tuple(found.layer for _, found in written),
            off=frozenset(name for _, found in written for _, name in found.off),
        )

    def _written(self, layer: Layer) -> _Written | None:
        key = (layer.source.name, layer.prefix)
        if key not in self._read:
            self._read[key] = self._read_table(layer)
        return self._read[key]

    def check(self, layered: Layered) -> None:
        """Add what the top layer's names have wrong beside those of the layers below it."""
        if not layered.layers or (own := self._written(layered.layers[-1])) is None:
            return
        below = [found.places for layer in layered.layers[:-1] if (found := self._written(layer)) is not None]
        # Not merged into one: a thousand policies may inherit ten thousand rules.
        inherited = ChainMap(*below)
        for index, name in own.names:
            if name in inherited:
                text = f'"{name}" is an inherited rule already, {inherited[name]}; another name is wanted'
                self._add(layered.layers[-1], (RULE, index, "name"), text)
        for index, name in own.off:
            if name not in inherited:
                self._add(layered.layers[-1], (OFF, index), _unknown(name, inherited, own.places))

    def _read_table(self, layer: Layer) -> _Written | None:
        table = layer.whole
        if RULE not in table and OFF not in table:
            return None
        tables = table.get(RULE, [])
        place = _places(layer, tables)
        surroundings = Surroundings(
            list_text=self._list_of(layer.source.folder), filters=self._results, place=lambda path: place(path[0])
        )
        reading = read_rules(tables, surroundings)
        for complaint in reading.complaints:
            self._add(layer, (RULE, *complaint.path), complaint.text)
        names = _strings(rule.get("name") if isinstance(rule, Mapping) else None for rule in _list(tables))
        for index, name in names:
            if name in RESERVED:
                self._add(layer, (RULE, index, "name"), f"{name} is a result's name; another is wanted")
        return _Written(
            RuleLayer(source=_source_of(layer), rules=reading.rules),
            off=_strings(_list(table.get(OFF))),
            names=names,
            places={name: place(index) for index, name in names},
        )

    def _list_of(self, folder: FilePath) -> Callable[[str], str]:
        def text(name: str) -> str:
            path = folder / name
            try:
                return self._lists.text(path)
            except ConfigError as error:
                (problem,) = error.problems
                line = f":{problem.line}" if problem.line else ""
                raise ValueError(f"{path}{line}: {problem.text.removeprefix('cannot be read: ')}") from error

        return text

    def _add(self, layer: Layer, path: Path, text: str) -> None:
        here = layer.prefix + path
        self._problems.append(Problem(layer.source.name, layer.source.line(here), dotted(here), text))


def _places(layer: Layer, tables: Any) -> Callable[[int | str], str]:
    lines = rule_lines(layer.source, layer.prefix, len(_list(tables)))

    def place(index: int | str) -> str:
        return f"{layer.source.name}:{lines(int(index))}"

    return place


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _strings(values: Iterable[Any]) -> tuple[tuple[int, str], ...]:
    return tuple((index, value) for index, value in enumerate(values) if isinstance(value, str))


def rule_lines(source: Source, prefix: Path, count: int) -> Callable[[int], int]:
    """Return what tells the line of each of ``count`` rules.

    Every rule of a load has a place, and a line map takes a second for ten thousand rules: their headers are looked
    for first, and the map is made only where those say nothing.
    """
    if not prefix and not _SEVERAL_LINES.search(source.text):
        lines = list(_header_lines(source.text))
        if len(lines) == count:
            return lines.__getitem__
    return lambda index: source.line((*prefix, RULE, index))


def _header_lines(text: str) -> Iterator[int]:
    line, seen = 1, 0
    for match in _HEADER.finditer(text):
        line += text.count("\n", seen, match.start())
        seen = match.start()
        yield line


def _source_of(layer: Layer) -> str:
    return str(layer.prefix[-1]) if layer.prefix else FilePath(layer.source.name).name.removesuffix(".toml")


def _unknown(name: str, inherited: Mapping[str, str], own: Mapping[str, str]) -> str:
    if name in own:
        return f'"{name}" is a rule of this table itself, {own[name]}; write enabled = false into it'
    close = difflib.get_close_matches(name, inherited, n=1)
    hint = f'; did you mean "{close[0]}"?' if close else ""
    return f'no inherited rule is called "{name}"{hint}'
