"""Which rules fire, in order: stop, moments, what is off, recipients by themselves, and limits of time and size."""

import asyncio
import gc
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rule_mails import CHINESE, ENGLISH, MAILS, RECEIVED_UTC, Sent, before_content, recipient, transaction

from gateway.clock import FakeClock, Stamp
from gateway.mail.content import Content
from gateway.policy.finding import Finding
from gateway.policy.rule import Clause, RuleLayer
from gateway.rules import parts
from gateway.rules.facts import MailFacts, results_of
from gateway.rules.group import compile_layer
from gateway.rules.judging import MAX_EVIDENCE_CHARACTERS, RuleSet, judge, judged
from gateway.rules.moment import Moment
from gateway.rules.nodes import compile_condition
from gateway.rules.pace import BUDGET_SECONDS, LOOP_SECONDS
from tests.rules.conftest import group


def names(outcome):
    return [fired.rule.name for fired in outcome.fired]


def facts(octets=ENGLISH, results=None, **sent):
    return MailFacts(transaction(octets, Sent(**sent)), results or {}, FakeClock(RECEIVED_UTC))


def rule(name, when, more="score = 1.0"):
    return f'[[rule]]\nname = "{name}"\nwhen = {{ {when} }}\n{more}\n'


STOP = "score = 1.0\nstop = true"
ALLOW = 'action = "accept"\nstop = true'


def test_rules_fire_in_order_and_stop_ends_them():
    first = group(
        rule("a", "size = { '>' = 1 }")
        + rule("b", "subject = { contains = 'cheap' }", STOP)
        + rule("c", "size = { '>' = 1 }")
    )
    second = group(rule("d", "size = { '>' = 1 }"))
    outcome = judge(RuleSet((first, second)), facts(), Moment.RESULTS)
    assert names(outcome) == ["a", "b"]
    assert outcome.stopped


def test_a_rule_that_is_off_disabled_or_expired_neither_fires_nor_stops():
    toml = (
        rule("off", "size = { '>' = 1 }", STOP)
        + rule("disabled", "size = { '>' = 1 }", STOP + "\nenabled = false")
        + rule("expired", "size = { '>' = 1 }", STOP + "\nexpires = 2026-11-23")
        + rule("not yet", "size = { '>' = 1 }", "score = 1.0\nexpires = 2026-11-24")
    )
    outcome = judge(RuleSet((group(toml),), frozenset({"off"})), facts(), Moment.RESULTS)
    assert names(outcome) == ["not yet"]


def test_at_rcpt_only_what_is_known_is_judged():
    rules = RuleSet((group(rule("content", "subject = 'x'") + rule("client", "helo = 'mail.sender.example'")),))
    at_rcpt = MailFacts(before_content(transaction(ENGLISH)), {}, FakeClock())
    assert names(judge(rules, at_rcpt, Moment.ENVELOPE)) == ["client"]


def test_not_on_content_waits_for_the_content():
    rules = RuleSet((group(rule("a", "not = { subject = 'x' }")),))
    at_rcpt = MailFacts(before_content(transaction(ENGLISH)), {}, FakeClock())
    assert names(judge(rules, at_rcpt, Moment.ENVELOPE)) == []
    assert names(judge(rules, facts(), Moment.CONTENT)) == ["a"]


@pytest.mark.parametrize("more", [STOP, ALLOW])
def test_nothing_fires_behind_a_stop_that_is_not_known_yet(more):
    toml = rule("later", "dkim = 'pass'", more) + rule("client", "helo = 'mail.sender.example'", 'action = "reject"')
    rules = RuleSet((group(toml), group(rule("other", "size = { '>' = 1 }"))))
    assert names(judge(rules, facts(), Moment.CONTENT)) == []
    assert names(judge(rules, facts(), Moment.RESULTS)) == ["client", "other"]
    assert names(judge(rules, facts(results={"dkim": ("pass",)}), Moment.RESULTS)) == ["later"]
    # Switched off it holds nothing up.
    off = RuleSet(rules.groups, frozenset({"later"}))
    assert names(judge(off, facts(), Moment.CONTENT)) == ["client", "other"]


def test_a_group_says_what_it_needs():
    made = group(
        rule("a", "helo = 'x'")
        + rule("b", "text = { contains = 'xyz' }, recipient = 'a@b.example'")
        + rule("c", "dnsbl.zen.example = true, filter.helo = 'bare-ip', spf = 'fail'")
    )
    assert [made.moment_of(each) for each in made.layer.rules] == [Moment.ENVELOPE, Moment.CONTENT, Moment.RESULTS]
    assert made.results == {"dnsbl", "helo", "spf"}
    assert made.per_recipient
    assert not group(rule("a", "helo = 'x'")).per_recipient
    # An allow rule by the author asks for DMARC.
    assert group(rule("a", "from_domain = 'x.example'", ALLOW)).results == {"dmarc"}


def test_three_recipients_under_three_policies_get_three_outcomes():
    shared = group(rule("invoices", "subject = { contains = 'invoice' }", "score = 3.0"))
    sales = group(rule("sales want them", "subject = { contains = 'invoice' }", "score = -5.0"), "sales")
    boss = group(rule("boss", "recipient = 'boss@example.com', text = { word = 'buy' }", 'action = "reject"'), "boss")
    three = ("anna@example.com", "sales@example.com", "boss@example.com")
    all_of_them = facts(recipients=three)
    sets = [RuleSet((shared,)), RuleSet((shared, sales)), RuleSet((shared, boss), frozenset({"invoices"}))]
    outcomes = [
        judge(rules, all_of_them.about(recipient(address)), Moment.RESULTS)
        for rules, address in zip(sets, three, strict=True)
    ]
    assert [names(outcome) for outcome in outcomes] == [["invoices"], ["invoices", "sales want them"], ["boss"]]
    assert names(judge(sets[2], all_of_them.about(recipient("anna@example.com")), Moment.RESULTS)) == []


def test_siblings_share_what_was_decoded_and_nothing_else():
    one = facts(recipients=("a@example.com", "b@example.com"))
    other = one.about(recipient("b@example.com")).knowing({"spf": ("pass",)})
    assert one.values("text")[0] is other.values("text")[0]
    assert [value.shown for value in other.values("recipient")] == ["b@example.com"]
    assert one.values("spf") == ()
    assert [value.shown for value in other.values("spf")] == ["pass"]


def test_results_are_asked_by_filter_and_list():
    findings = [
        Finding("spf", "fail"),
        Finding("dnsbl", "listed", "", (("zone", "zen.Example"), ("code", "127.0.0.2"))),
        Finding("dnsbl", "listed", "", (("zone", "other.example"), ("code", "127.0.0.9"))),
    ]
    assert results_of(findings) == {
        "spf": ("fail",),
        "dnsbl": ("listed",),
        "dnsbl.zen.example": ("listed", "127.0.0.2"),
        "dnsbl.other.example": ("listed", "127.0.0.9"),
    }


def test_an_allow_rule_by_author_needs_an_aligned_pass():
    friends = rule("friends", "from_domain = '.sender.example'", ALLOW)
    assert names(judge(RuleSet((group(friends),)), facts(), Moment.RESULTS)) == []
    assert names(judge(RuleSet((group(friends),)), facts(results={"dmarc": ("fail",)}), Moment.RESULTS)) == []
    assert names(judge(RuleSet((group(friends),)), facts(results={"dmarc": ("pass",)}), Moment.RESULTS)) == ["friends"]
    trusting = RuleSet((group(friends + "unauthenticated = true\n"),))
    assert names(judge(trusting, facts(), Moment.RESULTS)) == ["friends"]
    # A score in favour is no allow list.
    bonus = RuleSet((group(rule("bonus", "from_domain = '.sender.example'", "score = -2.0")),))
    assert names(judge(bonus, facts(), Moment.CONTENT)) == ["bonus"]


def test_an_allow_rule_by_author_is_not_fooled_through_any_and_all():
    by_author = "{ all = [{ from = 'anna@sub.sender.example' }, { size = { '>' = 1 } }] }"
    when = f"any = [{{ client_ip = '203.0.113.1' }}, {by_author}]"
    rules = RuleSet((group(rule("a", when, ALLOW)),))
    assert names(judge(rules, facts(), Moment.RESULTS)) == []
    assert names(judge(rules, facts(client_ip="203.0.113.1"), Moment.RESULTS)) == ["a"]
    assert names(judge(rules, facts(results={"dmarc": ("pass",)}), Moment.RESULTS)) == ["a"]


def test_an_allow_rule_by_reverse_path_needs_spf():
    rules = RuleSet((group(rule("a", "reverse_path = '@sub.sender.example'", ALLOW)),))
    assert names(judge(rules, facts(), Moment.RESULTS)) == []
    assert names(judge(rules, facts(results={"spf": ("pass",)}), Moment.RESULTS)) == ["a"]


def test_an_allow_rule_is_not_fooled_through_two_nots():
    when = "not = { not = { from_domain = '.sender.example' } }"
    rules = RuleSet((group(rule("a", when, ALLOW)),))
    assert names(judge(rules, facts(), Moment.RESULTS)) == []
    assert names(judge(rules, facts(results={"dmarc": ("pass",)}), Moment.RESULTS)) == ["a"]


@pytest.mark.parametrize("asked", ["helo = 'mail.sender.example'", "helo = { starts = 'mail.', ends = '.example' }"])
def test_an_allow_rule_by_helo_needs_the_clients_name(asked):
    # Anybody can say any name in EHLO.
    rules = RuleSet((group(rule("a", asked, ALLOW)),))
    assert names(judge(rules, facts(), Moment.ENVELOPE)) == []
    assert names(judge(rules, facts(client_name="host.dialup.example"), Moment.ENVELOPE)) == []
    assert names(judge(rules, facts(client_name="mail.sender.example"), Moment.ENVELOPE)) == ["a"]
    trusting = RuleSet((group(rule("a", asked, ALLOW) + "unauthenticated = true\n"),))
    assert names(judge(trusting, facts(), Moment.ENVELOPE)) == ["a"]


def test_evidence_is_short_and_tells_the_place():
    rules = RuleSet((group(rule("a", "text = { matches = '(?s)Buy.*' }, from_domain = 'other.example'")),))
    fired = judge(rules, facts(ENGLISH + b"long " * 100), Moment.RESULTS).fired[0]
    assert {evidence.subject for evidence in fired.evidence} == {"text", "from_domain"}
    text = next(evidence for evidence in fired.evidence if evidence.subject == "text")
    assert text.text.startswith("Buy now. The meeting is")
    assert len(text.text) == MAX_EVIDENCE_CHARACTERS
    assert text.place == "body, character 1"


class SlowClock(FakeClock):
    """Every look at it costs a second."""

    def monotonic(self):
        self.advance(1.0)
        return super().monotonic()


def test_a_message_that_had_its_time_is_temperror_with_what_fired_before():
    toml = rule("early", "helo = 'mail.sender.example'") + rule("late", "not = { text = { contains = 'xyz' } }")
    mail = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\ntext\r\n" * 20
    slow = MailFacts(transaction(mail), {}, SlowClock())
    outcome = judge(RuleSet((group(toml),)), slow, Moment.RESULTS)
    assert names(outcome) == ["early"]
    assert outcome.temperror == f"not judged within {BUDGET_SECONDS:g} s"
    assert not outcome.stopped


def test_waiting_for_filters_is_no_time_of_the_rules():
    rules = RuleSet((group(rule("a", "text = { contains = 'buy now' }") + rule("b", "spf = 'fail', html = false")),))
    clock = FakeClock(RECEIVED_UTC)
    early = MailFacts(transaction(ENGLISH), {}, clock)
    assert names(judge(rules, early, Moment.CONTENT)) == ["a"]
    clock.advance(100 * BUDGET_SECONDS)
    assert names(judge(rules, early.knowing({"spf": ("fail",)}), Moment.RESULTS)) == ["a", "b"]


def test_a_message_that_had_its_time_gets_no_more():
    rules = RuleSet((group(rule("a", "not = { text = { contains = 'xyz' } }")),))
    mail = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\ntext\r\n" * 20
    slow = MailFacts(transaction(mail), {}, SlowClock())
    assert judge(rules, slow, Moment.CONTENT).temperror
    assert judge(rules, slow.knowing({}), Moment.RESULTS).temperror


async def test_many_messages_are_judged_beside_one_another():
    toml = "".join(rule(f"r{n}", f"text = {{ matches = 'needle {n}[^0-9]' }}") for n in range(50))
    rules = RuleSet((group(toml),))
    mails = [facts(b"\r\n" + b"hay " * 30_000 + b"needle %d." % n) for n in range(50)]
    outcomes = await asyncio.gather(*(judged([rules], mail, Moment.RESULTS) for mail in mails))
    assert [names(outcome) for (outcome,) in outcomes] == [[f"r{n}"] for n in range(50)]


def test_a_content_that_cannot_be_read_is_temperror(tmp_path):
    gone = Content(path=tmp_path / "gone", size=100_000)
    outcome = judge(RuleSet((group(rule("a", "text = { contains = 'xyz' }")),)), facts(gone), Moment.RESULTS)
    assert "cannot be read" in outcome.temperror


async def test_large_and_small_messages_are_judged_alike(monkeypatch):
    rules = RuleSet((group(rule("a", "text = { contains = 'needle' }")),))
    for size in (100, 300_000):
        mail = facts(b"Subject: x\r\n\r\n" + b"hay " * (size // 4) + b"needle\r\n")
        assert mail.is_light is (size == 100)
        outcomes = await judged([rules, RuleSet(())], mail, Moment.RESULTS)
        assert [names(outcome) for outcome in outcomes] == [["a"], []]


@pytest.mark.parametrize(("pattern", "leaves"), [("needle.{0,9}", False), ("((a{1,9}){1,9}){1,9}zneedle", True)])
async def test_a_search_that_may_take_long_leaves_the_loop(pattern, leaves, monkeypatch):
    threads = []

    async def to_thread(function, *arguments):
        threads.append(function)
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    rules = RuleSet((group(rule("first", "size = { '>' = 1 }") + rule("a", f"text = {{ matches = '{pattern}' }}")),))
    mail = facts(b"\r\n" + b"a" * 8_000 + b"zneedle")
    assert mail.is_light
    (outcome,) = await judged([rules], mail, Moment.RESULTS)
    assert names(outcome) == ["first", "a"]
    assert outcome.temperror == ""
    assert bool(threads) is leaves


async def test_a_message_that_takes_long_on_the_loop_goes_on_in_a_thread():
    class Slow(FakeClock):
        def monotonic(self):
            self.advance(LOOP_SECONDS / 3)
            return super().monotonic()

    toml = "".join(rule(f"r{n}", "not = { subject = 'x' }") for n in range(20))
    mail = MailFacts(transaction(ENGLISH), {}, Slow(RECEIVED_UTC))
    (outcome,) = await judged([RuleSet((group(toml),))], mail, Moment.RESULTS)
    assert len(outcome.fired) == 20
    assert outcome.temperror == ""


def test_a_small_message_of_many_parts_leaves_the_loop():
    assert facts(CHINESE).is_light
    assert not facts(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 1000).is_light


def test_a_bound_that_was_reached_is_told(monkeypatch):
    monkeypatch.setattr(parts, "MAX_TEXT_OCTETS", 1024)
    rules = RuleSet((group(rule("a", "text = { contains = 'needle' }")),))
    outcome = judge(rules, facts(b"\r\n" + b"hay " * 1000 + b"needle"), Moment.RESULTS)
    assert names(outcome) == []
    assert outcome.limits == ("text: the first 1 KiB were looked at",)
    assert judge(rules, facts(b"\r\nneedle"), Moment.RESULTS).limits == ()


def test_nothing_is_decoded_that_no_rule_asks_for(monkeypatch):
    def never(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(parts, "decode", never)
    toml = rule("a", "subject = { contains = '发票' }, text = { contains = 'x' }") + rule(
        "b", "helo = 'x', body = { word = 'y' }"
    )
    toml += rule("c", "attachment = { extension = 'vbs', size = { '>' = 1 } }")
    assert names(judge(RuleSet((group(toml),)), facts(), Moment.RESULTS)) == []


def test_judging_leaves_no_reference_cycles():
    toml = rule("a", "text = { contains = '发票' }, attachment = { extension = 'exe', size = { '>' = 1 } }")
    rules = RuleSet(
        (group(toml + rule("b", "url_domain = 'x.example'") + rule("c", "not = { html = { matches = 'zz' } }")),)
    )
    judge(rules, facts(CHINESE), Moment.RESULTS)
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            judge(rules, facts(CHINESE), Moment.RESULTS)
        assert gc.collect() == 0
    finally:
        gc.enable()


WORDS = st.sampled_from(["cheap", "invoice", "发票", "代开", "monday", "meeting", "buy", "zzz", "张", "fapiao", "vpn"])
DOMAINS = st.sampled_from(
    ["sender.example", ".sender.example", "other.example", "例子.中国", "fapiao.example", "zzz.example"]
)
CLAUSES = st.one_of(
    st.builds(
        lambda s, o, v: {s: {o: v}},
        st.sampled_from(["subject", "text", "body", "html", "from_name"]),
        st.sampled_from(["contains", "word", "starts", "ends", "is", "similar_to"]),
        st.lists(WORDS, min_size=1, max_size=3),
    ),
    st.builds(
        lambda s, a, b: {s: {"matches": f"(?i){a}.{{0,9}}(?:{b}|x)"}},
        st.sampled_from(["subject", "text"]),
        WORDS,
        WORDS,
    ),
    st.builds(
        lambda s, v: {s: v},
        st.sampled_from(["from_domain", "url_domain", "helo"]),
        st.lists(DOMAINS, min_size=1, max_size=2),
    ),
    st.builds(lambda n: {"size": {">": n}}, st.sampled_from([10, 1000, 100_000])),
    st.builds(
        lambda e, n: {"attachment": {"extension": e, "size": {">": n}}},
        st.sampled_from(["exe", "zip", "x"]),
        st.sampled_from([10, 310]),
    ),
)
CONDITIONS = st.recursive(
    CLAUSES,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"any": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"all": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"not": part}, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(whens=st.lists(CONDITIONS, min_size=1, max_size=12), mail=st.sampled_from(sorted(MAILS)))
def test_the_index_hides_no_rule(whens, mail, reading):
    found = reading([{"name": f"rule {n}", "score": 1.0, "when": when} for n, when in enumerate(whens)])
    assert found.complaints == ()
    indexed = judge(
        RuleSet((compile_layer(RuleLayer(source="x", rules=found.rules)),)), facts(MAILS[mail]), Moment.RESULTS
    )
    alone = facts(MAILS[mail])
    assert names(indexed) == [each.name for each in found.rules if compile_condition(each.when).holds(alone)]


def test_large_lists_are_looked_up_and_not_indexed():
    rules = group('[[rule]]\nname = "a"\nscore = 1.0\nwhen = { helo = ["mail.sender.example"] }\n')
    clause = rules.rules[0].node.clause
    assert rules.rules[0].node.anchor is not None
    many = replace(clause, values=tuple(f"host{n}.example" for n in range(5000)) + clause.values)
    node = compile_condition(Clause(subject=many.subject, operator="in_list", values=many.values))
    assert node.anchor is None
    assert node.holds(facts())


def test_expiry_is_by_the_clock_of_the_judging():
    rules = RuleSet((group(rule("a", "size = { '>' = 1 }", "score = 1.0\nexpires = 2026-11-23T14:30:01Z")),))
    clock = FakeClock(RECEIVED_UTC)
    assert clock.stamp() == Stamp(RECEIVED_UTC, 1000.0)
    assert names(judge(rules, MailFacts(transaction(ENGLISH), {}, clock), Moment.RESULTS)) == ["a"]
    clock.advance(2)
    assert names(judge(rules, MailFacts(transaction(ENGLISH), {}, clock), Moment.RESULTS)) == []
