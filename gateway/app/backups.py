"""The schedule of backups: ``tidegate backup run`` in a process of its own when one is due, and a drill when one is.

The command (``own_commands``) tells the gateway what it did (``gateway.backup.telling``); what it
could not do, and a day without a backup, are told here. Nothing is done without a configuration file.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from gateway.app.own_commands import OwnCommands
from gateway.backup.drill import drills
from gateway.backup.errors import BackupError
from gateway.backup.running import failed, history_of, plan_of, repository_of
from gateway.backup.schedule import History, due_at, overdue_at
from gateway.clock import Clock
from gateway.config.models import Backup
from gateway.config.snapshot import Snapshot
from gateway.journal.duty_events import BackupFailed
from gateway.journal.events import EventSink

# Backups are counted in hours; a look costs a listing of one folder.
LOOK_SECONDS = 30.0


class Backups:
    """Looks, for the supervisor's life, whether something is due."""

    def __init__(
        self, snapshot: Callable[[], Snapshot], configuration: Path | None, *, clock: Clock, events: EventSink
    ) -> None:
        self._snapshot, self._configuration, self._clock, self._events = snapshot, configuration, clock, events
        self._since: float | None = None
        self._failed: float | None = None
        self._overdue_told = False
        self._commands = OwnCommands("backup schedule", configuration, clock=clock, events=events)

    async def run(self) -> None:
        """Look until cancelled; a command that runs then is ended, which leaves the backups before it whole."""
        await self._commands.keep(self.look, lambda: LOOK_SECONDS)

    async def look(self) -> None:
        """Do what is due now."""
        settings = self._snapshot().config.backup
        if settings.folder is None or self._configuration is None:
            self._since = None
            return
        now = self._now()
        self._since = self._since or now
        try:
            history = await asyncio.to_thread(self._history, settings)
        except (BackupError, OSError) as error:
            self._unreachable(str(error), now)
            return
        if now >= due_at(plan_of(settings), history, now):
            await self._back_up(settings, history)
        elif now >= overdue_at(plan_of(settings), history, self._since):
            self._overdue(f"the last backup is of {history.last or 0:.0f} (UTC seconds)")

    def _history(self, settings: Backup) -> History:
        repository = repository_of(settings)
        repository.check()
        return history_of(repository, self._failed)

    def _unreachable(self, reason: str, now: float) -> None:
        """Say once that there is no folder to save to, and again when a day has gone."""
        if self._failed is None:
            self._fail(reason)
        elif now - self._failed >= self._snapshot().config.backup.increment:
            self._overdue(reason)

    async def _back_up(self, settings: Backup, before: History) -> None:
        said = await self._commands.run("backup", "run", "--scheduled")
        after = await asyncio.to_thread(self._history, settings)
        if after.last == before.last:
            self._fail(said)
            return
        self._failed, self._overdue_told = None, False
        if settings.drill and await asyncio.to_thread(self._wants_drill, settings):
            await self._drill(settings)

    def _wants_drill(self, settings: Backup) -> bool:
        tried = drills(repository_of(settings))
        return not tried or self._now() - tried[-1].started_at >= settings.drill

    async def _drill(self, settings: Backup) -> None:
        said = await self._commands.run("backup", "drill")
        if await asyncio.to_thread(self._wants_drill, settings):
            self._events.emit(
                BackupFailed(at=self._now(), backup="", state="trouble", reason=f"the drill did not come off: {said}")
            )

    def _fail(self, reason: str) -> None:
        self._failed = self._now()
        self._events.emit(failed(self._failed, reason))

    def _overdue(self, reason: str) -> None:
        if not self._overdue_told:
            self._overdue_told = True
            self._events.emit(BackupFailed(at=self._now(), backup="", state="overdue", reason=reason))

    def _now(self) -> float:
        return self._clock.stamp().utc
