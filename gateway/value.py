"""Values: dataclasses that nobody changes, as the type checker sees to it.

``@value(kw_only=True)`` is ``@dataclass(frozen=True, slots=True, kw_only=True)`` to mypy, which refuses every
assignment to a field. At run time nothing does: a frozen dataclass sets each field by a call of ``object.__setattr__``,
and a message makes some 80 values with 490 fields, which cost a fifth of a worker's processor time. Values that are
made once a message or oftener are declared so, all others with ``@dataclass(frozen=True)``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(
    *, kw_only: bool = False, slots: bool = True, eq: bool = True, order: bool = False
) -> Callable[[type[T]], type[T]]:
    """Return the decorator of a value's class, with ``dataclass``'s own words; it has a hash where it has equality."""
    return dataclass(kw_only=kw_only, slots=slots, eq=eq, order=order, unsafe_hash=eq)
