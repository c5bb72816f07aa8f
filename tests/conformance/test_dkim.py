"""The DKIM corpus (79 mails, 2005 to 2023): what RFC 6376 and 8301 make of it today, case by case with the reason.

Nearly all of it is older than the RFCs in force, so most of its signatures must not verify any more. Their octets are
still signed: with the rules of their time put back, each that was good must hold, which proves canonicalisation and
selection of header fields on real mail.
"""

import hashlib
import json
import re
from types import SimpleNamespace

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from gateway.mail.content import Content
from gateway.mail.header import HeaderField
from gateway.senderauth.dkim import canonical, verify
from gateway.senderauth.dkim.canonical import SignedMessage
from gateway.senderauth.dkim.key import parse_key
from gateway.senderauth.dkim.signature import SignatureError, field_tags, parse_signature
from gateway.senderauth.dkim.verify import body_form, header_digest, verify_dkim
from tests.senderauth.material import ABSENT, MATERIAL, TextZone

FOLDER = MATERIAL / "dkim"
EXPECTED = json.loads((FOLDER / "EXPECTED.json").read_text()) if FOLDER.exists() else {}
NOW = 1_700_000_000

OBSOLETE = "permerror: rsa-sha1 (RFC 8301 §3.1)"
DRAFT = "permerror: no v=1, from before RFC 4871 (RFC 6376 §3.5)"
DOMAINKEYS = "none: DomainKeys (RFC 4870, historic), no DKIM signature"
# Name → what is right today, where it is not what the corpus says; the reason behind the colon.
DEPARTURES = {
    **dict.fromkeys([f"good_ietf00_{n}.txt" for n in range(1, 6)], DRAFT),
    **dict.fromkeys([f"mine_ietf01_{n}.txt" for n in range(1, 5)], DRAFT),
    **dict.fromkeys(["mine_ietf05_1.txt", "good_ietf01_1.txt", "good_ietf01_2.txt", "multiple_1.txt"], DRAFT),
    **dict.fromkeys([f"no_body_{n}.txt" for n in range(1, 4)], DRAFT),
    **dict.fromkeys([f"bad_ietf01_{n}.txt" for n in range(1, 4)], DRAFT),
    "bad_1.txt": DRAFT,
    **dict.fromkeys(["good_rfc4871_3.txt", "good_rfc4871_4.txt", "good_1878523.txt", "good_83176.txt"], OBSOLETE),
    **dict.fromkeys(["bad_1878954.txt", "multiple_2.txt", *(f"good_qp_{n}.txt" for n in range(1, 4))], OBSOLETE),
    **dict.fromkeys([f"goodkey_{n}.txt" for n in range(1, 5)], OBSOLETE),
    **dict.fromkeys([name for name in EXPECTED if "dk_" in name], DOMAINKEYS),
}
# The corpus says "invalid" for whatever cannot be evaluated.
TODAY = {"pass": "pass", "fail": "fail", "invalid": "permerror"}


def zone() -> TextZone:
    texts: dict[str, str] = {}
    failing = []
    for line in (FOLDER / "FAKE_DNS.dat").read_text(encoding="latin-1").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, text = line.split(None, 1)
        if text.startswith("~~"):
            failing.append(name)
        elif text.strip() != "NXDOMAIN":
            texts.setdefault(name, text)
    return TextZone(texts, failing)


def message(name: str) -> SignedMessage:
    return SignedMessage.of(Content(re.sub(rb"\r?\n", b"\r\n", (FOLDER / "corpus" / name).read_bytes())))


def names(wanted=lambda *_: True):
    found = [name for name, said in EXPECTED.items() if wanted(name, said)]
    return found or [pytest.param("", marks=pytest.mark.skip(reason=ABSENT))]


@pytest.mark.parametrize("name", names())
async def test_today(name, record_property):
    results = await verify_dkim(zone(), message(name), NOW)
    expected = DEPARTURES.get(name, TODAY[EXPECTED[name]]).partition(":")[0]
    if expected != TODAY[EXPECTED[name]]:
        record_property("departure", f"{DEPARTURES[name]}; the corpus says {EXPECTED[name]}")
    words = {result.result.value for result in results} or {"none"}
    assert words == {expected}, results


@pytest.mark.skipif(not EXPECTED, reason=ABSENT)
def test_the_corpus_is_whole_and_the_departures_are_of_it():
    assert len(EXPECTED) == 79
    assert set(DEPARTURES) <= set(EXPECTED)


def carries_body_hash(name: str, said: str) -> bool:
    # bh= came with draft-ietf-dkim-base-01; what is older signs otherwise.
    return said == "pass" and re.search(rb"\bbh\s*=", (FOLDER / "corpus" / name).read_bytes()) is not None


@pytest.mark.parametrize("name", names(carries_body_hash))
async def test_octets_are_those_that_were_signed(name, monkeypatch):
    held = [await holds(message(name), field, monkeypatch) for field in message(name).fields("dkim-signature")]
    assert any(held)


async def holds(signed: SignedMessage, field: HeaderField, monkeypatch) -> bool:
    """Verify with the arithmetic alone, SHA-1 where the signature has it, keys of any length."""
    try:
        written = field_tags(field)
        with_version = {**written, "v": b"1", "a": written["a"].replace(b"sha1", b"sha256"), "q": b"dns/txt"}
        found = parse_signature(field, with_version)
    except SignatureError:
        return False
    if written["a"] == b"rsa-sha1":
        monkeypatch.setattr(canonical, "hashlib", SimpleNamespace(sha256=hashlib.sha1))
        monkeypatch.setattr(verify, "hashlib", SimpleNamespace(sha256=hashlib.sha1))
    await signed.prepare([body_form(found)])
    if signed.body_digest(body_form(found)).digest != found.body_hash:
        return False
    material = parse_key((await zone().query(found.key_name, "TXT")).records[0]).material
    digest = header_digest(signed, found)
    if isinstance(material, Ed25519PublicKey):
        return material.verify(found.value, digest) is None
    try:
        material.verify(
            found.value,
            digest,
            PKCS1v15(),
            Prehashed(SHA1() if len(digest) == 20 else SHA256()),  # noqa: S303 - what was signed then
        )
    except InvalidSignature:
        return False
    return True
