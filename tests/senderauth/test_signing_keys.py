"""Keys to sign with: what is taken for one, which is used when, and whether DNS agrees."""

from datetime import date

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from gateway.dns.zone import ZoneResolver
from gateway.policy.signing import Signing, SigningKey, SigningKeyError, generate_key, read_signing_key
from gateway.senderauth.dkim.publication import publication

TODAY = date(2026, 11, 22)


def pem(material, encryption=None) -> bytes:
    return material.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_a_generated_key_is_read(kind):
    key = read_signing_key(generate_key(kind), "example.com", "s1")
    assert (key.kind, key.name) == (kind, "s1._domainkey.example.com")


def test_pkcs1_files_are_read(rsa_key):
    old = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert read_signing_key(old, "example.com", "s1").kind == "rsa"


def test_what_cannot_sign_says_why(rsa_key):
    wrong = {
        b"": "not a PEM file",
        pem(ec.generate_private_key(ec.SECP256R1())): "neither an RSA nor an Ed25519 key",
        pem(rsa_key, BestAvailableEncryption(b"x")): "not a PEM file with an unencrypted private key",
    }
    for octets, text in wrong.items():
        with pytest.raises(SigningKeyError, match=text):
            read_signing_key(octets, "example.com", "s1")


def test_a_key_is_never_shown(rsa_key):
    key = SigningKey(domain="example.com", selector="s1", material=rsa_key)
    assert "PrivateKey" not in repr(Signing(keys=(key,)))


def test_the_latest_key_of_each_kind_whose_day_has_come_signs(rsa_key):
    edwards = read_signing_key(generate_key("ed25519"), "", "e1").material

    def key(selector: str, since: str, material=rsa_key) -> SigningKey:
        return SigningKey(domain="", selector=selector, material=material, since=date.fromisoformat(since))

    keys = (
        key("next", "2027-01-01"),
        key("now", "2026-06-01"),
        key("old", "2025-01-01"),
        key("e-now", "2026-11-22", edwards),
        key("e-next", "2026-11-23", edwards),
    )
    current = Signing(keys=keys).current("example.com", TODAY)
    assert [(k.selector, k.domain) for k in current] == [("now", "example.com"), ("e-now", "example.com")]
    assert Signing(keys=keys[:1]).current("example.com", TODAY) == ()


@pytest.mark.parametrize(
    ("zone", "state", "reason"),
    [
        ("NAME TXT RECORD", "published", ""),
        ("NAME TXT RECORD; t=y", "published", "in test mode (t=y)"),
        ("", "missing", "DNS has no such record"),
        ("NAME TXT !SERVFAIL", "unknown", "SERVFAIL"),
        ("NAME TXT v=DKIM1; p=", "unusable", "the key has been revoked"),
        ("NAME TXT OTHER", "different", "DNS has another key there"),
        ("NAME TXT RECORD\nNAME TXT v=spf1 -all", "unusable", "DNS has 2 records there"),
    ],
)
async def test_publications(rsa_key, zone, state, reason):
    key = SigningKey(domain="example.com", selector="s1", material=rsa_key, since=TODAY)
    other = read_signing_key(generate_key("ed25519"), "", "x")
    text = zone.replace("NAME", key.name).replace("RECORD", key.record).replace("OTHER", other.record)
    found = await publication(ZoneResolver(text), key)
    assert (found.state, found.reason, found.since) == (state, reason, "2026-11-22")
    assert found.record == key.record
