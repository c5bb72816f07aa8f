"""Frames: octets compressed, encrypted when there is a key, with a digest over every octet stored.

    "TGB1" · how (1: zstd, 2: encrypted) · octets unpacked · octets stored · what is stored · SHA-256 of all before

The digest finds any changed octet without the key. Encryption is AES-256-GCM of the ``cryptography`` library with a
random nonce a frame; the context (chain and what the frame is) is authenticated, so no frame can stand in for another.
Keys are derived from the key file by HKDF (RFC 5869) with the chain as salt: one for data, one for chunks' names, since
a plain digest would tell who has a copy of a mail whether it is here. NIST SP 800-38D allows 2³² random nonces a key;
a chain of 500 TB would come near.
"""

import base64
import binascii
import hmac
import os
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.backup.errors import BackupError, DamagedError

# SHA-256: processors of the past ten years have instructions for it, and do 1.5 GB/s where BLAKE2b does 0.55.
DIGEST_OCTETS = 32
KEY_OCTETS = 32
# Mail shrinks to about half at 700 MB/s; at level 3, zstd's own default, it shrinks hardly more at 190 MB/s, and the
# processor is what mail feels most of a backup.
LEVEL = 1

_MAGIC = b"TGB1"
_HEAD = struct.Struct("<4sB3xII")
_COMPRESSED, _ENCRYPTED = 1, 2
_NONCE_OCTETS = 12


class Sealer:
    """Makes and opens the frames of one chain."""

    def __init__(
        self, key: bytes | None, chain: str, *, random_octets: Callable[[int], bytes] = os.urandom, level: int = LEVEL
    ) -> None:
        self._chain = chain.encode()
        self._random = random_octets
        self._compress = zstandard.ZstdCompressor(level=level).compress
        self._decompressor = zstandard.ZstdDecompressor()
        self._cipher: AESGCM | None = None
        self._name_key = b""
        if key is not None:
            derived = HKDF(SHA256(), 2 * KEY_OCTETS, salt=self._chain, info=b"tidegate backup 1").derive(key)
            self._cipher, self._name_key = AESGCM(derived[:KEY_OCTETS]), derived[KEY_OCTETS:]

    @property
    def encrypts(self) -> bool:
        """Whether there is a key."""
        return self._cipher is not None

    def name(self, octets: bytes) -> str:
        """Return the name that octets have in this chain."""
        if self._name_key:
            return hmac.digest(self._name_key, octets, "sha256").hex()
        return sha256(octets).hexdigest()

    def seal(self, octets: bytes, context: str) -> bytes:
        """Return the frame of ``octets``."""
        how, stored = _COMPRESSED, self._compress(octets)
        if len(stored) >= len(octets):
            how, stored = 0, octets
        if self._cipher is not None:
            how |= _ENCRYPTED
            nonce = self._random(_NONCE_OCTETS)
            stored = nonce + self._cipher.encrypt(nonce, stored, self._context(context, how))
        frame = _HEAD.pack(_MAGIC, how, len(octets), len(stored)) + stored
        return frame + sha256(frame).digest()

    def open(self, frame: bytes, context: str, place: str) -> bytes:
        """Return what ``seal`` was given; raise DamagedError that names ``place``, BackupError for a wrong key."""
        how, octets = check(frame, place)
        stored = frame[_HEAD.size : -DIGEST_OCTETS]
        return self._unpacked(self._decrypted(stored, how, context, place), how, octets, place)

    def _decrypted(self, stored: bytes, how: int, context: str, place: str) -> bytes:
        if not how & _ENCRYPTED:
            return stored
        if self._cipher is None:
            raise BackupError(f"{place} is encrypted; its key is wanted ([backup] key, or --key FILE)")
        try:
            return self._cipher.decrypt(stored[:_NONCE_OCTETS], stored[_NONCE_OCTETS:], self._context(context, how))
        except (InvalidTag, ValueError) as error:
            raise BackupError(f"{place} cannot be decrypted: another key, or put here from elsewhere") from error

    def _unpacked(self, stored: bytes, how: int, octets: int, place: str) -> bytes:
        if how & _COMPRESSED:
            try:
                stored = self._decompressor.decompress(stored, max_output_size=octets)
            except zstandard.ZstdError as error:
                raise DamagedError(place, f"cannot be decompressed: {error}") from error
        if len(stored) != octets:
            raise DamagedError(place, f"{octets} octets are wanted, {len(stored)} came out")
        return stored

    def _context(self, context: str, how: int) -> bytes:
        return b"\0".join((self._chain, context.encode(), bytes([how])))


def check(frame: bytes, place: str) -> tuple[int, int]:
    """Return how a frame was made and the octets in it, when it is as it was written; no key needed. DamagedError."""
    head, end = _HEAD.size, len(frame) - DIGEST_OCTETS
    if end < head:
        raise DamagedError(place, f"cut short, {len(frame)} octets are left")
    if sha256(frame[:end]).digest() != frame[end:]:
        raise DamagedError(place, f"changed: the digest of these {len(frame)} octets is another")
    magic, how, octets, stored = _HEAD.unpack_from(frame)
    if magic != _MAGIC or stored != end - head or how & ~(_COMPRESSED | _ENCRYPTED):
        raise DamagedError(place, "not a frame of this format")
    return how, octets


def read_frame(file: BinaryIO, left: int) -> bytes:
    """Return the next frame of a file that has ``left`` octets more, b"" at its end; OSError.

    How long it is says its head; of one that was changed something is returned that is no frame.
    """
    head = file.read(_HEAD.size)
    stored = _HEAD.unpack(head)[3] if len(head) == _HEAD.size else 0
    return head + file.read(min(stored + DIGEST_OCTETS, left))


def new_key(random_octets: Callable[[int], bytes] = os.urandom) -> str:
    """Return the text of a new key file."""
    return base64.b64encode(random_octets(KEY_OCTETS)).decode("ascii") + "\n"


def read_key(path: Path | None) -> bytes | None:
    """Return the key in a file, None for no file; BackupError when there is none in it."""
    if path is None:
        return None
    try:
        key = base64.b64decode(path.read_text(encoding="ascii").strip(), validate=True)
    except OSError as error:
        raise BackupError(f"{path}: the key cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, binascii.Error) as error:
        raise BackupError(f"{path}: no key; `tidegate backup key FILE` makes one") from error
    if len(key) != KEY_OCTETS:
        raise BackupError(f"{path}: {len(key)} octets, a key has {KEY_OCTETS}; `tidegate backup key FILE` makes one")
    return key
