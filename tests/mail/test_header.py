"""The header scanner: what it misses, filters do not judge and forged trace fields pass."""

import gc
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.content import HEADER_READ_OCTETS, Content
from gateway.mail.header import MAX_HEADER_OCTETS, HeaderSection

MATERIAL = Path(__file__).parents[3] / "shared" / "material" / "mime"


def names(head: bytes) -> list[bytes]:
    return [field.name for field in HeaderSection(head).fields]


@pytest.mark.parametrize(
    ("head", "found", "end", "defect"),
    [
        (b"", [], 0, ""),
        (b"\r\nbody: no field\r\n", [], 0, ""),
        (b"\r\n\r\n", [], 0, ""),
        (b"A: 1\r\n\r\nB: 2\r\n", [b"A"], 6, ""),
        (b"A: 1\r\n", [b"A"], 6, ""),
        (b"A: 1", [b"A"], 4, ""),
        (b"A:", [b"A"], 2, ""),
        (b"A: 1\r\nB", [b"A"], 7, "not-a-field"),
        (b"A : 1\r\n", [b"A"], 7, ""),  # RFC 5322 §4.5.3: white space before the colon, of old
        (b"A: 1\r\n\tmore\r\n B: no field\r\nC: 3\r\n\r\n", [b"A", b"C"], 33, ""),
        (b"A: 1\r\n \r\nB: 2\r\n\r\n", [b"A", b"B"], 15, ""),  # RFC 5322 §4.2: a folded line of white space only
        (b" A: 1\r\nB: 2\r\n\r\n", [b"B"], 13, "not-a-field"),
        (b"From a@b Tue Sep  1\r\nA: 1\r\n\r\n", [b"A"], 27, "mbox-from"),
        (b">From a@b Tue Sep  1\r\nA: 1\r\n\r\n", [b"A"], 28, "mbox-from"),
        (b"A: 1\r\nno colon here\r\nB: 2\r\n\r\n", [b"A", b"B"], 27, "not-a-field"),
        (b": empty name\r\nB: 2\r\n\r\n", [b"B"], 20, "not-a-field"),
        (b"A\x00: 1\r\nB: \x00\r\n\r\n", [b"B"], 13, "not-a-field"),
        (b"\xc3\xa4: 1\r\nB: 2\r\n\r\n", [b"B"], 13, "not-a-field"),
        (b"A: 1\nB: 2\n\nbody\n", [b"A", b"B"], 10, ""),
        (b"A: 1\nB: 2\n\r\nbody\r\n\r\n", [b"A", b"B"], 10, ""),
    ],
)
def test_fields_end_and_defect(head, found, end, defect):
    section = HeaderSection(head)
    assert (names(head), section.end, section.defect) == (found, end, defect)


def test_a_field_knows_its_octets_and_its_text():
    head = b"X: 1\r\nSubject: =?x?=\r\n  folded\r\n\tvalue \r\nY: 2\r\n\r\n"
    field = HeaderSection(head).first("SUBJECT")
    assert field is not None
    assert head[field.start : field.end] == b"Subject: =?x?=\r\n  folded\r\n\tvalue \r\n"
    assert head[field.value_start : field.end] == field.raw_value
    # RFC 5322 §2.2.3: unfolding removes the CR LF and nothing else.
    assert field.value == b"=?x?=  folded\tvalue"


def test_text_never_raises():
    head = b"A: caf\xc3\xa9\r\nB: caf\xe9\r\n\r\n"
    section = HeaderSection(head)
    assert [f.text for f in section.fields] == ["café", "café"]


def test_equal_names_are_found_in_order_whatever_their_case():
    section = HeaderSection(b"To: 1\r\nCC: x\r\ntO: 2\r\n\r\n")
    assert [f.value for f in section.get_all("to")] == [b"1", b"2"]
    assert (section.count("To"), section.count("cc"), section.count("bcc")) == (2, 1, 0)
    assert [f.name for f in section.fields] == [b"To", b"CC", b"tO"]


@given(
    st.lists(st.sampled_from([b"A", b":", b" ", b"\t", b"\r\n", b"\n", b"\r", b"\x00", b"\xff", b"From "]), max_size=40)
)
def test_every_octet_belongs_to_a_field_or_to_a_defect(pieces):
    """An offset that is off by one cuts a neighbour's octets when a forged field is removed."""
    head = b"".join(pieces)
    section = HeaderSection(head)
    covered = 0
    for field in section.fields:
        assert field.start >= covered
        assert head[field.start : field.end].startswith(field.name)
        assert head[field.value_start - 1 : field.value_start] == b":"
        gap = head[covered : field.start]
        assert not gap or section.defect
        covered = field.end
    assert covered <= section.end <= len(head)
    assert covered == section.end or section.defect


@pytest.mark.parametrize(
    "hostile",
    [b"a", b" ", b":", b"\r", b"\n", b"\t\n", b"a:\n", b"a: \n \n", b"a ", b"a\n", b"\r\n ", b"a:\r"],
)
def test_scanning_is_linear(hostile):
    """A header section that takes quadratic time stops the gateway with one mail."""
    small, large = (hostile * (octets // len(hostile)) for octets in (50_000, 800_000))
    for_small, for_large = (min(_seconds(head) for _ in range(3)) for head in (small, large))
    # Sixteen times the octets: 16 when linear, 256 when quadratic; the constant absorbs a busy machine.
    assert for_large < for_small * 80 + 0.05


def _seconds(head: bytes) -> float:
    # The collector's time depends on all that other tests left in memory.
    gc.disable()
    try:
        begun = time.process_time()
        HeaderSection(head)
        return time.process_time() - begun
    finally:
        gc.enable()


def test_a_header_section_without_end_is_cut_and_said_so():
    section = HeaderSection(b"A: 1\r\n" * (MAX_HEADER_OCTETS // 6 + 2))
    assert (section.end, section.defect) == (MAX_HEADER_OCTETS, "no-end")


@pytest.mark.parametrize("filling", [10, HEADER_READ_OCTETS, 5 * HEADER_READ_OCTETS])
def test_a_spilled_content_has_the_header_of_the_same_content_in_memory(tmp_path, filling):
    octets = b"A: " + b"x" * filling + b"\r\nB: 2\r\n\r\nbody" + b"\r\n.." * HEADER_READ_OCTETS
    path = tmp_path / "content"
    path.write_bytes(octets)
    spilled, kept = Content(path=path, size=len(octets)), Content(octets)
    assert spilled.header.fields == kept.header.fields
    assert (spilled.header.end, spilled.header.defect) == (kept.header.end, "")


@pytest.mark.skipif(not MATERIAL.is_dir(), reason="the shared MIME material is not here")
def test_awkward_messages_never_raise():
    files = [path for path in MATERIAL.rglob("*") if path.is_file() and path.suffix not in {".json", ".ref"}]
    assert len(files) > 200
    for path in files:
        section = Content(path.read_bytes()).header
        for field in section.fields:
            assert field.text is not None
