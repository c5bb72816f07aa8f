"""Keys and mails of this room's tests."""

from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.policy.signing import SigningKey, generate_key, read_signing_key

MAIL = (
    b"Received: from a.example by b.example; Wed, 9 Apr 2025 09:11:00 +0000\r\n"
    b"From: Alice <alice@author.example>\r\n"
    b"To: bob@there.example\r\n"
    b"Subject: Hello\r\n\tthere  again\r\n"
    b"Date: Wed, 9 Apr 2025 09:11:00 +0000\r\n"
    b"Message-ID: <1@author.example>\r\n"
    b"\r\n"
    b"Good day, \r\n\r\n  this is  text.\t \r\n\r\n\r\n"
)


@cache
def _pem(kind: str) -> bytes:
    if kind.startswith("rsa-"):
        material = rsa.generate_private_key(65537, int(kind.removeprefix("rsa-")))
        return material.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return generate_key(kind)


@pytest.fixture(scope="session")
def make_key():
    """Return keys: ``make_key("rsa" | "ed25519" | "rsa-4096", domain, selector)``; one pair per kind and process."""

    def make(kind: str = "rsa", domain: str = "author.example", selector: str = "s1") -> SigningKey:
        return read_signing_key(_pem(kind), domain, selector)

    return make
