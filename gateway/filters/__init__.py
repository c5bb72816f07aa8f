"""The filters: one file, one question. A file put here is a filter; no list is edited.

``catalogue()`` imports every module of this package and takes the one ``Filter`` class each defines, named after its
file. README.md beside this file describes them all; a test holds it to the code. ``CatalogueError`` names the file
that breaks the rule.
"""

import pkgutil
from functools import cache
from importlib import import_module
from inspect import isabstract
from types import MappingProxyType, ModuleType

from gateway.policy.action import Action, Stage
from gateway.policy.catalogue import Catalogue
from gateway.policy.filter import Filter
from gateway.policy.finding import PERMERROR, TEMPERROR

# RFC 8601 §2.7: every filter may say these beside its own words.
COMMON_RESULTS = frozenset([TEMPERROR, PERMERROR])


class CatalogueError(Exception):
    """A file in this folder is no filter; a bug of whoever put it there, so it stops the start."""


@cache
def catalogue() -> Catalogue:
    """Return every filter by name, in alphabetical order; raise ``CatalogueError``."""
    modules = sorted(info.name for info in pkgutil.iter_modules(__path__))
    found = [filter_of(import_module(f"{__name__}.{name}")) for name in modules]
    return MappingProxyType({cls.name: cls for cls in found})


def filter_of(module: ModuleType) -> type[Filter[object]]:
    """Return the one filter that ``module`` defines, its declarations checked; raise ``CatalogueError``."""
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Filter) and value.__module__ == module.__name__
    ]
    if len(own) != 1:
        names = ", ".join(cls.__name__ for cls in own) or "none"
        raise CatalogueError(
            f"{module.__name__}: one file, one filter: exactly one Filter class is wanted, found {names}"
        )
    for problem in _problems(own[0]):
        raise CatalogueError(f"{module.__name__}: {own[0].__name__} {problem}")
    return own[0]


def _problems(cls: type[Filter[object]]) -> list[str]:
    results = getattr(cls, "results", {})
    words = set(results) | COMMON_RESULTS
    checks = {
        "has no examine()": isabstract(cls),
        "has no stage": not isinstance(getattr(cls, "stage", None), Stage),
        "declares no results": not results,
        "declares an empty meaning": not all(results.values()),
        "reacts to undeclared results": not set(cls.on) <= words,
        "has a reaction that is neither a number nor an Action": not all(_is_reaction(r) for r in cls.on.values()),
        "gives grounds for undeclared results": not set(cls.grounds) <= words,
        "is per_recipient outside the ENVELOPE stage": cls.per_recipient and cls.stage is not Stage.ENVELOPE,
    }
    return [text for text, wrong in checks.items() if wrong]


def _is_reaction(reaction: object) -> bool:
    return isinstance(reaction, float | Action)
