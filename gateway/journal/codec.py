r"""Events as JSON text and back, by the dataclasses' own fields.

A stored event is one JSON array of the values of the fields that its class declares, in their order, beside ``at`` and
``trace_id`` (columns of their own). Names are not stored: they are two fifths of the octets and a third of the time.
So the order is a promise: fields are only ever appended, with a default (tests/journal/fields.txt holds it). A reader
of another version takes the default for what is missing and passes over what it does not know; an event that it cannot
read comes back as ``None``.

Text is written as ASCII (``\uXXXX``), so that whatever a client sent, lone surrogates included, can be stored and
read back.
"""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from operator import attrgetter
from typing import Any

from gateway.journal import duty_events, events, guard_events
from gateway.journal.events import Event
from gateway.storage import from_json, to_json

_COLUMNS = frozenset({"at", "trace_id"})


@dataclass(frozen=True, slots=True)
class _Shape:
    """What one event class stores."""

    event_class: type[Event]
    names: tuple[str, ...]
    values: Callable[[Event], tuple[Any, ...]]
    required: int


def event_classes() -> dict[str, type[Event]]:
    """Return every event class by its ``kind``."""
    modules = (events, guard_events, duty_events)
    classes = (cls for module in modules for cls in vars(module).values() if isinstance(cls, type))
    return {cls.kind: cls for cls in classes if issubclass(cls, Event) and cls is not Event}


def _shape(event_class: type[Event]) -> _Shape:
    stored = [f for f in fields(event_class) if f.name not in _COLUMNS]
    names = tuple(f.name for f in stored)
    # attrgetter of a single name gives the bare value; asked for one more it always gives a tuple.
    values = attrgetter(*names) if len(names) > 1 else attrgetter(*names, "trace_id")
    return _Shape(event_class, names, values, sum(1 for f in stored if f.default is MISSING))


_SHAPES = {cls: _shape(cls) for cls in event_classes().values()}
_BY_KIND = {cls.kind: shape for cls, shape in _SHAPES.items()}


def encode(event: Event) -> str:
    """Return the values of the event's own fields as JSON text (ASCII, one line)."""
    return to_json(_SHAPES[type(event)].values(event))


def decode(kind: str, at: float, trace_id: str, data: str) -> Event | None:
    """Return the event that was stored, or None for one that this version cannot read."""
    shape = _BY_KIND.get(kind)
    if shape is None:
        return None
    try:
        stored = from_json(data)
    except ValueError:
        return None
    if not isinstance(stored, list) or len(stored) < shape.required:
        return None
    for place, value in enumerate(stored):
        if type(value) is list:
            # Tables at most (tests/journal/test_codec.py): a row needs no look at what is in it.
            stored[place] = tuple([tuple(row) if type(row) is list else row for row in value])
    return shape.event_class(at=at, trace_id=trace_id, **dict(zip(shape.names, stored, strict=False)))


def as_dict(event: Event) -> dict[str, Any]:
    """Return every field with the event's kind, for ``--json``."""
    shape = _SHAPES[type(event)]
    head = {"kind": event.kind, "at": event.at, "trace_id": event.trace_id}
    return head | dict(zip(shape.names, shape.values(event), strict=False))
