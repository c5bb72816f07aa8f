"""Where the next delimiter line of the open multiparts is (RFC 2046 §5.1.1, §5.1.2).

Each open multipart keeps how far it has been searched, and none is searched much further than to the nearest delimiter
of any. So the time is linear in the octets, whatever the nesting: a boundary that never occurs costs no more than
those that do. Where many multiparts are open, one search for two hyphens at a line's beginning serves all.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gateway.mail.mime.habits import Habits
from gateway.mail.mime.limits import MAX_PADDING_OCTETS, MimeLimits
from gateway.mail.mime.octets import Octets

# RFC 2046 §5.1.1: a delimiter begins a line.
LINE_LEAD = b"\n--"
# More open multiparts than this are searched for together. Mail that people write has two or three.
MANY = 4
# How far the first of several boundaries is searched before the others have their turn, and how that grows.
STEP_OCTETS = 4 * 1024
STEP_GROWTH = 4


class Notes(Protocol):
    """Where ambiguities and limits are written down."""

    def ambiguous(self, name: str) -> None:
        """Say that readers differ here."""

    def limit(self, name: str) -> None:
        """Say which limit was reached: what lies beyond was not looked at."""


class Delimiter(NamedTuple):
    """A delimiter line: ``start`` with the line end before it, ``line`` its hyphens, ``end`` its own line end.

    ``after`` is the next line, ``owner`` the multipart's index, ``closing`` whether it is the close-delimiter.
    """

    start: int
    line: int
    end: int
    after: int
    owner: int
    closing: bool


class _Watch:
    __slots__ = ("boundary", "closed", "hit", "needle", "opened", "owner", "searched")

    def __init__(self, boundary: bytes, lead: bytes, owner: int, at: int) -> None:
        self.boundary, self.owner = boundary, owner
        self.opened = self.searched = at
        self.needle = lead + boundary
        self.hit: Delimiter | None = None
        self.closed = False


class Delimiters:
    """The delimiters of a growing and shrinking stack of multiparts; ``owner`` is a part's index."""

    __slots__ = ("_habits", "_lead", "_limits", "_looked_at", "_near", "_notes", "_octets", "_size", "_watches")

    def __init__(self, octets: Octets, habits: Habits, limits: MimeLimits, notes: Notes) -> None:
        self._octets, self._habits, self._limits, self._notes = octets, habits, limits, notes
        self._size = len(octets)
        self._watches: list[_Watch] = []
        self._near = 0
        self._looked_at = 0
        self._lead = LINE_LEAD if habits.delimiter_place == "line" else b"--"

    def open(self, boundary: bytes, owner: int, at: int) -> bool:
        """Watch for the delimiters of a multipart whose body begins at ``at``; False when they are another's."""
        if any(watch.boundary == boundary for watch in self._watches):
            self._notes.ambiguous("boundary-reused")
            if self._habits.reused_boundary == "outer":
                return False
        self._watches.append(_Watch(boundary, self._lead, owner, at))
        return True

    def close(self, owner: int) -> None:
        """Look for no more delimiters of a multipart whose close-delimiter was met; only tell when there are."""
        for watch in self._watches:
            if watch.owner == owner:
                watch.closed = True

    def drop(self, owner: int, end: int) -> None:
        """Forget a multipart that ends at ``end``."""
        watch = self._watches.pop()
        while watch.owner != owner:
            watch = self._watches.pop()
        if self._lead == LINE_LEAD:
            self._look_within_lines(watch, end)

    def _look_within_lines(self, watch: _Watch, end: int) -> None:
        """Tell whether a boundary stands where only some readers see a line begin: after a bare CR, or anywhere."""
        needle, at = b"--" + watch.boundary, watch.opened
        if len(self._watches) >= MANY:
            # One search for all of them; each would be another pass over the same octets.
            needle, at = b"\r--", max(at, self._looked_at)
            self._looked_at = max(end, self._looked_at)
        for _ in range(self._limits.max_near_delimiters):
            found = self._octets.find(needle, at, end)
            if found < 0:
                return
            before = self._octets[max(found - 1, 0) : found + 1]
            if before[:1] != b"\n":
                self._notes.ambiguous("bare-cr" if b"\r" in before else "delimiter-in-line")
                return
            at = found + 1

    def next(self, at: int, until: int) -> Delimiter | None:
        """Return the nearest delimiter whose line begins from ``at`` to ``until``, or one beyond, or None."""
        heeded = self._heeded()
        if len(heeded) > MANY:
            return self._next_of_many(heeded, at, until)
        horizon = min((w.hit.line for w in heeded if w.hit and w.hit.line >= at), default=until)
        unknown = [w for w in heeded if w.hit is None or w.hit.line < at]
        reach = STEP_OCTETS
        while len(unknown) > 1 and at + reach < horizon:
            if any(self._search(watch, at, at + reach) for watch in unknown):
                break
            reach *= STEP_GROWTH
        else:
            reach = horizon - at
        for watch in unknown:
            hit = self._search(watch, at, min(horizon, at + reach))
            horizon = min(horizon, hit.line) if hit else horizon
        return self._nearest(heeded, at)

    def _nearest(self, heeded: Sequence[_Watch], at: int) -> Delimiter | None:
        nearest: Delimiter | None = None
        size = 0
        for watch in heeded:
            hit = watch.hit
            if hit is None or hit.line < at:
                continue
            # Of two boundaries that fit one line the longer one is meant; of two equal ones the inner one.
            if nearest is None or hit.line < nearest.line or (hit.line == nearest.line and len(watch.boundary) > size):
                nearest, size = hit, len(watch.boundary)
        return nearest

    def _next_of_many(self, heeded: Sequence[_Watch], at: int, until: int) -> Delimiter | None:
        until = min(until + 2, self._size)
        needles = tuple(watch.needle for watch in heeded)
        longest = max(map(len, needles))
        while self._near <= self._limits.max_near_delimiters:
            found = self._octets.find(self._lead, max(at + 2 - len(self._lead), 0), until)
            if found < 0:
                return None
            line = self._octets[found : found + longest]
            if line.startswith(needles) and (hit := self._fitting(heeded, found, line)):
                return hit
            self._near += 1
            at = found + 2
        self._notes.limit("delimiters")
        return None

    def _fitting(self, heeded: Sequence[_Watch], found: int, line: bytes) -> Delimiter | None:
        best: Delimiter | None = None
        size = 0
        for watch in heeded:
            if len(watch.boundary) > size and line.startswith(watch.needle):
                hit = self._examined(watch, found)
                if hit and watch.closed:
                    self._notes.ambiguous("delimiter-in-epilogue")
                elif hit:
                    best, size = hit, len(watch.boundary)
        return best

    def _heeded(self) -> Sequence[_Watch]:
        # RFC 2046 §5.1.2: a delimiter of an enclosing multipart ends the inner ones; some readers do not see it.
        if self._habits.enclosing == "ends":
            return self._watches[::-1]
        innermost = next((watch for watch in reversed(self._watches) if not watch.closed), None)
        return (innermost,) if innermost else ()

    def _search(self, watch: _Watch, at: int, horizon: int) -> Delimiter | None:
        """Look for a delimiter in the lines that begin from ``at`` to ``horizon`` inclusive, and remember."""
        at = max(at, watch.searched)
        watch.hit = None
        # The line end before it is searched for as well.
        back = 2 - len(self._lead)
        end = min(horizon + back + len(watch.needle), self._size)
        while (found := self._octets.find(watch.needle, max(at + back, 0), end)) >= 0:
            hit = self._examined(watch, found)
            if hit is not None:
                if not watch.closed:
                    watch.hit, watch.searched = hit, hit.line
                    return hit
                self._notes.ambiguous("delimiter-in-epilogue")
            at = found + 2
            self._near += 1
            if self._near > self._limits.max_near_delimiters:
                self._notes.limit("delimiters")
                horizon = self._size
                break
        watch.searched = max(watch.searched, horizon + 1)
        return None

    def _examined(self, watch: _Watch, found: int) -> Delimiter | None:
        line = found + len(self._lead) - 2
        tail_start = line + 2 + len(watch.boundary)
        furthest = min(self._size, tail_start + MAX_PADDING_OCTETS)
        line_end = self._octets.find(b"\n", tail_start, furthest)
        after = line_end + 1 if line_end >= 0 else furthest
        # RFC 2046 §5.1.1: transport-padding, then the line's end; "--" before it closes.
        tail = self._octets[tail_start:after].rstrip(b" \t\r\n")
        if tail in (b"", b"--") and (line_end >= 0 or after == self._size):
            closing = tail == b"--"
        elif self._habits.delimiter == "beginning":
            closing = tail.startswith(b"--")
            after = self._line_after(tail_start)
        else:
            self._notes.ambiguous("boundary-prefix")
            return None
        # RFC 2046 §5.1.1: the line end before a delimiter is part of it.
        start = line - _line_end(self._octets[max(line - 2, 0) : line])
        end = after - _line_end(self._octets[max(after - 2, tail_start) : after])
        return Delimiter(start, line, end, after, watch.owner, closing)

    def _line_after(self, at: int) -> int:
        found = self._octets.find(b"\n", at, self._size)
        return found + 1 if found >= 0 else self._size


def _line_end(octets: bytes) -> int:
    """Return how many of two octets are the end of a line."""
    return 2 if octets == b"\r\n" else int(octets.endswith(b"\n"))
