"""If one of these fails, a document or archive hides a virus behind a password that stands beside it in the mail."""

import asyncio
import io
from collections.abc import Callable

import pytest
from msoffcrypto.format.ooxml import OOXMLFile

from gateway.antivirus.archive.report import ArchiveLimits
from gateway.antivirus.archive.walk import Walk
from gateway.antivirus.archive.walker import ArchiveWalker
from gateway.antivirus.cache import ResultCache
from gateway.antivirus.message import MessageScanner
from gateway.antivirus.result import Outcome
from gateway.antivirus.scanner import Scanner, ScannerLimits
from gateway.antivirus.scanners import Scanners
from gateway.clock import FakeClock
from tests.antivirus.conftest import EICAR
from tests.antivirus.shut import (
    FILLER,
    docx,
    shut_7z,
    shut_doc,
    shut_docx,
    shut_newer_doc,
    shut_older_docx,
    shut_pdf,
    shut_ppt,
    shut_xls,
)
from tests.antivirus.test_archive import seven_zip, zipped
from tests.antivirus.test_message import mail

pytest.importorskip("libarchive", reason="libarchive-c, or Debian's libarchive13, is not installed")

Maker = Callable[[bytes, str], bytes]
MAKERS: dict[str, Maker] = {
    "a.docx": shut_docx,
    "older.docx": shut_older_docx,
    "a.doc": shut_doc,
    "newer.doc": shut_newer_doc,
    "a.xls": shut_xls,
    "a.ppt": shut_ppt,
    "a.pdf": shut_pdf,
    "a.7z": shut_7z,
}
SAID = "The password is geheim."
# What its program opens without asking anybody.
OPENS_ITSELF = {
    "a.docx": "VelvetSweatshop",
    "older.docx": "VelvetSweatshop",
    "a.xls": "VelvetSweatshop",
    "a.ppt": "/01Hannes Ruescher/01",
    "a.pdf": "",
}


@pytest.fixture
async def walker():
    walker = ArchiveWalker(ArchiveLimits())
    yield walker
    walker.close()


@pytest.fixture
def scanner(shared_clamd, walker) -> MessageScanner:
    return MessageScanner(Scanners([Scanner(shared_clamd.unix, ScannerLimits())], ResultCache(FakeClock())), walker)


@pytest.mark.real
@pytest.mark.parametrize("name", MAKERS)
async def test_what_the_mails_password_opens_is_scanned_and_what_it_does_not_is_encrypted(scanner, name):
    infected, harmless = MAKERS[name](EICAR, "geheim"), MAKERS[name](b"harmless " * 9, "geheim")
    outcomes = [
        (await scanner.scan(mail(name, octets, text))).result.outcome
        for octets, text in ((infected, "No word."), (infected, SAID), (harmless, SAID))
    ]
    assert outcomes == [Outcome.ENCRYPTED, Outcome.INFECTED, Outcome.CLEAN]


@pytest.mark.real
@pytest.mark.parametrize(("name", "password"), OPENS_ITSELF.items())
async def test_what_opens_without_a_question_is_scanned_without_a_word_in_the_mail(scanner, name, password):
    scan = await scanner.scan(mail(name, MAKERS[name](EICAR, password)))
    assert scan.result.outcome is Outcome.INFECTED


@pytest.mark.real
@pytest.mark.parametrize("name", ["a.xls", "a.pdf", "a.7z"])
async def test_within_archives_the_same_is_opened(scanner, name):
    octets = zipped(("inner.zip", zipped((name, MAKERS[name](EICAR, "geheim")))))
    assert (await scanner.scan(mail("a.zip", octets))).result.outcome is Outcome.ENCRYPTED
    scan = await scanner.scan(mail("a.zip", octets, SAID))
    assert scan.result.outcome is Outcome.INFECTED
    [part] = scan.infected
    assert part.leaf.part.filename == "a.zip"


def test_pictures_of_a_presentation_stay_encrypted_and_are_not_passed_over():
    report = Walk(ArchiveLimits(), ("geheim",), lambda: 0.0).run(
        shut_ppt(EICAR, "geheim", pictures=bytes(5000)), "a.ppt"
    )
    assert [(entry.path, entry.unlocked) for entry in report.entries] == [(("a.ppt",), True), (("Pictures",), False)]
    assert EICAR in bytes(report.entries[0].octets)
    assert (report.encrypted, report.opened) == (True, False)


def test_a_presentation_of_which_an_objects_end_was_not_decrypted_is_not_opened():
    """A directory that has another object begin within the first: PowerPoint reads the first to its own end."""
    octets = shut_ppt(EICAR, "geheim", within=(16,))
    report = Walk(ArchiveLimits(), ("geheim",), lambda: 0.0).run(octets, "a.ppt")
    assert not any(EICAR in bytes(entry.octets or b"") for entry in report.entries), "nobody has seen it"
    assert (report.encrypted, report.opened) == (True, False)


def test_octets_that_only_end_like_a_package_are_those_of_a_wrong_password():
    """Whoever sends a virus would choose them so, for a password that is tried before the right one."""
    made = io.BytesIO()
    OOXMLFile(io.BytesIO(FILLER + docx(EICAR))).encrypt("VelvetSweatshop", made)
    report = Walk(ArchiveLimits(), (), lambda: 0.0).run(made.getvalue(), "a.docx")
    assert (report.encrypted, report.opened) == (True, False)


@pytest.mark.real
def test_of_entries_with_one_name_each_is_handed_over(tmp_path):
    """Of two, the first would be the virus that a program unpacks when asked, and the second what is scanned."""
    (tmp_path / "aa.com").write_bytes(EICAR)
    (tmp_path / "ab.com").write_bytes(b"harmless " * 9)
    seven_zip(tmp_path, "-tzip", "-pgeheim", "-mem=AES256", "e.zip", "aa.com", "ab.com")
    octets = (tmp_path / "e.zip").read_bytes().replace(b"ab.com", b"aa.com")
    report = Walk(ArchiveLimits(), ("geheim",), lambda: 0.0).run(octets, "e.zip")
    assert (report.opened, list(report.carried)) == (True, [EICAR, b"harmless " * 9])


def test_what_lies_beside_what_was_opened_is_handed_over_too():
    """A scanner that stops at what is encrypted has not looked at it, and its "encrypted" counts no more."""
    octets = zipped(("a.pdf", shut_pdf(b"harmless", "geheim")), ("z.com", EICAR), ("empty", b""))
    report = Walk(ArchiveLimits(), ("geheim",), lambda: 0.0).run(octets, "a.zip")
    assert report.opened
    assert EICAR in report.carried
    assert report.without_octets().opened
    assert not Walk(ArchiveLimits(), (), lambda: 0.0).run(octets, "a.zip").carried


def test_where_that_is_too_much_the_scanners_word_counts():
    beside = EICAR + bytes(9000)
    octets = zipped(("a.pdf", shut_pdf(b"harmless", "geheim")), ("z.com", beside))
    report = Walk(ArchiveLimits(carried_octets=9000), ("geheim",), lambda: 0.0).run(octets, "a.zip")
    assert (report.limit, report.opened, beside in report.carried) == ("", False, False)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("spoiled", [0.5, 0.9])
def test_a_spoiled_one_is_a_report_and_never_complete(name, spoiled):
    octets = MAKERS[name](EICAR, "geheim")
    cut = octets[: int(len(octets) * spoiled)]
    report = Walk(ArchiveLimits(), ("geheim",), lambda: 0.0).run(cut, name)
    assert not report.opened


def test_wrong_passwords_do_not_use_up_what_the_right_one_may_unpack():
    passwords = [*map(str, range(10)), "geheim"]
    limits = ArchiveLimits(octets=40_000, entries=3)
    report = Walk(limits, passwords, lambda: 0.0).run(shut_7z(b"x" * 30_000, "geheim"), "a.7z")
    assert (report.limit, report.opened) == ("", True)


async def test_passwords_are_tried_no_longer_than_an_archive_may_take():
    """A key may be made as costly to derive as its maker likes; the mail is answered in time, and is not clean."""
    octets = bytearray(shut_docx(EICAR, "geheim"))
    at = octets.index(b'spinCount="100000"')
    octets[at : at + 18] = b'spinCount="999999"'
    walker = ArchiveWalker(ArchiveLimits(seconds=0.2))
    try:
        async with asyncio.timeout(30):
            report = await walker.walk(bytes(octets), name="a.docx", passwords=["a", "b", "c", "d", "e", "f"])
    finally:
        walker.close()
    assert not report.complete
    assert report.limit == "seconds"
