"""The ARC suite: validation (171 cases) and sealing (17)."""

import re

import pytest

from gateway.mail.content import Content
from gateway.policy.signing import read_signing_key
from gateway.senderauth.arc.seal import seal_arc, sealed
from gateway.senderauth.arc.sets import highest_instance
from gateway.senderauth.arc.validate import ArcResult, validate_arc
from gateway.senderauth.dkim.canonical import SignedMessage
from gateway.senderauth.word import Word
from tests.senderauth.material import TextZone, cases

VALIDATION = cases("arc/arc-draft-validation-tests.yml")

EXPECTED = {"none": "none", "pass": "pass", "fail": "fail", "": "fail"}
NO_WORD = "the suite, a draft's, has no word for a chain whose newest seal says cv=fail: fail (RFC 8617 §5.2 step 2)"


def octets(text: str) -> bytes:
    return re.sub(r"\r?\n", "\r\n", text).encode("utf-8")


def zone(document) -> TextZone:
    return TextZone({name: re.sub(r"\n", "", text) for name, text in document["txt-records"].items()})


@pytest.mark.parametrize(("document", "case"), VALIDATION)
async def test_validation(document, case, record_property):
    if not case["cv"]:
        record_property("departure", NO_WORD)
    result = await validate_arc(zone(document), SignedMessage.of(Content(octets(case["message"]))))
    assert result.result == (EXPECTED[str(case["cv"]).lower()]), result.reason


SEALING = cases("arc/arc-draft-sign-tests.yml")


def tags(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.replace("\n", "").split(";"))
    return {name.strip(): re.sub(r"\s", "", value) for name, _, value in pairs}


def merged_results(message: SignedMessage, authserv_id: str) -> str:
    """Return what the fields with our authserv-id say, as one: our own message has one such field only."""
    values = [field.text.partition(";") for field in message.fields("authentication-results")]
    said = [results.strip() for name, _, results in values if name.strip() == authserv_id]
    return "; ".join([authserv_id, *said])


@pytest.mark.parametrize(("document", "case"), SEALING)
async def test_sealing(document, case):
    message = SignedMessage.of(Content(octets(case["message"])))
    key = read_signing_key(document["privatekey"].encode(), document["domain"], document["sel"])
    results = merged_results(message, case["srv-id"])
    if not case["AS"].strip():
        # A chain that has ended is left alone.
        chain = ArcResult(result=Word.FAIL, reason="")
        assert await seal_arc(message, key, chain, results, case["t"]) == ()
        return
    status = re.search(r"arc=(\w+)", results)[1]
    names = case["sig-headers"].split(":")
    place = (highest_instance(message) + 1, status)
    seal, signature, found = await sealed(message, key, place, (results, names), case["t"])
    for octets_made, expected in ((seal, case["AS"]), (signature, case["AMS"])):
        assert tags(octets_made.decode().partition(":")[2]) == tags(expected)
    assert found.decode().partition(":")[2].split() == case["AAR"].split()
