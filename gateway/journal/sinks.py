"""Event sinks that hold others: one for the app's wiring, one for tests."""

from collections.abc import Sequence

from gateway.journal.events import Event, EventSink


class FanOut:
    """Gives every event to each sink in turn; what the app hands to the rooms."""

    def __init__(self, sinks: Sequence[EventSink]) -> None:
        self._emits = tuple(sink.emit for sink in sinks)

    def emit(self, event: Event) -> None:
        """Take one event."""
        for emit in self._emits:
            emit(event)


class Recorded:
    """Keeps the events in order; ships for tests and ``explain``."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Take one event."""
        self.events.append(event)
