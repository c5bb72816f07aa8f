"""A ``DKIM-Signature`` field (RFC 6376 §3.5) held to its grammar.

``parse_signature`` raises ``SignatureError`` with the reason for whatever a verifier must not go on with (RFC 6376
§6.1.1). Its helpers serve ARC's two fields as well, which are built the same way (RFC 8617 §4.1).
"""

import base64
import binascii
import re
from collections.abc import Mapping

from gateway.mail.header import HeaderField
from gateway.senderauth.dkim.tags import TagError, parse_tags, without_space
from gateway.smtp.domain import DomainError, normalise_domain
from gateway.value import value

# A signature field is under 2 KiB even with two hundred names in h=; a copied header section (z=) makes it longer.
MAX_FIELD_OCTETS = 64 * 1024

# Real signatures name thirty fields; each name costs a look-up, for ten signatures of anybody's.
MAX_NAMES = 500

ALGORITHMS = {b"rsa-sha256": "rsa", b"ed25519-sha256": "ed25519"}
_CANONICALISATIONS = {b"simple": "simple", b"relaxed": "relaxed"}
_REQUIRED = ("v", "a", "b", "bh", "d", "h", "s")
_NAMES = re.compile(rb"[!-~]*")
_B_VALUE = re.compile(rb"(?:\A|;)[ \t\r\n]*b[ \t\r\n]*=([^;]*)")
# RFC 6376 §2.11: dkim-quoted-printable, which i= may be written in.
_HEX_OCTET = re.compile(rb"=([0-9A-F]{2})")
# RFC 6376 §3.5: t= and x= have 1 to 12 digits, l= 1 to 76.
_SECONDS = re.compile(rb"[0-9]{1,12}")
_LENGTH = re.compile(rb"[0-9]{1,76}")


class SignatureError(ValueError):
    """The field cannot be evaluated; the message says why."""


@value(kw_only=True)
class Signature:
    """One signature.

    ``kind`` is the key's, "rsa" or "ed25519"; ``domain`` and ``selector`` A-labels in lower case, ``identity`` as
    written; ``length`` is l=; ``instance`` ARC's i=, 0 for DKIM; ``body_hash`` empty in an ARC seal.
    """

    field: HeaderField
    kind: str
    value: bytes
    domain: str
    selector: str
    names: tuple[str, ...] = ()
    body_hash: bytes = b""
    header_form: str = "relaxed"
    body_form: str = "relaxed"
    identity: str = ""
    length: int | None = None
    signed_second: int | None = None
    expires_second: int | None = None
    instance: int = 0

    @property
    def key_name(self) -> str:
        """Where the key is in DNS (RFC 6376 §3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def algorithm(self) -> str:
        """The value of a=."""
        return f"{self.kind}-sha256"


def field_tags(field: HeaderField) -> dict[str, bytes]:
    """Return a signature field's tags; raise ``SignatureError``."""
    if len(field.raw_value) > MAX_FIELD_OCTETS:
        raise SignatureError("the field is too long")
    try:
        return parse_tags(field.raw_value)
    except TagError as error:
        raise SignatureError(str(error)) from error


def parse_signature(field: HeaderField, tags: Mapping[str, bytes]) -> Signature:
    """Return the signature in a ``DKIM-Signature`` field; raise ``SignatureError``."""
    require(tags, _REQUIRED)
    if tags["v"] != b"1":
        raise SignatureError("v= is not 1")
    methods = without_space(tags.get("q", b"dns/txt")).lower().split(b":")
    if b"dns/txt" not in methods:
        raise SignatureError("q= has no method known")
    header_form, body_form = canonicalisations(tags, b"simple/simple")
    domain = domain_of(tags)
    signed, expires = _period(tags)
    names = names_of(tags)
    if "from" not in names:
        # RFC 6376 §6.1.1
        raise SignatureError("From is not signed")
    return Signature(
        field=field,
        kind=kind_of(tags),
        value=base64_of(tags, "b"),
        domain=domain,
        selector=selector_of(tags),
        names=names,
        body_hash=base64_of(tags, "bh"),
        header_form=header_form,
        body_form=body_form,
        identity=_identity(tags, domain),
        length=_length(tags),
        signed_second=signed,
        expires_second=expires,
    )


def without_value(field: HeaderField) -> bytes:
    """Return a signature field's raw value with b= emptied (RFC 6376 §3.7)."""
    found = _B_VALUE.search(field.raw_value)
    if found is None:
        return field.raw_value
    return field.raw_value[: found.start(1)] + field.raw_value[found.end(1) :]


def require(tags: Mapping[str, bytes], names: tuple[str, ...]) -> None:
    """Raise ``SignatureError`` when a tag is missing."""
    for name in names:
        if name not in tags:
            raise SignatureError(f"{name}= is missing")


def kind_of(tags: Mapping[str, bytes]) -> str:
    """Return the kind of key that a= asks for."""
    algorithm = tags["a"].lower()
    if algorithm == b"rsa-sha1":
        # RFC 8301 §3.1: MUST NOT be used for verifying.
        raise SignatureError("rsa-sha1 is not accepted")
    if algorithm not in ALGORITHMS:
        raise SignatureError("a= is no algorithm known")
    return ALGORITHMS[algorithm]


def base64_of(tags: Mapping[str, bytes], name: str) -> bytes:
    """Return a base 64 value's octets."""
    try:
        octets = base64.b64decode(without_space(tags[name]), validate=True)
    except binascii.Error as error:
        raise SignatureError(f"{name}= is not base 64") from error
    if not octets:
        raise SignatureError(f"{name}= is empty")
    return octets


def canonicalisations(tags: Mapping[str, bytes], default: bytes) -> tuple[str, str]:
    """Return the forms of header and body; without a slash the body's is simple (RFC 6376 §3.5)."""
    header, _, body = without_space(tags.get("c", default)).lower().partition(b"/")
    try:
        return _CANONICALISATIONS[header], _CANONICALISATIONS[body or b"simple"]
    except KeyError as error:
        raise SignatureError("c= is no canonicalisation known") from error


def domain_of(tags: Mapping[str, bytes]) -> str:
    """Return d= in A-labels (RFC 8616 §4)."""
    try:
        return normalise_domain(without_space(tags["d"]).decode("utf-8"))
    except (UnicodeDecodeError, DomainError) as error:
        raise SignatureError("d= is no domain") from error


def selector_of(tags: Mapping[str, bytes]) -> str:
    """Return s= in A-labels."""
    try:
        selector = without_space(tags["s"]).decode("utf-8")
        # A selector may be a number, which a whole domain may not; so it is looked at as part of one.
        return normalise_domain(f"{selector}.x").removesuffix(".x")
    except (UnicodeDecodeError, DomainError) as error:
        raise SignatureError("s= is no selector") from error


def names_of(tags: Mapping[str, bytes]) -> tuple[str, ...]:
    """Return h= in lower case."""
    if tags["h"].count(b":") >= MAX_NAMES:
        raise SignatureError("h= names too many fields")
    listed = without_space(tags["h"])
    if not _NAMES.fullmatch(listed):
        raise SignatureError("h= is no list of field names")
    # An empty name selects nothing; the ARC suite has them pass.
    return tuple([name for name in listed.decode("ascii").lower().split(":") if name])


def seconds_of(tags: Mapping[str, bytes], name: str) -> int | None:
    """Return t= or x=, None when it is not there."""
    if name not in tags:
        return None
    if not _SECONDS.fullmatch(tags[name]):
        raise SignatureError(f"{name}= is no time")
    return int(tags[name])


def _period(tags: Mapping[str, bytes]) -> tuple[int | None, int | None]:
    signed, expires = seconds_of(tags, "t"), seconds_of(tags, "x")
    if signed is not None and expires is not None and expires <= signed:
        # RFC 6376 §3.5: x= MUST be greater than t=.
        raise SignatureError("x= is not after t=")
    return signed, expires


def _octet(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)])


def _length(tags: Mapping[str, bytes]) -> int | None:
    if "l" not in tags:
        return None
    if not _LENGTH.fullmatch(tags["l"]):
        raise SignatureError("l= is no length")
    return int(tags["l"])


def _identity(tags: Mapping[str, bytes], domain: str) -> str:
    if "i" not in tags:
        return f"@{domain}"
    identity = _HEX_OCTET.sub(_octet, without_space(tags["i"])).decode("utf-8", "replace")
    _, at, of = identity.rpartition("@")
    try:
        name = normalise_domain(of)
    except DomainError as error:
        raise SignatureError("i= is no address") from error
    if not at or (name != domain and not name.endswith(f".{domain}")):
        # RFC 6376 §3.5: the same as d= or a subdomain of it.
        raise SignatureError("i= is not within d=")
    return identity
