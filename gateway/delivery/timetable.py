"""When which route has something due: the earliest instant of each, UTC seconds."""

import heapq


class Timetable:
    """A heap of (due, route) with one valid entry a route, the earliest."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._earliest: dict[str, float] = {}

    def note(self, route: str, due: float) -> bool:
        """Remember that ``route`` has something at ``due``; tell whether that is now the earliest of all."""
        known = self._earliest.get(route)
        if known is not None and known <= due:
            return False
        self._earliest[route] = due
        heapq.heappush(self._heap, (due, route))
        return self._heap[0] == (due, route)

    def pop_due(self, now: float) -> list[str]:
        """Return and forget the routes whose time has come."""
        routes = []
        while self._heap and self._heap[0][0] <= now:
            due, route = heapq.heappop(self._heap)
            if self._earliest.get(route) == due:
                del self._earliest[route]
                routes.append(route)
        return routes

    def next_due(self) -> float | None:
        """Return when the next route is due, None when none is."""
        while self._heap and self._earliest.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
