"""For any octets: no exception, no octet lost or counted twice, the same from memory and from a file."""

import tempfile
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.content import Content
from gateway.mail.mime import Habits, MimeLimits, MimeTree, octets, parse
from gateway.mail.mime.readings import readings
from tests.mime.mails import contents, outline, scanned

habits = st.builds(Habits, **{field.name: st.sampled_from(get_args(field.type)) for field in fields(Habits)})
limits = st.builds(
    MimeLimits,
    max_depth=st.integers(0, 4),
    max_parts=st.integers(1, 6),
    max_near_delimiters=st.integers(0, 3),
    max_header_octets=st.integers(1, 50),
)


def assert_partition(content: bytes, tree: MimeTree) -> None:
    ranges = tree.ranges()
    assert b"".join(content[r.start : r.end] for r in ranges) == content
    assert all(before.end == after.start for before, after in pairwise(ranges))
    for part in tree.parts:
        assert 0 <= part.start <= part.header_end <= part.body_start <= part.body_end == part.end <= len(content)
        if part.is_multipart:
            assert part.body_start <= part.preamble_end <= part.epilogue_start <= part.body_end
        for child in tree.children(part):
            assert part.body_start <= child.start <= child.end <= part.body_end


@given(contents)
def test_the_ranges_of_any_content_are_the_content(content):
    assert_partition(content, scanned(content))


@given(contents, habits, limits)
def test_so_they_are_for_every_reader_and_at_every_limit(content, reader, bounds):
    assert_partition(content, scanned(content, habits=reader, limits=bounds))


@given(contents)
def test_what_any_part_says_and_holds_can_be_asked_for(content):
    whole = Content(content)
    for part in parse(whole).parts:
        assert isinstance(part.filename + part.charset + part.disposition, str)
        assert isinstance(part.is_attachment, bool)
        assert len(part.decoded(whole)) <= max(len(content), 3)


@given(contents, habits)
def test_parts_stand_in_the_order_of_their_octets_and_know_their_parents(content, reader):
    parts = scanned(content, habits=reader).parts
    assert [part.index for part in parts] == list(range(len(parts)))
    assert parts[0].parent == -1
    assert all(0 <= part.parent < part.index and part.depth == parts[part.parent].depth + 1 for part in parts[1:])
    assert all(before.start <= after.start for before, after in pairwise(parts))


@given(contents)
def test_every_reading_of_any_content_ends_and_gives_each_leaf_once(content):
    found = list(readings(Content(content)))
    keys = [leaf.key for reading in found for leaf in reading.leaves]
    assert len(keys) == len(set(keys))
    assert len(found) <= MimeLimits().max_readings
    for reading in found:
        for leaf in reading.leaves:
            leaf.decode()
            leaf.alternatives()


@given(contents, st.integers(1, 40))
def test_a_file_is_read_as_memory_is(content, window):
    """Windows of some octets, so that everything lies across two of them."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(octets, "WINDOW_OCTETS", window)
        patch.setattr(octets, "OVERLAP_OCTETS", 2048)
        file = Path(folder) / "content"
        file.write_bytes(content)
        spilled = Content(path=file, size=len(content))
        tree = parse(spilled)
        assert outline(tree) == outline(scanned(content))
        assert tree.ambiguities == scanned(content).ambiguities
        assert [part.decoded(spilled) for part in tree.parts] == [
            part.decoded(Content(content)) for part in scanned(content).parts
        ]


def test_the_tree_of_a_content_is_found_once():
    content = Content(b"Subject: x\r\n\r\nbody\r\n")
    assert content.mime is content.mime
    assert outline(content.mime) == [(0, "text/plain", 0, 14, 20)]
