"""What breaks if these fail: mail waits for the processor or the disk while a backup is made, or it is not in time."""

import ctypes
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.backup import databases
from gateway.backup.drill import drill
from gateway.backup.pace import GENTLE, LOG_OCTETS, READ_SECONDS, SILENCE_SECONDS, Aside, Pace
from gateway.backup.packs import CHUNK_OCTETS
from gateway.backup.repository import Repository
from gateway.backup.sources import Sources, commits
from gateway.backup.verify import Verification
from gateway.clock import FakeClock
from tests.backup.conftest import Place, quiet

MEBI = 1024**2
GIVING_WAY = (
    "import os; from gateway.backup.pace import give_way; give_way(); print(os.sched_getscheduler(0), os.nice(0))"
)
REFUSED = (
    """
import os
def refuse(*_):
    raise PermissionError
os.sched_setscheduler = refuse
"""
    + GIVING_WAY
)


def after(program: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    return [int(word) for word in done.stdout.split()]


def test_a_run_goes_behind_everything_else():
    assert after(GIVING_WAY)[0] == os.SCHED_IDLE


def test_where_that_is_refused_it_is_nice_at_least():
    assert after(REFUSED) == [os.SCHED_OTHER, 19]


class Watch:
    """A clock that sleeps by going forward, and mail that commits every so many seconds (0: none)."""

    def __init__(self, mail_every: float = 0.0) -> None:
        self.now, self.mail_every = 0.0, mail_every

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def commits(self) -> int:
        return int(self.now / self.mail_every) if self.mail_every else 0

    def pace(self, rate: int) -> Pace:
        return Pace(rate, self.commits, monotonic=self.monotonic, sleep=self.sleep)

    def run(self, pace: Pace, octets: int, piece: int = MEBI // 8) -> float:
        """Return how many seconds it takes."""
        before = self.now
        for _ in range(octets // piece):
            pace.spend(piece)
        return self.now - before


@pytest.fixture
def mail() -> Watch:
    return Watch(mail_every=1.0)


def silent(watch: Watch, pace: Pace) -> None:
    """Let the time pass after which nobody is there."""
    watch.now += SILENCE_SECONDS
    pace.spend(0)


def test_beside_mail_a_run_is_gentle(mail: Watch):
    assert mail.run(mail.pace(40 * MEBI), 10 * GENTLE) == pytest.approx(10.0)


def test_a_rate_below_that_is_kept_to(mail: Watch):
    assert mail.run(mail.pace(MEBI), 10 * MEBI) == pytest.approx(10.0)


def test_where_no_mail_comes_it_goes_at_its_rate():
    watch = Watch()
    pace = watch.pace(40 * MEBI)
    assert watch.run(pace, round(SILENCE_SECONDS) * GENTLE) == pytest.approx(SILENCE_SECONDS, rel=0.01)
    assert watch.run(pace, 400 * MEBI) == pytest.approx(10.0, rel=0.01)


def test_it_is_gentle_again_as_soon_as_mail_comes():
    watch = Watch()
    pace = watch.pace(40 * MEBI)
    silent(watch, pace)
    watch.mail_every = 1.0
    watch.run(pace, 20 * MEBI)
    assert watch.run(pace, 10 * GENTLE) == pytest.approx(10.0)


def test_more_than_gentle_where_the_time_that_was_planned_asks_for_it(mail: Watch):
    pace = mail.pace(40 * MEBI)
    pace.plan(2000 * MEBI, 100)
    assert mail.run(pace, 2000 * MEBI) == pytest.approx(100, rel=0.01)


def test_no_more_than_gentle_where_there_is_time_enough(mail: Watch):
    pace = mail.pace(40 * MEBI)
    pace.plan(10 * GENTLE, 3600)
    assert mail.run(pace, 10 * GENTLE) == pytest.approx(10.0)


def test_a_run_that_is_late_goes_at_its_rate_whatever_the_mail(mail: Watch):
    """So that it ends: there was more than was planned, or the machine had no time for it."""
    pace = mail.pace(40 * MEBI)
    pace.plan(GENTLE, 100)
    assert mail.run(pace, 100 * GENTLE) == pytest.approx(100, rel=0.01)
    assert not pace.gives_way
    assert mail.run(pace, 400 * MEBI) == pytest.approx(10.0)


def test_no_plan_asks_for_more_than_the_rate(mail: Watch):
    pace = mail.pace(40 * MEBI)
    pace.plan(10**15, 1)
    assert mail.run(pace, 400 * MEBI) == pytest.approx(10.0)


@pytest.mark.parametrize(("free", "most"), [(1000 * LOG_OCTETS, LOG_OCTETS), (LOG_OCTETS, LOG_OCTETS // 8)])
def test_a_log_that_grows_too_long_is_an_end_of_gentleness(mail: Watch, free: int, most: int):
    """The log of a store cannot begin anew while a run holds its moment; a full disk would be an outage."""
    pace = mail.pace(40 * MEBI)
    log = [most - 1]
    with pace.holding(lambda: log[0], free):
        assert mail.run(pace, 10 * GENTLE) == pytest.approx(10.0)
        log[0] += 1
        mail.run(pace, 20 * MEBI)
        assert mail.run(pace, 400 * MEBI) == pytest.approx(10.0)
    assert mail.run(pace, 10 * GENTLE) == pytest.approx(10.0)


def test_the_pace_holds_over_small_and_large_pieces():
    watch = Watch()
    pace = watch.pace(32 * MEBI)
    silent(watch, pace)
    began = watch.now
    for octets in [MEBI // 8] * 64 + [8 * MEBI] * 3:
        pace.spend(octets)
    assert watch.now - began == pytest.approx(1.0)


def test_what_was_not_used_up_is_not_made_up_for_in_a_burst():
    watch = Watch()
    pace = watch.pace(MEBI)
    watch.now = 100.0
    pace.spend(MEBI)
    assert watch.now == pytest.approx(101.0)


def test_a_run_that_was_stopped_is_as_gentle_when_it_goes_on(mail: Watch):
    """It caught up on nothing, and did not take the time that it has not seen for silence of the mail."""
    pace = mail.pace(40 * MEBI)
    mail.run(pace, GENTLE)
    mail.now += 2 * SILENCE_SECONDS
    assert mail.run(pace, MEBI // 8) == pytest.approx(1 / 64)
    assert mail.run(pace, 10 * GENTLE) == pytest.approx(10.0)


def test_without_a_bound_nothing_waits_and_nothing_gives_way(mail: Watch):
    pace = mail.pace(0)
    assert mail.run(pace, 10**9) == 0.0
    assert not pace.gives_way


async def test_each_commit_of_a_shard_is_heard_of(place: Place):
    custody = place.custody()
    await place.store(custody)
    before = commits(place.data)
    # Commits within one tick of the file system's clock are one: some milliseconds.
    while commits(place.data) == before:
        await place.store(custody)
    custody.close_now()
    assert before


def policy() -> int:
    return os.sched_getscheduler(0)


def test_the_work_is_done_behind_everything_else_and_the_rest_is_not(mail: Watch):
    with Aside(mail.pace(MEBI)) as aside:
        assert aside.do(policy) == os.SCHED_IDLE
    assert policy() == os.SCHED_OTHER


async def test_what_is_looked_for_and_looked_up_is_part_of_the_work(place: Place, monkeypatch: pytest.MonkeyPatch):
    """At 13,000 contents in files a walk takes half a second of processor, and counting a shard's mail as much."""
    policies: dict[str, set[int]] = {}

    def watched(where: object, name: str) -> None:
        work = getattr(where, name)

        def noted(*given, **named):
            policies.setdefault(name, set()).add(policy())
            return work(*given, **named)

        monkeypatch.setattr(where, name, noted)

    for name in ("everything", "databases", "plain"):
        watched(Sources, name)
    for name in ("summary", "filed_contents"):
        watched(databases, name)
    custody = place.custody()
    await place.store(custody)
    place.backup("full", rate=400 * MEBI)
    custody.close_now()
    assert policies.keys() == {"everything", "databases", "plain", "summary", "filed_contents"}
    assert all(seen == {os.SCHED_IDLE} for seen in policies.values())


def test_what_is_not_asked_for_is_not_read_from_the_disk(tmp_path: Path):
    """What Linux reads ahead it reads at once, megabytes of it on some machines, and mail's syncs wait for that."""
    path = tmp_path / "content"
    path.write_bytes(os.urandom(64 * CHUNK_OCTETS))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if in_memory(path):
        pytest.skip("this file system keeps everything in memory")
    reading = databases.pieces(path, CHUNK_OCTETS)
    for _ in range(3):
        next(reading)
    assert in_memory(path) == 3 * CHUNK_OCTETS


def in_memory(path: Path) -> int:
    """Return how many octets of a file are in memory, by mincore(2), which reads nothing."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE) as mapped:
        found = (ctypes.c_ubyte * (len(mapped) // mmap.PAGESIZE))()
        place = ctypes.c_char.from_buffer(mapped)
        assert ctypes.CDLL(None).mincore(ctypes.byref(place), ctypes.c_size_t(len(mapped)), found) == 0
        # A map that is pointed into cannot be closed.
        del place
    return mmap.PAGESIZE * sum(state & 1 for state in found)


def test_once_it_is_late_it_is_done_like_everything_else(mail: Watch):
    """A thread that gives way gets nothing for as long as the machine is busy, which may be all night."""
    pace = mail.pace(MEBI)
    pace.plan(MEBI, 100)
    with Aside(pace) as aside:
        assert aside.do(policy) == os.SCHED_IDLE
        mail.now = 100.0
        assert aside.do(policy) == os.SCHED_OTHER
    with Aside(mail.pace(0)) as fast:
        assert fast.do(policy) == os.SCHED_OTHER


def test_what_nobody_waits_for_any_more_ends(mail: Watch):
    """An interrupted verification or drill must not go on for the hour that is left of it."""
    pace = mail.pace(MEBI)
    spent: list[int] = []
    going = threading.Event()

    def read() -> None:
        while True:
            pace.spend(1)
            spent.append(1)
            going.set()

    def interrupted() -> None:
        with Aside(pace) as aside:
            threading.Thread(target=aside.do, args=(expecting(read),), daemon=True).start()
            going.wait()
            raise KeyboardInterrupt

    def expecting(work: Callable[[], None]) -> Callable[[], None]:
        def expected() -> None:
            with pytest.raises(KeyboardInterrupt):
                work()
            spent.append(0)

        return expected

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert spent[-1] == 0


def test_what_fails_there_fails_here(mail: Watch):
    def fail() -> None:
        raise FileNotFoundError("gone")

    with Aside(mail.pace(MEBI)) as aside, pytest.raises(FileNotFoundError, match="gone"):
        aside.do(fail)


class PlannedError(Exception):
    """Ends what was asked for once its time is planned."""


class Planning(Pace):
    """Tells what is planned."""

    def plan(self, octets: int, seconds: float) -> None:
        raise PlannedError(octets, seconds)


def test_who_reads_a_backup_back_is_through_in_time(place: Place):
    """No run begins meanwhile: a day of reading would be a day without a backup."""
    manifest = place.backup("full")
    repository = Repository(place.repository.folder, None, Planning(MEBI))
    run = repository.find("")
    with pytest.raises(PlannedError) as drilled:
        drill(repository, run, clock=FakeClock(), progress=quiet)
    assert drilled.value.args == (manifest.octets, READ_SECONDS)
    with pytest.raises(PlannedError) as verified:
        Verification(repository, quiet).run("")
    assert verified.value.args == (2 * sum(pack.octets for pack in manifest.packs), READ_SECONDS)
