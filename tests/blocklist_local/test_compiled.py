"""Compiled files: one copy in memory, swapped while they are read, rebuilt when torn. If these fail, a crash in writing
or a bad disk makes listed senders unlisted without anybody hearing of it.
"""

import errno
import os
import random
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.blocklist.local.compiling import Origin, compile_list
from gateway.blocklist.local.layout import MAGIC
from gateway.blocklist.local.manifest import FILE
from gateway.blocklist.local.mapped import MappedList, TornListError
from gateway.blocklist.local.reading import Source, read_source
from gateway.storage import DurableFiles, StorageFull

LOCAL = '[[list]]\nname = "local"\nfile = "local.txt"\n'


def compiled_files(place) -> list[Path]:
    return sorted((place.data / "blocklists").glob("*.list"))


def write_list(path: Path, text: str = "192.0.2.7 # why\n2001:db8::/32\n.bad.example\n") -> None:
    collected = read_source(Source(name="x", octets=text.encode()), 0.0)
    compile_list(collected, Origin(sha256="ab", recipe="r"), path, DurableFiles())


def test_an_unchanged_source_is_not_compiled_again(place):
    place.declare(LOCAL)
    place.write("local.txt", "192.0.2.7\n")
    place.update()
    (before,) = compiled_files(place)
    stamp = before.stat().st_mtime_ns, before.stat().st_ino
    place.update()
    (after,) = compiled_files(place)
    assert (after.stat().st_mtime_ns, after.stat().st_ino) == stamp
    assert MappedList.open(after).head.origin.sha256 == place.keeper.store.editions("local")[0].sha256


def test_a_changed_source_is_compiled_and_the_old_file_goes(place):
    place.declare(LOCAL)
    place.write("local.txt", "192.0.2.7\n")
    place.update()
    before = compiled_files(place)
    place.write("local.txt", "192.0.2.8\n")
    place.update()
    assert place.entries("192.0.2.8") == [("local", "192.0.2.8")]
    assert place.entries("192.0.2.7") == []
    assert len(compiled_files(place)) == 1
    assert compiled_files(place) != before


def test_what_is_looked_up_in_goes_on_after_its_file_is_gone(tmp_path: Path):
    path = tmp_path / "a.list"
    write_list(path)
    mapped = MappedList.open(path)
    path.unlink()
    assert mapped.range_of(4, 0xC0000207) == 0


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_file_cut_short_or_altered_anywhere_is_never_believed(tmp_path: Path, data):
    path = tmp_path / "a.list"
    write_list(path)
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(whole[:at])
    else:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :])
    with pytest.raises(TornListError):
        MappedList.open(path)


def test_a_file_of_another_version_is_not_believed(tmp_path: Path):
    path = tmp_path / "a.list"
    write_list(path)
    path.write_bytes(b"tidegate-list-0\n" + path.read_bytes()[len(MAGIC) :])
    with pytest.raises(TornListError):
        MappedList.open(path)


def test_a_torn_file_makes_its_list_unusable_until_the_keeper_rebuilds_it(place):
    place.declare(LOCAL)
    place.write("local.txt", "192.0.2.7\n")
    place.update()
    (path,) = compiled_files(place)
    path.write_bytes(path.read_bytes()[:-8])
    place.lists = type(place.lists)(place.data)
    place.lists.refresh()
    answer = place.ask("192.0.2.7")
    assert answer.listings == ()
    assert [name for name, _ in answer.unusable] == ["local"]
    place.update()
    assert place.entries("192.0.2.7") == [("local", "192.0.2.7")]
    assert place.ask("192.0.2.9").unusable == ()


def test_a_full_disk_leaves_what_is_served(place):
    place.declare(LOCAL)
    place.write("local.txt", "192.0.2.7\n")
    place.update()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    place.write("local.txt", "192.0.2.8\n")
    broken = type(place.keeper)(place.folder, place.data, clock=place.clock, files=DurableFiles(full))
    with pytest.raises(StorageFull):
        broken.update()
    place.lists = type(place.lists)(place.data)
    place.lists.refresh()
    assert place.entries("192.0.2.7") == [("local", "192.0.2.7")]


def test_readers_see_the_old_lists_or_the_new_ones_and_nothing_between(place):
    """Two lists change together; a reader that sees one changed sees the other changed too."""
    place.declare('[[list]]\nname = "one"\nfile = "one.txt"\n[[list]]\nname = "two"\nfile = "two.txt"\n')
    wrong: list[list[tuple[str, str]]] = []
    done = threading.Event()
    for name in ("one", "two"):
        place.write(f"{name}.txt", "192.0.2.0/24\n")
    place.update()

    def read() -> None:
        while not done.is_set():
            place.lists.refresh()
            found = place.entries("192.0.2.1")
            if [entry for _, entry in found] not in (["192.0.2.0/24"] * 2, ["192.0.0.0/16"] * 2):
                wrong.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    for text in ["192.0.0.0/16\n", "192.0.2.0/24\n"] * 3:
        for name in ("one", "two"):
            place.write(f"{name}.txt", text)
        place.keeper.update()
    done.set()
    reader.join()
    assert wrong == []


def test_a_refresh_without_news_opens_nothing(place, monkeypatch):
    place.declare(LOCAL)
    place.write("local.txt", "192.0.2.7\n")
    place.update()
    monkeypatch.setattr(MappedList, "open", lambda _: pytest.fail("opened"))
    assert not place.lists.refresh()
    # A manifest written anew with the same lists maps nothing again.
    path = place.data / "blocklists" / FILE
    path.write_bytes(path.read_bytes() + b"\n")
    assert place.lists.refresh()
    assert place.entries("192.0.2.7") == [("local", "192.0.2.7")]


def test_without_a_manifest_nothing_is_listed_and_a_broken_one_changes_nothing(place):
    assert not place.lists.refresh()
    place.declare(LOCAL)
    place.write("local.txt", "192.0.2.7\n")
    place.update()
    (place.data / "blocklists" / FILE).write_text("{")
    assert not place.lists.refresh()
    assert place.entries("192.0.2.7") == [("local", "192.0.2.7")]


def test_a_list_of_a_hundred_thousand_costs_the_octets_of_its_numbers(tmp_path: Path):
    draw = random.Random(4)  # noqa: S311 - test data
    path = tmp_path / "a.list"
    write_list(path, "\n".join(".".join(str(draw.randrange(256)) for _ in range(4)) for _ in range(100_000)))
    assert os.stat(path).st_size < 100_000 * 12 + 300_000  # noqa: PTH116
