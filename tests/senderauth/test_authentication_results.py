"""The Authentication-Results field, read by authres: complete, one line's worth a line, and nobody breaks out of it."""

from ipaddress import ip_address

import authres
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.mail.header import HeaderSection
from gateway.mail.trace_fields import forged_fields
from gateway.senderauth.arc.validate import ArcResult
from gateway.senderauth.authentication_results import (
    MethodResult,
    of_arc,
    of_dkim,
    of_dmarc,
    of_iprev,
    of_spf,
    results_field,
    results_text,
)
from gateway.senderauth.dkim.verify import DkimResult
from gateway.senderauth.dmarc.author import Author
from gateway.senderauth.dmarc.evaluate import DmarcResult
from gateway.senderauth.dmarc.record import DmarcPolicy
from gateway.senderauth.iprev import IprevResult
from gateway.senderauth.spf.result import SpfQuestion, SpfResult
from gateway.senderauth.word import Word

SPF = SpfResult(
    result=Word.PASS,
    reason="domain of a@b.example designates 192.0.2.1",
    identity="mailfrom",
    domain="b.example",
    sender="a@b.example",
    question=SpfQuestion(client=ip_address("192.0.2.1"), helo="h.example"),
)
DKIM = DkimResult(
    result=Word.FAIL,
    reason='the "body" is not what was signed',
    domain="b.example",
    selector="s1",
    identity="@b.example",
    algorithm="rsa-sha256",
    value_start="dGhpcyBp",
)
DMARC = DmarcResult(
    result=Word.PASS,
    reason="aligned: SPF b.example",
    author=Author(domain="b.example"),
    policy=DmarcPolicy.QUARANTINE,
    published=DmarcPolicy.REJECT,
    policy_domain="b.example",
)


def read(field: bytes):
    return authres.AuthenticationResultsHeader.parse(" ".join(field.decode().split()))


def test_everything_is_told():
    results = [
        of_iprev(IprevResult(result=Word.PASS, reason="", client="192.0.2.1", name="h.example")),
        of_spf(SPF),
        *of_dkim([DKIM]),
        of_arc(ArcResult(result=Word.PASS, reason="1 set", oldest_pass=0), "192.0.2.1"),
        of_dmarc(DMARC),
    ]
    field = results_field("mx.ours.example", results)
    parsed = read(field)
    assert parsed.authserv_id == "mx.ours.example"
    said = {r.method: (r.result, {f"{p.type}.{p.name}": p.value for p in r.properties}) for r in parsed.results}
    assert said == {
        "iprev": ("pass", {"policy.iprev": "192.0.2.1"}),
        "spf": ("pass", {"smtp.mailfrom": "a@b.example"}),
        "dkim": (
            "fail",
            {
                "header.d": "b.example",
                "header.i": "@b.example",
                "header.a": "rsa-sha256",
                "header.s": "s1",
                "header.b": "dGhpcyBp",
            },
        ),
        "arc": ("pass", {"header.oldest-pass": "0", "smtp.remote-ip": "192.0.2.1"}),
        "dmarc": ("pass", {"header.from": "b.example", "policy.dmarc": "quarantine"}),
    }
    assert all(len(line) <= 78 for line in field.decode().split("\r\n"))
    assert field.endswith(b"\r\n")


def test_nothing_found_is_said():
    assert results_text("mx.ours.example", []) == "mx.ours.example; none"
    assert of_dkim([])[0].result == "none"


def test_the_helo_identity_has_its_own_property():
    helo = SpfResult(
        result=Word.NONE,
        reason="",
        identity="helo",
        domain="h.example",
        sender="postmaster@h.example",
        question=SPF.question,
    )
    assert of_spf(helo).properties == (("smtp.helo", "h.example"),)


def test_ours_is_what_would_be_cut_from_incoming_mail():
    header = HeaderSection(results_field("mx.ours.example", [of_spf(SPF)]) + b"\r\n")
    assert len(forged_fields(header, "mx.ours.example")) == 1


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a@b.example", "a@b.example"),
        ("@b.example", "@b.example"),
        ('"odd one"@b.example', '"\\"odd one\\"@b.example"'),
        ("2001:db8::1", '"2001:db8::1"'),
        ("a;b", '"a;b"'),
        ("grün@b.example", '"gr\\\\xfcn@b.example"'),
        ("a\r\nEvil: 1", '"a\\\\r\\\\nEvil: 1"'),
    ],
)
def test_values_are_quoted_where_they_must_be(value, written):
    result = MethodResult(method="spf", result=Word.PASS, properties=(("smtp.mailfrom", value),))
    assert f"smtp.mailfrom={written}" in results_text("mx.ours.example", [result])


@given(st.text(max_size=300), st.text(max_size=3000))
@example("ĀĀ" * 150, "")
def test_nothing_from_outside_breaks_out(value, reason):
    result = MethodResult(method="spf", result=Word.FAIL, reason=reason, properties=(("smtp.mailfrom", value),))
    field = results_field("mx.ours.example", [result])
    lines = field.split(b"\r\n")
    assert lines[-1] == b""
    assert all(line.startswith(b"\t") and line.strip() for line in lines[1:-1])
    assert b"\n" not in b"".join(lines)
    assert b"\r" not in b"".join(lines)
    assert field.isascii()
    assert all(len(line) <= 998 for line in lines)
