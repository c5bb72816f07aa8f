"""The log may never hold up the mail: not when its reader is slow, not when nobody reads, not when it is gone."""

import asyncio
import fcntl
import os
import re

import pytest

from gateway.admin.log import LineWriter, Log
from gateway.journal.events import InternalError, SessionClosed

SMALL_PIPE = 4096


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, SMALL_PIPE)
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:
            continue


def read_all(reading):
    pieces = []
    while piece := os.read(reading, 65536):
        pieces.append(piece)
    return b"".join(pieces).decode()


async def written(log: Log) -> None:
    """Have all of it written: a closing log waits a second at most, which a busy machine may need for other things."""
    log.flush()
    assert await asyncio.to_thread(log._writer.drain, 30)


async def test_events_come_out_in_order_at_the_end(pipe, judged, attempted):
    reading, writing = pipe
    log = Log(LineWriter(writing))
    log.emit(judged())
    log.emit(attempted())
    await written(log)
    log.close()
    os.close(writing)
    lines = read_all(reading).splitlines()
    assert [line.split()[2] for line in lines] == ["message_judged", "delivery_attempted"]


async def test_the_timer_writes_without_being_told(pipe, judged):
    reading, writing = pipe
    log = Log(LineWriter(writing), format="json")
    log.emit(judged())
    line = await asyncio.to_thread(os.read, reading, 65536)
    assert line.startswith(b'{"at":')
    log.close()


def test_without_a_loop_lines_are_written_at_once(pipe, judged):
    reading, writing = pipe
    log = Log(LineWriter(writing))
    log.emit(judged())
    assert b"message_judged" in os.read(reading, 65536)
    log.close()


async def test_a_reader_that_stands_still_costs_lines_never_time_and_is_told(pipe, judged):
    reading, writing = pipe
    writer = LineWriter(writing, max_waiting_octets=2 * SMALL_PIPE)
    log = Log(writer)
    for _ in range(200):
        log.emit(judged())
        log.flush()
    assert 100 < log.dropped < 200
    draining = asyncio.create_task(asyncio.to_thread(read_all, reading))
    dropped = log.dropped
    assert await asyncio.to_thread(writer.drain, 30)
    log.emit(judged())
    log.flush()
    await written(log)
    log.close()
    os.close(writing)
    text = await draining
    # In one piece or several: the writer may find room for a line in between.
    assert sum(map(int, re.findall(r"warning log_dropped lines=(\d+)", text))) == dropped
    assert text.count("message_judged") == 201 - dropped


async def test_a_reader_that_is_gone_leaves_the_gateway_serving(pipe, judged):
    reading, writing = pipe
    os.close(reading)
    log = Log(LineWriter(writing))
    for _ in range(3):
        log.emit(judged())
        log.flush()
    log.close()
    assert log.dropped == 0


async def test_a_descriptor_that_others_made_non_blocking_loses_nothing(pipe, judged):
    reading, writing = pipe
    os.set_blocking(writing, False)
    log = Log(LineWriter(writing))
    for _ in range(100):
        log.emit(judged())
    log.flush()
    draining = asyncio.create_task(asyncio.to_thread(read_all, reading))
    await written(log)
    log.close()
    os.close(writing)
    assert (await draining).count("message_judged") == 100


async def test_the_level_of_the_configuration_is_kept(pipe):
    reading, writing = pipe
    log = Log(LineWriter(writing), level="error")
    log.emit(
        SessionClosed(
            at=1.0, client="c", role="mx", helo="", tls="", end="errors", messages=0, commands=1, errors=9, seconds=1.0
        )
    )
    log.emit(InternalError(at=1.0, where="w", error="e", traceback="line\nline"))
    log.say("info", "listening", {"address": "127.0.0.1:25"})
    await written(log)
    log.close()
    os.close(writing)
    lines = read_all(reading).splitlines()
    assert len(lines) == 1
    assert lines[0].endswith("internal_error id= where=w error=e (line\\x0aline)")
