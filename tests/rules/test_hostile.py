"""Hostile mail neither stalls nor crashes the rules: every subject is asked of it, within the time that mail has.

Time is counted in looks at the clock and in work done, not in seconds: a bound that holds only on a fast machine is
none. pytest-timeout ends a test that stalls.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_mails import CHINESE, Sent, transaction

from gateway.clock import FakeClock, SystemClock
from gateway.rules.facts import MailFacts
from gateway.rules.judging import RuleSet, judge
from gateway.rules.moment import Moment
from gateway.rules.pace import BUDGET_SECONDS, TimeIsUpError
from gateway.rules.story import explain
from gateway.rules.subjects import OPTIONAL_PARAMETER, SUBJECTS
from tests.rules.conftest import group

EVERY_SUBJECT = [
    f"{name}.x-y" if subject.parameter and name not in OPTIONAL_PARAMETER else name
    for name, subject in SUBJECTS.items()
]
TOML = """
[[rule]]
name = "text"
score = 1.0
when = { any = [{ text = { matches = "(?i)needle.{0,9}x|发票" } }, { body = { word = "needle" } }, { html = { contains = "needle" } }] }
[[rule]]
name = "header"
score = 1.0
when = { any = [{ header.X-A = { matches = "n.edle" } }, { subject = { similar_to = "needle" } }, { from_name = { word = "needle" } }] }
[[rule]]
name = "parts"
score = 1.0
when = { any = [{ attachment = { name = { contains = "needle" }, size = { ">" = 1 } } }, { url_domain = "needle.example" }] }
[[rule]]
name = "not"
score = 1.0
when = { not = { text = { matches = '(?:a+)+b|[0-9]{3,9}z' } } }
"""  # noqa: E501 - conditions are easier to read on one line

MANY_HEADERS = b"X-A: needles\r\n" * 100_000 + b"Subject: =?utf-8?B?5Luj5byA?=\r\n\r\nhello\r\n"
LONG_LINE = b"Subject: x\r\n\r\n" + b"a" * (10 * 1024 * 1024)
LONG_HTML = b"Content-Type: text/html\r\n\r\n" + b"<div style='x'>" * 200_000
NESTED = b"".join(
    b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (depth, depth) for depth in range(5_000)
)
MANY_PARTS = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nneedle\r\n" * 5_000
MANY_FILES = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + (
    b"--b\r\nContent-Disposition: attachment; filename=needle.zip\r\n\r\nPK\3\4\r\n" * 5_000
)
MANY_LINKS = b"\r\n" + b"".join(b"http://a%d.example/ " % n for n in range(30_000))
MANY_AUTHORS = b"From: " + b"a@b.example, " * 60_000 + b"\r\n\r\nx"
WORDS = b"Subject: " + b"=?gb2312?B?tPq/qg==?= " * 20_000 + b"\r\n\r\nx"
BAD_CHARSETS = b"".join(
    b"--b\r\nContent-Type: text/plain; charset=%s\r\n\r\n\xff\xfe\x00\x81\x39\xe4\xbd\r\n" % charset
    for charset in (
        b"gb2312",
        b"utf-16",
        b"iso-2022-jp",
        b"punycode",
        b"idna",
        b"x" * 5000,
        b"\xff",
        b"utf-7",
        b"hz",
        b"",
    )
)
CHARSETS = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + BAD_CHARSETS + b"--b--\r\n"

HOSTILE = {
    "many headers": MANY_HEADERS,
    "long line": LONG_LINE,
    "long html": LONG_HTML,
    "nested": NESTED,
    "many parts": MANY_PARTS,
    "many files": MANY_FILES,
    "many links": MANY_LINKS,
    "many authors": MANY_AUTHORS,
    "many words": WORDS,
    "bad charsets": CHARSETS,
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_mail_is_judged_or_out_of_time(name):
    facts = MailFacts(transaction(HOSTILE[name]), {}, SystemClock())
    outcome = judge(RuleSet((group(TOML),)), facts, Moment.RESULTS)
    assert outcome.temperror or {fired.rule.name for fired in outcome.fired} <= {"text", "header", "parts", "not"}


@pytest.mark.parametrize("name", HOSTILE)
def test_every_subject_of_a_hostile_mail_has_values_or_none(name):
    facts = MailFacts(transaction(HOSTILE[name]), {}, FakeClock())
    for subject in EVERY_SUBJECT:
        assert isinstance(facts.values(subject), tuple)


@pytest.mark.parametrize(
    ("name", "subject", "limit"),
    [
        ("many headers", "header.x-a", "header x-a"),
        ("long line", "text", "text: the first 512 KiB"),
        ("nested", "text", "parts: not all were looked at (depth)"),
        ("many parts", "text", "text: the first"),
        ("many files", "attachment.name", "attachment: the first 200 of "),
        ("many links", "url", "url: of body the first"),
        ("many authors", "from", "header from"),
        ("many words", "subject", "header subject: the first 16 KiB"),
    ],
)
def test_what_was_not_looked_at_is_told(name, subject, limit):
    facts = MailFacts(transaction(HOSTILE[name]), {}, FakeClock())
    facts.values(subject)
    assert any(told.startswith(limit) for told in facts.limits), facts.limits


@pytest.mark.parametrize("name", ["many parts", "many files", "many authors", "many links", "nested"])
def test_the_time_is_looked_at_while_values_are_made(name):
    class Impatient(FakeClock):
        looks = 0

        def monotonic(self):
            self.looks += 1
            if self.looks > 4:
                self.advance(BUDGET_SECONDS + 1)
            return super().monotonic()

    clock = Impatient()
    facts = MailFacts(transaction(HOSTILE[name]), {}, clock)
    with pytest.raises(TimeIsUpError):
        list(map(facts.values, EVERY_SUBJECT))
    story = explain(RuleSet((group(TOML),)), facts)
    assert {each.outcome for each in story} == {"temperror"}


def test_hostile_patterns_take_linear_time_and_the_budget_at_most():
    # Each but the last would keep a backtracking matcher busy for longer than the universe has been there; the last
    # has more states than RE2 keeps, and takes it ten thousand times as long as an honest one.
    toml = "".join(
        f"[[rule]]\nname = 'r{n}'\nscore = 1.0\nwhen = {{ text = {{ matches = '{pattern}' }} }}\n"
        for n, pattern in enumerate(
            ["(x+x+)+y", "(a|aa)+c", "(.*.*.*.*)x1", "(?:a?){30}a{30}b", "((a{1,9}){1,9}){1,9}z"]
        )
    )
    facts = MailFacts(transaction(b"\r\n" + b"a" * 100_000), {}, SystemClock())
    outcome = judge(RuleSet((group(toml),)), facts, Moment.RESULTS)
    assert outcome.fired == ()
    assert outcome.temperror in {"", f"not judged within {BUDGET_SECONDS:g} s"}


RULES = group(TOML)


@settings(max_examples=150)
@given(st.data())
def test_no_mail_raises(data):
    mail = bytearray(CHINESE)
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(0, len(mail) - 1))
        mail[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=12))
    facts = MailFacts(transaction(bytes(mail), Sent(helo="\x00ÿ..")), {}, FakeClock())
    judge(RuleSet((RULES,)), facts, Moment.RESULTS)
    explain(RuleSet((RULES,)), facts)
    for subject in EVERY_SUBJECT:
        facts.values(subject)
