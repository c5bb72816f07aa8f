"""Keys to sign with (RFC 6376 §5, RFC 8463): a policy's ``[signing]`` table as values.

Keys are PEM files (PKCS #1 or #8), RSA of 1024 to 4096 bits or Ed25519; ``SigningKeyError`` says what is wrong with
one. Each has a day from which on it is used: of each kind the latest counts, so a new key can be published, waited
for, and take over by itself.

``cryptography`` signs, thirty times faster than dkimpy's arithmetic. A key is never shown.
"""

import base64
from dataclasses import dataclass, field, replace
from datetime import date

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

# RFC 8301 §3.2: signers MUST use at least 1024 and SHOULD use at least 2048 bits; verifiers need not take over 4096.
MIN_RSA_BITS = 1024
MAX_RSA_BITS = 4096
GENERATED_RSA_BITS = 2048

_PADDING = PKCS1v15()
_SHA256 = Prehashed(SHA256())


class SigningKeyError(ValueError):
    """The file holds no key to sign with; the message says why."""


PrivateKey = rsa.RSAPrivateKey | Ed25519PrivateKey
PublicHalf = rsa.RSAPublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key and where its public half is published; ``since`` the day from which on it is used."""

    domain: str
    selector: str
    material: PrivateKey = field(repr=False)
    since: date = date.min

    @property
    def kind(self) -> str:
        """The value of k=: "rsa" or "ed25519"."""
        return "rsa" if isinstance(self.material, rsa.RSAPrivateKey) else "ed25519"

    def sign(self, digest: bytes) -> bytes:
        """Return the signature over a SHA-256 digest."""
        if isinstance(self.material, rsa.RSAPrivateKey):
            return self.material.sign(digest, _PADDING, _SHA256)
        return self.material.sign(digest)

    @property
    def name(self) -> str:
        """Where the public half is published (RFC 6376 §3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """The TXT record to publish there (RFC 6376 §3.6.1, RFC 8463 §4)."""
        return f"v=DKIM1; k={self.kind}; p={base64.b64encode(public_octets(self.material)).decode('ascii')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """A policy's keys, and when mail to it is sealed (ARC): "never", "altered" (by us) or "always".

    ``keys`` have no domain of their own yet: the same keys serve every domain of the policy.
    """

    keys: tuple[SigningKey, ...] = ()
    seal: str = "never"

    def current(self, domain: str, today: date) -> tuple[SigningKey, ...]:
        """Return the keys to sign with for ``domain``: of each kind the latest whose day has come, RSA first."""
        started = [key for key in self.all_for(domain) if key.since <= today]
        latest = {key.kind: key for key in sorted(started, key=lambda key: key.since)}
        return tuple(latest[kind] for kind in ("rsa", "ed25519") if kind in latest)

    def all_for(self, domain: str) -> tuple[SigningKey, ...]:
        """Return every key, as one of ``domain``'s."""
        return tuple(replace(key, domain=domain) for key in self.keys)


NO_SIGNING = Signing()


def public_octets(material: PrivateKey | PublicHalf) -> bytes:
    """Return the public half as p= has it: a subjectPublicKeyInfo for RSA, 32 octets for Ed25519."""
    public = material.public_key() if isinstance(material, rsa.RSAPrivateKey | Ed25519PrivateKey) else material
    if isinstance(public, rsa.RSAPublicKey):
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def read_signing_key(pem: bytes, domain: str, selector: str, since: date = date.min) -> SigningKey:
    """Return the key in a PEM file; raise ``SigningKeyError``."""
    try:
        material = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SigningKeyError("not a PEM file with an unencrypted private key") from error
    if isinstance(material, rsa.RSAPrivateKey):
        if not MIN_RSA_BITS <= material.key_size <= MAX_RSA_BITS:
            raise SigningKeyError(f"an RSA key has {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, not {material.key_size}")
    elif not isinstance(material, Ed25519PrivateKey):
        raise SigningKeyError("neither an RSA nor an Ed25519 key")
    return SigningKey(domain=domain, selector=selector, material=material, since=since)


def generate_key(kind: str) -> bytes:
    """Return a new private key, "rsa" or "ed25519", as PEM (PKCS #8)."""
    material: PrivateKey = (
        rsa.generate_private_key(65537, GENERATED_RSA_BITS) if kind == "rsa" else Ed25519PrivateKey.generate()
    )
    return material.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
