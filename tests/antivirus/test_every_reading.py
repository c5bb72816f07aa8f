"""A virus where only some reader of mail would find it, in front of a real clamd: each is found, and none is silent.

The virus is encoded or packed, so that what finds it is the reading and not its octets in the whole message.
"""

import base64
import binascii
import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.antivirus.archive.report import ArchiveLimits
from gateway.antivirus.archive.walker import ArchiveWalker
from gateway.antivirus.cache import ResultCache
from gateway.antivirus.message import MessageScanner
from gateway.antivirus.result import Outcome
from gateway.antivirus.scanner import Scanner, ScannerLimits
from gateway.antivirus.scanners import Scanners
from gateway.clock import FakeClock
from gateway.mail.content import Content
from tests.antivirus.conftest import EICAR
from tests.antivirus.test_archive import DATA, REND, TITLE, attribute, rar4, tnef
from tests.antivirus.test_message import zipped
from tests.mime.test_transfer import binhexed

pytestmark = pytest.mark.real

CODED = base64.encodebytes(EICAR).replace(b"\n", b"\r\n")
BASE64 = b"Content-Transfer-Encoding: base64\r\n"
BAD = b'Content-Type: application/octet-stream; name="bad.com"\r\n' + BASE64 + b"\r\n" + CODED
HEAD = b"From: a@sender.test\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
TEXT = b"Content-Type: text/plain\r\n\r\n"


def parts(*each: bytes, boundary: bytes = b"b", end: bytes = b"--") -> bytes:
    return b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in each) + b"--%b%b\r\n" % (boundary, end)


def attached(octets: bytes, name: str = "a.bin") -> bytes:
    head = f'Content-Type: application/octet-stream; name="{name}"\r\n'.encode() + BASE64
    return MIXED + parts(TEXT + b"See the file.", head + b"\r\n" + base64.encodebytes(octets).replace(b"\n", b"\r\n"))


def yenc(octets: bytes) -> bytes:
    coded = b"".join(
        b"=" + bytes([(octet + 106) % 256]) if (octet + 42) % 256 in b"\0\n\r=" else bytes([(octet + 42) % 256])
        for octet in octets
    )
    return b"=ybegin line=128 size=%d name=bad.com\r\n%b\r\n=yend size=%d\r\n" % (len(octets), coded, len(octets))


def uuencode(octets: bytes) -> bytes:
    lines = (binascii.b2a_uu(octets[at : at + 45]).replace(b"\n", b"\r\n") for at in range(0, len(octets), 45))
    return b"begin 644 bad.com\r\n" + b"".join(lines) + b"`\r\nend\r\n"


QP = b"".join(b"=%02x" % octet for octet in EICAR)
INNER = b"Subject: inner\r\n" + MIXED + parts(BAD)
SHORT = base64.b64encode(b"x")
# clamd reads mails as well, but Debian's no RAR.
RAR_WITHIN = attached(rar4(b"a.gz", gzip.compress(EICAR, mtime=0)), "a.rar")

READINGS = {
    "two types": b"Content-Type: text/plain\r\n" + MIXED + parts(BAD),
    "two types, the other way": MIXED.removesuffix(b"\r\n") + b"Content-Type: text/plain\r\n\r\n" + parts(BAD),
    "two boundaries": MIXED.replace(b"=b", b"=c; boundary=b") + parts(BAD),
    "a boundary by RFC 2231": MIXED.replace(b"boundary=b", b'boundary*0="="; boundary*1=b')
    + parts(BAD, boundary=b"=b"),
    "two transfer encodings": MIXED + parts(BAD.replace(BASE64, b"Content-Transfer-Encoding: 7bit\r\n" + BASE64)),
    "two transfer encodings, the other way": MIXED
    + parts(BAD.replace(BASE64, BASE64 + b"Content-Transfer-Encoding: 7bit\r\n")),
    "no final boundary": MIXED + parts(BAD).removesuffix(b"--b--\r\n"),
    "a bad final boundary": MIXED + parts(BAD, end=b"-x"),
    "after the final boundary": MIXED + parts(TEXT + b"hello") + parts(BAD),
    "uuencode in the preamble": MIXED + uuencode(EICAR) + parts(TEXT + b"hello"),
    "uuencode in the epilogue": MIXED + parts(TEXT + b"hello") + uuencode(EICAR),
    "a message within": MIXED + parts(b"Content-Type: message/rfc822\r\n\r\n" + INNER),
    "a message within, base64": MIXED
    + parts(b"Content-Type: message/rfc822\r\n" + BASE64 + b"\r\n" + base64.encodebytes(INNER).replace(b"\n", b"\r\n")),
    "a message within, quoted-printable": MIXED
    + parts(
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + b"".join(b"=%02X" % octet if octet != 10 else b"=0A=\r\n" for octet in INNER)
    ),
    "uuencode in text": TEXT + b"Here:\r\n\r\n" + uuencode(EICAR),
    "yEnc in text": TEXT + b"Here:\r\n\r\n" + yenc(EICAR),
    "BinHex in text": TEXT + b"Here:\r\n\r\n" + binhexed(b"bad.com", EICAR) + b"\r\n",
    "base64 with junk": MIXED + parts(BAD.replace(CODED, b"!*".join(CODED[at : at + 7] for at in range(0, 999, 7)))),
    "base64 after padding": MIXED + parts(BAD.replace(CODED, SHORT + b"\r\n" + CODED)),
    "base64 pieces put together": MIXED
    + parts(BAD.replace(CODED, b"\r\n".join(base64.b64encode(EICAR[at : at + 20]) for at in range(0, 68, 20)))),
    "quoted-printable, soft breaks and small letters": MIXED
    + parts(
        b"Content-Type: x/y\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + b"= \t\r\n".join(QP[at : at + 30] for at in range(0, len(QP), 30))
    ),
    "a part called apple-double": b"Content-Type: multipart/appledouble; boundary=b\r\n\r\n"
    + parts(b"Content-Type: application/applefile\r\n\r\nx", BAD),
    "a multipart of a kind nobody knows": MIXED.replace(b"mixed", b"x-of-mine") + parts(BAD),
    "a multipart that says it is text": MIXED.replace(b"multipart/mixed", b"text/plain") + parts(BAD),
    "a multipart that is encoded": BASE64 + MIXED + base64.encodebytes(parts(BAD)).replace(b"\n", b"\r\n"),
    "winmail.dat": attached(
        tnef(attribute(REND, b"x"), attribute(TITLE, b"a.zip\0"), attribute(DATA, zipped(("bad.com", EICAR)))),
        "winmail.dat",
    ),
    "a RAR": attached(rar4(b"a.zip", zipped(("bad.com", EICAR))), "a.rar"),
    "a zip behind a picture": attached(b"\x89PNG\r\n\x1a\n" + bytes(64) + zipped(("bad.com", EICAR)), "a.png"),
    "a mail kept as a file": attached(HEAD + RAR_WITHIN, "a.eml"),
    "a mail kept as a file in a zip": attached(zipped(("a.eml", HEAD + RAR_WITHIN)), "a.zip"),
}


@pytest.fixture
async def scanner(shared_clamd):
    walker = ArchiveWalker(ArchiveLimits())
    scanners = Scanners([Scanner(shared_clamd.unix, ScannerLimits())], ResultCache(FakeClock()))
    yield MessageScanner(scanners, walker)
    walker.close()


@pytest.mark.parametrize("reading", READINGS)
async def test_found_by_every_reading(scanner, reading):
    octets = HEAD + READINGS[reading]
    assert EICAR not in octets
    scan = await scanner.scan(Content(octets))
    assert scan.result.outcome is Outcome.INFECTED, scan


@pytest.mark.parametrize("reading", [name for name, octets in READINGS.items() if CODED in octets])
async def test_the_same_with_nothing_in_it_is_no_virus(scanner, reading):
    """Else the test above would pass for another reason than the virus."""
    octets = HEAD + READINGS[reading].replace(CODED, base64.encodebytes(b"x" * 68).replace(b"\n", b"\r\n"))
    assert (await scanner.scan(Content(octets))).result.outcome is not Outcome.INFECTED


async def test_an_opaque_signature(scanner, tmp_path: Path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=a", "-keyout", "key", "-out", "cert")
    (tmp_path / "inner").write_bytes(BAD)
    openssl(
        "cms", "-sign", "-nodetach", "-binary", "-outform", "DER", "-signer", "cert", "-inkey", "key", "-in", "inner",
        "-out", "smime.p7m",
    )  # fmt: skip
    signed = (tmp_path / "smime.p7m").read_bytes()
    octets = HEAD + attached(signed, "smime.p7m")
    assert (await scanner.scan(Content(octets))).result.outcome is Outcome.INFECTED


@pytest.fixture
def packed(tmp_path: Path) -> tuple[bytes, bytes]:
    """Return a 7z with the virus, and one that wants a password even for its names."""
    if shutil.which("7z") is None:
        pytest.skip("7z (package p7zip-full) is not installed")
    (tmp_path / "bad.com").write_bytes(EICAR)
    for name, options in (("open.7z", []), ("shut.7z", ["-psecret", "-mhe=on"])):
        subprocess.run(["7z", "a", "-bso0", "-bsp0", *options, name, "bad.com"], cwd=tmp_path, check=True)
    return (tmp_path / "open.7z").read_bytes(), (tmp_path / "shut.7z").read_bytes()


async def test_7z(scanner, packed):
    scan = await scanner.scan(Content(HEAD + attached(packed[0], "a.7z")))
    assert scan.result.outcome is Outcome.INFECTED
    assert ("bad.com",) in [entry.path for part in scan.parts if part.archive for entry in part.archive.entries]
    scan = await scanner.scan(Content(HEAD + attached(packed[1], "a.7z")))
    assert scan.result.outcome is Outcome.ENCRYPTED


@pytest.mark.parametrize(
    "elsewhere",
    [
        b'Content-Type: message/partial; id="x"; number=1; total=2\r\n\r\nSubject: y\r\n\r\nhalf\r\n',
        MIXED
        + parts(
            b'Content-Type: message/external-body; access-type=URL; URL="https://evil.test/bad.exe"\r\n\r\n'
            b"Content-Type: application/octet-stream\r\n\r\n"
        ),
    ],
)
async def test_what_is_elsewhere_is_never_clean(scanner, elsewhere):
    assert (await scanner.scan(Content(HEAD + elsewhere))).result.outcome is Outcome.UNSCANNABLE


@pytest.mark.parametrize(
    ("field", "name"),
    [
        (b"Content-Disposition: attachment; filename*=utf-8''%E5%8F%91%E7%A5%A8.com\r\n", "发票.com"),
        (b'Content-Disposition: attachment; filename*0="inv"; filename*1="oice.com"\r\n', "invoice.com"),
        (b'Content-Disposition: attachment; filename="=?gb18030?B?t6LGsS5jb20=?="\r\n', "发票.com"),
        (b'Content-Type: x/y; name="=?utf-8?Q?r=C3=A9sum=C3=A9.com?="\r\n', "résumé.com"),
    ],
)
async def test_it_is_told_by_the_name_that_the_reader_sees(scanner, field, name):
    octets = HEAD + MIXED + parts(field + BASE64 + b"\r\n" + CODED)
    [part] = (await scanner.scan(Content(octets))).infected
    assert part.leaf.part.filename == name
