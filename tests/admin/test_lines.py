"""Log lines are read by people and by programs that know Postfix: a forged line or field would mislead both."""

import json
import re
from dataclasses import fields
from typing import get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admin.level import Level
from gateway.admin.lines import MAX_VALUE, describe, render_json, render_text
from gateway.journal.codec import event_classes
from gateway.journal.events import ConfigurationChanged, InternalError, RecipientRefused, SessionClosed

HOSTILE = st.text(max_size=40) | st.sampled_from(
    [
        "\r\n2026-01-01T00:00:00.000Z info forged",
        "a> status=sent (",
        "\x1b[2J",
        "\x00",
        "\u2028",
        "\u202e",
        "\ud800",
        "x" * 900,
    ]
)


def values(hint):
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        if inner[-1] is Ellipsis:
            return st.lists(values(inner[0]), max_size=5).map(tuple)
        return st.tuples(*map(values, inner))
    numbers = st.floats(0, 2e9)
    return {str: HOSTILE, int: st.integers(0, 2**40), bool: st.booleans(), float: numbers}[hint]


def events(cls):
    hints = get_type_hints(cls)
    return st.builds(cls, **{f.name: values(hints[f.name]) for f in fields(cls)})


@pytest.mark.parametrize("cls", event_classes().values(), ids=lambda cls: cls.kind)
@settings(max_examples=40)
@given(data=st.data())
def test_nothing_from_outside_begins_a_line_or_sends_a_control_character(cls, data):
    event = data.draw(events(cls))
    text = render_text(describe(event))
    assert text.isprintable()
    assert re.match(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z (debug|info|warning|error) {cls.kind} ", text)
    as_json = render_json(describe(event))
    assert as_json.isascii()
    assert as_json.isprintable()
    assert json.loads(as_json)["event"] == cls.kind


@given(forged=HOSTILE)
def test_no_value_ends_early_or_forges_a_field(forged):
    event = RecipientRefused(
        at=1.0,
        trace_id="T",
        client="192.0.2.1",
        helo=forged,
        reverse_path=forged,
        recipient=forged,
        reply="",
        reason="",
    )
    words = render_text(describe(event)).split(" ")
    assert [w.partition("=")[0] for w in words[3:]] == ["id", "from", "to", "client", "helo", "dsn", "status"]
    assert re.fullmatch(r"from=<[^<> ]*>", words[4])
    assert all(len(w) <= MAX_VALUE + 10 for w in words[3:])


def test_an_attempt_reads_as_postfix_writes_it(attempted):
    assert render_text(describe(attempted())) == (
        "2026-09-21T14:13:21.000Z info delivery_attempted id=01JD9Q4Z5X0000000000000001 from=<a@example.org> "
        "to=<b@example.com> relay=mx.example.com[10.1.0.5]:25 delay=0.75 delays=0.2/0/0.05/0.5 "
        "dsn=2.0.0 status=sent (250 2.0.0 queued)"
    )


@pytest.mark.parametrize(
    ("status", "reply", "dsn"),
    [
        ("deferred", "451 4.7.1 greylisted", "4.7.1"),
        ("deferred", "connection refused", "4.0.0"),
        ("bounced", "550-5.1.1 no such user", "5.1.1"),
        ("bounced", "550 no such user", "5.0.0"),
        ("expired", "connection refused", "4.4.7"),
        ("sent", "250 ok", "2.0.0"),
    ],
)
def test_the_dsn_is_the_next_hops_own_or_follows_from_the_status(attempted, status, reply, dsn):
    line = describe(attempted(status=status, reply=reply))
    assert line.fields["dsn"] == dsn


@pytest.mark.parametrize(
    ("actions", "reply", "status"),
    [
        (("accept",), "250 2.0.0 accepted", "queued"),
        (("tag",), "250 2.0.0 accepted", "queued"),
        (("accept", "quarantine"), "250 2.0.0 accepted", "quarantined"),
        (("discard",), "250 2.0.0 accepted", "discarded"),
        (("accept", "discard"), "250 2.0.0 accepted", "queued"),
        (("reject",), "550 5.7.1 refused", "rejected"),
        (("defer",), "451 4.7.1 later", "deferred"),
    ],
)
def test_a_messages_status_is_what_its_sender_was_told_or_what_was_done(judged, actions, reply, status):
    event = judged(dispositions=tuple((f"r{i}@x", a, 0.0, "", "") for i, a in enumerate(actions)), reply=reply)
    assert describe(event).fields["status"] == status


def test_a_message_line_tells_reasons_and_the_score(judged):
    event = judged(dispositions=(("b@x", "reject", 15.5, "dnsbl", "listed by zen.example"),), reply="550 5.7.1 refused")
    assert render_text(describe(event)).endswith(
        "dsn=5.7.1 status=rejected score=15.5 (550 5.7.1 refused; listed by zen.example)"
    )


def test_a_thousand_recipients_do_not_make_a_long_line(judged):
    event = judged(dispositions=tuple((f"r{i}@example.com", "accept", 0.0, "", "") for i in range(1000)))
    line = render_text(describe(event))
    assert "to=<r0@example.com,r1@example.com,r2@example.com> nrcpt=1000" in line
    assert len(line) < 500


def test_levels_follow_what_needs_attention():
    quiet = SessionClosed(
        at=1.0, client="c", role="mx", helo="", tls="", end="quit", messages=1, commands=4, errors=0, seconds=1.0
    )
    assert describe(quiet).level is Level.DEBUG
    assert describe(InternalError(at=1.0, where="w", error="e", traceback="t\nb")).level is Level.ERROR
    assert describe(ConfigurationChanged(at=1.0, digest="d", changed=(), errors=("bad",))).level is Level.ERROR
    assert describe(ConfigurationChanged(at=1.0, digest="d", changed=("x",), errors=())).level is Level.INFO
