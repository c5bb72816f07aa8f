"""``[filters.NAME]`` tables → ``FilterSetting``: the filter's own ``Options``, and what policy makes of its results.

A table has ``enabled`` (where it is not written: as the filter has it), ``on`` and the fields of the filter's
``Options`` dataclass, whose annotations (``Duration`` and ``Size`` included) and ``__post_init__`` say what is
allowed. ``on`` maps a result word of the filter, or temperror or permerror, to a score (number), an action word or
"ignore". Every filter of the catalogue is part of every policy, in the catalogue's order.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from math import isfinite
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from gateway.config.complaint import Complaint, choices, read_value, shown, unknown_key
from gateway.config.problem import Path
from gateway.policy.action import Action
from gateway.policy.catalogue import Catalogue
from gateway.policy.domain_policy import FilterSetting
from gateway.policy.filter import Filter
from gateway.policy.finding import PERMERROR, TEMPERROR

IGNORE = "ignore"
# The filter whose options have a table of their own (configuration.md).
ANTIVIRUS = "antivirus"
_COMMON = frozenset({"enabled", "on"})
ACTION_WORDS = tuple(action.word for action in Action)
# Named in configuration.md and built later: "unknown" would send an administrator looking for a typing error.
LATER_FILTERS = frozenset({"arc", "dkim", "dmarc", "iprev", "spf"})

On = Mapping[str, float | Action | None]


@dataclass(frozen=True, slots=True)
class FilterTable:
    """The settings of all filters of a policy, and what is wrong with them (paths begin with ``filters``)."""

    settings: Mapping[str, FilterSetting]
    complaints: tuple[Complaint, ...]


class FilterReader:
    """Reads the ``filters`` tables of one load; equal tables give one setting, which a thousand policies share."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._read: dict[Hashable, tuple[FilterSetting, tuple[Complaint, ...]]] = {}

    def read(self, tables: Mapping[str, Any], antivirus: Mapping[str, Any]) -> FilterTable:
        """Return the settings of a merged ``filters`` table, and of the ``antivirus`` table beside it."""
        complaints = [self._unknown(name) for name in tables if name not in self._catalogue]
        tables, wrong = _with_antivirus(tables, antivirus)
        complaints += wrong
        settings: dict[str, FilterSetting] = {}
        for name, kind in self._catalogue.items():
            table = tables.get(name, {})
            if not isinstance(table, Mapping):
                complaints.append(Complaint(("filters", name), f"a table is wanted, not {shown(table)}"))
                continue
            settings[name], found = self._setting(name, kind, table)
            complaints.extend(map(_as_written, found))
        return FilterTable(MappingProxyType(settings), tuple(complaints))

    def _unknown(self, name: str) -> Complaint:
        if name in LATER_FILTERS:
            return Complaint(("filters", name), "a filter that is not supported by this version yet; remove it")
        return Complaint(("filters", name), f"unknown filter{choices(name, self._catalogue)}")

    def _setting(
        self, name: str, kind: type[Filter[Any]], table: Mapping[str, Any]
    ) -> tuple[FilterSetting, tuple[Complaint, ...]]:
        key = (name, frozen(table))
        if key not in self._read:
            self._read[key] = _read_filter(name, kind, table)
        return self._read[key]


def _with_antivirus(
    tables: Mapping[str, Any], antivirus: Mapping[str, Any]
) -> tuple[Mapping[str, Any], list[Complaint]]:
    """Return the filters' tables with the options that ``[antivirus]`` has, which are written nowhere else."""
    own = tables.get(ANTIVIRUS, {})
    if not isinstance(own, Mapping):
        return tables, []
    misplaced = [Complaint(("filters", ANTIVIRUS, key), "belongs in [antivirus]") for key in own if key not in _COMMON]
    common = {key: value for key, value in own.items() if key in _COMMON}
    options = {key: value for key, value in antivirus.items() if key not in _COMMON}
    misplaced += [Complaint((ANTIVIRUS, key), "belongs in [filters.antivirus]") for key in antivirus if key in _COMMON]
    return {**tables, ANTIVIRUS: options | common}, misplaced


def _as_written(complaint: Complaint) -> Complaint:
    """Return a complaint about the antivirus's options at the place where they are written."""
    path = complaint.path
    if path[:2] == ("filters", ANTIVIRUS) and len(path) > 2 and path[2] not in _COMMON:  # noqa: PLR2004 - a key of it
        return Complaint(path[1:], complaint.text)
    return complaint


def frozen(value: Any) -> Hashable:
    """Return a hashable stand-in for a TOML value: equal exactly when the values are, and false is not 0."""
    if isinstance(value, Mapping):
        return tuple(sorted((key, frozen(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return ("list", *(frozen(item) for item in value))
    return (isinstance(value, bool), value)


def on_words(on: On) -> dict[str, float | str]:
    """Return a filter's ``on`` as an administrator writes it."""
    return {result: _word(reaction) for result, reaction in on.items()}


def options_table(options: object) -> dict[str, Any]:
    """Return a filter's options as an administrator writes them; an option that is not set is left out."""
    table: dict[str, Any] = _adapter(type(options)).dump_python(options, mode="json", exclude_none=True)
    return table


def _word(reaction: float | Action | None) -> float | str:
    if reaction is None:
        return IGNORE
    # Action is an int too: it must be asked for first.
    return reaction.word if isinstance(reaction, Action) else float(reaction)


def _read_filter(
    name: str, kind: type[Filter[Any]], table: Mapping[str, Any]
) -> tuple[FilterSetting, tuple[Complaint, ...]]:
    here: Path = ("filters", name)
    enabled = table.get("enabled", kind.enabled)
    complaints = [Complaint((*here, *c.path), c.text) for c in _enabled_complaints(enabled)]
    on, wrong = _read_on(kind, table.get("on", {}))
    complaints += [Complaint((*here, "on", *c.path), c.text) for c in wrong]
    given = {key: value for key, value in table.items() if key not in {"enabled", "on"}}
    options, wrong = _read_options(kind.Options, given)
    complaints += [Complaint((*here, *c.path), c.text) for c in wrong]
    if options is not None and (reactions := kind(options).reactions):
        on = MappingProxyType({**on, **reactions})
    return FilterSetting(name=name, enabled=enabled is True, options=options, on=on), tuple(complaints)


def _enabled_complaints(enabled: object) -> Iterator[Complaint]:
    if not isinstance(enabled, bool):
        yield Complaint(("enabled",), f"true or false is wanted, not {shown(enabled)}")


def _read_on(kind: type[Filter[Any]], table: Any) -> tuple[On, tuple[Complaint, ...]]:
    results = (*kind.results, *(word for word in (TEMPERROR, PERMERROR) if word not in kind.results))
    on: dict[str, float | Action | None] = {result: kind.on.get(result) for result in results}
    if not isinstance(table, Mapping):
        return on, (Complaint((), f"a table such as {{ {results[0]} = 2.0 }} is wanted, not {shown(table)}"),)
    complaints = []
    for result, reaction in table.items():
        if result not in on:
            complaints.append(Complaint((result,), f"a result this filter never gives{choices(result, results)}"))
            continue
        try:
            on[result] = _reaction(reaction)
        except ValueError as error:
            complaints.append(Complaint((result,), str(error)))
    return MappingProxyType(on), tuple(complaints)


def _reaction(value: Any) -> float | Action | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
        return float(value)
    if value == IGNORE:
        return None
    if isinstance(value, str) and value in ACTION_WORDS:
        return Action[value.upper()]
    hint = (
        choices(value, (*ACTION_WORDS, IGNORE))
        if isinstance(value, str)
        else f"; allowed: {', '.join(ACTION_WORDS)}, {IGNORE}"
    )
    raise ValueError(f"{shown(value)} is neither a score (a number) nor an action{hint}")


# One for each filter of the program: building an adapter takes a millisecond.
_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _read_options(kind: type[Any], given: Mapping[str, Any]) -> tuple[object, tuple[Complaint, ...]]:
    names = tuple(field.name for field in fields(kind))
    allowed = ("enabled", "on", *names)
    unknown = tuple(Complaint((key,), unknown_key(key, allowed)) for key in given if key not in names)
    options, complaints = read_value(_adapter(kind), {key: value for key, value in given.items() if key in names})
    if options is None:
        return None, (*unknown, *complaints)
    return options, (*unknown, *_unknown_within(options, given))


def _unknown_within(value: Any, given: Any, path: Path = ()) -> Iterator[Complaint]:
    """Yield the keys of tables inside options that their dataclass does not have; pydantic would pass over them."""
    if is_dataclass(value) and isinstance(given, Mapping):
        names = tuple(field.name for field in fields(value))
        for key, item in given.items():
            if key in names:
                yield from _unknown_within(getattr(value, key), item, (*path, key))
            elif path:
                yield Complaint((*path, key), unknown_key(key, names))
    elif isinstance(value, Mapping) and isinstance(given, Mapping):
        for key, item in given.items():
            yield from _unknown_within(value.get(key), item, (*path, key))
    elif isinstance(value, tuple | list) and isinstance(given, list):
        for index, (element, item) in enumerate(zip(value, given, strict=False)):
            yield from _unknown_within(element, item, (*path, index))
