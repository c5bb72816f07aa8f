"""Sealing (RFC 8617 §5.1): our set on top of the chain, so that those behind us can tell what we found.

A chain that failed is sealed with cv=fail, once, over our own set alone; one that had ended already, that is full, or
of which DNS did not tell the state, is left alone.
"""

from collections.abc import Sequence

from gateway.mail.header import HeaderField, HeaderSection
from gateway.policy.signing import SigningKey
from gateway.senderauth.arc.sets import MAX_INSTANCES, SEAL, collect, highest_instance
from gateway.senderauth.arc.validate import ArcResult
from gateway.senderauth.dkim.canonical import SignedMessage
from gateway.senderauth.dkim.signature import SignatureError, field_tags
from gateway.senderauth.dkim.signing import SIGNED_NAMES, body_hash, signed_field, signed_octets
from gateway.senderauth.word import Word

# RFC 8617 §4.1.2 follows DKIM's advice; the DKIM-Signature fields show later handlers what was signed when we saw it.
_NAMES = (*SIGNED_NAMES, "dkim-signature")


async def seal_arc(
    message: SignedMessage, key: SigningKey, chain: ArcResult, results: str, utc_second: int
) -> tuple[bytes, ...]:
    """Return ARC-Seal, ARC-Message-Signature and ARC-Authentication-Results, to stand first; () when not to be sealed.

    ``results`` is what ``Authentication-Results`` says, authserv-id first, without the field's name. ``message`` is
    what leaves, ``chain`` the state in which it came.
    """
    instance = highest_instance(message) + 1
    if chain.result is Word.TEMPERROR or instance > MAX_INSTANCES or _ended(message):
        return ()
    names = [name for name in _NAMES for _ in range(message.header.count(name))]
    return await sealed(message, key, (instance, chain.result.value), (results, names), utc_second)


async def sealed(
    message: SignedMessage,
    key: SigningKey,
    place: tuple[int, str],
    said: tuple[str, Sequence[str]],
    utc_second: int,
) -> tuple[bytes, bytes, bytes]:
    """Return the set of instance and status ``place``; ``said`` is the results and the names to sign."""
    instance, status = place
    results, names = said
    found = f"ARC-Authentication-Results: i={instance}; {results}\r\n".encode()
    common = {"i": str(instance), "d": key.domain, "s": key.selector, "t": str(utc_second), "a": f"{key.kind}-sha256"}
    tags = common | {"c": "relaxed/relaxed", "h": ":".join(names), "bh": await body_hash(message)}
    signature = signed_field("ARC-Message-Signature", tags, key, signed_octets(message, names))
    own = b"".join(_canonical(field) for field in (found, signature))
    before = b"" if status == "fail" else _sets_before(message)
    seal = signed_field("ARC-Seal", common | {"cv": status}, key, before + own)
    return seal, signature, found


def _canonical(octets: bytes) -> bytes:
    header = HeaderSection(octets)
    field: HeaderField = header.fields[0]
    return SignedMessage(header, lambda: iter(()), 0).canonical(field, "relaxed")


def _sets_before(message: SignedMessage) -> bytes:
    # RFC 8617 §5.1.1: every set in order, each as results, message signature, seal.
    fields = [
        field
        for arc_set in collect(message)
        for field in (arc_set.results, arc_set.message_signature.field, arc_set.seal.field)
    ]
    return b"".join(message.canonical(field, "relaxed") for field in fields)


def _ended(message: SignedMessage) -> bool:
    """Tell whether a handler before us has already sealed the chain's failure."""
    for field in message.fields(SEAL):
        try:
            if field_tags(field).get("cv", b"").lower() == b"fail":
                return True
        except SignatureError:
            continue
    return False
