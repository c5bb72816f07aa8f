"""Keys and mails of this room's tests."""

from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.policy.signing import SigningKey, generate_key, read_signing_key

MAIL = (
    b"Received: from a.example by b.example; Wed, 9 Apr 2025 09:11:00 +0000\r\n"
    b"From: Alice <alice@author.example>\r\n"
    b"To: bob@there.example\r\n"
    b"Subject: Hello\r\n\tthere  again\r\n"
    b"Date: Wed, 9 Apr 2025 09:11:00 +0000\r\n"
    b"Message-ID: <1@author.example>\r\n"
    b"\r\n"
    b"Good day, \r\n\r\n  this is  text.\t \r\n\r\n\r\n"
)


@cache
def _pem(kind: str) -> bytes:
    if kind.startswith("rsa-"):
        material = rsa.generate_private_key(65537, int(kind.removeprefix("rsa-")))
        return material.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return generate_key(kind)


@pytest.fixture(scope="session")
def make_key():
    """Return keys: ``make_key("rsa" | "ed25519" | "rsa-4096", domain, selector)``; one pair per kind and process."""

    def make(kind: str = "rsa", domain: str = "author.example", selector: str = "s1") -> SigningKey:
        return read_signing_key(_pem(kind), domain, selector)

    return make


SUITES = {
    "test_rfc7208.py::test_case": "SPF, the RFC 7208 suite",
    "test_rfc8617.py::test_validation": "ARC, validation",
    "test_rfc8617.py::test_sealing": "ARC, sealing",
    "test_dkim_corpus.py::test_today": "DKIM corpus, as RFC 6376 and 8301 have it",
    "test_dkim_corpus.py::test_octets": "DKIM corpus, octets as signed",
    "test_dmarc.py::test_case": "DMARC, the table from RFC 9989",
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a number per conformance suite; a case that is right for another reason than the suite's has it beside."""
    counted: dict[str, dict[str, int]] = {}
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            suite = next((title for name, title in SUITES.items() if name in getattr(report, "nodeid", "")), None)
            if suite is not None and (report.when == "call" or outcome == "skipped"):
                counted.setdefault(suite, {}).setdefault(outcome, 0)
                counted[suite][outcome] += 1
    if counted:
        terminalreporter.section("conformance")
    for suite, outcomes in counted.items():
        told = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items())
        terminalreporter.write_line(f"{suite}: {told}")
