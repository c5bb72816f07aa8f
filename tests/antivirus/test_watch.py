"""If one of these fails, a scanner that is gone, lies or is out of date goes unnoticed, or does not come back."""

import asyncio
import signal
import time
from dataclasses import replace

import pytest

from gateway.antivirus import control
from gateway.antivirus.breaker import Health
from gateway.antivirus.cache import ResultCache
from gateway.antivirus.control import Told, Unanswered
from gateway.antivirus.history import SignatureHistory, read_changes, read_states
from gateway.antivirus.result import Outcome
from gateway.antivirus.scanner import Scanner, ScannerLimits
from gateway.antivirus.scanners import Scanners
from gateway.antivirus.selftest import run_self_test
from gateway.antivirus.signatures import AgeLimits, Freshness, SignatureVersion
from gateway.antivirus.watch import Watch, WatchSettings
from gateway.clock import FakeClock, SystemClock
from tests.antivirus.conftest import EICAR, Events, eventually, piece, session_answer

real = pytest.mark.real
BUILT = "ClamAV 1.4.6/27100/Mon Jun  1 08:00:00 2026"
BUILT_UTC = 1_780_300_800.0
DAY = 86_400.0
# As in service, but a ping is given up sooner, so that the tests are quick.
SETTINGS = WatchSettings(most_octets=50 * 1024 * 1024, ping_seconds=0.5, well_seconds=0.2, ill_seconds=0.2)


def watch_of(*addresses, clock=None, settings=SETTINGS, history=None):
    clock = clock or SystemClock()
    pool = Scanners([Scanner(a, ScannerLimits(timeout_seconds=2)) for a in addresses], ResultCache(clock))
    events = Events()
    return Watch(pool, settings, clock=clock, events=events, history=history), pool, events


# Health ---------------------------------------------------------------------------------------------------------------


@real
async def test_what_is_known_of_a_scanner_after_the_first_look(shared_clamd):
    watch, _, events = watch_of(shared_clamd.unix, shared_clamd.tcp, settings=replace(SETTINGS, ping_seconds=10.0))
    await watch.start()
    await watch.stop()
    for watched in watch.watched:
        assert watched.scanner.health is Health.WELL
        assert watched.scanner.stream_limit == 30 * 1024 * 1024, "the material's StreamMaxLength"
        assert watched.scanner.version.startswith("ClamAV ")
        assert watched.test is not None
        assert watched.test.passed
        # The material's clamd has AlertExceedsMax off, as clamd's default is.
        assert not watched.test.alerts_limits
    assert [e.result for e in events.of("scanner_tested")] == ["passed", "passed"]
    # What its configuration leaves unscanned is said at the start.
    assert all("StreamMaxLength" in e.reason and "AlertExceedsMax" in e.reason for e in events.of("scanner_tested"))
    assert {e.state for e in events.of("scanner_changed")} == {"well"}


@real
@pytest.mark.parametrize("fault", ["killed", "stopped"])
async def test_scanning_works_again_within_five_seconds_of_its_return(clamds, fault):
    clamd = clamds()
    watch, pool, events = watch_of(clamd.unix, settings=replace(SETTINGS, ping_seconds=1.0, ill_seconds=1.0))
    await watch.start()
    if fault == "killed":
        clamd.kill()
    else:
        clamd.signal(signal.SIGSTOP)
    await eventually(lambda: pool.all[0].health is Health.OPEN)
    [result] = await pool.scan([piece(b"meanwhile")])
    assert result.outcome is Outcome.TEMPERROR
    if fault == "killed":
        clamd.start()
    else:
        clamd.signal(signal.SIGCONT)
        clamd.wait()
    returned = time.monotonic()
    await eventually(lambda: pool.all[0].health is Health.WELL, seconds=5)
    results = await pool.scan([piece(b"again"), piece(EICAR)])
    assert [r.outcome for r in results] == [Outcome.CLEAN, Outcome.INFECTED]
    assert time.monotonic() - returned < 5
    await eventually(lambda: events.of("scanner_changed")[-1].state == "well")
    await watch.stop()


@pytest.mark.parametrize("fault", ["garbage", "silence", "slow"])
async def test_so_it_does_when_one_that_was_there_all_the_time_answers_as_it_should(fake, fault):
    found = session_answer([b"stream: Win.Test.EICAR_HDB-1 FOUND", b"stream: OK"])
    fake.expects, fake.hold = 2, asyncio.Event()
    fake.answer = {"garbage": lambda _: b"nonsense\0", "silence": lambda _: None, "slow": lambda _: found}[fault]
    if fault != "slow":
        fake.hold.set()
    pool = Scanners([Scanner(fake.address, ScannerLimits(timeout_seconds=0.5))], ResultCache(SystemClock()))
    watch = Watch(pool, replace(SETTINGS, ill_seconds=1.0), clock=SystemClock(), events=Events())
    await watch.start()
    assert watch.watched[0].test is not None
    assert not watch.watched[0].test.passed
    fake.answer = lambda _: found
    fake.hold.set()
    await eventually(lambda: watch.watched[0].test.passed and pool.all[0].health is Health.WELL, seconds=5)
    await watch.stop()


@real
async def test_a_stopped_scanners_mail_goes_to_another_that_is_well(clamds, shared_clamd):
    clamd = clamds()
    watch, pool, _ = watch_of(clamd.unix, shared_clamd.unix)
    await watch.start()
    clamd.signal(signal.SIGSTOP)
    results = await asyncio.gather(*(pool.scan([piece(b"%d" % n)]) for n in range(20)))
    assert all(r[0].clean for r in results)
    await watch.stop()


@real
async def test_mail_that_was_late_while_the_scanner_was_stopped_is_scanned_at_once_when_it_is_back(clamds):
    """The same octets come again: a time-out that was remembered would be held against them."""
    clamd = clamds()
    watch, pool, _ = watch_of(clamd.unix)
    await watch.start()
    clamd.signal(signal.SIGSTOP)
    [late] = await pool.scan([piece(b"the same")])
    assert late.outcome is Outcome.TEMPERROR
    await eventually(lambda: pool.all[0].health is not Health.WELL)
    clamd.signal(signal.SIGCONT)
    await eventually(lambda: pool.all[0].health is Health.WELL)
    [again] = await pool.scan([piece(b"the same")])
    assert again.clean
    await watch.stop()


async def test_a_scanner_that_calls_eicar_clean_is_not_asked(fake):
    fake.expects = 2
    watch, pool, events = watch_of(fake.address)
    await watch.start()
    await watch.stop()
    assert pool.all[0].health is Health.OPEN
    [result] = await pool.scan([piece(b"mail")])
    assert result.outcome is Outcome.TEMPERROR
    assert "EICAR" in result.reason
    [tested] = events.of("scanner_tested")
    assert tested.result == "failed"


async def test_a_scanner_that_is_not_trusted_stays_so_whatever_it_answers_to_mail(fake):
    _, pool, _ = watch_of(fake.address)
    scanner = pool.all[0]
    scanner.breaker.distrust("no signatures")
    await scanner.scan([piece(b"mail")])
    assert scanner.health is Health.OPEN
    scanner.breaker.trust()
    assert scanner.health is Health.WELL


async def test_the_self_test_tells_whether_limits_are_reported(fake):
    _, pool, _ = watch_of(fake.address)
    fake.expects = 2
    fake.answer = lambda _: session_answer(
        [b"stream: Win.Test.EICAR_HDB-1 FOUND", b"stream: Heuristics.Limits.Exceeded.MaxRecursion FOUND"]
    )
    test = await run_self_test(pool.all[0])
    assert (test.passed, test.alerts_limits) == (True, True)


# pyclamd --------------------------------------------------------------------------------------------------------------


@real
@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_small_questions_are_answered_through_pyclamd(shared_clamd, way):
    address = getattr(shared_clamd, way)
    assert control.ask(address, "ping", 5) == Told("PONG")
    assert control.ask(address, "version", 5).text.startswith("ClamAV ")
    assert "POOLS" in control.ask(address, "stats", 5).text
    assert control.ask(address, "reload", 5) == Told("RELOADING")


@real
def test_a_scanner_that_hangs_or_is_gone_is_an_answer_too(clamds):
    clamd = clamds()
    clamd.signal(signal.SIGSTOP)
    assert isinstance(control.ask(clamd.unix, "ping", 0.5), Unanswered)
    clamd.kill()
    for address in (clamd.unix, clamd.tcp):
        for command in ("ping", "version", "stats"):
            assert isinstance(control.ask(address, command, 0.5), Unanswered)


# Signatures -----------------------------------------------------------------------------------------------------------


def test_a_version_tells_engine_number_and_date():
    version = SignatureVersion.parse(BUILT)
    assert (version.engine, version.number, version.built_at) == ("1.4.6", 27100, BUILT_UTC)
    assert version.age_seconds(BUILT_UTC + 60) == 60


@pytest.mark.parametrize("text", ["ClamAV 1.4.6", "ClamAV 1.4.6/27100", "ClamAV 1.4.6/27100/yesterday", "other", ""])
def test_a_version_without_a_date_has_no_age(text):
    assert SignatureVersion.parse(text).age_seconds(BUILT_UTC) is None


@pytest.mark.parametrize(
    ("days", "freshness"),
    [
        (None, Freshness.UNKNOWN),
        (0, Freshness.FRESH),
        (3, Freshness.FRESH),
        (3.1, Freshness.OLD),
        (7.1, Freshness.BREACH),
    ],
)
def test_three_days_are_old_and_a_week_is_a_breach(days, freshness):
    assert AgeLimits().judge(None if days is None else days * DAY) is freshness


async def test_each_change_of_signatures_is_kept_with_when_it_was_seen(tmp_path):
    clock = FakeClock()
    began = clock.stamp().utc
    history = SignatureHistory(tmp_path, clock)
    assert (await history.note("unix:/a", BUILT)).before == ""
    clock.advance(60)
    assert await history.note("unix:/a", BUILT) is None
    clock.advance(DAY)
    newer = BUILT.replace("27100", "27101")
    change = await history.note("unix:/a", newer)
    assert (change.before, change.after) == (BUILT, newer)
    await history.close()
    assert [(c.seen_at - began, c.after) for c in read_changes(tmp_path, 10)] == [(60 + DAY, newer), (0, BUILT)]
    # A start is no change: the history goes on where it was.
    history = SignatureHistory(tmp_path, clock)
    clock.advance(DAY)
    assert await history.note("unix:/a", newer) is None
    await history.close()
    [state] = read_states(tmp_path)
    assert state.last_seen_at - state.first_seen_at == DAY


def test_no_history_is_an_empty_one(tmp_path):
    assert read_changes(tmp_path, 10) == []


async def test_old_signatures_raise_an_alarm_once_and_fresh_ones_end_it(fake, tmp_path, monkeypatch):
    """pyclamd's answers are replaced: the signatures' age is what is tested."""
    told = {"ping": "PONG", "version": BUILT}
    monkeypatch.setattr(control, "ask", lambda _, command, __: Told(told[command]))
    fake.expects, fake.answer = 2, lambda streams: session_answer([b"stream: X FOUND"] * len(streams))
    clock = FakeClock(utc=BUILT_UTC)
    history = SignatureHistory(tmp_path, clock)
    watch, _, events = watch_of(fake.address, clock=clock, history=history)
    for days in (1, 2.5, 1, 4):
        clock.advance(days * DAY)
        await watch.check(watch.watched[0])
    told["version"] = "ClamAV 1.4.6/27109/Tue Jun  9 08:00:00 2026"
    await watch.check(watch.watched[0])
    assert [e.freshness for e in events.of("signatures_aged")] == ["old", "breach", "fresh"]
    assert len(events.of("signatures_changed")) == 2
    await history.close()


async def test_signatures_without_a_date_age_from_when_they_were_first_seen(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(control, "ask", lambda _, command, __: Told("ClamAV 1.4.6" if command == "version" else "PONG"))
    fake.expects, fake.answer = 2, lambda streams: session_answer([b"stream: X FOUND"] * len(streams))
    clock = FakeClock()
    history = SignatureHistory(tmp_path, clock)
    watch, _, events = watch_of(fake.address, clock=clock, history=history)
    for _ in range(2):
        await watch.check(watch.watched[0])
        clock.advance(8 * DAY)
    await watch.check(watch.watched[0])
    assert [e.freshness for e in events.of("signatures_aged")] == ["breach"]
    await history.close()
