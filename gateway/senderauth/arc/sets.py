"""ARC sets: the three fields of each instance, held to their grammars (RFC 8617 §4.1, §4.2).

``collect`` returns the sets in order, or raises ``SignatureError`` for whatever makes a chain *fail* by its structure
alone: a field that cannot be read, missing or doubled fields, a gap, more than fifty instances.
"""

import re
from collections.abc import Mapping

from gateway.mail.header import HeaderField
from gateway.senderauth.dkim.canonical import SignedMessage
from gateway.senderauth.dkim.signature import (
    Signature,
    SignatureError,
    base64_of,
    canonicalisations,
    domain_of,
    field_tags,
    kind_of,
    names_of,
    require,
    seconds_of,
    selector_of,
)
from gateway.value import value

# RFC 8617 §4.2.1: the maximum of i= is 50.
MAX_INSTANCES = 50

SEAL, MESSAGE_SIGNATURE, RESULTS = CHAIN = ("arc-seal", "arc-message-signature", "arc-authentication-results")

# RFC 8617 §4.1.1: instance [CFWS] ";" authserv-id …
_INSTANCE = re.compile(rb"[ \t\r\n]*i[ \t\r\n]*=[ \t\r\n]*([0-9]{1,2})[ \t\r\n]*;", re.IGNORECASE)
_NUMBER = re.compile(rb"[0-9]{1,2}")
_MESSAGE_SIGNATURE_TAGS = ("i", "a", "b", "bh", "d", "h", "s")
_SEAL_TAGS = ("i", "a", "b", "cv", "d", "s")
_STATUS = {b"none": "none", b"pass": "pass", b"fail": "fail"}


@value(kw_only=True)
class ArcSet:
    """One instance; ``status`` is what its sealer said of the chain before it (cv=)."""

    instance: int
    results: HeaderField
    message_signature: Signature
    seal: Signature
    status: str


def collect(message: SignedMessage) -> tuple[ArcSet, ...]:
    """Return the sets, instance 1 first, empty when there are none; raise ``SignatureError``."""
    seals = _numbered([(_seal(field), field) for field in _bounded(message, SEAL)])
    signatures = _numbered([(_message_signature(field), field) for field in _bounded(message, MESSAGE_SIGNATURE)])
    results = {}
    for field in _bounded(message, RESULTS):
        instance = _results_instance(field)
        if instance in results:
            raise SignatureError(f"two ARC-Authentication-Results of instance {instance}")
        results[instance] = field
    highest = max([*seals, *signatures, *results], default=0)
    if not set(seals) == set(signatures) == set(results) == set(range(1, highest + 1)):
        # RFC 8617 §5.2, 3.A and 3.B: complete, and continuous from 1.
        raise SignatureError("the sets are not complete")
    return tuple(
        ArcSet(
            instance=number,
            results=results[number],
            message_signature=signatures[number],
            seal=seals[number],
            status=_status(seals[number].field),
        )
        for number in range(1, highest + 1)
    )


def highest_instance(message: SignedMessage) -> int:
    """Return the highest instance that any readable ARC field has, 0 when there is none."""
    numbers = [0]
    for field in (f for name in CHAIN for f in message.fields(name)):
        try:
            numbers.append(_results_instance(field) if name_of(field) == RESULTS else _instance(field_tags(field)))
        except SignatureError:
            continue
    return max(numbers)


def name_of(field: HeaderField) -> str:
    """Return a field's name in lower case."""
    return field.name.decode("ascii").lower()


def _bounded(message: SignedMessage, name: str) -> list[HeaderField]:
    fields = message.fields(name)
    if len(fields) > MAX_INSTANCES:
        raise SignatureError(f"more than {MAX_INSTANCES} instances")
    return fields


def _numbered(read: list[tuple[Signature, HeaderField]]) -> dict[int, Signature]:
    by_instance: dict[int, Signature] = {}
    for signature, field in read:
        if signature.instance in by_instance:
            raise SignatureError(f"two {field.name.decode('ascii')} of instance {signature.instance}")
        by_instance[signature.instance] = signature
    return by_instance


def _results_instance(field: HeaderField) -> int:
    found = _INSTANCE.match(field.raw_value)
    if found is None:
        raise SignatureError("ARC-Authentication-Results has no instance")
    return _checked(int(found[1]))


def _instance(tags: Mapping[str, bytes]) -> int:
    number = tags.get("i", b"")
    if not _NUMBER.fullmatch(number):
        raise SignatureError("i= is no instance")
    return _checked(int(number))


def _checked(instance: int) -> int:
    if not 1 <= instance <= MAX_INSTANCES:
        raise SignatureError(f"i= is not 1 to {MAX_INSTANCES}")
    return instance


def _message_signature(field: HeaderField) -> Signature:
    tags = field_tags(field)
    require(tags, _MESSAGE_SIGNATURE_TAGS)
    names = names_of(tags)
    if SEAL in names:
        # RFC 8617 §4.1.2: ARC-Seal fields are not signed.
        raise SignatureError("ARC-Message-Signature signs ARC-Seal")
    header_form, body_form = canonicalisations(tags, b"relaxed/relaxed")
    return Signature(
        field=field,
        kind=kind_of(tags),
        value=base64_of(tags, "b"),
        domain=domain_of(tags),
        selector=selector_of(tags),
        names=names,
        body_hash=base64_of(tags, "bh"),
        header_form=header_form,
        body_form=body_form,
        signed_second=seconds_of(tags, "t"),
        instance=_instance(tags),
    )


def _seal(field: HeaderField) -> Signature:
    tags = field_tags(field)
    require(tags, _SEAL_TAGS)
    if "h" in tags:
        # RFC 8617 §4.1.3: what a seal covers is fixed.
        raise SignatureError("ARC-Seal has h=")
    return Signature(
        field=field,
        kind=kind_of(tags),
        value=base64_of(tags, "b"),
        domain=domain_of(tags),
        selector=selector_of(tags),
        signed_second=seconds_of(tags, "t"),
        instance=_instance(tags),
    )


def _status(field: HeaderField) -> str:
    status = _STATUS.get(field_tags(field)["cv"].lower())
    if status is None:
        raise SignatureError("cv= is no status")
    return status
