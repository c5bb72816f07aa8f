"""Octets wherever they lie: ``bytes`` as they are, a spilled content window by window.

The scanner needs three things of them: a slice, the place of a short string, the length. A file is read by ``pread``
in aligned windows, of which the few last ones are kept: a memory map would hold a descriptor as long as the content
lives, and kill the process with SIGBUS where a read raises an error that can be answered.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.mail.content import Content

# One window: large enough that ``bytes.find`` dominates the system call, small beside the memory budget.
WINDOW_OCTETS = 256 * 1024
# Windows overlap, so that nothing looked for lies across two: the longest is a delimiter of MAX_BOUNDARY_OCTETS.
OVERLAP_OCTETS = 16 * 1024
# A header, its delimiter ahead and the last body each keep a window; one is to spare.
KEPT_WINDOWS = 4


class Octets(Protocol):
    """What ``bytes`` offers and the scanner uses."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> bytes: ...

    def find(self, needle: bytes, start: int, end: int, /) -> int:
        """Return where ``needle`` first lies within ``start`` to ``end``, or -1."""


class FileOctets:
    """The octets of an open file, ``size`` of them; needles may have OVERLAP_OCTETS at most."""

    __slots__ = ("_descriptor", "_size", "_windows")

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size
        self._windows: dict[int, bytes] = {}

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: slice) -> bytes:
        start, stop, _ = index.indices(self._size)
        number, offset = divmod(start, WINDOW_OCTETS)
        length = max(0, stop - start)
        if offset + length <= WINDOW_OCTETS + OVERLAP_OCTETS:
            return self._window(number)[offset : offset + length]
        return os.pread(self._descriptor, length, start)

    def find(self, needle: bytes, start: int, end: int) -> int:
        """As ``bytes.find``."""
        end = min(end, self._size)
        for number in range(start // WINDOW_OCTETS, -(-end // WINDOW_OCTETS)):
            base = number * WINDOW_OCTETS
            found = self._window(number).find(needle, max(0, start - base), end - base)
            if found >= 0:
                return base + found
        return -1

    def _window(self, number: int) -> bytes:
        windows = self._windows
        window = windows.get(number)
        if window is None:
            if len(windows) >= KEPT_WINDOWS:
                del windows[next(iter(windows))]
            window = os.pread(self._descriptor, WINDOW_OCTETS + OVERLAP_OCTETS, number * WINDOW_OCTETS)
            windows[number] = window
        return window


@contextmanager
def octets_of(content: "Content") -> Iterator[Octets]:
    """Give the octets of a content for as long as the block runs; OSError when its file cannot be read."""
    if content.octets is not None:
        yield content.octets
    elif content.path is None:
        yield b""
    else:
        with content.path.open("rb") as file:
            yield FileOctets(file.fileno(), content.size)
