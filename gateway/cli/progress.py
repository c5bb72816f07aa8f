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
    if not sys.stderr.isatty():
        yield lambda _, __: None
        return
    shown = 0.0

    def show(what: str, octets: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= _EVERY_SECONDS:
            shown = now
            text = f"{verb} {octets / _MIB:,.0f} MiB  {what}"
            sys.stderr.write(f"\r{text[:_WIDTH]:<{_WIDTH}}")
            sys.stderr.flush()

    try:
        yield show
    finally:
        if shown:
            sys.stderr.write(f"\r{'':<{_WIDTH}}\r")
            sys.stderr.flush()
