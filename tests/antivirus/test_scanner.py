"""A real clamd, and one that lies: nothing is clean that was not said to be, and scanning comes back."""

import asyncio
import os
import signal

import pytest

from gateway.antivirus.address import ScannerAddress
from gateway.antivirus.breaker import Health
from gateway.antivirus.cache import ResultCache
from gateway.antivirus.connection import stream_limit
from gateway.antivirus.framing import FileSpan, Piece
from gateway.antivirus.result import CLEAN, Cause, Outcome
from gateway.antivirus.scanner import Scanner, ScannerLimits
from gateway.antivirus.scanners import Scanners
from gateway.clock import FakeClock
from tests.antivirus.conftest import EICAR, eventually, piece, session_answer

real = pytest.mark.real
SOON = ScannerLimits(timeout_seconds=0.3, connect_seconds=0.3)
PATIENT = ScannerLimits(timeout_seconds=30.0)
NOBODY = ScannerAddress(path="/nonexistent/clamd.sock")


def scanners(*addresses: ScannerAddress, limits: ScannerLimits = PATIENT) -> Scanners:
    return Scanners([Scanner(address, limits) for address in addresses], ResultCache(FakeClock()))


# A real clamd ---------------------------------------------------------------------------------------------------------


@real
@pytest.mark.parametrize("way", ["unix", "tcp"])
async def test_clean_infected_and_empty_pieces_of_one_session_keep_their_order(shared_clamd, way):
    results = await scanners(getattr(shared_clamd, way)).scan([piece(b"hello"), piece(EICAR), piece(b"")])
    assert [r.outcome for r in results] == [Outcome.CLEAN, Outcome.INFECTED, Outcome.CLEAN]
    assert results[1].name == "Eicar-Test-Signature.UNOFFICIAL"
    assert results[0].version.startswith("ClamAV ")


@real
async def test_a_large_piece_goes_through_whole(shared_clamd):
    large = os.urandom(20 * 1024 * 1024)
    results = await scanners(shared_clamd.unix).scan([piece(large), piece(large + EICAR)])
    # The signature is looked for anywhere in a file.
    assert [r.outcome for r in results] == [Outcome.CLEAN, Outcome.INFECTED]


@real
@pytest.mark.parametrize("way", ["unix", "tcp"])
async def test_a_file_is_sent_from_where_it_lies(shared_clamd, way, tmp_path):
    octets = os.urandom(9_000_000) + EICAR
    path = tmp_path / "content"
    path.write_bytes(octets)
    with path.open("rb") as file:
        whole, cut = FileSpan(file.fileno(), len(octets)), FileSpan(file.fileno(), len(octets) - 10)
        pieces = [piece(b"first"), Piece(octets=whole, digest="whole"), Piece(octets=cut, digest="cut"), piece(b"last")]
        results = await scanners(getattr(shared_clamd, way)).scan(pieces)
    assert [r.outcome for r in results] == [Outcome.CLEAN, Outcome.INFECTED, Outcome.CLEAN, Outcome.CLEAN]


async def test_a_file_that_is_shorter_than_it_was_is_not_clean(fake, tmp_path):
    path = tmp_path / "content"
    path.write_bytes(b"short")
    with path.open("rb") as file:
        [result] = await scanners(fake.address).scan([Piece(octets=FileSpan(file.fileno(), 10), digest="x")])
    assert result.outcome is Outcome.TEMPERROR


@real
@pytest.mark.parametrize("way", ["unix", "tcp"])
async def test_beyond_stream_max_length_the_answer_is_read_though_clamd_closes_while_we_write(shared_clamd, way):
    pool = scanners(getattr(shared_clamd, way))
    [result] = await pool.scan([piece(bytes(40 * 1024 * 1024))])
    assert (result.outcome, result.cause) == (Outcome.TEMPERROR, Cause.SIZE_LIMIT)
    assert pool.all[0].health is Health.WELL


@real
@pytest.mark.parametrize("way", ["unix", "tcp"])
async def test_clamds_own_limit_is_found_without_sending_that_much(shared_clamd, way):
    address = getattr(shared_clamd, way)
    assert await stream_limit(address, 50 * 1024 * 1024) == 30 * 1024 * 1024
    assert await stream_limit(address, 25 * 1024 * 1024) == 25 * 1024 * 1024


@real
async def test_many_at_once_are_bounded_and_none_is_mixed_up(shared_clamd):
    pool = scanners(shared_clamd.unix, limits=ScannerLimits(sessions=3))
    pieces = [[piece(b"%d" % n), piece(EICAR + b"%d" % n if n % 3 else b"x%d" % n)] for n in range(60)]
    results = await asyncio.gather(*(pool.scan(p) for p in pieces))
    assert [r[1].outcome for r in results] == [Outcome.INFECTED if n % 3 else Outcome.CLEAN for n in range(60)]
    assert all(r[0].clean for r in results)
    assert pool.all[0].under_way == 0


@real
async def test_killed_in_the_middle_of_streams_nothing_is_clean(clamds):
    clamd = clamds()
    pool = scanners(clamd.unix)
    # Stopped, it takes what the sockets hold and no more: every scan is midway when it is killed.
    clamd.signal(signal.SIGSTOP)
    under_way = [asyncio.ensure_future(pool.scan([piece(os.urandom(2_000_000)), piece(EICAR)])) for _ in range(6)]
    done, _ = await asyncio.wait(under_way, timeout=0.2)
    assert not done
    clamd.kill()
    for results in await asyncio.gather(*under_way):
        assert {r.outcome for r in results} == {Outcome.TEMPERROR}
    clamd.start()
    pool.all[0].breaker.trust()
    [result] = await pool.scan([piece(b"again")])
    assert result.clean


@real
async def test_stopped_it_is_a_time_out_and_continued_it_scans(clamds):
    clamd = clamds()
    pool = scanners(clamd.unix, limits=SOON)
    clamd.signal(signal.SIGSTOP)
    [result] = await pool.scan([piece(b"small")])
    assert (result.outcome, result.cause) == (Outcome.TEMPERROR, Cause.TIMEOUT)
    clamd.signal(signal.SIGCONT)
    [result] = await scanners(clamd.unix).scan([piece(b"small")])
    assert result.clean


@real
async def test_the_second_scanner_answers_when_the_first_is_gone(clamds, shared_clamd):
    clamd = clamds()
    pool = scanners(clamd.unix, shared_clamd.unix)
    clamd.kill()
    results = await pool.scan([piece(b"a"), piece(EICAR)])
    assert [r.outcome for r in results] == [Outcome.CLEAN, Outcome.INFECTED]
    assert results[0].scanner == str(shared_clamd.unix)
    assert pool.all[0].health is Health.SUSPECT


# One that lies --------------------------------------------------------------------------------------------------------


LIES = {
    "silence": None,
    "nothing known": b"",
    "one answer short": session_answer([b"stream: OK", b"stream: OK"])[:-11],
    "no NUL at the end": session_answer([b"stream: OK", b"stream: OK"])[:-1],
    "without numbers": b"ClamAV 1\0stream: OK\0stream: OK\0ClamAV 1\0",
    "the same twice": b"1: ClamAV 1\x002: stream: OK\x002: stream: OK\x004: ClamAV 1\0",
    "more than asked": session_answer([b"stream: OK"] * 3),
    "HTTP": b"HTTP/1.0 200 OK\r\n\r\nstream: OK\0",
    "errors": session_answer([b"stream: OK ERROR", b"Out of memory ERROR"]),
    "no version": session_answer([b"stream: OK", b"stream: OK"], b"UNKNOWN COMMAND", b"UNKNOWN COMMAND"),
    "other signatures": session_answer([b"stream: OK", b"stream: OK"], b"ClamAV 1", b"ClamAV 2"),
    "other case": session_answer([b"stream: ok", b"stream: Ok"]),
    "endless": b"1: " + b"A" * 100_000,
}


@pytest.mark.parametrize("lie", LIES)
async def test_no_lie_is_clean(fake, lie):
    fake.expects, fake.answer = 2, lambda _: LIES[lie]
    results = await scanners(fake.address, limits=SOON).scan([piece(b"one"), piece(b"two")])
    assert [r.outcome for r in results] == [Outcome.TEMPERROR] * 2, results


@real
async def test_clamds_threads_do_not_spoil_each_others_answers(shared_clamd):
    """clamd 1.4 writes a version in two parts, and a verdict may come between them."""
    pool = scanners(shared_clamd.unix)
    for number in range(300):
        results = await pool.scan([piece(b"%d %d" % (number, n)) for n in range(4)])
        assert all(result.clean for result in results), results


async def test_an_answer_in_pieces_is_understood(fake):
    fake.expects, fake.answer = 2, lambda _: session_answer([b"stream: OK", b"stream: X FOUND"])
    results = await scanners(fake.address).scan([piece(b"one"), piece(b"two")])
    assert [r.outcome for r in results] == [Outcome.CLEAN, Outcome.INFECTED]


async def test_a_virus_stays_found_when_signatures_change_midway(fake):
    fake.expects = 2
    fake.answer = lambda _: session_answer([b"stream: OK", b"stream: X FOUND"], b"ClamAV 1", b"ClamAV 2")
    results = await scanners(fake.address).scan([piece(b"one"), piece(b"two")])
    assert [(r.outcome, r.cause) for r in results] == [
        (Outcome.TEMPERROR, Cause.VERSION_CHANGED),
        (Outcome.INFECTED, Cause.NONE),
    ]
    assert fake.sessions == 2, "asked once more under the new signatures"


async def test_signatures_that_changed_midway_once_are_asked_again_and_then_count(fake):
    def answer(streams):
        before = b"ClamAV 1" if fake.sessions == 1 else b"ClamAV 2"
        return session_answer([b"stream: OK"] * len(streams), before, b"ClamAV 2")

    fake.answer = answer
    [result] = await scanners(fake.address).scan([piece(b"one")])
    assert result.clean
    assert result.version == "ClamAV 2"


async def test_three_failures_open_the_circuit_and_mail_hears_at_once(fake):
    fake.answer = lambda _: None
    pool = scanners(fake.address)
    for number in range(3):
        await pool.scan([piece(b"%d" % number)])
    assert pool.all[0].health is Health.OPEN
    [result] = await pool.scan([piece(b"next")])
    assert (result.outcome, result.cause) == (Outcome.TEMPERROR, Cause.CIRCUIT_OPEN)
    assert fake.sessions == 3


async def test_time_outs_do_not_open_the_circuit(fake):
    """Else three mails that are hard to unpack switch scanning off for everybody."""
    fake.hold = asyncio.Event()
    pool = scanners(fake.address, limits=ScannerLimits(timeout_seconds=0.5))
    for number in range(4):
        [result] = await pool.scan([piece(b"%d" % number)])
        assert result.cause is Cause.TIMEOUT
    assert pool.all[0].health is Health.WELL


async def test_who_waits_too_long_for_a_place_hears_that_nobody_was_free(fake):
    """The first is large, and may take its time; the second is small, and gives up while the first has the place."""
    fake.hold = asyncio.Event()
    limits = ScannerLimits(timeout_seconds=0.05, octets_per_second=1000, sessions=1)
    pool = scanners(fake.address, limits=limits)
    large = asyncio.create_task(pool.scan([piece(bytes(40_000))]))
    await fake.asked.wait()
    [small] = await pool.scan([piece(b"small")])
    assert small.cause is Cause.BUSY
    fake.hold.set()
    [first] = await large
    assert first.outcome is Outcome.CLEAN


async def test_the_time_out_grows_with_the_size():
    limits = ScannerLimits(timeout_seconds=30, octets_per_second=1024 * 1024)
    assert limits.seconds(0) == 30
    assert limits.seconds(25 * 1024 * 1024) == 55


async def test_a_scanner_that_is_given_up_hands_its_mail_to_the_next(fake):
    """One that hangs, while another is well: nobody waits for the time-out."""
    fake.hold = asyncio.Event()
    pool = scanners(fake.address, NOBODY)
    waiting = asyncio.ensure_future(pool.scan([piece(b"one")]))
    await eventually(lambda: fake.sessions)
    pool.all[0].give_up("no answer to a ping")
    [result] = await asyncio.wait_for(waiting, 5)
    assert result.outcome is Outcome.TEMPERROR
    assert pool.all[1].breaker.reason.startswith("cannot be reached"), "the next one was asked"


# The cache ------------------------------------------------------------------------------------------------------------


async def test_the_same_octets_are_scanned_once(fake):
    pool = scanners(fake.address)
    first = await pool.scan([piece(b"one"), piece(b"one")])
    again = await pool.scan([piece(b"one")])
    assert fake.sessions == 1
    assert [r.cached for r in (*first, *again)] == [False, False, True]


async def test_other_signatures_make_the_cache_forget(fake):
    pool = scanners(fake.address)
    await pool.scan([piece(b"one")])
    pool.all[0].version = "ClamAV 2"
    fake.answer = lambda _: session_answer([b"stream: X FOUND"], b"ClamAV 2", b"ClamAV 2")
    [result] = await pool.scan([piece(b"one")])
    assert result.outcome is Outcome.INFECTED


async def test_a_time_out_is_remembered_for_a_minute_and_other_failures_are_not(fake):
    clock = FakeClock()
    # Long enough that a busy machine answers within it when nothing is held back.
    limits = ScannerLimits(timeout_seconds=1)
    pool = Scanners([Scanner(fake.address, limits)], ResultCache(clock))
    fake.hold = asyncio.Event()
    await pool.scan([piece(b"hard")])
    assert pool.all[0].doubt.is_set(), "somebody is to look whether it is the scanner"
    pool.explain_late(pool.all[0], answers=True)
    fake.hold.set()
    [again] = await pool.scan([piece(b"hard")])
    assert (again.cause, again.cached) == (Cause.TIMEOUT, True)
    clock.advance(61)
    [later] = await pool.scan([piece(b"hard")])
    assert later.clean
    fake.answer = lambda _: None
    assert [(await pool.scan([piece(b"broken")]))[0].cached for _ in range(2)] == [False, False]


async def test_a_time_out_of_a_scanner_that_hangs_is_not_held_against_the_mail(fake):
    pool = scanners(fake.address, limits=ScannerLimits(timeout_seconds=1))
    fake.hold = asyncio.Event()
    await pool.scan([piece(b"mail")])
    pool.explain_late(pool.all[0], answers=False)
    fake.hold.set()
    [again] = await pool.scan([piece(b"mail")])
    assert again.clean


def test_the_cache_is_bounded():
    cache = ResultCache(FakeClock(), entries=3)
    for number in range(5):
        cache.keep(str(number), CLEAN.by("s", "v"))
    assert len(cache) == 3
    assert cache.recall("0", {"v"}) is None
    assert cache.recall("4", {"v"}) is not None
    assert cache.recall("4", {"w"}) is None
