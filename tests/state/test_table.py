"""What workers remember together: nothing lost between them, nothing kept too long, never more than there is room."""

import subprocess
import sys
import textwrap
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import FakeClock
from gateway.state.table import Record, SharedTable
from gateway.storage import StorageUnavailable


def put(table, name, until, first=0.0, second=0.0):
    return table.update(name, lambda _: Record(until, first, second))


@pytest.fixture
def now(clock):
    return clock.stamp().utc


def test_what_was_put_is_found_and_nothing_else(open_table, now):
    table = open_table()
    put(table, "a", now + 10, 1.5, -2.5)
    assert table.get("a") == Record(now + 10, 1.5, -2.5)
    assert table.get("b") is None
    assert len(table) == 1


def test_a_record_expires(open_table, clock, now):
    table = open_table()
    put(table, "a", now + 10)
    clock.advance(10)
    assert table.get("a") is None
    # Whoever changes it begins anew.
    assert table.update("a", lambda record: Record(now + 20, 1.0 if record is None else 2.0)).first == 1.0


def test_a_change_sees_what_was_there(open_table, now):
    table = open_table()
    for _ in range(3):
        table.update("a", lambda record: Record(now + 10, (record.first if record else 0.0) + 1))
    assert table.get("a").first == 3.0


def test_all_workers_see_one_table_and_a_restart_keeps_it(open_table, now):
    a, b = open_table(), open_table()
    put(a, "x", now + 10, 7.0)
    assert b.get("x").first == 7.0
    a.close()
    b.close()
    again = open_table()
    assert again.get("x").first == 7.0


def test_a_file_of_another_size_or_of_something_else_is_begun_anew(open_table, tmp_path, now):
    table = open_table(64)
    put(table, "x", now + 10)
    table.close()
    other = open_table(128)
    assert other.get("x") is None
    put(other, "x", now + 10)
    other.close()
    path = tmp_path / "state" / "a.table"
    path.write_bytes(b"garbage")
    assert open_table(128).get("x") is None


def test_full_places_give_way_to_the_newcomer_in_the_order_of_expiry(open_table, now):
    """One bucket of eight places: whatever the names hash to, they meet in it."""
    table = open_table(8)
    for number in range(8):
        put(table, f"n{number}", now + 100 + number)
    put(table, "newcomer", now + 1)
    assert table.get("n0") is None
    assert table.get("newcomer") is not None
    put(table, "next", now + 200)
    assert table.get("newcomer") is None
    assert [f"n{n}" for n in range(1, 8) if table.get(f"n{n}") is None] == []
    assert len(table) == 8


def test_the_file_does_not_grow(open_table, tmp_path, now):
    table = open_table(64)
    size = (tmp_path / "state" / "a.table").stat().st_size
    for number in range(5000):
        put(table, f"n{number}", now + 1000 + number)
    assert (tmp_path / "state" / "a.table").stat().st_size == size
    assert len(table) == 64


@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abcdef"), st.floats(1, 100), st.integers(-5, 5), st.floats(0, 30)), max_size=40
    )
)
def test_it_behaves_as_a_dictionary_with_expiry(tmp_path_factory, steps):
    """Six names fit whatever they hash to, so nothing gives way."""
    clock = FakeClock()
    model: dict[str, Record] = {}
    with closing(SharedTable(tmp_path_factory.mktemp("t") / "t", places=8, clock=clock)) as table:
        for name, life, value, pause in steps:
            now = clock.stamp().utc
            known = model.get(name)
            known = known if known and known.until > now else None
            assert table.get(name) == known
            expected = Record(now + life, value + (known.first if known else 0.0), float(value))
            model[name] = expected

            def change(record, life=life, value=value, now=now):
                return Record(now + life, value + (record.first if record else 0.0), float(value))

            assert table.update(name, change) == expected
            clock.advance(pause)


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from gateway.clock import SystemClock
    from gateway.state.table import Record, SharedTable
    table = SharedTable(Path(sys.argv[1]), places=8, clock=SystemClock())
    until = SystemClock().stamp().utc + 1000
    for _ in range(2000):
        table.update("shared", lambda record: Record(until, (record.first if record else 0.0) + 1))
""")


def test_no_workers_change_is_lost(tmp_path):
    """Two processes adding to one record; without the lock some thousand of these are lost."""
    path = tmp_path / "t"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path]) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    from gateway.clock import SystemClock  # noqa: PLC0415 - the only test on real time

    with closing(SharedTable(path, places=8, clock=SystemClock())) as table:
        assert table.get("shared").first == 4000.0


def test_a_worker_that_is_killed_keeps_nobody_out(tmp_path):
    """A kill at any instant leaves no lock behind and a table that can be used."""
    path = tmp_path / "t"
    endless = WRITER.replace("range(2000)", "iter(int, 1)").replace("until =", "print(flush=True); until =")
    writer = subprocess.Popen([sys.executable, "-c", endless, path], stdout=subprocess.PIPE)
    assert writer.stdout.readline()
    writer.kill()
    writer.communicate()
    clock = FakeClock()
    with closing(SharedTable(path, places=8, clock=clock)) as table:
        put(table, "mine", clock.stamp().utc + 10, 1.0)
        assert table.get("mine").first == 1.0


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path, clock):
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StorageUnavailable, match="state"):
        SharedTable(tmp_path / "state" / "t", places=8, clock=clock)
