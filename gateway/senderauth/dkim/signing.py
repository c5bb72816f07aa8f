"""Signing (RFC 6376 §5, RFC 8463): our own keys, the fields to sign, the ``DKIM-Signature`` field.

Keys are PEM files (PKCS #1 or #8), RSA of 1024 to 4096 bits or Ed25519; ``SigningKeyError`` says what is wrong with
one. ``cryptography`` signs, thirty times faster than dkimpy's arithmetic.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
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
from dkim import DKIM

from gateway.mail.header import HeaderSection
from gateway.mail.trace_fields import FOLD_AT
from gateway.senderauth.dkim.canonical import BodyForm, SignedMessage, canonical_field
from gateway.senderauth.dkim.key import MIN_RSA_BITS

# RFC 8301 §3.2: signers SHOULD use at least 2048; verifiers need not take more than 4096.
GENERATED_RSA_BITS = 2048
MAX_SIGNING_BITS = 4096

# RFC 6376 §5.4.1's list as dkimpy keeps it, and what it says to sign once more than there are fields, so that nobody
# adds one: who shows a second From or Subject shows what was never signed.
SIGNED_NAMES = tuple(sorted(name.decode("ascii") for name in DKIM.SHOULD))
OVERSIGNED_NAMES = ("from", "to", "cc", "subject", "date", "reply-to", "message-id", "content-type")

_PADDING = PKCS1v15()
_SHA256 = Prehashed(SHA256())


class SigningKeyError(ValueError):
    """The file holds no key to sign with; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key and where its public half is published; never shown."""

    domain: str
    selector: str
    material: rsa.RSAPrivateKey | Ed25519PrivateKey = field(repr=False)

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
    def record(self) -> str:
        """The TXT record to publish at ``selector._domainkey.domain`` (RFC 6376 §3.6.1, RFC 8463 §4)."""
        public = self.material.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            octets = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"v=DKIM1; k={self.kind}; p={base64.b64encode(octets).decode('ascii')}"


def read_signing_key(pem: bytes, domain: str, selector: str) -> SigningKey:
    """Return the key in a PEM file; raise ``SigningKeyError``."""
    try:
        material = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SigningKeyError("not a PEM file with an unencrypted private key") from error
    if isinstance(material, rsa.RSAPrivateKey):
        if not MIN_RSA_BITS <= material.key_size <= MAX_SIGNING_BITS:
            raise SigningKeyError(f"an RSA key has {MIN_RSA_BITS} to {MAX_SIGNING_BITS} bits, not {material.key_size}")
    elif not isinstance(material, Ed25519PrivateKey):
        raise SigningKeyError("neither an RSA nor an Ed25519 key")
    return SigningKey(domain=domain, selector=selector, material=material)


def generate_key(kind: str) -> bytes:
    """Return a new private key, "rsa" or "ed25519", as PEM (PKCS #8)."""
    if kind == "rsa":
        material: rsa.RSAPrivateKey | Ed25519PrivateKey = rsa.generate_private_key(65537, GENERATED_RSA_BITS)
    else:
        material = Ed25519PrivateKey.generate()
    return material.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


async def sign_dkim(message: SignedMessage, key: SigningKey, utc_second: int) -> bytes:
    """Return a ``DKIM-Signature`` field over ``message``, CR LF included (relaxed/relaxed)."""
    names = names_to_sign(message.header)
    tags = {
        "v": "1",
        "a": f"{key.kind}-sha256",
        "c": "relaxed/relaxed",
        "d": key.domain,
        "s": key.selector,
        "t": str(utc_second),
        "h": ":".join(names),
        "bh": await body_hash(message),
    }
    return signed_field("DKIM-Signature", tags, key, signed_octets(message, names))


def names_to_sign(header: HeaderSection) -> tuple[str, ...]:
    """Return ``h=``: each field of SIGNED_NAMES as often as it is there, those of OVERSIGNED_NAMES once more."""
    present = [name for name in SIGNED_NAMES for _ in range(header.count(name))]
    return (*present, *OVERSIGNED_NAMES)


def signed_octets(message: SignedMessage, names: Iterable[str]) -> bytes:
    """Return the canonical octets of the fields named."""
    return b"".join(message.canonical(chosen, "relaxed") for chosen in message.selected(names))


async def body_hash(message: SignedMessage) -> str:
    """Return bh= of the relaxed body."""
    form = BodyForm("relaxed")
    await message.prepare([form])
    return base64.b64encode(message.body_digest(form).digest).decode("ascii")


def signed_field(name: str, tags: dict[str, str], key: SigningKey, covered: bytes) -> bytes:
    """Return the field ``name`` with b= over ``covered`` and itself, CR LF included.

    Folded between tags only: the signature is one word, which a server that folds again cannot fold differently.
    """
    empty = _field(name, tags | {"b": ""})
    own = canonical_field(name.encode("ascii"), empty.partition(b":")[2], "relaxed").removesuffix(b"\r\n")
    value = key.sign(hashlib.sha256(covered + own).digest())
    return _field(name, tags | {"b": base64.b64encode(value).decode("ascii")})


def _field(name: str, tags: dict[str, str]) -> bytes:
    # The order that the ARC suite's signatures are over.
    parts = [f"{tag}={value}" for tag, value in sorted(tags.items())]
    words = [*(f"{part};" for part in parts[:-1]), parts[-1]]
    return "\r\n\t".join(_lines(f"{name}:", words)).encode("ascii") + b"\r\n"


def _lines(first: str, words: Iterable[str]) -> Iterator[str]:
    line = first
    for word in words:
        if len(line) + 1 + len(word) > FOLD_AT:
            yield line
            line = word
        else:
            line = f"{line} {word}"
    yield line
