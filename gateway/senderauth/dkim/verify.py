"""Do the signatures hold? RFC 6376 §6, one result for each, top to bottom; none at all: an empty tuple.

*pass*: it holds. *fail*: header fields or body are not what was signed. *policy*: it holds, and yet is not taken: the
key is shorter than 1024 bits (RFC 8301 §3.2), the signature has expired, or ``l=`` leaves octets of the body uncovered
(RFC 6376 §8.2: who appends them writes in the signer's name). *neutral*: it does not hold, and the key says that its
owner is testing (t=y). *temperror*: DNS did not give the key. *permerror*: the signature or its key cannot be used:
malformed, revoked, absent, rsa-sha1 (RFC 8301 §3.1), From not signed.

Departure: RFC 6376 §3.6.1 wants t=y mail treated as if unsigned even when it holds; half the domains with t=y forgot
it there, so a signature that holds says *pass*, ``testing`` set.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence

from gateway.dns.resolver import Resolver
from gateway.mail.header import HeaderField
from gateway.senderauth.dkim.canonical import BodyForm, SignedMessage, canonical_field
from gateway.senderauth.dkim.key import MIN_RSA_BITS, KeyFault, PublicKey, first_key
from gateway.senderauth.dkim.signature import Signature, SignatureError, field_tags, parse_signature, without_value
from gateway.senderauth.word import Word
from gateway.smtp.domain import normalise_domain
from gateway.smtp.reply import printable
from gateway.value import value

# Mail through several lists carries five or six. RFC 6376 §8.4 and §6.1 warn of those who send thousands.
MAX_SIGNATURES = 10

# RFC 6376 §3.5: a verifier MAY allow for clocks that differ; dkimpy's ten hours are much, an hour is a wrong time zone.
CLOCK_SKEW_SECONDS = 3600


@value(kw_only=True)
class DkimResult:
    """One signature's result; the tags as written where they can be read, "" where not.

    ``value_start`` is the beginning of b=, which tells signatures of one domain apart (RFC 6008).
    """

    result: Word
    reason: str
    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    value_start: str = ""
    bits: int = 0
    testing: bool = False


async def verify_dkim(resolver: Resolver, message: SignedMessage, utc_second: int) -> tuple[DkimResult, ...]:
    """Return a result for each ``DKIM-Signature``, MAX_SIGNATURES at most; the rest is told as one *policy*."""
    fields = message.fields("dkim-signature")
    if not fields:
        return ()
    candidates = [_Candidate(*_read(field)) for field in fields[:MAX_SIGNATURES]]
    sound = [candidate.signature for candidate in candidates if candidate.signature is not None]
    keys = await fetch_keys(resolver, sound)
    # Bodies are hashed only where a key could make use of it.
    await message.prepare(body_form(s) for s in sound if isinstance(keys[s.key_name], PublicKey))
    results = [candidate.result(message, keys, utc_second) for candidate in candidates]
    if len(fields) > MAX_SIGNATURES:
        left = len(fields) - MAX_SIGNATURES
        results.append(DkimResult(result=Word.POLICY, reason=f"{left} more signatures were not evaluated"))
    return tuple(results)


Key = PublicKey | KeyFault | str
"""A key, why there is none for good, or (a text) why DNS did not tell."""


async def fetch_keys(resolver: Resolver, signatures: Sequence[Signature]) -> dict[str, Key]:
    """Return what DNS has under each signature's key name, all asked for at once."""
    names = list(dict.fromkeys(signature.key_name for signature in signatures))
    if len(names) == 1:
        return {names[0]: await _fetched(resolver, names[0])}
    return dict(zip(names, await asyncio.gather(*(_fetched(resolver, name) for name in names)), strict=True))


async def _fetched(resolver: Resolver, name: str) -> Key:
    answer = await resolver.query(name, "TXT")
    if answer.is_temperror:
        return f"{name}: {answer.reason}"
    if not answer.records:
        return KeyFault(f"no key at {name}")
    return first_key(answer.records)


def usable_key(key: Key, signature: Signature) -> PublicKey | KeyFault:
    """Return the key when this signature may use it (RFC 6376 §6.1.2); ``key`` is no text."""
    if not isinstance(key, PublicKey):
        return key if isinstance(key, KeyFault) else KeyFault(key)
    if key.kind != signature.kind:
        return KeyFault(f"the key is for {key.kind}")
    if key.hashes and "sha256" not in key.hashes:
        return KeyFault("the key is not for sha256")
    of = signature.identity.rpartition("@")[2]
    if key.strict and of and normalise_domain(of) != signature.domain:
        # RFC 6376 §3.6.1: flag s: i= must not be of a subdomain.
        return KeyFault("the key is not for subdomains")
    return key


def header_digest(message: SignedMessage, signature: Signature) -> bytes:
    """Return the digest that the signature is over (RFC 6376 §3.7)."""
    digest = hashlib.sha256()
    for field in message.selected(signature.names):
        digest.update(message.canonical(field, signature.header_form))
    digest.update(own_octets(signature))
    return digest.digest()


def own_octets(signature: Signature) -> bytes:
    """Return the signature's own field as it is signed: b= empty, no CR LF at the end."""
    octets = canonical_field(signature.field.name, without_value(signature.field), signature.header_form)
    return octets.removesuffix(b"\n").removesuffix(b"\r")


def body_form(signature: Signature) -> BodyForm:
    """Return the form of the body that the signature is over."""
    return BodyForm(signature.body_form, signature.length)


class _Candidate:
    """A field, read or not, and what becomes of it."""

    def __init__(self, signature: Signature | None, tags: Mapping[str, bytes], fault: str) -> None:
        self.signature = signature
        self._tags = tags
        self._fault = fault

    def result(self, message: SignedMessage, keys: Mapping[str, Key], utc_second: int) -> DkimResult:
        signature = self.signature
        if signature is None:
            return self._said(Word.PERMERROR, self._fault)
        key = keys[signature.key_name]
        if isinstance(key, str):
            return self._said(Word.TEMPERROR, key)
        usable = usable_key(key, signature)
        if isinstance(usable, KeyFault):
            return self._said(Word.PERMERROR, usable.reason)
        fault = _fault(message, signature, usable)
        if fault:
            testing = "the signer is testing: " if usable.testing else ""
            return self._said(Word.NEUTRAL if testing else Word.FAIL, testing + fault, usable)
        objection = _objection(message, signature, usable, utc_second)
        if objection:
            return self._said(Word.POLICY, objection, usable)
        return self._said(Word.PASS, f"{usable.bits}-bit {usable.kind} key", usable)

    def _said(self, result: Word, reason: str, key: PublicKey | None = None) -> DkimResult:
        signature = self.signature
        return DkimResult(
            result=result,
            reason=reason,
            domain=signature.domain if signature else _shown(self._tags, "d"),
            selector=signature.selector if signature else _shown(self._tags, "s"),
            identity=signature.identity if signature else _shown(self._tags, "i"),
            algorithm=signature.algorithm if signature else _shown(self._tags, "a"),
            value_start=_shown(self._tags, "b")[:8],
            bits=key.bits if key else 0,
            testing=key.testing if key else False,
        )


def _read(field: HeaderField) -> tuple[Signature | None, Mapping[str, bytes], str]:
    tags: Mapping[str, bytes] = {}
    try:
        tags = field_tags(field)
        return parse_signature(field, tags), tags, ""
    except SignatureError as error:
        return None, tags, str(error)


def _shown(tags: Mapping[str, bytes], name: str) -> str:
    # What could not be parsed is shown as evidence, cut to what a domain may have.
    return printable("".join(tags.get(name, b"")[:255].decode("utf-8", "replace").split()))


def _fault(message: SignedMessage, signature: Signature, key: PublicKey) -> str:
    body = message.body_digest(body_form(signature))
    if signature.length is not None and signature.length > body.octets:
        return f"l= is {signature.length}, the body has {body.octets} octets"
    if body.digest != signature.body_hash:
        return "the body is not what was signed"
    if not key.holds(signature.value, header_digest(message, signature)):
        return "the header fields are not what was signed"
    return ""


def _objection(message: SignedMessage, signature: Signature, key: PublicKey, utc_second: int) -> str:
    if key.kind == "rsa" and key.bits < MIN_RSA_BITS:
        return f"the key has {key.bits} bits"
    if signature.expires_second is not None and utc_second > signature.expires_second + CLOCK_SKEW_SECONDS:
        return "the signature has expired"
    if signature.signed_second is not None and utc_second < signature.signed_second - CLOCK_SKEW_SECONDS:
        return "the signature is from the future"
    if signature.length is not None:
        octets = message.body_digest(body_form(signature)).octets
        if signature.length < octets:
            return f"l= covers {signature.length} of {octets} octets"
    return ""
