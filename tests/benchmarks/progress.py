"""What a person sees while it runs: a bar on a terminal, and one line for each finished step anywhere (on stderr)."""

from contextlib import AbstractContextManager
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Steps(AbstractContextManager["Steps"]):
    """Counts finished steps; the total grows as modes announce theirs."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._progress = Progress(*columns, *times, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("starting", total=0)
        self._total = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def announce(self, steps: int) -> None:
        """So many more steps will come."""
        self._total += steps
        self._progress.update(self._task, total=self._total)

    def begin(self, what: str) -> None:
        """Name what is going on now."""
        self._progress.update(self._task, description=what)

    def done(self, line: str) -> None:
        """One step has ended; ``line`` is its result."""
        self._progress.console.print(line, highlight=False, markup=False, soft_wrap=True)
        self._progress.advance(self._task)
