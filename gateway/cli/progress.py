"""Progress of long work on a terminal: one line on standard error that is written over; nothing anywhere else."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Often enough to be seen moving.
_EVERY_SECONDS = 0.1
_WIDTH = 100
_MIB = 1024 * 1024


@contextmanager
def showing(verb: str) -> Iterator[Callable[[str, int], None]]:
    """Give a function that hears what is worked on and how many octets are done."""
    with _line() as show:
        yield lambda what, octets: show(lambda: f"{verb} {octets / _MIB:,.0f} MiB  {what}")


@contextmanager
def counting(verb: str, things: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that hears how many things are done, and of about how many."""
    with _line() as show:
        yield lambda done, of: show(lambda: f"{verb} {done:,} of {of:,} {things}")


@contextmanager
def _line() -> Iterator[Callable[[Callable[[], str]], None]]:
    """Give a function that hears of a text, which it asks for when it is time to show one."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    shown = 0.0

    def show(text: Callable[[], str]) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= _EVERY_SECONDS:
            shown = now
            sys.stderr.write(f"\r{text()[:_WIDTH]:<{_WIDTH}}")
            sys.stderr.flush()

    try:
        yield show
    finally:
        if shown:
            sys.stderr.write(f"\r{'':<{_WIDTH}}\r")
            sys.stderr.flush()
