"""The abuse desk's part of the supervisor: the incident keeper, in a thread of its own, for the gateway's life.

Beside the mail: nothing here runs in a worker, and the thread is a nice one. Events are told in the loop; a bug in a
round is one event, and the next round goes on. Whose account is suspended has its data kept (contract.md §7).
"""

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from gateway.abuse import local_senders
from gateway.abuse.keeper import BY as KEEPER
from gateway.abuse.keeper import Keeper, Round
from gateway.abuse.local_senders import LocalWatch
from gateway.abuse.protection import Protection, host_names, resolve
from gateway.abuse.standing import Standing, standing
from gateway.abuse.telling import RecordTeller
from gateway.abuse.upkeep import Upkeep
from gateway.backup.errors import BackupError
from gateway.backup.retention import LOCKED_SECONDS, KeptAccount, keep_account
from gateway.backup.running import repository_of
from gateway.blocklist.local.lists import LocalLists
from gateway.clock import Clock
from gateway.config.models import GatewayConfig
from gateway.config.problem import ConfigError
from gateway.config.snapshot import Snapshot
from gateway.incidents import IncidentBook, Source
from gateway.incidents.networks import Networks
from gateway.incidents.retention import Keeping
from gateway.journal.duty_events import BackupFailed
from gateway.journal.events import Event, EventSink, InternalError, StorageFailed
from gateway.journal.guard_events import OwnListingChanged
from gateway.state.table import LateTable, SharedTable
from gateway.storage import StorageError

# A spammer's verdict, in the journal after 0.1 s, may be a block so soon, which workers hear of in 0.25 s: together
# less than a second. What is read at once is read the cheaper.
LOOK_SECONDS = 0.4
# Addresses of next hops change by the day.
RESOLVE_SECONDS = 3600.0
AFTER_A_FAILURE_SECONDS = 5.0
# Below everything that carries mail.
NICENESS = 10
BY = "incident keeper"


def known_recipients(data: Path, clock: Clock) -> LateTable:
    """Return the memory of who has written to whom, made when a sender of ours first writes."""
    path = data / "state" / "correspondents.table"
    return LateTable(partial(SharedTable, path, places=local_senders.PLACES, clock=clock))


def keep_data(config: GatewayConfig, account: str, reason: str, who: str, now: float) -> bool:
    """Have a locked account's data kept (contract.md §7); False without backups. BackupError, OSError."""
    if config.backup.folder is None:
        return False
    kept = KeptAccount(account=account, locked_at=now, until=now + LOCKED_SECONDS, reason=reason, who=who)
    keep_account(repository_of(config.backup), kept)
    return True


def _keeping(config: GatewayConfig) -> Keeping:
    return Keeping(
        sightings=config.incidents.keep_sightings,
        evidence=config.incidents.keep_evidence,
        closed=config.incidents.keep_closed,
        tickets=config.complaints.keep_tickets,
        reports=config.reporting.keep,
    )


def _nobody(_: Sequence[OwnListingChanged]) -> None:
    """Hear nothing."""


class IncidentDesk:
    """Runs the keeper until cancelled, and once more then."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        *,
        clock: Clock,
        events: EventSink,
        listed: Callable[[Sequence[OwnListingChanged]], None] = _nobody,
    ) -> None:
        """Take the parts; ``listed`` hears what the journal tells of our own names."""
        self._snapshot, self._clock, self._events, self._listed = snapshot, clock, events, listed
        self._data = snapshot().config.data
        self._thread = ThreadPoolExecutor(1, "incident-keeper", initializer=_be_nice)
        self._keeper: Keeper | None = None
        self._networks = Networks(None)
        self._upkeep = Upkeep(self._data, clock=clock, book=IncidentBook(self._data, clock=clock))
        self._used: tuple[str, Mapping[str, tuple[str, ...]]] | None = None
        self._hosts: Mapping[str, tuple[str, ...]] = {}
        self._teller: RecordTeller | None = None
        self._failing = False
        self._stopping = threading.Event()
        self._caught_up_at = clock.monotonic()
        self.folded = 0

    @property
    def lag_seconds(self) -> float:
        """How long ago the journals were last read to their ends: the verdicts since then are in no incident yet."""
        return self._clock.monotonic() - self._caught_up_at

    async def standing(self) -> Standing | None:
        """Return what is open at the desk, None where the record cannot be read."""
        try:
            return await asyncio.to_thread(standing, self._data, self._now())
        except (StorageError, OSError):
            return None

    async def run(self) -> None:
        """Keep incidents until cancelled."""
        resolving = asyncio.create_task(self._resolve())
        try:
            while not self._stopping.is_set():
                # A cancellation may have come meanwhile; it is told once.
                if not await self._survive(self._look) and not self._stopping.is_set():
                    await asyncio.sleep(AFTER_A_FAILURE_SECONDS)
        finally:
            resolving.cancel()
            await self._end()

    async def _end(self) -> None:
        """Take up what the workers said last, and let go."""
        await self._survive(partial(self._take, Keeper.finish))
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def _survive(self, turns: Callable[[], Round]) -> bool:
        """Have turns taken in the keeper's thread and tell of them; False where they failed."""
        try:
            self._tell(await self._awaited(turns))
        except (StorageError, ConfigError, OSError) as error:
            self._failed(str(error))
            return False
        except Exception as error:  # noqa: BLE001 - the keeper must survive a bug in one round
            self._events.emit(InternalError.of(error, "incident keeper", self._now()))
            return False
        self._failing = False
        return True

    async def _awaited(self, turns: Callable[[], Round]) -> Round:
        """Return what turns did; a cancellation ends them, and what they did by then is told all the same."""
        taking = asyncio.get_running_loop().run_in_executor(self._thread, turns)
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            self._stopping.set()
            return await taking

    def _tell(self, done: Round) -> None:
        self.folded += done.sightings
        for event in done.events:
            self._events.emit(event)
        self._listed(done.listed)

    def _look(self) -> Round:
        """Look, in the keeper's thread, until there is something to tell: the loop need not know of each look."""
        while True:
            done = self._take(Keeper.round)
            self._failing = False
            if not done.more:
                self._caught_up_at = self._clock.monotonic()
            if done.tells or self._stopping.wait(0.0 if done.more else LOOK_SECONDS):
                return done

    def _take(self, turn: Callable[[Keeper], Round]) -> Round:
        """Take one turn, in the keeper's thread."""
        done = turn(self._ready())
        done.events += self._looked_after()
        done.events += self._put_on_record()
        self._keep_data_of(done.suspended)
        return done

    def _ready(self) -> Keeper:
        """Return the keeper, following the configuration in force."""
        snapshot, hosts = self._snapshot(), self._hosts
        keeper = self._keeper
        if keeper is None:
            book = IncidentBook(self._data, clock=self._clock, lookup=self._network_of)
            local = LocalWatch(known_recipients(self._data, self._clock))
            keeper = self._keeper = Keeper(self._data, clock=self._clock, book=book, local=local)
            self._teller = RecordTeller(self._data, KEEPER, self._clock)
        before, self._used = self._used, (snapshot.digest, hosts)
        if before != self._used:
            keeper.use(snapshot, Protection(snapshot, LocalLists(self._data), hosts))
            if self._networks.path != snapshot.config.incidents.networks:
                self._networks = Networks(snapshot.config.incidents.networks)
        if before is None:
            keeper.enforce()
        return keeper

    def _looked_after(self) -> list[Event]:
        """Do what the record needs; a failure holds nothing else up."""
        if not self._upkeep.is_due:
            return []
        try:
            return self._upkeep.look(_keeping(self._snapshot().config))
        except (StorageError, OSError) as error:
            return [StorageFailed(at=self._now(), store="incidents", operation="look after", error=str(error))]

    def _put_on_record(self) -> list[Event]:
        """Return what anybody put on record since the last look; a failure holds nothing else up."""
        try:
            return self._teller.new() if self._teller is not None else []
        except (StorageError, OSError) as error:
            return [StorageFailed(at=self._now(), store="incidents", operation="tell", error=str(error))]

    def _network_of(self, key: str) -> tuple[int, str] | None:
        return self._networks(key)

    def _keep_data_of(self, senders: Iterable[Source]) -> None:
        config, now = self._snapshot().config, self._now()
        for source in senders:
            if "@" not in source.key:
                continue
            try:
                keep_data(config, source.key.removeprefix("@"), "suspended after an incident", BY, now)
            except (BackupError, OSError) as error:
                told = f"the data of {source.key} is not protected: {error}"
                self._events.emit(BackupFailed(at=now, backup="", state="trouble", reason=told))

    def _close(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
        if self._teller is not None:
            self._teller.close()

    async def _resolve(self) -> None:
        """Look up our own name and the next hops', now and again; what cannot be told stays as it was."""
        while True:
            names = host_names(self._snapshot())
            found = dict(zip(names, await asyncio.to_thread(lambda asked: [*map(resolve, asked)], names), strict=True))
            self._hosts = {name: found[name] or self._hosts.get(name, ()) for name in names}
            await asyncio.sleep(RESOLVE_SECONDS)

    def _failed(self, error: str) -> None:
        if not self._failing:
            self._events.emit(StorageFailed(at=self._now(), store="incidents", operation="keep", error=error))
        self._failing = True

    def _now(self) -> float:
        return self._clock.stamp().utc


def _be_nice() -> None:
    # Linux takes a thread's id here (setpriority(2), "C library/kernel differences").
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
