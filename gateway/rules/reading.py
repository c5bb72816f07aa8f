"""``[[rule]]`` tables → ``Rule`` values, or what is wrong with them and where."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.policy.rule import Rule
from gateway.rules.complaint import Complaint, KeyPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the tables stand in.

    ``list_text`` returns the text of an ``in_list`` FILE as written (the caller resolves its folder and notes it as a
    text of the snapshot); it raises ``OSError`` or ``ValueError``, whose message becomes the complaint. ``filters``
    maps each filter's name to its result words. ``place`` gives a rule's ``file:line`` from its path ``(index,)``.
    """

    list_text: Callable[[str], str]
    filters: Mapping[str, frozenset[str]]
    place: Callable[[KeyPath], str]


@dataclass(frozen=True, slots=True)
class Reading:
    """The rules of one list of tables; usable only when there is no complaint."""

    rules: tuple[Rule, ...]
    complaints: tuple[Complaint, ...]


def read_rules(tables: Any, surroundings: Surroundings) -> Reading:
    """Return the rules that a file's ``rule`` key holds; ``tables`` is its value as ``tomllib`` gave it."""
    raise NotImplementedError
