"""If one of these fails, one message's result is another's, or a scanner that hung up is held to be ill."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.antivirus.address import ScannerAddress
from gateway.antivirus.breaker import Health
from gateway.antivirus.cache import ResultCache
from gateway.antivirus.control import ask
from gateway.antivirus.result import Cause, Outcome
from gateway.antivirus.scanner import Scanner, ScannerLimits
from gateway.antivirus.scanners import Scanners
from gateway.clock import FakeClock
from tests.antivirus.conftest import eventually, piece, read_stream

real = pytest.mark.real
# Longer than any test: what ends a rest is said by the test.
LIMITS = ScannerLimits(timeout_seconds=30.0, rest_seconds=600.0)


class Session:
    """A scanner that serves sessions as clamd does, and says of each stream what ``verdict`` makes of it."""

    def __init__(self, folder: Path) -> None:
        self.address = ScannerAddress(path=str(folder / "session.sock"))
        self.version = b"ClamAV 1"
        self.verdict: Callable[[bytes], bytes] = lambda _: b"stream: OK"
        # Called with an answer before it is sent, for lies.
        self.sent: Callable[[bytes], bytes] = lambda answer: answer
        self.connections = 0
        self.ended = 0
        self.streams: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        number = 0
        try:
            while True:
                command = await reader.readuntil(b"\0")
                if command == b"zIDSESSION\0":
                    continue
                number += 1
                said = self.version
                if command == b"zINSTREAM\0":
                    self.streams.append(await read_stream(reader))
                    said = self.verdict(self.streams[-1])
                writer.write(self.sent(b"%d: %s\0" % (number, said)))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.ended += 1
            writer.close()

    def hang_up(self) -> None:
        """Close every connection, as clamd does with those that rest too long."""
        for writer in self.writers:
            writer.close()


@pytest.fixture
async def scanner() -> AsyncIterator[Session]:
    with tempfile.TemporaryDirectory(prefix="fs-") as name:
        session = Session(Path(name))
        async with await asyncio.start_unix_server(session.serve, session.address.path):
            yield session
            session.hang_up()


@pytest.fixture
async def pool(scanner: Session) -> AsyncIterator[Scanners]:
    found = Scanners([Scanner(scanner.address, LIMITS)], ResultCache(FakeClock()))
    yield found
    found.all[0].close()


async def test_message_after_message_goes_over_one_connection_and_none_is_mixed_up(scanner, pool):
    scanner.verdict = lambda octets: b"stream: OK" if b"good" in octets else b"stream: %s FOUND" % octets
    for number in range(20):
        good, bad = await pool.scan([piece(b"good %d" % number), piece(b"bad%d" % number)])
        assert good.clean
        assert bad.name == f"bad{number}"
    assert scanner.connections == 1


async def test_messages_at_the_same_time_have_a_connection_each(scanner, pool):
    scanner.verdict = lambda octets: b"stream: %s FOUND" % octets
    for _ in range(3):
        results = await asyncio.gather(*(pool.scan([piece(b"a%d" % number)]) for number in range(8)))
        assert [r.name for (r,) in results] == [f"a{number}" for number in range(8)]
        pool.cache.clear()
    assert scanner.connections == 8


async def test_signatures_loaded_between_two_messages_are_noticed(scanner, pool):
    await pool.scan([piece(b"one")])
    scanner.version = b"ClamAV 2"
    scanner.streams.clear()
    [result] = await pool.scan([piece(b"two")])
    assert (result.outcome, result.version) == (Outcome.CLEAN, "ClamAV 2")
    assert scanner.streams == [b"two", b"two"], "scanned again under the new ones alone"
    assert scanner.connections == 1


async def test_signatures_that_keep_changing_are_never_clean(scanner, pool):
    versions = iter(range(1, 100))
    scanner.sent = lambda answer: answer.replace(b"ClamAV 1", b"ClamAV %d" % next(versions))
    for number in range(3):
        [result] = await pool.scan([piece(b"%d" % number)])
        assert result.cause is Cause.VERSION_CHANGED


async def test_a_scanner_that_hung_up_meanwhile_is_asked_over_a_new_connection_and_not_held_ill(scanner, pool):
    await pool.scan([piece(b"one")])
    scanner.hang_up()
    [result] = await pool.scan([piece(b"two")])
    assert result.clean
    assert scanner.connections == 2
    assert pool.all[0].health is Health.WELL


LIES = {
    "the first message's number": lambda answer: b"2" + answer[answer.index(b":") :],
    "no number": lambda answer: answer.partition(b": ")[2],
    "an answer too many": lambda answer: answer + b"9: stream: OK\0",
    "another word": lambda answer: answer.replace(b"OK", b"ok"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_over_a_connection_that_rested_counts_for_nothing(scanner, pool, lie):
    await pool.scan([piece(b"one")])
    lies = [LIES[lie]]
    scanner.sent = lambda answer: lies.pop()(answer) if lies else answer
    scanner.verdict = lambda _: b"stream: OK" if lies else b"stream: Found-By-The-Second FOUND"
    [result] = await pool.scan([piece(b"two")])
    assert result.name == "Found-By-The-Second"
    assert scanner.connections == 2
    assert pool.all[0].health is Health.WELL


async def test_what_is_said_without_a_question_ends_the_connection(scanner, pool):
    await pool.scan([piece(b"one")])
    scanner.writers[0].write(b"4: stream: OK\0")
    await eventually(lambda: scanner.ended)
    scanner.verdict = lambda _: b"stream: X FOUND"
    [result] = await pool.scan([piece(b"two")])
    assert result.outcome is Outcome.INFECTED


async def test_an_error_ends_the_connection(scanner, pool):
    scanner.verdict = lambda _: b"stream: Out of memory ERROR"
    [result] = await pool.scan([piece(b"one")])
    assert result.cause is Cause.ERROR
    await eventually(lambda: scanner.ended)


async def test_a_message_nobody_waits_for_any_more_takes_its_connection_with_it(scanner, pool):
    await pool.scan([piece(b"one")])
    scanner.sent = lambda _: b""
    waiting = asyncio.ensure_future(pool.scan([piece(b"two")]))
    await eventually(lambda: len(scanner.streams) == 2)
    waiting.cancel()
    await eventually(lambda: scanner.ended == 1)
    scanner.sent = lambda answer: answer
    [result] = await pool.scan([piece(b"three")])
    assert result.clean
    assert scanner.connections == 2


async def test_a_rest_has_an_end(scanner):
    found = Scanner(scanner.address, ScannerLimits(rest_seconds=0.05))
    await asyncio.gather(*(found.scan([piece(b"%d" % number)]) for number in range(3)))
    await eventually(lambda: scanner.ended == 3)
    found.close()


async def test_a_scanner_that_is_used_no_more_keeps_no_connection(scanner, pool):
    await pool.scan([piece(b"one")])
    pool.all[0].close()
    await eventually(lambda: scanner.ended == 1)
    await pool.scan([piece(b"two")])
    await eventually(lambda: scanner.ended == 2)


# A real clamd ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def real_pool(clamds):
    clamd = clamds()
    found = Scanners([Scanner(clamd.unix, LIMITS)], ResultCache(FakeClock()))
    yield clamd, found
    found.all[0].close()


@real
async def test_signatures_that_clamd_loads_count_for_connections_that_rest(real_pool):
    clamd, pool = real_pool
    [before] = await pool.scan([piece(b"a new kind of virus 1")])
    assert before.clean
    (clamd.folder / "db/new.ndb").write_text(f"New-Kind:0:*:{b'new kind of virus'.hex()}\n")
    await asyncio.to_thread(ask, clamd.unix, "reload", 10.0)

    async def found() -> bool:
        pool.cache.clear()
        [result] = await pool.scan([piece(b"a new kind of virus 1")])
        return result.outcome is Outcome.INFECTED

    async with asyncio.timeout(30):
        while not await found():
            pass


@real
async def test_a_clamd_that_was_started_anew_is_asked_over_a_new_connection(real_pool):
    clamd, pool = real_pool
    await asyncio.gather(*(pool.scan([piece(b"%d" % number)]) for number in range(4)))
    clamd.kill()
    clamd.start()
    results = await asyncio.gather(*(pool.scan([piece(b"again %d" % number)]) for number in range(4)))
    assert all(result.clean for (result,) in results)
    assert pool.all[0].health is Health.WELL


@real
async def test_stopped_while_connections_rest_nothing_is_clean(real_pool):
    clamd, pool = real_pool
    await pool.scan([piece(b"one")])
    clamd.signal(signal.SIGSTOP)
    pool.all[0].limits = ScannerLimits(timeout_seconds=0.3)
    [result] = await pool.scan([piece(b"two")])
    assert result.cause is Cause.TIMEOUT
    clamd.signal(signal.SIGCONT)
    pool.all[0].limits = LIMITS
    [result] = await pool.scan([piece(b"three")])
    assert result.clean
