"""If one of these fails, a cleaned mail has lost more than the virus, or not the virus."""

import asyncio
import base64
from binascii import b2a_uu
from email import message_from_bytes
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.antivirus.archive.report import ArchiveLimits
from gateway.antivirus.archive.walker import ArchiveWalker
from gateway.antivirus.cache import ResultCache
from gateway.antivirus.cleaning import Cleaned, NotCleanable, clean
from gateway.antivirus.message import MessageScanner
from gateway.antivirus.notices import Circumstances, Language, message_held, part_removed
from gateway.antivirus.result import Outcome
from gateway.antivirus.scanner import Scanner, ScannerLimits
from gateway.antivirus.scanners import Scanners
from gateway.clock import FakeClock
from gateway.mail.content import Content
from gateway.mail.rendition import Rendition
from tests.antivirus.conftest import EICAR
from tests.antivirus.test_message import NAMES, NOT_FOR_EVERY_READER, row, zipped

ABOUT = Circumstances(
    trace_id="01ARZ3NDEKTSV4RRFFQ69G5FAV", at=1_780_300_800.0, contact="postmaster@gate.test", keeps_original=True
)


@pytest.fixture
async def walker():
    walker = ArchiveWalker(ArchiveLimits())
    yield walker
    walker.close()


@pytest.fixture
def scanner(shared_clamd, walker) -> MessageScanner:
    return MessageScanner(Scanners([Scanner(shared_clamd.unix, ScannerLimits())], ResultCache(FakeClock())), walker)


async def cleaned(scanner: MessageScanner, octets: bytes, language: Language = Language.EN) -> tuple[object, bytes]:
    content = Content(octets)
    outcome = await clean(scanner, content, await scanner.scan(content), language, ABOUT)
    edits = outcome.edits if isinstance(outcome, Cleaned) else ()
    return outcome, b"".join(Rendition.of(edits).chunks(content))


# The material ---------------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("number", [name for name in NAMES if int(name) < 40])
@pytest.mark.parametrize("language", Language)
async def test_every_infected_mail_of_the_material_is_cleaned_exactly(mails, scanner, number, language):
    expected = row(mails, number)
    octets = (mails / expected["file"]).read_bytes()
    outcome, left = await cleaned(scanner, octets, language)
    if expected["file"] in NOT_FOR_EVERY_READER:
        assert outcome == NotCleanable(reason="ambiguous")
        return
    assert isinstance(outcome, Cleaned), outcome
    assert set(outcome.removed) == set(expected["infected_part"].split("|"))
    assert outcome.rest.clean
    assert (await scanner.scan(Content(left))).result.clean
    # Outside of what was cut every octet is as received.
    kept = Rendition.of(outcome.edits).edits
    edges = [0, *(at for edit in kept for at in (edit.start, edit.end)), len(octets)]
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        assert octets[start:end] in left
    message = message_from_bytes(left)
    assert list(map(type, message.defects)) == list(map(type, message_from_bytes(octets).defects))
    assert ABOUT.trace_id in shown(message)


def shown(message) -> str:
    texts = (part for part in message.walk() if part.get_content_maintype() == "text")
    return "\n".join(part.get_payload(decode=True).decode("utf-8", "replace") for part in texts)


@pytest.mark.real
async def test_siblings_stay_byte_for_byte(mails, scanner):
    _, left = await cleaned(scanner, (mails / row(mails, "21")["file"]).read_bytes())
    parts = {part.get_filename(): part for part in message_from_bytes(left).walk()}
    assert parts["clean.txt"].get_payload(decode=True) == b"This is a clean text file.\r\n"
    assert parts["clean2.pdf"].get_payload(decode=True) == b"%PDF-1.4 clean"
    assert "bad.com" not in parts


@pytest.mark.real
async def test_a_virus_in_the_text_itself_is_not_cut(scanner):
    octets = b"Subject: x\r\nContent-Type: text/plain\r\n\r\n" + EICAR + b"\r\n"
    outcome, left = await cleaned(scanner, octets)
    assert outcome == NotCleanable(reason="text")
    assert left == octets


@pytest.mark.real
async def test_a_clean_mail_has_nothing_to_clean(scanner):
    outcome, _ = await cleaned(scanner, b"Subject: x\r\n\r\nhello\r\n")
    assert outcome == NotCleanable(reason="whole")


# Any nest -------------------------------------------------------------------------------------------------------------


def file(name: bytes, encoding: bytes, body: bytes) -> bytes:
    head = b'Content-Type: application/octet-stream; name="%b"\r\nContent-Transfer-Encoding: %b\r\n\r\n'
    return head % (name, encoding) + body.replace(b"\n", b"\r\n")


# One file, as mails carry it.
VIRUSES = [
    file(b"bad.com", b"base64", base64.encodebytes(EICAR)),
    file(b"bad.com", b"8bit", EICAR),
    file(b"bad.com", b"quoted-printable", b"".join(b"=%02X" % octet for octet in EICAR[:20]) + b"=\n" + EICAR[20:]),
    file(b"bad.com", b"x-uuencode", b"begin 644 bad.com\n" + b2a_uu(EICAR[:45]) + b2a_uu(EICAR[45:]) + b"`\nend\n"),
    file(b"bad.zip", b"base64", base64.encodebytes(zipped(("bad.com", EICAR)))),
]
LEAVES = [
    b"Content-Type: text/plain\r\n\r\nplain",
    b"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>=E5=8F=91</p>\r\n",
    b"Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(b"%PDF-1.4 harmless").replace(b"\n", b"\r\n"),
    b"Content-Disposition: attachment; filename=b.bin\r\n\r\nsome octets\xff\r\n",
    b"Content-Type: image/png\r\n\r\n",
]
HOLE = b"Content-Type: application/x-hole\r\n\r\nthe hole"


def multipart(children: list[bytes], words: bytes = b"") -> bytes:
    """Return a multipart of parts with words before the first and behind the last."""
    boundary = next(b for n in count() if (b := b"=_%d_%d_" % (len(children), n)) not in b"".join(children))
    body = words + b"".join(b"--%b\r\n%b\r\n" % (boundary, child) for child in children)
    return b'Content-Type: multipart/mixed; boundary="%b"\r\n\r\n%b--%b--\r\n%b' % (boundary, body, boundary, words)


def around(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Put a part among siblings, or into a message of its own."""
    siblings = st.lists(st.sampled_from(LEAVES), max_size=3)
    words = st.sampled_from([b"", b"some words\r\n"])
    among = st.builds(lambda a, part, b, said: multipart([*a, part, *b], said), siblings, inner, siblings, words)
    return among | inner.map(lambda part: b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n" + part)


def nests() -> st.SearchStrategy[bytes]:
    return st.integers(1, 4).flatmap(lambda depth: _deep(st.just(HOLE), depth))


def _deep(inner: st.SearchStrategy[bytes], depth: int) -> st.SearchStrategy[bytes]:
    for _ in range(depth):
        inner = around(inner)
    return inner


@pytest.mark.real
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(nest=nests(), virus=st.sampled_from(VIRUSES))
def test_of_any_nest_the_one_infected_leaf_goes_and_nothing_else(shared_clamd, nest, virus):
    octets = b"Subject: nest\r\nMIME-Version: 1.0\r\n" + nest.replace(HOLE, virus)

    async def run() -> tuple[object, bytes]:
        walker = ArchiveWalker(ArchiveLimits())
        pool = Scanners([Scanner(shared_clamd.unix, ScannerLimits())], ResultCache(FakeClock()))
        try:
            return await cleaned(MessageScanner(pool, walker), octets)
        finally:
            walker.close()

    outcome, left = asyncio.run(run())
    assert isinstance(outcome, Cleaned), outcome
    assert outcome.rest.outcome is Outcome.CLEAN
    before, after = octets.split(virus)
    assert left.startswith(before)
    assert left.endswith(after)


# Notices --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", Language)
def test_a_notice_tells_file_size_virus_time_and_trace(language):
    text = part_removed(language, ABOUT, file="发票.exe", size=12_345, virus="Win.Test.EICAR_HDB-1")
    for told in (
        "发票.exe",
        "12,345",
        "Win.Test.EICAR_HDB-1",
        "2026-06-01 08:00:00 UTC",
        ABOUT.trace_id,
        ABOUT.contact,
    ):
        assert told in text
    assert "$" not in text


def test_each_language_has_its_own_words():
    told = {language: part_removed(language, ABOUT, file="f", size=1, virus="v") for language in Language}
    assert "removed" in told[Language.EN]
    assert "已被删除" in told[Language.ZH]


@pytest.mark.parametrize("language", Language)
def test_nothing_from_outside_becomes_a_line_of_a_notice(language):
    text = part_removed(language, ABOUT, file="a\r\nb\u2028c\u202egpj.exe" + "x" * 500, size=1, virus="v\n$trace")
    assert all(len(line) < 400 for line in text.splitlines())
    assert "a??b?c?gpj.exe" in text
    subject, body = message_held(language, ABOUT, sender="<a\n@b>", subject="s\r\nBcc: x", virus="v")
    assert "\n" not in subject
    assert "s??Bcc: x" in body
