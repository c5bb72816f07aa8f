"""If one of these fails, what a scanner stops looking at without a word is called clean."""

import asyncio
import io
import os
import time
import zipfile
from dataclasses import replace

import pytest

from gateway.antivirus import scanners as pools
from gateway.antivirus import watch as watching
from gateway.antivirus.archive.report import ArchiveEntry, ArchiveLimits, ArchiveReport
from gateway.antivirus.archive.walk import Walk
from gateway.antivirus.archive.walker import ArchiveWalker
from gateway.antivirus.cache import ResultCache
from gateway.antivirus.measuring import deep, large, many, measure
from gateway.antivirus.message import MessageScanner
from gateway.antivirus.reach import ASSUMED, Reach, least
from gateway.antivirus.result import Cause, Outcome, ScanResult
from gateway.antivirus.scanner import Scanner, ScannerLimits
from gateway.antivirus.scanners import Scanners
from gateway.antivirus.watch import Watch, WatchSettings
from gateway.clock import FakeClock, SystemClock
from gateway.journal.events import InternalError
from tests.antivirus.conftest import EICAR, Events, eventually
from tests.antivirus.test_archive import zipped
from tests.antivirus.test_message import mail

real = pytest.mark.real
MIB = 1024 * 1024
# What Debian's clamd.conf says.
DEBIAN = ("MaxScanSize 100M", "MaxFileSize 25M", "MaxRecursion 16", "MaxFiles 10000")
SMALL = Reach(file_octets=1000, archive_octets=2000, depth=2, entries=4)


def report(*entries: tuple[int, int], apart: bool = False) -> ArchiveReport:
    """Return a report of entries of (size, depth)."""
    return ArchiveReport(entries=tuple(ArchiveEntry(path=("a",) * d, size=s, apart=apart) for s, d in entries))


# What is made of it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ([(1000, 1), (500, 2), (1, 1), (1, 1)], ""),
        ([(1001, 1)], "larger file"),
        ([(900, 1), (900, 1)], "unpacks to more"),
        ([(1, 1), (1, 2), (1, 3)], "deeper"),
        ([(1, 1)] * 5, "more files"),
    ],
)
def test_what_lies_further_away_than_the_scanner_looks_is_unscannable(entries, what):
    found = SMALL.overlooked(report(*entries), 400)
    assert [result.outcome for result in found] == ([Outcome.UNSCANNABLE] if what else [])
    assert all(what in result.reason for result in found)


def test_what_is_handed_over_was_looked_at_by_itself():
    assert not SMALL.overlooked(report((5000, 9), apart=True), 400)


def test_before_it_is_known_how_far_nobody_can_tell():
    [found] = ASSUMED.overlooked(report((26 * MIB, 1)), 400)
    assert (found.outcome, found.cause) == (Outcome.TEMPERROR, Cause.BUSY)


def test_of_several_scanners_each_may_be_asked():
    other = Reach(file_octets=5000, archive_octets=100, depth=9, entries=1, measured=False)
    assert least([]) is None
    assert least([SMALL]) is SMALL
    assert least([SMALL, other]) == Reach(file_octets=1000, archive_octets=100, depth=2, entries=1, measured=False)


def test_a_scanner_that_looks_into_no_archive_still_reads_what_is_none():
    blind = Reach(file_octets=0, archive_octets=0, depth=0, entries=0)
    assert blind.stream_octets == ASSUMED.file_octets
    assert blind.overlooked(report((1, 1)), 400)


# What is tried --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("octets", [MIB, 25 * MIB])
def test_the_large_one_is_two_files_of_that_size_and_eicar_behind_them(octets):
    packed = large(octets)
    assert packed.size < octets / 500
    with zipfile.ZipFile(io.BytesIO(packed.octets)) as outer:
        assert [entry.file_size for entry in outer.infolist()] == [octets]
    walked = Walk(ArchiveLimits(ratio=10_000), (), lambda: 0.0).run(packed.octets)
    sizes = {entry.path[-1]: entry.size for entry in walked.entries}
    assert [*sizes] == ["a.zip", "b.zip", "x", "e.com"]
    assert 0 < octets - sizes["b.zip"] < 200


def test_the_deep_one_and_the_one_of_many_files_are_what_our_own_limits_let_pass():
    for piece in (deep(ArchiveLimits().depth), many(ArchiveLimits().entries)):
        walked = Walk(ArchiveLimits(), (), lambda: 0.0).run(piece.octets)
        assert walked.complete
        assert walked.entries[-1].path[-1] == "e.com"


# A real clamd ---------------------------------------------------------------------------------------------------------


@real
@pytest.mark.parametrize(
    ("configured", "found"),
    [
        (DEBIAN, (25 * MIB, 12, 8000)),
        (("MaxFileSize 25M", "MaxScanSize 15M"), (5 * MIB, 12, 8000)),
        (("MaxFileSize 3M", "MaxRecursion 7", "MaxFiles 500"), (MIB, 5, 100)),
        (("MaxFileSize 300K",), (MIB // 4, 12, 1000)),
        (("ScanArchive no",), (0, 0, 0)),
    ],
    ids=["Debian", "altogether", "little", "hardly anything", "no archives"],
)
async def test_it_is_found_out_how_far_a_scanner_looks(clamds, configured, found):
    clamd = clamds()
    clamd.restart_with(*configured)
    octets, depth, entries = found
    reach = Reach(file_octets=octets, archive_octets=2 * octets, depth=depth, entries=entries)
    assert await measure(Scanner(clamd.unix, ScannerLimits())) == reach


async def test_of_a_scanner_that_does_not_answer_nothing_is_found_out(fake):
    fake.answer = lambda _: None
    assert await measure(Scanner(fake.address, ScannerLimits())) is None


async def test_a_bug_in_finding_out_is_told_and_it_is_found_out_all_the_same(fake, monkeypatch):
    """Else what is large would be put off for as long as the worker lives, and nobody would know why."""
    trials = [OSError("no room"), SMALL]

    async def measured(_):
        if isinstance(found := trials.pop(0), Exception):
            raise found
        return found

    monkeypatch.setattr(watching, "measure", measured)
    monkeypatch.setattr(watching, "MEASURE_AGAIN_SECONDS", 0.0)
    fake.answer = lambda _: None
    events = Events()
    pool = Scanners([Scanner(fake.address, ScannerLimits())], ResultCache(FakeClock()))
    watch = Watch(pool, WatchSettings(), clock=SystemClock(), events=events)
    await watch.start()
    try:
        watch.watched[0].to_measure.set()
        await eventually(lambda: pool.all[0].reach == SMALL)
    finally:
        await watch.stop()
    assert [event.error for event in events.seen if isinstance(event, InternalError)] == ["OSError: no room"]


@real
async def test_nothing_is_clean_that_clamd_passed_without_a_look(clamds):
    clamd = clamds()
    clamd.restart_with("MaxFileSize 5M", "MaxScanSize 20M")
    pool = Scanners([Scanner(clamd.unix, ScannerLimits())], ResultCache(FakeClock()))
    events, walker = Events(), ArchiveWalker(ArchiveLimits())
    watch = Watch(pool, WatchSettings(), clock=SystemClock(), events=events)
    await watch.start()
    try:
        await eventually(lambda: pool.all[0].reach.measured, seconds=60)
        scanner = MessageScanner(pool, walker)
        # Enough that does not compress for no ratio to be a bomb's.
        some = os.urandom(100_000)
        in_one = zipped(("a.bin", some + bytes(6 * MIB) + EICAR))
        in_all = zipped(*((f"{n}.bin", some + bytes(3 * MIB)) for n in range(8)), ("e.com", EICAR))
        found = [(await scanner.scan(mail("a.zip", octets))).result for octets in (in_one, in_all)]
        assert [(r.outcome, r.name) for r in found] == [(Outcome.UNSCANNABLE, "Scanner.Limit")] * 2
        harmless = zipped(("a.bin", some + bytes(4 * MIB)), ("b.bin", some))
        assert (await scanner.scan(mail("a.zip", harmless))).result.clean
    finally:
        await watch.stop()
        walker.close()


@real
async def test_a_scanner_that_tells_of_its_limits_is_not_measured(clamds):
    clamd = clamds()
    clamd.restart_with("MaxFileSize 1M", "AlertExceedsMax yes")
    pool = Scanners([Scanner(clamd.unix, ScannerLimits())], ResultCache(FakeClock()))
    watch = Watch(pool, WatchSettings(), clock=SystemClock(), events=Events())
    await watch.start()
    walker = ArchiveWalker(ArchiveLimits())
    try:
        assert pool.all[0].alerts_limits
        assert pool.reach is None
        assert not watch.watched[0].to_measure.is_set()
        scan = await MessageScanner(pool, walker).scan(mail("a.zip", zipped(("a.bin", os.urandom(2 * MIB) + EICAR))))
        assert scan.result.outcome is Outcome.UNSCANNABLE
        assert scan.result.name.startswith("Heuristics.Limits.Exceeded")
    finally:
        await watch.stop()
        walker.close()


@real
@pytest.mark.parametrize("way", ["unix", "tcp"])
async def test_a_scanner_that_came_back_with_smaller_limits_passes_nothing_unseen(clamds, way):
    """The watch looks an hour later only: nothing but the end of the session that it holds tells of another scanner."""
    clamd = clamds()
    pool = Scanners([Scanner(getattr(clamd, way), ScannerLimits())], ResultCache(SystemClock()))
    watch = Watch(pool, WatchSettings(well_seconds=3600), clock=SystemClock(), events=Events())
    await watch.start()
    walker = ArchiveWalker(ArchiveLimits())
    scanner, some = MessageScanner(pool, walker), os.urandom(100_000)
    held = [some[n:] + bytes(3 * MIB) + EICAR for n in range(3)]
    in_archive, in_sight = mail("a.zip", zipped(("a.bin", held[0]))), mail("a.bin", held[1])
    try:
        assert (await scanner.scan(mail("a.zip", zipped(("a.bin", held[2]))))).result.outcome is Outcome.INFECTED
        assert pool.reach.file_octets > 4 * MIB
        clamd.restart_with("MaxFileSize 2M")
        for each in in_archive, in_sight:
            found = (await scanner.scan(each)).result
            assert found.outcome in (Outcome.UNSCANNABLE, Outcome.TOO_LARGE), found
        assert pool.reach.file_octets == MIB
    finally:
        await watch.stop()
        walker.close()


async def test_a_scanner_that_will_not_be_held_is_looked_at_no_oftener_than_one_that_is_not_well(fake):
    """Else one that hangs up at once is asked without a pause."""
    fake.expects = 0
    fake.answer = lambda _: None
    pool = Scanners([Scanner(fake.address, ScannerLimits())], ResultCache(FakeClock()))
    watch = Watch(pool, WatchSettings(ill_seconds=0.1), clock=SystemClock(), events=Events())
    await watch.start()
    begun, looks = time.monotonic(), watch.watched[0].tether.number
    await eventually(lambda: watch.watched[0].tether.number >= looks + 5)
    await watch.stop()
    assert time.monotonic() - begun > 0.3
    assert not pool.all[0].limits_known.is_set()


async def test_what_is_larger_than_anybody_may_overlook_waits_until_it_is_known(fake, monkeypatch):
    """Else mail would be called clean, or come again, for being the first behind a scanner's start."""
    clean = ScanResult(outcome=Outcome.CLEAN)
    scanner = Scanner(fake.address, ScannerLimits())
    scanner.forget_limits()
    pool = Scanners([scanner], ResultCache(FakeClock()))
    monkeypatch.setattr(pool, "_ask", lambda pieces: answered(clean, len(pieces)))
    waiting = asyncio.ensure_future(MessageScanner(pool, NoWalker()).scan(mail("a.bin", bytes(2 * MIB))))
    assert (await MessageScanner(pool, NoWalker()).scan(mail("a.bin", bytes(1000)))).result.clean
    await asyncio.wait([waiting], timeout=0.2)
    assert not waiting.done()
    scanner.learn_limits(replace(SMALL, file_octets=50 * MIB))
    assert (await waiting).result.clean
    # What takes too long is told to come again.
    scanner.forget_limits()
    monkeypatch.setattr(pools, "FINDING_SECONDS", 0.1)
    late = (await MessageScanner(pool, NoWalker()).scan(mail("b.bin", bytes(2 * MIB + 1)))).result
    assert (late.outcome, late.cause) == (Outcome.TEMPERROR, Cause.BUSY)


async def answered(result: ScanResult, count: int) -> tuple[ScanResult, ...]:
    return (result,) * count


class NoWalker:
    """Nothing is an archive here."""
