r"""Events as JSON text and back, by the dataclasses' own fields.

A stored event is one JSON object of the fields that its class declares beside ``at`` and ``trace_id`` (those are
columns of their own). Reading is forgiving in the two ways that time needs: a field that a newer version added
takes its default, a field that an older version had is passed over; an event of a class that is no longer known, or
that lacks a field, comes back as ``None``.

Text is written as ASCII (``\uXXXX``), so that whatever a client sent, lone surrogates included, can be stored and
read back.
"""

import json
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from operator import attrgetter
from typing import Any, get_type_hints

from gateway.journal.events import Event

_encode_json = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False).encode
_COLUMNS = frozenset({"at", "trace_id"})


@dataclass(frozen=True, slots=True)
class _Shape:
    """What one event class stores."""

    event_class: type[Event]
    names: tuple[str, ...]
    values: Callable[[Event], tuple[Any, ...]]
    required: frozenset[str]
    sequences: frozenset[str]


def event_classes() -> dict[str, type[Event]]:
    """Return every event class by its ``kind``."""
    return {cls.kind: cls for cls in Event.__subclasses__() if "__slots__" in vars(cls)}


def _shape(event_class: type[Event]) -> _Shape:
    stored = [f for f in fields(event_class) if f.name not in _COLUMNS]
    names = tuple(f.name for f in stored)
    hints = get_type_hints(event_class)
    # attrgetter of a single name gives the bare value; asked twice it always gives a tuple, and zip stops at the names.
    values = attrgetter(*names, names[0])
    return _Shape(
        event_class,
        names,
        values,
        frozenset(f.name for f in stored if f.default is MISSING and f.default_factory is MISSING),
        frozenset(name for name in names if getattr(hints[name], "__origin__", None) is tuple),
    )


_SHAPES = {cls: _shape(cls) for cls in event_classes().values()}
_BY_KIND = {cls.kind: shape for cls, shape in _SHAPES.items()}


def encode(event: Event) -> str:
    """Return the event's own fields as JSON text (ASCII, one line)."""
    shape = _SHAPES[type(event)]
    return _encode_json(dict(zip(shape.names, shape.values(event), strict=False)))


def decode(kind: str, at: float, trace_id: str, data: str) -> Event | None:
    """Return the event that was stored, or None for one that this version cannot read."""
    shape = _BY_KIND.get(kind)
    if shape is None:
        return None
    try:
        stored = json.loads(data)
    except ValueError:
        return None
    if not isinstance(stored, dict) or not shape.required <= stored.keys():
        return None
    known = {name: stored[name] for name in shape.names if name in stored}
    for name in shape.sequences & known.keys():
        known[name] = _tuples(known[name])
    return shape.event_class(at=at, trace_id=trace_id, **known)


def as_dict(event: Event) -> dict[str, Any]:
    """Return every field with the event's kind, for ``--json``."""
    shape = _SHAPES[type(event)]
    head = {"kind": event.kind, "at": event.at, "trace_id": event.trace_id}
    return head | dict(zip(shape.names, shape.values(event), strict=False))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
