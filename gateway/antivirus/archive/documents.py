"""The one door to msoffcrypto and pikepdf: Office documents and PDFs that want a password. Runs in the child only.

Two kinds of document say that they are encrypted and open all the same, for whoever has the program: workbooks and
presentations under the passwords that Excel and PowerPoint try by themselves, and PDFs without a user's password.
Those are tried whatever the mail says. A document that none opens is what it was: encrypted.

Of a presentation msoffcrypto leaves the pictures as they are, and takes for an object's end where the next one begins:
what of it was not decrypted stays encrypted here.

Opened are: OOXML with agile and standard encryption, Word, Excel and PowerPoint files of 97 to 2003 with RC4 and, Excel
only, XOR obfuscation (MS-OFFCRYPTO), and every standard security handler of PDF (ISO 32000-2 §7.6.4). Not opened are
documents of Excel 5 and 95, those for certificates and those with rights management, and encrypted OpenDocument files.
"""

import logging
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import chain
from types import SimpleNamespace
from typing import Any

import msoffcrypto
import pikepdf
from msoffcrypto.exceptions import InvalidKeyError
from msoffcrypto.format import doc97, ppt97, xls97
from msoffcrypto.format.ooxml import OOXMLFile

from gateway.antivirus.archive.budget import Budget, LimitReachedError
from gateway.antivirus.archive.member import Member

# MS-OFFCRYPTO §2.3.7.4 for Excel; PowerPoint's of presentations that are only write-protected. Readers are not asked.
_OFFICE_OPENS_ITSELF = ("VelvetSweatshop", "/01Hannes Ruescher/01")
# ISO 32000-2 §7.6.4.3: the user's password that is not asked for.
_PDF_OPENS_ITSELF = ("",)
# How a package of OOXML begins.
_PACKAGE = b"PK\x03\x04"
# MS-PPT §2.3.1: version, type and, from its fifth octet on, length.
_RECORD_HEAD = 8
# They write warnings about what is odd; what counts is in the report.
for _name in ("msoffcrypto", "pikepdf", "olefile"):
    logging.getLogger(_name).disabled = True
# It writes older documents through a temporary file; the child may write none.
for _format in (doc97, ppt97, xls97):
    _format.tempfile = SimpleNamespace(TemporaryFile=BytesIO)


def read_document(octets: bytes, kind: str, passwords: Sequence[str], budget: Budget) -> Iterator[Member]:
    """Yield the one document, without its encryption when a password opens it, else as encrypted."""
    opener, own = (_pdf, _PDF_OPENS_ITSELF) if kind == "pdf" else (_office, _OFFICE_OPENS_ITSELF)
    for password in chain(own, passwords):
        if (plain := _opened(opener, octets, password)) is not None:
            budget.unpacked(len(plain))
            yield Member(name="", octets=plain, encrypted=True, unlocked=True, opaque=True)
            if kind == "ppt" and (left := _left_encrypted(octets, plain)):
                yield Member(name=left, encrypted=True)
            return
        budget.tick()
    yield Member(name="", encrypted=True)


def _opened(opener: Any, octets: bytes, password: str) -> bytes | None:
    try:
        return bytes(opener(octets, password))
    except (MemoryError, LimitReachedError):
        raise
    except Exception:  # noqa: BLE001 - a hostile document makes the libraries raise anything; it stays encrypted
        return None


def _office(octets: bytes, password: str) -> bytes:
    document = msoffcrypto.OfficeFile(BytesIO(octets))
    # Of a wrong password the older formats say so here; of OOXML it shows when what comes out is no package.
    document.load_key(password=password)
    plain = BytesIO()
    document.decrypt(plain)
    made = plain.getvalue()
    # msoffcrypto asks for a zip's end alone, anywhere: one of 65,536 wrong keys makes such octets of a long document.
    if isinstance(document, OOXMLFile) and not made.startswith(_PACKAGE):
        raise InvalidKeyError("no package")
    return made


def _left_encrypted(shut: bytes, plain: bytes) -> str:
    """Return what of a presentation was not decrypted, "" when nothing was left."""
    try:
        before, after = (ppt97.Ppt97File(BytesIO(octets)) for octets in (shut, plain))
        begins = list(ppt97.construct_persistobjectdirectory(before.data).values())
        after.data.powerpointdocument.seek(0)
        stream = after.data.powerpointdocument.read()
        ends = [begin + _RECORD_HEAD + int.from_bytes(stream[begin + 4 : begin + 8], "little") for begin in begins]
    except Exception:  # noqa: BLE001 - as above
        return "objects"
    if any(end > following for end, following in zip(ends, begins[1:], strict=False)):
        return "objects"
    return "Pictures" if before.ole.exists("Pictures") and before.ole.get_size("Pictures") else ""


def _pdf(octets: bytes, password: str) -> bytes:
    plain = BytesIO()
    with pikepdf.open(BytesIO(octets), password=password, suppress_warnings=True) as document:
        document.save(plain, encryption=False)
    return plain.getvalue()
