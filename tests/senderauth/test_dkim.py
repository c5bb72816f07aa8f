"""DKIM: the traps that other verifiers fall into, and agreement with dkimpy in both directions."""

import base64
import hashlib
import time

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.mail.content import Content
from gateway.mail.rendition import Edit, Rendition
from gateway.policy.signing import SigningKey, SigningKeyError, read_signing_key
from gateway.senderauth.dkim.canonical import SignedMessage
from gateway.senderauth.dkim.signing import sign_dkim, signed_field
from gateway.senderauth.dkim.verify import MAX_SIGNATURES, verify_dkim
from tests.senderauth.conftest import MAIL
from tests.senderauth.material import TextZone

NOW = 1_700_000_000
NAMES = ("from", "to", "subject", "date")


def message(octets: bytes = MAIL) -> SignedMessage:
    return SignedMessage.of(Content(octets))


def zone(key: SigningKey, record: str | None = None, **other: str) -> TextZone:
    return TextZone({f"{key.selector}._domainkey.{key.domain}": key.record if record is None else record, **other})


async def signed(key: SigningKey, octets: bytes = MAIL, *, names=NAMES, **tags: str) -> bytes:
    """Return ``octets`` with a signature whose tags are as given; None leaves a tag out."""
    body = message(octets)
    length = int(tags["l"]) if tags.get("l", "").isdigit() else None
    canonical_body = octets.partition(b"\r\n\r\n")[2].rstrip(b"\r\n") + b"\r\n"
    body_hash = base64.b64encode(hashlib.sha256(canonical_body[:length]).digest()).decode()
    all_tags = {
        "v": "1",
        "a": f"{key.kind}-sha256",
        "c": "relaxed/simple",
        "d": key.domain,
        "s": key.selector,
        "h": ":".join(names),
        "bh": body_hash,
    } | tags
    covered = b"".join(body.canonical(field, "relaxed") for field in body.selected(names))
    return signed_field("DKIM-Signature", {k: v for k, v in all_tags.items() if v}, key, covered) + octets


async def words(zone_, octets: bytes, second: int = NOW) -> list[str]:
    return [result.result.value for result in await verify_dkim(zone_, message(octets), second)]


async def one(zone_, octets: bytes, second: int = NOW):
    (result,) = await verify_dkim(zone_, message(octets), second)
    return result


async def test_no_signature_is_no_result():
    assert await verify_dkim(TextZone({}), message(), NOW) == ()


@pytest.mark.parametrize("kind", ["rsa", "ed25519", "rsa-1024", "rsa-4096"])
async def test_what_we_sign_holds_and_tells_what_it_was(make_key, kind):
    key = make_key(kind)
    octets = await sign_dkim(message(), key, NOW) + MAIL
    result = await one(zone(key), octets)
    assert result.result == "pass", result.reason
    assert (result.domain, result.selector, result.identity) == ("author.example", "s1", "@author.example")
    assert result.algorithm == f"{key.kind}-sha256"
    assert len(result.value_start) == 8


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
async def test_dkimpy_verifies_what_we_sign(make_key, kind):
    key = make_key(kind)
    octets = await sign_dkim(message(), key, NOW) + MAIL
    assert dkim.verify(octets, dnsfunc=lambda *_, **__: key.record.encode())


@pytest.mark.parametrize("header_form", [b"simple", b"relaxed"])
@pytest.mark.parametrize("body_form", [b"simple", b"relaxed"])
@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
async def test_we_verify_what_dkimpy_signs(make_key, kind, header_form, body_form):
    key = make_key(kind)
    if kind == "rsa":
        pem = key.material.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    else:
        raw = key.material.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        pem = base64.b64encode(raw)
    signature = dkim.sign(
        MAIL,
        b"s1",
        b"author.example",
        pem,
        canonicalize=(header_form, body_form),
        signature_algorithm=kind.encode() + b"-sha256",
    )
    # dkimpy signs with the time of day.
    result = await one(zone(key), signature + MAIL, int(time.time()))
    assert result.result == "pass", result.reason


# What must not pass.


async def test_changed_header_and_body_fail(make_key):
    key = make_key()
    octets = await sign_dkim(message(), key, NOW) + MAIL
    assert await words(zone(key), octets.replace(b"Hello", b"Hullo")) == ["fail"]
    assert await words(zone(key), octets.replace(b"Good day", b"Good bye")) == ["fail"]
    # A second From above the signed one: it was signed once more than it was there.
    assert await words(zone(key), b"From: mallory@evil.example\r\n" + octets) == ["fail"]


async def test_what_servers_on_the_way_add_does_no_harm(make_key):
    key = make_key()
    octets = b"Received: from x by y; now\r\n" + await sign_dkim(message(), key, NOW) + MAIL + b"\r\n\r\n"
    assert await words(zone(key), octets) == ["pass"]


async def test_sha1_never_verifies(make_key):
    key = make_key()
    result = await one(zone(key), await signed(key, a="rsa-sha1"))
    assert (result.result, result.reason, result.algorithm) == ("permerror", "rsa-sha1 is not accepted", "rsa-sha1")


async def test_a_short_key_is_not_taken_though_it_holds():
    key = SigningKey(domain="author.example", selector="s1", material=short_key())
    result = await one(zone(key), await signed(key))
    assert (result.result, result.reason) == ("policy", "the key has 768 bits")


def short_key() -> rsa.RSAPrivateKey:
    """Return a key as cryptography makes none any more."""
    p, q = prime_from(3 << 382), prime_from(7 << 381)
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def prime_from(start: int) -> int:
    candidate = start | 1
    while pow(2, candidate - 1, candidate) != 1 or candidate % 65537 == 1:
        candidate += 2
    return candidate


async def test_text_appended_behind_l_is_not_covered(make_key):
    key = make_key()
    octets = await signed(key, l="10")
    result = await one(zone(key), octets)
    assert result.result == "policy"
    assert result.reason.startswith("l= covers 10 of")
    whole = len(MAIL.partition(b"\r\n\r\n")[2].rstrip(b"\r\n")) + 2
    assert await words(zone(key), await signed(key, l=str(whole))) == ["pass"]
    assert await words(zone(key), await signed(key, l=str(whole)) + b"Buy now\r\n") == ["policy"]
    assert await words(zone(key), await signed(key, l="0")) == ["policy"]
    # RFC 6376 §6.1.1: l= beyond the body.
    assert await words(zone(key), await signed(key, l=str(whole + 1))) == ["fail"]


async def test_times(make_key):
    key = make_key()
    octets = await signed(key, t=str(NOW), x=str(NOW + 100))
    assert await words(zone(key), octets) == ["pass"]
    assert (await one(zone(key), octets, NOW + 100_000)).reason == "the signature has expired"
    assert (await one(zone(key), octets, NOW - 100_000)).reason == "the signature is from the future"
    assert await words(zone(key), await signed(key, t=str(NOW), x=str(NOW))) == ["permerror"]


@pytest.mark.parametrize(
    ("record", "word", "reason"),
    [
        ("{} ; h=sha1", "permerror", "the key is not for sha256"),
        ("{} ; h=sha1:sha256", "pass", ""),
        ("{} ; s=chat", "permerror", "the key is not for mail"),
        ("{} ; s=chat:email", "pass", ""),
        ("{} ; s=*", "pass", ""),
        ("{} ; t=y", "pass", ""),
        ("{} ; t=s", "permerror", "the key is not for subdomains"),
        ("{} ; t=y:s:other", "permerror", "the key is not for subdomains"),
        ("{} ; x=unknown; n=note", "pass", ""),
        ("v=DKIM1; p=", "permerror", "the key has been revoked"),
        ("v=DKIM1; k=rsa", "permerror", "the key record has no key"),
        ("v=DKIM1; k=dsa; p=AAAA", "permerror", "the key is of an unknown kind"),
        ("v=DKIM1; p=!!!!", "permerror", "the key is malformed"),
        ("v=DKIM1; p=AAAA", "permerror", "the key is malformed"),
        ("v=DKIM2; p=AAAA", "permerror", "the key record has another version"),
        ("k=rsa; v=DKIM1; p=AAAA", "permerror", "the key record has another version"),
        ("v=DKIM1; p=AAAA; p=AAAA", "permerror", "the key record is malformed: p= occurs twice"),
        ("nonsense", "permerror", "the key record is malformed: b'nonsense' is no tag"),
    ],
)
async def test_key_records(make_key, record, word, reason):
    key = make_key()
    octets = await signed(key, i="bob@sub.author.example")
    result = await one(zone(key, record.format(key.record)), octets)
    assert result.result == word, result.reason
    if reason:
        assert result.reason == reason


async def test_a_signer_that_is_testing_is_not_punished(make_key):
    key = make_key()
    octets = (await signed(key)).replace(b"Good day", b"Good bye")
    result = await one(zone(key, key.record + "; t=y"), octets)
    assert (result.result, result.testing) == ("neutral", True)


async def test_a_key_of_the_other_kind_is_none(make_key):
    key, other = make_key("rsa"), make_key("ed25519")
    assert (await one(zone(key, other.record), await signed(key))).reason == "the key is for ed25519"


async def test_dns_that_does_not_answer_is_temperror_never_no_key(make_key):
    key = make_key()
    octets = await signed(key)
    failing = TextZone({}, ["s1._domainkey.author.example"])
    assert (await one(failing, octets)).result == "temperror"
    assert (await one(TextZone({}), octets)).reason == "no key at s1._domainkey.author.example"


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"v": "2"}, "v= is not 1"),
        ({"v": ""}, "v= is missing"),
        ({"d": "192.0.2.1"}, "d= is no domain"),
        ({"d": "-.example"}, "d= is no domain"),
        ({"s": "a..b"}, "s= is no selector"),
        ({"i": "bob@other.example"}, "i= is not within d="),
        ({"i": "bob@notauthor.example"}, "i= is not within d="),
        ({"i": "bob"}, "i= is not within d="),
        ({"i": "bob@"}, "i= is no address"),
        ({"a": "rsa-md5"}, "a= is no algorithm known"),
        ({"c": "strange/simple"}, "c= is no canonicalisation known"),
        ({"q": "http"}, "q= has no method known"),
        ({"l": "-1"}, "l= is no length"),
        ({"l": "9" * 80}, "l= is no length"),
        ({"t": "soon"}, "t= is no time"),
        ({"x": "1" * 13}, "x= is no time"),
        ({"bh": "***"}, "bh= is not base 64"),
        ({"h": "to:subject"}, "From is not signed"),
    ],
)
async def test_malformed_signatures_are_permerror(make_key, tags, reason):
    key = make_key()
    result = await one(zone(key), await signed(key, **tags))
    assert (result.result, result.reason) == ("permerror", reason)


@pytest.mark.parametrize(
    "field",
    [
        b"DKIM-Signature:\r\n",
        b"DKIM-Signature: ;\r\n",
        b"DKIM-Signature: v=1\r\n",
        b"DKIM-Signature: v=1; v=1\r\n",
        b"DKIM-Signature: =x\r\n",
        b"DKIM-Signature: \x00\xff\r\n",
        b"DKIM-Signature: v=1; a=rsa-sha256; b=A; bh=A; d=x.example; h=from; s=s\r\n",
        b"DKIM-Signature: v=1; a=rsa-sha256; b=====; bh=AAAA; d=x.example; h=from; s=s\r\n",
        b"DKIM-Signature: " + b"a=1;" * 20_000 + b"\r\n",
        b"DKIM-Signature: " + b"x" * 70_000 + b"\r\n",
    ],
    ids=range(10),
)
async def test_hostile_fields_are_permerror(field):
    assert await words(TextZone({}), field + MAIL) == ["permerror"]


async def test_international_domains_are_looked_up_as_a_labels(make_key):
    key = make_key(domain="xn--fsqu00a.xn--fiqs8s")
    octets = await signed(key)
    assert await words(zone(key), octets) == ["pass"]


async def test_signatures_are_capped_and_the_rest_is_told(make_key):
    key = make_key()
    octets = await signed(key)
    field = octets[: -len(MAIL)]
    results = await verify_dkim(zone(key), message(field * (MAX_SIGNATURES + 5) + MAIL), NOW)
    assert len(results) == MAX_SIGNATURES + 1
    assert {result.result.value for result in results[:-1]} == {"pass"}
    assert (results[-1].result, results[-1].reason) == ("policy", "5 more signatures were not evaluated")


async def test_one_good_signature_among_bad_ones_counts(make_key):
    key = make_key()
    bad = b"DKIM-Signature: v=1; a=rsa-sha256; b=AAAA; bh=AAAA; d=gone.example; h=from; s=s\r\n"
    assert await words(zone(key), bad + await signed(key)) == ["permerror", "pass"]


async def test_the_b_of_other_tags_is_not_taken_for_the_signature(make_key):
    key = make_key()
    octets = await signed(key, z="b=x|bh=y")
    assert await words(zone(key), octets) == ["pass"]


# Signing what leaves.


async def test_a_rendition_is_signed_as_it_leaves(make_key):
    key = make_key()
    content = Content(MAIL)
    start = MAIL.index(b"Good day")
    rendition = Rendition.of([Edit(0, 0, b"X-Tidegate-Id: 1\r\n"), Edit(start, start + 8, b"Good bye")])
    field = await sign_dkim(SignedMessage.of(content, rendition), key, NOW)
    leaving = b"".join(rendition.chunks(content))
    assert await words(zone(key), field + leaving) == ["pass"]
    assert await words(zone(key), field + MAIL) == ["fail"]


async def test_a_spilled_content_is_signed_and_verified(make_key, tmp_path):
    key = make_key()
    octets = MAIL + b"0123456789abcdef \t x\r\n" * 40_000
    signature = await sign_dkim(message(octets), key, NOW)
    path = tmp_path / "content"
    path.write_bytes(signature + octets)
    spilled = Content(path=path, size=path.stat().st_size)
    (result,) = await verify_dkim(zone(key), SignedMessage.of(spilled), NOW)
    assert result.result == "pass"


def test_keys_that_are_none_are_refused():
    for pem in (b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(SigningKeyError):
            read_signing_key(pem, "author.example", "s1")


def test_a_record_has_the_public_half(make_key):
    key = make_key("ed25519")
    assert isinstance(key.material, Ed25519PrivateKey)
    raw = key.material.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert key.record == f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode()}"
    assert "material" not in repr(key)
