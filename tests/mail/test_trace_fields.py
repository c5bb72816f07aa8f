"""Trace fields: a wrong one misleads whoever follows a mail's way; an injected one misleads whoever sorts by it."""

import re
from dataclasses import replace
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.clock import FakeClock, Stamp
from gateway.mail import trace_fields
from gateway.mail.connection import Connection, Role, TlsFacts
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope
from gateway.mail.header import HeaderSection
from gateway.mail.rendition import Edit, Rendition
from gateway.mail.transaction import Transaction
from gateway.smtp.address import Mailbox

TRACE_ID = "01J8Z3Q4R5S6T7V8W9X0Y1Z2A3"
AT = Stamp(1_788_256_800.0, 0.0)  # Tue, 01 Sep 2026 10:00:00 UTC
CONNECTION = Connection(
    session_id="S",
    client_address=ip_address("192.0.2.1"),
    client_port=40000,
    local_address="192.0.2.2",
    local_port=25,
    role=Role.MX,
    connected=FakeClock().stamp(),
    hostname="mx.ours.test",
    helo="a.example",
    esmtp=True,
)
TLS = TlsFacts(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", bits=256)
BOB = Mailbox("bob", "example.com", "bob@example.com")


def tx(connection: Connection = CONNECTION, *, smtputf8: bool = False) -> Transaction:
    return Transaction(trace_id=TRACE_ID, connection=connection, envelope=Envelope(smtputf8=smtputf8), received=AT)


def test_received_field_in_full():
    connection = replace(CONNECTION, tls=TLS, client_name="mail.a.example")
    assert trace_fields.received_field(tx(connection), BOB).decode() == (
        "Received: from a.example (mail.a.example [192.0.2.1])\r\n"
        "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n"
        "\tby mx.ours.test (Tidegate) with ESMTPS id 01J8Z3Q4R5S6T7V8W9X0Y1Z2A3\r\n"
        "\tfor <bob@example.com>; Tue, 01 Sep 2026 10:00:00 +0000\r\n"
    )


def test_without_a_single_recipient_there_is_no_for_clause():
    """RFC 5321 §7.2: it would show each recipient the others."""
    field = trace_fields.received_field(tx(), None)
    assert b" for " not in field
    assert field.endswith(b"id 01J8Z3Q4R5S6T7V8W9X0Y1Z2A3; Tue, 01 Sep 2026 10:00:00 +0000\r\n")


@pytest.mark.parametrize(
    ("esmtp", "tls", "smtputf8", "word"),
    [
        (False, None, False, "SMTP"),
        (True, None, False, "ESMTP"),
        (True, TLS, False, "ESMTPS"),  # RFC 3848
        (True, None, True, "UTF8SMTP"),  # RFC 6531 §4.3
        (True, TLS, True, "UTF8SMTPS"),
    ],
)
def test_with_names_the_protocol(esmtp, tls, smtputf8, word):
    field = trace_fields.received_field(tx(replace(CONNECTION, esmtp=esmtp, tls=tls), smtputf8=smtputf8), None)
    assert f" with {word}".encode() in field.replace(b"\r\n\t", b" ").replace(b"with cipher", b"")
    assert re.search(rb"with (\w+)(?: |\r\n\t)id", field)[1].decode() == word


@pytest.mark.parametrize(
    ("client", "helo", "info"),
    [
        ("2001:db8::1", "a.example", "from a.example (unknown [IPv6:2001:db8::1])"),
        ("192.0.2.1", "[192.0.2.1]", "from [192.0.2.1] (unknown [192.0.2.1])"),
        ("192.0.2.1", "", "from unknown (unknown [192.0.2.1])"),
        ("192.0.2.1", "a (b", "from unknown (unknown [192.0.2.1] helo=a_\\(b)"),
        ("192.0.2.1", "a\\)b", "from unknown (unknown [192.0.2.1] helo=a\\\\\\)b)"),
    ],
)
def test_from_clause_by_rfc_5321_4_4(client, helo, info):
    field = trace_fields.received_field(tx(replace(CONNECTION, client_address=ip_address(client), helo=helo)), None)
    assert info in field.decode().replace("\r\n\t", " ")


hostile = st.text(st.sampled_from('ab.()\\;<>\r\n\t\0 \x7f\u2028é"') | st.characters(codec="utf-8"), max_size=2000)


@given(helo=hostile, name=hostile, cipher=hostile)
def test_nothing_from_the_client_adds_a_field_or_ends_a_comment(helo, name, cipher):
    connection = replace(CONNECTION, helo=helo, client_name=name, tls=TlsFacts(version="T", cipher=cipher, bits=1))
    field = trace_fields.received_field(tx(connection), BOB)
    header = HeaderSection(field + b"\r\n")
    assert [f.name for f in header.fields] == [b"Received"]
    assert field.isascii()
    lines = field.split(b"\r\n")
    assert b"\r" not in field.replace(b"\r\n", b"")
    assert all(len(line) <= 998 for line in lines)  # RFC 5322 §2.1.1
    # What stands outside comments is exactly our clauses.
    outside = _without_comments(header.fields[0].text)
    assert re.fullmatch(
        r"from \S+\s+by mx\.ours\.test\s+with ESMTPS\s+id \w{26}\s+for <bob@example\.com>;\s.*", outside
    )


def _without_comments(text: str) -> str:
    previous = ""
    text = re.sub(r"\\.", "", text)
    while previous != text:
        previous, text = text, re.sub(r"\([^()]*\)", "", text)
    return text


@given(st.text(max_size=3000))
def test_text_fields_are_printable_folded_and_bounded(text):
    field = trace_fields.text_field("X-Tidegate-Reason", text)
    assert [f.name for f in HeaderSection(field + b"\r\n").fields] == [b"X-Tidegate-Reason"]
    assert all(0x20 <= octet < 0x7F for octet in field.replace(b"\r\n\t", b"").removesuffix(b"\r\n"))
    assert len(field) < 3000
    for line in field.split(b"\r\n"):
        assert len(line) <= 998
        assert len(line) <= 78 or len(line.split()) <= 2


def test_text_that_is_not_ascii_is_read_as_it_was_written():
    reason = 'tag; rule 代开发票: subject "代开 各类发票，优惠" x' + "长" * 40 + "; grounds: advertising\u202e"
    field = trace_fields.text_field("X-Tidegate-Reason", reason)
    read = message_from_bytes(field + b"\r\n", policy=policy.default)["X-Tidegate-Reason"]
    assert read.replace("\t", " ") == reason.replace("\u202e", "\\u202e")
    assert field.startswith(b"X-Tidegate-Reason: tag; rule =?UTF-8?B?")


@pytest.mark.parametrize(
    ("utc", "text"),
    [
        (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
        (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 +0000"),
    ],
)
def test_dates_by_rfc_5322_3_3(utc, text):
    assert trace_fields.date_time(utc) == text


def test_spam_fields_as_sieve_scripts_expect_them():
    fields = trace_fields.spam_fields(7.25, 5.0, ["helo.bare-ip=2", "spf.fail=5.25"], flagged=True)
    assert fields == (
        b"X-Spam-Score: 7.2\r\n"
        b"X-Spam-Status: Yes, score=7.2 required=5.0 tests=helo.bare-ip=2, "
        b"spf.fail=5.25\r\n"
        b"X-Spam-Flag: YES\r\n"
        b"X-Spam-Level: *******\r\n"
    )
    assert trace_fields.spam_fields(-1.0, None, [], flagged=False) == (
        b"X-Spam-Score: -1.0\r\nX-Spam-Status: No, score=-1.0\r\n"
    )


# Invariant 6 ----------------------------------------------------------------------------------------------------------

FORGED = [
    "X-Tidegate-Id: 1",
    "x-tidegate-anything: 1",
    "X-TIDEGATE-REASON : 1",
    "X-Spam-Flag: NO",
    "X-Spam-Status: No, score=-100",
    "X-Spam-Score: -100",
    "X-Spam-Level:",
    "X-Virus-Status: Clean",
    "X-Virus-Scanned: by mx.ours.test",
    "Authentication-Results: mx.ours.test; spf=pass",
    "Authentication-Results: MX.Ours.Test 1; spf=pass",
    "authentication-results:mx.ours.test;none",
    "Authentication-Results: (a (nested) \\) comment)\r\n\tmx.ours.test; spf=pass",
    'Authentication-Results: "mx.ours.test"; spf=pass',
    'Authentication-Results: "mx\\.ours.test"; spf=pass',
    "Authentication-Results: mx.ours.test(comment); spf=pass",
    "Authentication-Results: mx.ours.test.; spf=pass",
    "Authentication-Results: mx.ours.test",
]
HONEST = [
    "X-Spam-Report: theirs",
    "X-Spam: yes",
    "X-Tide: 1",
    "X-Virus-Checked: 1",
    "Authentication-Results: mx.theirs.test; spf=fail",
    "Authentication-Results: (mx.ours.test) mx.theirs.test; spf=fail",
    "Authentication-Results: sub.mx.ours.test; spf=fail",
    "Authentication-Results:",
    "Authentication-Results: (unclosed mx.ours.test; spf=pass",
    "ARC-Authentication-Results: i=1; mx.ours.test; spf=pass",
    "Received-SPF: pass",
    "Subject: X-Tidegate-Id: 1",
]


@pytest.mark.parametrize("forged", FORGED)
def test_invariant_6_untrusted_copies_of_our_trace_fields_are_removed(forged):
    before, after = b"From: a@b\r\n", b"To: c@d\r\n\r\nX-Tidegate-Id: in the body\r\n"
    content = before + forged.encode() + b"\r\n" + after
    edits = trace_fields.forged_fields(HeaderSection(content), "mx.ours.test")
    assert b"".join(Rendition.of(edits).chunks(Content(content))) == before + after


@pytest.mark.parametrize("honest", HONEST)
def test_fields_of_others_stay(honest):
    content = b"From: a@b\r\n" + honest.encode() + b"\r\n\r\n"
    assert trace_fields.forged_fields(HeaderSection(content), "mx.ours.test") == ()


def test_a_forged_field_behind_a_line_that_is_no_field_is_found():
    """Some mail clients step over such a line, so a scanner that stops there lets the forgery through."""
    content = b"From a@b Tue\r\nA: 1\r\nno field\r\nX-Tidegate-Id: 1\r\n\r\n"
    edits = trace_fields.forged_fields(HeaderSection(content), "mx.ours.test")
    assert b"".join(Rendition.of(edits).chunks(Content(content))) == b"From a@b Tue\r\nA: 1\r\nno field\r\n\r\n"


def test_our_authserv_id_is_ours_in_any_label_form():
    header = HeaderSection("Authentication-Results: 例子.中国; spf=pass\r\n\r\n".encode())
    assert len(trace_fields.forged_fields(header, "xn--fsqu00a.xn--fiqs8s")) == 1


# The subject's tag ----------------------------------------------------------------------------------------------------


def tagged(content: bytes, tag: str) -> bytes:
    edits = trace_fields.subject_edits(HeaderSection(content), tag)
    return b"".join(Rendition.of(edits).chunks(Content(content)))


@pytest.mark.parametrize(
    ("subject", "result"),
    [
        (b"Subject: hello", b"Subject: [SPAM] hello"),
        (b"Subject:hello", b"Subject: [SPAM] hello"),
        (b"subject :\thello", b"subject : [SPAM]\thello"),
        (b"Subject:", b"Subject: [SPAM] "),
        (b"Subject:\r\n hello", b"Subject: [SPAM] \r\n hello"),
        (b"Subject: =?utf-8?q?caf=C3=A9?=", b"Subject: [SPAM] =?utf-8?q?caf=C3=A9?="),
        (b"Subject: [SPAM] hello", b"Subject: [SPAM] hello"),
        (b"Subject: " + b"x" * 70, b"Subject: [SPAM]\r\n " + b"x" * 70),
        (b"Subject:" + b"x" * 990, b"Subject: [SPAM]\r\n " + b"x" * 990),
    ],
)
def test_the_tag_stands_before_the_subject(subject, result):
    assert tagged(b"A: 1\r\n" + subject + b"\r\nB: 2\r\n\r\n", "[SPAM]") == b"A: 1\r\n" + result + b"\r\nB: 2\r\n\r\n"


def test_every_subject_is_tagged():
    """Which of two is shown depends on the mail client."""
    assert tagged(b"Subject: a\r\nSubject: b\r\n\r\n", "T") == b"Subject: T a\r\nSubject: T b\r\n\r\n"


@example("=")
@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=60))
def test_any_tag_is_read_back_before_an_encoded_subject(tag):
    """RFC 2047 §6.2: white space between two encoded-words is not shown, so the tag must bring its own."""
    tag = tag.strip() or "x"
    out = tagged(b"Subject: =?UTF-8?B?5rWL6K+V?=\r\n\r\n", tag)
    value = message_from_bytes(out, policy=policy.compat32)["Subject"]
    assert re.sub(r"\s", "", str(make_header(decode_header(value)))) == re.sub(r"\s", "", tag + "测试")
    for word in re.findall(r"=\?\S+", out.decode("ascii")):
        assert len(word) <= 75  # RFC 2047 §2
    assert tagged(out, tag) == out


def test_a_mail_without_subject_gets_one():
    field = trace_fields.new_subject("[垃圾]")
    assert str(make_header(decode_header(message_from_bytes(field)["Subject"]))).strip() == "[垃圾]"
    assert trace_fields.new_subject("[SPAM]") == b"Subject: [SPAM]\r\n"


# Where our fields meet the content ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "between"),
    [(b" leading space", b"\r\n"), (b"\tleading tab", b"\r\n"), (b"A: 1\r\n\r\n", b""), (b"\r\nbody", b""), (b"", b"")],
)
def test_content_never_continues_our_last_field(content, between):
    assert trace_fields.separator(Content(content)) == between


# Renditions (invariant 5) ---------------------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 20), st.binary(max_size=9))))
def test_invariant_5_octets_outside_the_edits_are_identical(octets, wanted):
    edits: list[Edit] = []
    at = 0
    for start, length, replacement in sorted(wanted):
        begin = min(max(start, at), len(octets))
        at = min(begin + length, len(octets))
        edits.append(Edit(begin, at, replacement))
    rendition = Rendition.of(edits)
    out = b"".join(rendition.chunks(Content(octets)))
    assert rendition.size(Content(octets)) == len(out)
    # Walk both: what lies between two edits is the same octets, in the same order, and nothing else is there.
    source = target = 0
    for edit in rendition.edits:
        kept = octets[source : edit.start]
        assert out[target : target + len(kept)] == kept
        target += len(kept)
        assert out[target : target + len(edit.replacement)] == edit.replacement
        target += len(edit.replacement)
        source = edit.end
    assert out[target:] == octets[source:]


def test_overlapping_edits_are_a_bug_and_said_so():
    with pytest.raises(ValueError, match="overlap at octet 2"):
        Rendition.of([Edit(0, 3), Edit(2, 5)])


def test_a_rendition_of_a_spilled_content_has_the_same_octets(tmp_path):
    octets = bytes(range(256)) * 4096
    (tmp_path / "c").write_bytes(octets)
    rendition = Rendition.of([Edit(0, 0, b"before"), Edit(300_000, 700_000)])
    spilled = Content(path=tmp_path / "c", size=len(octets))
    assert b"".join(rendition.chunks(spilled)) == b"before" + octets[:300_000] + octets[700_000:]
