"""Replies: a malformed one confuses every client, a wrong class turns a deferral into a bounce."""

import pytest

from gateway.smtp import replies
from gateway.smtp.reply import MAX_REPLY_LINE_OCTETS, EnhancedStatus, Reply

ALL = sorted(replies.NAMED.items())

# A trace id is 26 characters (a ULID), its brackets and a space.
TRACE_ID = "01J" + "X" * 23


@pytest.mark.parametrize(("name", "reply"), ALL)
def test_every_named_reply_is_one_printable_line_with_agreeing_classes(name, reply):
    wire = reply.wire(TRACE_ID)
    # RFC 5321 §4.5.3.1.5
    assert len(wire) <= MAX_REPLY_LINE_OCTETS
    assert wire.endswith(b"\r\n")
    assert wire[:-2].decode("ascii").isprintable()
    assert reply.text
    assert reply.text == reply.text.strip()
    # RFC 5321 §4.2: first digit 2 to 5, second 0 to 5
    assert 2 <= reply.code // 100 <= 5
    assert reply.code // 10 % 10 <= 5
    # RFC 2034 §4: the class agrees; only 354 (3yz has none) goes without
    if reply.status is None:
        assert reply.code == 354
    else:
        assert reply.status.kind == reply.code // 100


def test_no_two_names_say_the_same():
    said = {}
    for name, reply in ALL:
        assert str(reply) not in said, f"{name} repeats {said.get(str(reply))}"
        said[str(reply)] = name
    assert len(said) > 60


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("GOODBYE", "221 2.0.0"), ("OK", "250 2.0.0"), ("SENDER_OK", "250 2.1.0"), ("RECIPIENT_OK", "250 2.1.5"),
        ("VRFY_CANNOT", "252 2.5.0"), ("MESSAGE_TOO_BIG", "552 5.3.4"), ("INSUFFICIENT_STORAGE", "452 4.3.1"),
        ("RELAY_DENIED", "550 5.7.1"), ("USER_UNKNOWN", "550 5.1.1"), ("BARE_NEWLINE", "550 5.5.2"),
        ("LOOP_DETECTED", "554 5.4.6"), ("SCANNER_UNAVAILABLE", "451 4.3.0"), ("INTERNAL_ERROR", "451 4.3.0"),
        ("TIMEOUT", "421 4.4.2"), ("SHUTTING_DOWN", "421 4.3.2"), ("TOO_MANY_RECIPIENTS", "452 4.5.3"),
        ("BAD_SEQUENCE", "503 5.5.1"), ("UNKNOWN_PARAMETER", "555 5.5.4"), ("CONTENT_REJECT", "550 5.6.0"),
        ("POLICY_REJECT", "550 5.7.1"), ("POLICY_DEFER", "451 4.7.1"), ("RECIPIENT_UNVERIFIED", "450 4.1.1"),
    ],
)  # fmt: skip
def test_the_codes_users_expect(name, expected):
    reply = replies.NAMED[name]
    assert f"{reply.code} {reply.status}" == expected


def test_what_is_our_fault_or_passing_is_transient():
    """A 5yz for our own trouble would make the sender bounce mail that we could take a minute later."""
    ours = ["INTERNAL_ERROR", "INSUFFICIENT_STORAGE", "OUT_OF_MEMORY_BUDGET", "SCANNER_UNAVAILABLE", "SHUTTING_DOWN"]
    passing = [name for name in replies.NAMED if name.startswith("TOO_MANY_") or name.endswith("RATE_LIMITED")]
    for name in [*ours, *passing, "RECIPIENT_UNVERIFIED", "TIMEOUT", "TOO_SLOW", "TRUNCATED", "TLS_NOT_AVAILABLE"]:
        assert replies.NAMED[name].is_transient, name


def test_greeting_and_hello_carry_no_enhanced_status_code():
    """RFC 2034 §4."""
    assert replies.GREETING("mx1.example.net").wire() == b"220 mx1.example.net ESMTP Tidegate\r\n"
    assert replies.hello("mx1.example.net").wire() == b"250 mx1.example.net\r\n"
    wire = replies.extended_hello("mx1.example.net", ("PIPELINING", "SIZE 1000")).wire()
    assert wire == b"250-mx1.example.net\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"
    assert replies.chunk_received(86).wire() == b"250 2.0.0 86 octets received\r\n"


def test_text_from_outside_cannot_add_a_line_or_a_control_character():
    reply = Reply(550, EnhancedStatus(5, 7, 1), "said: a\r250 ok\x00\x1b é 例")
    wire = reply.wire(TRACE_ID)
    assert wire == f"550 5.7.1 [{TRACE_ID}] said: a\\r250 ok\\x00\\x1b \\xe9 \\u4f8b\r\n".encode()
    long = replies.POLICY_REJECT.saying("x" * 2000).wire(TRACE_ID)
    assert len(long) == MAX_REPLY_LINE_OCTETS
    assert long.endswith(b"x\r\n")


def test_the_cause_never_reaches_the_wire():
    reply = replies.INTERNAL_ERROR.because("database /var/lib/x is locked")
    assert reply.wire() == replies.INTERNAL_ERROR.wire()
    assert reply.cause == "database /var/lib/x is locked"
