"""Does the chain hold? RFC 8617 §5.2.

*none*: no ARC fields. *pass*: the newest message signature and every seal hold. *fail*: anything else, for good.
*temperror*: DNS did not give a key; then nothing may be sealed either, because cv=fail would condemn the chain for
ever.

``oldest_pass`` is §5.2 step 5: the lowest instance from which on every message signature holds; 0 when the mail has
not been changed since the first.
"""

import hashlib
from collections.abc import Mapping, Sequence

from gateway.dns.resolver import Resolver
from gateway.senderauth.arc.sets import ArcSet, collect
from gateway.senderauth.dkim.canonical import SignedMessage
from gateway.senderauth.dkim.key import MIN_RSA_BITS, KeyFault, PublicKey
from gateway.senderauth.dkim.signature import Signature, SignatureError
from gateway.senderauth.dkim.verify import Key, body_form, fetch_keys, header_digest, own_octets, usable_key
from gateway.senderauth.word import Word
from gateway.value import value


@value(kw_only=True)
class Sealer:
    """Who sealed one instance, and what it said it had found (the ARC-Authentication-Results' value)."""

    instance: int
    domain: str
    selector: str
    results: str


@value(kw_only=True)
class ArcResult:
    """The chain's status; ``sealers`` instance 1 first, only where the chain is *pass*."""

    result: Word
    reason: str
    sealers: tuple[Sealer, ...] = ()
    oldest_pass: int = 0


async def validate_arc(resolver: Resolver, message: SignedMessage) -> ArcResult:
    """Return the chain's status."""
    try:
        sets = collect(message)
    except SignatureError as error:
        return _failed(str(error))
    if not sets:
        return ArcResult(result=Word.NONE, reason="no ARC sets")
    fault = _status_fault(sets)
    if fault:
        return _failed(fault)
    signatures = [signature for arc_set in sets for signature in (arc_set.message_signature, arc_set.seal)]
    keys = await fetch_keys(resolver, signatures)
    unknown = next((keys[s.key_name] for s in signatures if isinstance(keys[s.key_name], str)), None)
    if unknown is not None:
        return ArcResult(result=Word.TEMPERROR, reason=str(unknown))
    await message.prepare(body_form(arc_set.message_signature) for arc_set in sets)
    fault = _chain_fault(message, sets, keys)
    return _failed(fault) if fault else _passed(message, sets, keys)


def _failed(reason: str) -> ArcResult:
    return ArcResult(result=Word.FAIL, reason=reason)


def _status_fault(sets: Sequence[ArcSet]) -> str:
    if sets[-1].status == "fail":
        # RFC 8617 §5.2, 2
        return f"instance {len(sets)} says that the chain has failed"
    for arc_set in sets:
        # RFC 8617 §5.2, 3.C
        if arc_set.status != ("none" if arc_set.instance == 1 else "pass"):
            return f"instance {arc_set.instance} has cv={arc_set.status}"
    return ""


def _chain_fault(message: SignedMessage, sets: Sequence[ArcSet], keys: Mapping[str, Key]) -> str:
    newest = sets[-1]
    fault = _signature_fault(message, newest.message_signature, keys)
    if fault:
        return f"message signature {newest.instance}: {fault}"
    digests = _seal_digests(message, sets)
    for arc_set, digest in zip(reversed(sets), reversed(digests), strict=True):
        fault = _seal_fault(arc_set.seal, digest, keys)
        if fault:
            return f"seal {arc_set.instance}: {fault}"
    return ""


def _passed(message: SignedMessage, sets: Sequence[ArcSet], keys: Mapping[str, Key]) -> ArcResult:
    oldest = len(sets)
    while oldest > 1 and not _signature_fault(message, sets[oldest - 2].message_signature, keys):
        oldest -= 1
    return ArcResult(
        result=Word.PASS,
        reason=f"{len(sets)} sets, the newest by {sets[-1].seal.domain}",
        sealers=tuple(_sealer(arc_set) for arc_set in sets),
        oldest_pass=0 if oldest == 1 else oldest,
    )


def _sealer(arc_set: ArcSet) -> Sealer:
    return Sealer(
        instance=arc_set.instance,
        domain=arc_set.seal.domain,
        selector=arc_set.seal.selector,
        results=arc_set.results.text.partition(";")[2].strip(),
    )


def _signature_fault(message: SignedMessage, signature: Signature, keys: Mapping[str, Key]) -> str:
    key = _key(signature, keys)
    if isinstance(key, KeyFault):
        return key.reason
    if message.body_digest(body_form(signature)).digest != signature.body_hash:
        return "the body is not what was signed"
    if not key.holds(signature.value, header_digest(message, signature)):
        return "the header fields are not what was signed"
    return ""


def _seal_digests(message: SignedMessage, sets: Sequence[ArcSet]) -> list[bytes]:
    """Return what each seal is over (RFC 8617 §5.1.1), in one pass: each covers all sets before it."""
    digests = []
    before = hashlib.sha256()
    for arc_set in sets:
        for field in (arc_set.results, arc_set.message_signature.field):
            before.update(message.canonical(field, "relaxed"))
        own = before.copy()
        own.update(own_octets(arc_set.seal))
        digests.append(own.digest())
        before.update(message.canonical(arc_set.seal.field, "relaxed"))
    return digests


def _seal_fault(seal: Signature, digest: bytes, keys: Mapping[str, Key]) -> str:
    key = _key(seal, keys)
    if isinstance(key, KeyFault):
        return key.reason
    return "" if key.holds(seal.value, digest) else "it does not hold"


def _key(signature: Signature, keys: Mapping[str, Key]) -> PublicKey | KeyFault:
    key = usable_key(keys[signature.key_name], signature)
    if isinstance(key, PublicKey) and key.kind == "rsa" and key.bits < MIN_RSA_BITS:
        return KeyFault(f"the key has {key.bits} bits")
    return key
