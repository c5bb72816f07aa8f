"""The journal stands beside the mail.

It must not lose what it was told, and must never hold up or stop the one who tells.
"""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from gateway.clock import FakeClock
from gateway.journal.events import (
    DeliveryAttempted,
    NoticeQueued,
    QueueChanged,
    RecipientRefused,
    SessionClosed,
    SessionRefused,
    StorageFailed,
)
from gateway.journal.files import DAY_SECONDS, file_name, journal_files, prune
from gateway.journal.reader import JournalReader
from gateway.journal.sinks import Recorded
from gateway.journal.store import MAX_PENDING_EVENTS, Journal
from gateway.mail.trace_id import new_trace_id
from gateway.storage import StorageFull, StorageUnavailable, open_readonly

NOW = 1_790_000_000.0


def sent(number, at=NOW):
    return DeliveryAttempted(
        at=at, trace_id=f"T{number}", recipient="b@example.com", reverse_path="a@example.org", next_hop="smtp://x",
        relay="x[192.0.2.9]:25", phase="end-of-data", reply="250 2.0.0 ok", status="sent", delay_seconds=0.1,
        delays=(0.0, 0.0, 0.0, 0.1), attempt=1,
    )  # fmt: skip


def refused(recipient="boss@example.com", trace_id="R1", at=NOW):
    return RecipientRefused(
        at=at, trace_id=trace_id, client="192.0.2.1", helo="h", reverse_path="a@example.org", recipient=recipient,
        reply="550 5.1.1 no such user", reason="unknown",
    )  # fmt: skip


@pytest.fixture
async def journal(tmp_path):
    journal = Journal(tmp_path, 0, clock=FakeClock(NOW), failures=Recorded())
    yield journal
    await journal.close()


def stored(tmp_path):
    total = 0
    for file in journal_files(tmp_path):
        with open_readonly(file.path) as database:
            total += database.read("SELECT count(*) FROM event")[0][0]
    return total


async def test_everything_emitted_is_there_after_a_flush_in_order(journal, tmp_path):
    for number in range(1000):
        journal.emit(sent(number))
    await journal.flush()
    with open_readonly(tmp_path / file_name(int(NOW // DAY_SECONDS), 0)) as database:
        rows = database.read("SELECT id, trace_id FROM event ORDER BY id")
    assert rows == [(n + 1, f"T{n}") for n in range(1000)]


async def test_a_timer_writes_ordinary_events_without_a_flush(journal, tmp_path):
    written = asyncio.Event()
    journal._idle.clear()
    journal.emit(sent(1))
    assert stored(tmp_path) == 0
    asyncio.get_running_loop().create_task(_set_when_idle(journal, written))
    await asyncio.wait_for(written.wait(), 10)
    assert stored(tmp_path) == 1


async def _set_when_idle(journal, event):
    await journal._idle.wait()
    event.set()


async def test_connections_turned_away_wait_for_company_also_behind_a_batch(journal):
    """Two thousand a second must not be two thousand transactions."""
    turned_away = SessionRefused(at=NOW, client="192.0.2.1", role="mx", reply="421", reason="limits")
    journal.emit(turned_away)
    assert not journal._timer_is_prompt
    await journal.flush()
    journal._busy = True
    journal.emit(turned_away)
    assert not journal._urgent
    journal.emit(refused())
    assert journal._urgent
    journal._busy = False


@pytest.mark.parametrize(
    "event",
    [
        refused(),
        QueueChanged(at=NOW, operation="drop", recipients=("b@x",), operator="root"),
    ],
    ids=lambda event: event.kind,
)
async def test_what_was_refused_or_ordered_does_not_wait_for_the_timer(journal, event):
    journal.emit(sent(1))
    assert not journal._timer_is_prompt
    journal.emit(event)
    assert journal._timer_is_prompt


async def test_an_event_told_by_another_thread_while_a_batch_is_taken_is_written(journal, tmp_path):
    class Racing(list):
        """Appends as a thread does, just after the batch was taken."""

        def __getitem__(self, place):
            taken = super().__getitem__(place)
            if not raced:
                raced.append(True)
                self.append(refused())
            return taken

    raced = []
    journal._pending = Racing()
    journal.emit(sent(1))
    await journal.flush()
    assert raced
    assert stored(tmp_path) == 2


async def test_an_event_told_by_another_thread_is_written(journal, tmp_path):
    journal.emit(refused())
    await journal.flush()
    failed = StorageFailed(at=NOW, store="shard-0", operation="checkpoint", error="disk")
    await asyncio.to_thread(journal.emit, failed)
    await journal.flush()
    assert stored(tmp_path) == 2


async def test_an_event_told_before_the_loop_runs_is_written_with_the_first_after(tmp_path):
    journal = Journal(tmp_path, 0, clock=FakeClock(NOW), failures=Recorded())
    await asyncio.to_thread(journal.emit, refused())
    await journal.close()
    assert stored(tmp_path) == 1


async def test_emitting_costs_less_than_ten_microseconds(journal):
    events = [sent(n) for n in range(5000)]
    begin = time.process_time()
    for event in events:
        journal.emit(event)
    assert (time.process_time() - begin) / 5000 < 10e-6


async def test_events_go_to_the_file_of_their_day(tmp_path):
    clock = FakeClock(NOW)
    journal = Journal(tmp_path, 3, clock=clock, failures=Recorded())
    journal.emit(sent(1))
    await journal.flush()
    clock.advance(DAY_SECONDS)
    journal.emit(sent(2))
    await journal.close()
    files = journal_files(tmp_path)
    assert [f.path.name for f in files] == ["2026-09-21.worker-3.sqlite", "2026-09-22.worker-3.sqlite"]
    assert stored(tmp_path) == 2


async def test_a_restart_on_the_same_day_goes_on_in_the_same_file(tmp_path):
    for number in range(3):
        journal = Journal(tmp_path, 0, clock=FakeClock(NOW), failures=Recorded())
        journal.emit(sent(number))
        await journal.close()
    assert stored(tmp_path) == 3
    assert len(journal_files(tmp_path)) == 1


async def test_a_folder_that_cannot_be_made_is_said_once_and_the_gateway_goes_on(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    failures = Recorded()
    journal = Journal(blocked / "journal", 0, clock=FakeClock(NOW), failures=failures)
    for number in range(3):
        journal.emit(refused(trace_id=f"R{number}"))
        await journal.flush()
    journal._write()
    await journal.flush()
    assert [type(e) for e in failures.events] == [StorageFailed]
    assert failures.events[0].store == "journal"
    await journal.close()
    assert journal.dropped == 3


async def test_events_are_kept_while_writing_fails_and_written_when_it_succeeds(journal, tmp_path, monkeypatch):
    journal.emit(sent(0))
    await journal.flush()
    database = journal._database
    real = database.commit

    def fail(writes):
        future = asyncio.get_running_loop().create_future()
        future.set_exception(StorageFull("no room"))
        return future

    monkeypatch.setattr(database, "commit", fail)
    for number in range(1, 400):
        journal.emit(sent(number))
    await journal.flush()
    assert journal._failures.events[0].error == "no room"
    monkeypatch.setattr(database, "commit", real)
    journal._timer.cancel()
    journal._write()
    await journal.flush()
    assert stored(tmp_path) == 400
    assert journal.dropped == 0


async def test_memory_stays_bounded_while_nothing_can_be_written(journal, monkeypatch):
    journal.emit(sent(0))
    await journal.flush()
    future = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(journal._database, "commit", lambda _: future)
    journal.emit(refused())
    await asyncio.sleep(0)
    for number in range(MAX_PENDING_EVENTS + 500):
        journal.emit(sent(number))
    assert journal.dropped == 500
    journal._pending.clear()
    future.set_exception(StorageUnavailable("gone"))
    await journal.flush()


async def test_a_traced_address_is_found_however_many_days_and_workers(tmp_path):
    clock = FakeClock(NOW)
    for worker in (0, 1):
        journal = Journal(tmp_path, worker, clock=clock, failures=Recorded())
        journal.emit(refused(trace_id=f"R{worker}", at=clock.stamp().utc))
        journal.emit(refused(trace_id="other", recipient="someone@example.com", at=clock.stamp().utc))
        await journal.close()
        clock.advance(DAY_SECONDS)
    reader = JournalReader(tmp_path)
    assert [e.trace_id for e in reader.mentioning("<Boss@EXAMPLE.com>", 0, 100)] == ["R0", "R1"]
    assert [e.trace_id for e in reader.mentioning("boss@example.com", 0, 1)] == ["R1"]
    assert [e.trace_id for e in reader.mentioning("boss@example.com", NOW + 10, 100)] == ["R1"]
    assert len(reader.mentioning("192.0.2.1", 0, 100)) == 4
    assert reader.mentioning("nobody@example.com", 0, 100) == []
    reader.close()


async def test_a_trace_id_gives_its_events_by_time_while_the_journal_is_being_written(journal, tmp_path):
    trace = new_trace_id(NOW, os.urandom)
    journal.emit(refused(trace_id=trace, at=NOW + 2))
    journal.emit(NoticeQueued(at=NOW + 1, trace_id=trace, about="x", notice="failed", recipient="a@b"))
    await journal.flush()
    reader = JournalReader(tmp_path)
    assert [e.kind for e in reader.of_trace(trace)] == ["notice_queued", "recipient_refused"]
    reader.close()


async def test_a_damaged_file_is_named_and_the_others_are_read(tmp_path):
    for worker in (0, 1):
        journal = Journal(tmp_path, worker, clock=FakeClock(NOW), failures=Recorded())
        journal.emit(refused())
        await journal.close()
    damaged = journal_files(tmp_path)[0].path
    damaged.write_bytes(b"not a database" * 1000)
    reader = JournalReader(tmp_path)
    assert len(reader.mentioning("boss@example.com", 0, 10)) == 1
    assert list(reader.unreadable) == [damaged]
    reader.close()


async def test_pruning_removes_whole_days_oldest_first_and_a_few_at_a_time(tmp_path):
    clock = FakeClock(NOW)
    journal = Journal(tmp_path, 0, clock=clock, failures=Recorded())
    for _ in range(5):
        journal.emit(sent(1))
        await journal.flush()
        clock.advance(DAY_SECONDS)
    await journal.close()
    (tmp_path / "notes.txt").write_text("kept")
    day = int(NOW // DAY_SECONDS)
    before = (day + 4) * DAY_SECONDS
    assert prune(tmp_path, before, 2) == 2
    assert prune(tmp_path, before, 2) == 1
    assert prune(tmp_path, before, 2) == 0
    left = sorted(p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock"))
    assert left == ["2026-09-24.worker-0.sqlite", "2026-09-25.worker-0.sqlite", "notes.txt"]
    assert not (tmp_path / "2026-09-21.worker-0.sqlite.lock").exists()


def test_signal_9_loses_nothing_that_was_flushed(tmp_path):
    program = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from gateway.clock import SystemClock
        from gateway.journal.events import SessionRefused
        from gateway.journal.sinks import Recorded
        from gateway.journal.store import Journal

        async def main():
            journal = Journal(Path(sys.argv[1]), 0, clock=SystemClock(), failures=Recorded())
            for i in range(500):
                journal.emit(SessionRefused(at=float(i), client="192.0.2.1", role="mx", reply="421", reason="x"))
            await journal.flush()
            print("flushed", flush=True)
            await asyncio.Event().wait()

        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "flushed\n"
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    reader = JournalReader(tmp_path)
    assert len(reader.mentioning("192.0.2.1", 0, 1000)) == 500
    reader.close()


async def test_what_is_emitted_after_the_end_is_counted(tmp_path):
    journal = Journal(tmp_path, 0, clock=FakeClock(NOW), failures=Recorded())
    await journal.close()
    journal.emit(
        SessionClosed(
            at=NOW, client="c", role="mx", helo="", tls="", end="quit", messages=0, commands=1, errors=0, seconds=0.0
        )
    )
    assert journal.dropped == 1
