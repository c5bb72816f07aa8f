"""The material's mails in every mode, from the configuration to what each recipient would get, with a real clamd."""

from collections.abc import Mapping
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.antivirus.desk import Antivirus, AntivirusSettings
from gateway.antivirus.scanner import ScannerLimits
from gateway.clock import FakeClock, SystemClock
from gateway.config.loader import load
from gateway.dns.zone import ZoneResolver
from gateway.filters import catalogue
from gateway.journal.sinks import Recorded
from gateway.mail.content import Content
from gateway.mail.mime import MimePart
from gateway.pipeline.gate import Gate
from gateway.spool.message import RecipientState
from tests.antivirus.test_message import NAMES, NOT_FOR_EVERY_READER, row
from tests.pipeline.conftest import Answers, transaction

pytestmark = pytest.mark.real

MODES = ("off", "scan-only", "clean", "reject")
# With nothing scanned, an invoice.pdf.exe would be held for its name.
POLICY = """
domains = ["{mode}.test"]
next_hop = "smtp://192.0.2.25"
antivirus.mode = "{mode}"
filters.attachments.enabled = false
"""
# Bare LF is refused or made CR LF before it comes here, and dkimpy signs CR LF only.
NOT_SIGNED = {"27-lf-only.eml"}


@dataclass
class Gateway:
    gate: Gate
    key: bytes
    record: bytes

    async def judged(self, mode: str, octets: bytes):
        """Return the verdict, and of each copy its state and octets."""
        tx = transaction(octets, f"b@{mode}.test")
        verdict = await self.gate.judge_content(tx)
        if verdict.reply is not None:
            return verdict, []
        entry = self.gate.entry(tx, verdict, FakeClock().stamp())
        return verdict, [
            (copy.state, b"".join(entry.renditions[copy.rendition].chunks(tx.content))) for copy in entry.recipients
        ]

    def signed(self, octets: bytes) -> bytes:
        signature = dkim.sign(
            octets, b"s", b"sender.test", self.key, canonicalize=(b"relaxed", b"simple"),
            include_headers=[b"from", b"subject", b"date", b"content-type", b"mime-version"],
        )  # fmt: skip
        return signature + octets

    def holds(self, octets: bytes) -> bool:
        return bool(dkim.verify(octets, dnsfunc=lambda _, **__: self.record))


@pytest.fixture(scope="module")
def keys() -> Mapping[str, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - for the length of a test
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    told = b"".join(line for line in public.splitlines() if not line.startswith(b"-"))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return {"key": private, "record": b"v=DKIM1; k=rsa; p=" + told}


SERVICES: dict[type, object] = {Antivirus: None}


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, shared_clamd) -> Gate:
    """Compiled once; each test puts in its scanners, which belong to its event loop."""
    folder: Path = tmp_path_factory.mktemp("modes")
    (folder / "policies").mkdir()
    for mode in MODES:
        (folder / "policies" / f"{mode}.toml").write_text(POLICY.format(mode=mode))
    (folder / "tidegate.toml").write_text(
        f'hostname = "mx.ours.test"\n[clamd]\naddress = "{shared_clamd.unix}"\n[[listen]]\naddress = "127.0.0.1:0"\n'
    )
    return Gate(
        load(folder / "tidegate.toml", catalogue()),
        filters=catalogue(),
        resolver=ZoneResolver(),
        clock=FakeClock(),
        verifier=Answers(),
        events=Recorded(),
        services=SERVICES,
    )


@pytest.fixture
async def gateway(gate, shared_clamd, keys):
    scanners = AntivirusSettings(scanners=(shared_clamd.unix,), limits=ScannerLimits())
    desk = SERVICES[Antivirus] = Antivirus(scanners, clock=SystemClock(), events=Recorded())
    yield Gateway(gate, keys["key"], keys["record"])
    await desk.stop()


def status(octets: bytes) -> str:
    return message_from_bytes(octets)["X-Virus-Status"]


def siblings(octets: bytes, gone: set[str]) -> list[bytes]:
    """Return what each part that is to stay holds, as it stands, in order."""
    content = Content(octets)
    tree = content.mime

    def stays(part: MimePart) -> bool:
        return part.filename not in gone and not tree.children(part)

    return [part.raw(content) for part in tree.leaves if stays(part)]


@pytest.mark.parametrize("number", NAMES)
async def test_every_mail_in_every_mode(mails, gateway, number):
    expected = row(mails, number)
    octets = (mails / expected["file"]).read_bytes()
    if expected["file"] not in NOT_SIGNED:
        octets = gateway.signed(octets)
    for mode in MODES:
        verdict, copies = await gateway.judged(mode, octets)
        if expected["expect"] != "infected" or mode in ("off", "scan-only"):
            untouched(gateway, expected, mode, octets, copies)
        elif mode == "reject":
            assert str(verdict.reply).startswith("550 5.7.1")
            assert "Eicar-Test-Signature" in str(verdict.reply)
        elif expected["file"] in NOT_FOR_EVERY_READER:
            told_of(octets, copies)
        else:
            cleaned(set(expected["infected_part"].split("|")), octets, copies)


def untouched(gateway: Gateway, expected: dict[str, str], mode: str, octets: bytes, copies: list) -> None:
    """Every octet is as it came, and what the sender signed still holds."""
    [(state, leaves)] = copies
    assert state is RecipientState.QUEUED
    assert leaves.endswith(octets)
    if expected["file"] not in NOT_SIGNED:
        assert gateway.holds(leaves)
    told = {"infected": "Infected (Eicar-Test-Signature", "clean": "Clean", "unscannable": "Unscanned (encrypted"}
    assert status(leaves).startswith(told[expected["expect"]] if mode != "off" else "Unscanned (switched off)")


def told_of(octets: bytes, copies: list) -> None:
    """It is in quarantine as it came, and the recipient gets a notice."""
    (state, kept), (notice_state, notice) = copies
    assert (state, notice_state) == (RecipientState.QUARANTINED, RecipientState.QUEUED)
    assert kept.endswith(octets)
    assert b"Auto-Submitted: auto-generated" in notice


def cleaned(gone: set[str], octets: bytes, copies: list) -> None:
    """The part is gone, every other one is as it was, the mail parses as before, and the original is kept."""
    (state, leaves), (kept_state, kept) = copies
    assert (state, kept_state) == (RecipientState.QUEUED, RecipientState.QUARANTINED)
    assert kept.endswith(octets)
    assert status(leaves) == "Clean (Eicar-Test-Signature.UNOFFICIAL removed)"
    left = siblings(leaves, set())
    assert all(part in left for part in siblings(octets, gone))
    before, after = message_from_bytes(octets), message_from_bytes(leaves)
    assert list(map(type, after.defects)) == list(map(type, before.defects))
    shape = [[p.depth for p in Content(each).mime.parts if not p.is_block] for each in (octets, leaves)]
    assert shape[0] == shape[1]
