"""What a name hides must be told: a desktop runs what its last extension says, not what the reader saw."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.filetype import inspect
from gateway.mail.filetype.names import read_name


@pytest.mark.parametrize(
    ("name", "extensions", "said"),
    [
        ("invoice.pdf", ("pdf",), ()),
        ("Invoice.PDF", ("pdf",), ()),
        ("archive.tar.gz", ("tar", "gz"), ()),
        ("README", (), ()),
        ("", (), ()),
        ("run.exe", ("exe",), ("runs",)),
        ("报价单.xlsx.exe", ("xlsx", "exe"), ("runs", "double_extension")),
        ("invoice.pdf.js", ("pdf", "js"), ("runs", "double_extension")),
        ("v1.2.exe", ("2", "exe"), ("runs",)),
        # White space pushes the extension out of sight.
        ("photo.jpg                              .scr", ("jpg", "scr"), ("runs", "double_extension")),
        ("photo                                  .scr", ("scr",), ("runs", "double_extension")),
        # Dots and spaces at the end, which Windows drops; a stream of NTFS.
        ("run.exe. . .", ("exe",), ("runs", "trails")),
        ("run.pdf ", ("pdf",), ("trails",)),
        ("run.exe\u3000", ("exe",), ("runs", "trails")),
        ("Dr. Smith.", ("smith",), ()),
        ("To be continued ...", (), ()),
        ("run.exe::$DATA", ("exe",), ("runs",)),
        # The direction is turned round: shown as "annexe.pdf".
        ("ann\u202efdp.exe", ("exe",), ("runs", "turns")),
        ("ann\u2067fdp.exe", ("exe",), ("runs", "turns")),
        # What nobody sees, and other dots.
        ("run.e\u200bxe", ("exe",), ("runs",)),
        ("run\uff0eexe", ("exe",), ("runs",)),
        ("C:\\Users\\x\\run.exe", ("exe",), ("runs",)),
        ("/folder.d/run.exe", ("exe",), ("runs",)),
        # Marks of Hebrew and Arabic names turn nothing.
        ("\u200fדוח.pdf", ("pdf",), ()),
        ("年终总结.docx", ("docx",), ()),
        ("a." + "b" * 100, (), ()),
    ],
)
def test_names(name: str, extensions: tuple[str, ...], said: tuple[str, ...]):
    facts = read_name(name)
    assert facts.extensions == extensions
    assert tuple(word for word in ("runs", "double_extension", "turns", "trails") if getattr(facts, word)) == said


@pytest.mark.parametrize(
    ("octets", "name", "declared", "mismatch"),
    [
        (b"%PDF-1.7", "a.pdf", "application/pdf", ""),
        (b"MZ" + bytes(80), "a.pdf", "", "mismatch"),
        (b"<html>", "a.pdf", "", "mismatch"),
        (b"<html>", "a.html", "text/html", ""),
        # Fragments, and what old Office programs write under these names.
        (b"just words", "a.html", "text/html", ""),
        (b"{\\rtf1}", "a.doc", "application/msword", ""),
        (b"<html>", "a.xls", "application/vnd.ms-excel", ""),
        (b"PK\x03\x04", "a.docx", "", "mismatch"),
        (b"\x89PNG\r\n\x1a\n", "a.jpg", "", "mismatch"),
        (b"\0\1\2\3", "a.pdf", "", "mismatch"),
        (b"\0\1\2\3", "a.dat", "", ""),
        (b"", "a.pdf", "", ""),
        (b"MZ" + bytes(80), "a.exe", "image/png", "mismatch"),
        (b"PK\x03\x04", "a.zip", "text/plain", "mismatch"),
        (b"PK\x03\x04", "noname", "application/pdf", "mismatch"),
        (b"PK\x03\x04", "a.zip", "application/octet-stream", ""),
    ],
)
def test_a_name_or_type_that_promises_something_else(octets: bytes, name: str, declared: str, mismatch: str):
    assert inspect(octets, name, declared).mismatch is bool(mismatch)


@given(st.text())
def test_any_name(name: str):
    facts = inspect(b"x", name)
    assert facts.extension == (facts.extensions[-1] if facts.extensions else "")
