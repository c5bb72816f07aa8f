"""Signing (RFC 6376 §5, RFC 8463): the fields to sign, and the ``DKIM-Signature`` field."""

import base64
import hashlib
from collections.abc import Iterable, Iterator

from dkim import DKIM

from gateway.mail.header import HeaderSection
from gateway.mail.trace_fields import FOLD_AT
from gateway.policy.signing import SigningKey
from gateway.senderauth.dkim.canonical import BodyForm, SignedMessage, canonical_field

# RFC 6376 §5.4.1's list as dkimpy keeps it, and what it says to sign once more than there are fields, so that nobody
# adds one: who shows a second From or Subject shows what was never signed.
SIGNED_NAMES = tuple(sorted(name.decode("ascii") for name in DKIM.SHOULD))
OVERSIGNED_NAMES = ("from", "to", "cc", "subject", "date", "reply-to", "message-id", "content-type")


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
    # Folded with a space: dkimpy finds the field of an ARC set by " i=1;" and raises where a tab stands before it.
    return "\r\n ".join(_lines(f"{name}:", words)).encode("ascii") + b"\r\n"


def _lines(first: str, words: Iterable[str]) -> Iterator[str]:
    line = first
    for word in words:
        if len(line) + 1 + len(word) > FOLD_AT:
            yield line
            line = word
        else:
            line = f"{line} {word}"
    yield line
