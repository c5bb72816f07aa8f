"""A key record in DNS (RFC 6376 §3.6.1, RFC 8463 §4) and the key in it.

``parse_key`` returns a ``PublicKey`` or a ``KeyFault``; answers are remembered by text, because decoding an RSA key
costs as much as using it.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gateway.senderauth.dkim.tags import TagError, parse_tags, without_space

# RFC 8301 §3.2: signatures with shorter keys MUST NOT be considered valid.
MIN_RSA_BITS = 1024
# RFC 8301 §3.2 asks for up to 4096. Twice that costs 0.5 ms; beyond it a key is there to keep us busy.
MAX_RSA_BITS = 8192

_PADDING = PKCS1v15()
_SHA256 = Prehashed(SHA256())


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """``kind`` "rsa" or "ed25519"; ``strict`` is flag s, ``testing`` flag y; ``hashes`` empty when any will do."""

    kind: str
    material: RSAPublicKey | Ed25519PublicKey
    bits: int
    hashes: frozenset[str] = frozenset()
    strict: bool = False
    testing: bool = False

    def holds(self, signature: bytes, digest: bytes) -> bool:
        """Tell whether ``signature`` is this key's over the SHA-256 ``digest``."""
        try:
            if isinstance(self.material, RSAPublicKey):
                self.material.verify(signature, digest, _PADDING, _SHA256)
            else:
                # RFC 8463 §3: PureEdDSA over the digest.
                self.material.verify(signature, digest)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class KeyFault:
    """Why a text is no usable key."""

    reason: str


def first_key(texts: Sequence[str]) -> PublicKey | KeyFault:
    """Return the key of the first record that has one (RFC 6376 §3.6.2.2), else the first record's fault."""
    fault: KeyFault | None = None
    # RFC 6376 §3.6.2.2: several records are the domain's mistake; a few are looked at.
    for text in texts[:4]:
        key = parse_key(text)
        if isinstance(key, PublicKey):
            return key
        fault = fault or key
    return fault or KeyFault("no key")


# 1,024 keys, some 2 KB each: the signers of a busy day.
@lru_cache(maxsize=1024)
def parse_key(text: str) -> PublicKey | KeyFault:
    """Return the key in a record's text, an octet a character as DNS answers have it."""
    try:
        tags = parse_tags(text.encode("latin-1", "replace"))
    except TagError as error:
        return KeyFault(f"the key record is malformed: {error}")
    # RFC 6376 §3.6.1: v= must be first where it is given; other versions are discarded.
    if "v" in tags and (next(iter(tags)) != "v" or tags["v"] != b"DKIM1"):
        return KeyFault("the key record has another version")
    services = _listed(tags.get("s", b"*"))
    if services.isdisjoint({"*", "email"}):
        return KeyFault("the key is not for mail")
    if "p" not in tags:
        return KeyFault("the key record has no key")
    if not tags["p"]:
        # RFC 6376 §3.6.1: an empty value means that the key has been revoked.
        return KeyFault("the key has been revoked")
    return _key(tags)


def _key(tags: dict[str, bytes]) -> PublicKey | KeyFault:
    kind = tags.get("k", b"rsa").lower().decode("ascii", "replace")
    if kind not in {"rsa", "ed25519"}:
        return KeyFault("the key is of an unknown kind")
    try:
        octets = base64.b64decode(without_space(tags["p"]), validate=True)
        material, bits = _ed25519(octets) if kind == "ed25519" else _rsa(octets)
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        return KeyFault("the key is malformed")
    flags = _listed(tags.get("t", b""))
    return PublicKey(
        kind=kind,
        material=material,
        bits=bits,
        hashes=frozenset(_listed(tags["h"])) if "h" in tags else frozenset(),
        strict="s" in flags,
        testing="y" in flags,
    )


def _rsa(der: bytes) -> tuple[RSAPublicKey, int]:
    # A subjectPublicKeyInfo, or the bare RSAPublicKey that RFC 6376 §3.6.1 names (errata 3017).
    key = load_der_public_key(der)
    if not isinstance(key, RSAPublicKey) or key.key_size > MAX_RSA_BITS:
        raise ValueError("not an RSA key of sensible length")
    return key, key.key_size


def _ed25519(octets: bytes) -> tuple[Ed25519PublicKey, int]:
    return Ed25519PublicKey.from_public_bytes(octets), len(octets) * 8


def _listed(value: bytes) -> set[str]:
    return {word.decode("ascii", "replace").lower() for word in without_space(value).split(b":") if word}
