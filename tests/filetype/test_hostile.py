"""Files made to break a reader: none may raise, and none may take more than linear time."""

from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.filetype import FileFacts, inspect
from tests.filetype.test_content import SEVEN, SIGNED, compound, entry, open_document, rar4, rar5, zipped

WHOLE = [
    *SIGNED.values(),
    zipped("a.txt", "b.exe"),
    open_document(),
    rar4(),
    rar5(),
    compound(entry("WordDocument"), entry("Macros")),
    compound(entry("Workbook")),
    *(b64decode(text) for text in SEVEN.values()),
]


@given(st.sampled_from(WHOLE), st.data())
def test_damaged_files_are_told_about_without_an_error(whole: bytes, data: st.DataObject):
    octets = bytearray(whole)
    for at in data.draw(st.lists(st.integers(0, max(0, len(octets) - 1)), max_size=8)):
        if octets:
            octets[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(octets)))
    assert isinstance(inspect(bytes(octets[:end]), "a.zip"), FileFacts)
    assert isinstance(inspect(bytes(octets), "a.zip"), FileFacts)


@given(st.sampled_from([whole[:8] for whole in WHOLE]), st.binary(max_size=300))
def test_any_octets_behind_any_signature(signature: bytes, rest: bytes):
    assert isinstance(inspect(signature + rest, "a.doc", "image/png"), FileFacts)


LOCAL = zipped("a")[:31]
HOSTILE = {
    "zip local headers": LOCAL * 30_000,
    "zip signatures": b"PK\x03\x04" * 500_000,
    "zip ends": b"PK\x03\x04" + b"PK\x05\x06" * 500_000,
    "ole slots": compound() + (entry("a") * 20_000),
    "ole octets": compound() + b"\x01" * 2_000_000,
    "pdf names": b"%PDF-" + b"/Encryp" * 300_000,
    "pdf slashes": b"%PDF-" + b"/" * 2_000_000,
    "rar5 zeros": rar5() + bytes(2_000_000),
    "rar4 blocks": rar4() + b"\x74" * 2_000_000,
    "7z header": b"7z\xbc\xaf\x27\x1c" + bytes(14) + b"\xff" * 8 + b"\x17\x06" * 1_000_000,
    "comments": b"<!--" * 500_000,
    "line ends": b"\n" * 2_000_000,
    "tags": b"<" * 2_000_000,
    "zeros": bytes(2_000_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_take_linear_time(name: str):
    """A quadratic reader would not end before the test's time limit."""
    assert isinstance(inspect(HOSTILE[name], "x." * 100_000), FileFacts)


def test_limits_are_told():
    assert inspect(HOSTILE["zip local headers"]).truncated == "members"
