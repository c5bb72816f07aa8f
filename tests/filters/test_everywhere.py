"""If one of these fails, a file that is told at the top level passes unremarked in an archive or a wrapping."""

import gzip
import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from gateway.antivirus.desk import Antivirus
from gateway.antivirus.fakes import ScriptedAntivirus, ScriptedScanners
from gateway.clock import FakeClock
from gateway.filters.antivirus import AntivirusFilter, Options
from gateway.filters.attachments import Attachments
from gateway.mail.content import Content
from gateway.policy.filter import Context, NoOptions
from tests.antivirus.test_archive import DATA, REND, TITLE, attribute, tnef, zipped
from tests.filters.test_attachments import carrying
from tests.filters.test_cases import CONTEXT, transaction

pytest.importorskip("libarchive", reason="libarchive-c, or Debian's libarchive13, is not installed")

SMUGGLING = b"""<html><script>var b=new Blob([Uint8Array.from(atob("TVqQ"),c=>c.charCodeAt(0))]);
a.href=URL.createObjectURL(b);a.download="invoice.zip";a.click();</script></html>"""
# What is told of each at the top level, by its content or by its name alone.
FILES: dict[str, tuple[str, bytes, str]] = {
    "an ISO by content": ("picture.bin", bytes(0x8000) + b"\x01CD001\x01" + bytes(4096), "disk-image"),
    "a disk image by name": ("scan.img", b"octets", "disk-image"),
    "a virtual disk": ("a.vhdx", b"vhdxfile" + bytes(600), "disk-image"),
    "a OneNote section": ("notes.bin", bytes.fromhex("e4525c7b8cd8a74daeb15378d02996d3") + bytes(99), "onenote"),
    "a OneNote section by name": ("notes.one", b"octets", "onenote"),
    "HTML smuggling": ("invoice.html", SMUGGLING, "html-smuggling"),
    "HTML smuggling by content": ("invoice.dat", SMUGGLING, "html-smuggling"),
    "HTML smuggling in UTF-16": ("a.htm", SMUGGLING.decode().encode("utf-16"), "html-smuggling"),
    "a shortcut": ("a.lnk", b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F" + bytes(60), "shortcut"),
    "a page with a script": ("page.html", b"<html><script>alert(1)</script></html>", "html-script"),
    "a script": ("backup.sh", b"#!/bin/sh\ntar c .\n", "script"),
    "another type": ("report.pdf", b"\x89PNG\r\n\x1a\n" + bytes(30), "type-mismatch"),
}


def tarred(name: str, octets: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(octets)
        tar.addfile(info, io.BytesIO(octets))
    return buffer.getvalue()


def in_tnef(name: str, octets: bytes) -> bytes:
    return tnef(attribute(REND, b"x"), attribute(TITLE, name.encode() + b"\0"), attribute(DATA, octets))


WRAPPINGS: dict[str, Callable[[str, bytes], tuple[str, bytes]]] = {
    "a zip": lambda name, octets: ("a.zip", zipped((name, octets))),
    "a zip in a tar in a gzip in a zip": lambda name, octets: (
        "a.zip",
        zipped(("b.tar.gz", gzip.compress(tarred("c.zip", zipped((name, octets)))))),
    ),
    "a winmail.dat": lambda name, octets: ("winmail.dat", in_tnef(name, octets)),
    "a zip behind a picture": lambda name, octets: ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(99) + zipped((name, octets))),
}


def der(tag: int, *inner: bytes) -> bytes:
    octets = b"".join(inner)
    return bytes([tag, 0x84]) + len(octets).to_bytes(4, "big") + octets


def signed(octets: bytes) -> bytes:
    """Return octets as opaque S/MIME signs them (RFC 5652 §5.1), with no signer."""
    data = der(0x06, bytes.fromhex("2a864886f70d010701")) + der(0xA0, der(0x04, octets))
    signature = der(0x30, der(0x02, b"\x01"), der(0x31), der(0x30, data), der(0x31))
    return der(0x30, der(0x06, bytes.fromhex("2a864886f70d010702")), der(0xA0, signature))


@pytest.fixture
def desk() -> Iterator[ScriptedAntivirus]:
    desk = ScriptedAntivirus(ScriptedScanners(), FakeClock())
    yield desk
    desk.close()


async def told(desk: ScriptedAntivirus, octets: bytes) -> tuple[set[str], set[str]]:
    """Return what the filters of attachments and of viruses say of a mail."""
    tx = replace(transaction({"content": ""}), content=Content(octets))
    context: Context = replace(CONTEXT, services={Antivirus: desk})
    said = [await f.examine(tx, context) or () for f in (Attachments(NoOptions()), AntivirusFilter(Options()))]
    return {one.result for one in said[0]}, {one.result for one in said[1]}


async def test_every_file_has_the_same_results_wherever_it_lies(desk):
    """One test for the whole table: starting the archive walker's child takes longer than walking."""
    missing = []
    for file, (name, octets, result) in FILES.items():
        at_the_top, _ = await told(desk, carrying(name, octets))
        assert result in at_the_top, file
        for wrapping, wrap in WRAPPINGS.items():
            _, within = await told(desk, carrying(*wrap(name, octets)))
            missing += [(file, wrapping, one) for one in at_the_top - within]
        _, within = await told(desk, carrying("smime.p7m", signed(carrying(name, octets))))
        missing += [(file, "a signed message", one) for one in at_the_top - within]
    assert missing == []


async def test_a_file_that_only_another_reader_sees_has_the_same_results(desk):
    name, octets, result = FILES["a OneNote section"]
    head, _, rest = carrying(name, octets).partition(b"\r\n")
    both = b'Content-Type: multipart/mixed; boundary="other"\r\n' + head + b"\r\n" + rest
    at_the_top, within = await told(desk, both)
    assert result in at_the_top | within


def test_what_is_said_within_archives_weighs_what_it_does_at_the_top():
    for result in {result for _, _, result in FILES.values()}:
        assert AntivirusFilter.on[result] == Attachments.on[result]
