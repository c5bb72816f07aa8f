"""Hyperscan only chooses: with it and without it, the same rules fire for the same reasons."""

import asyncio
import sys
from base64 import b64encode
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_mails import RECEIVED_UTC, transaction

from gateway.clock import FakeClock
from gateway.policy.rule import AllOf, AnyOf, Clause, Condition, NotOf, Rule, RuleLayer
from gateway.rules import acceleration
from gateway.rules.acceleration import accelerate
from gateway.rules.expression import expression
from gateway.rules.facts import MailFacts
from gateway.rules.group import RuleGroup, compile_layer
from gateway.rules.judging import Outcome, RuleSet, judge
from gateway.rules.moment import Moment
from gateway.rules.patterns import Pattern, PatternError
from gateway.rules.prefilter import MAX_OCTETS, Compiled, Prefilter

pytest.importorskip("hyperscan", reason="hyperscan is not installed: pip install 'tidegate[hyperscan]'")
prefilter_child = import_module("gateway.rules.prefilter_child")

# Characters whose classes and cases the two libraries see differently, and some that they do not.
LETTERS = "aAbkKsSzZ019 _.-,\t\n\v\r\u017f\u212aéÉßẞσςΣıİi中国发票元￥\u00a0\u2028Åå😀"

_SETS = st.one_of(
    st.sampled_from([r"\d", r"\D", r"\s", r"\S", r"\w", r"\W", ".", "[a-c]", "[^a-c]", "[k-s]", r"[^\d]", r"[^\s]"]),
    st.sampled_from(
        ["[^中]", "[中-龥]", "[a中]", r"\pL", r"\p{Han}", r"\PN", "[[:alpha:]]", "[[:^space:]]", r"[^\pL]"]
    ),
    st.sampled_from([r"[\d\s]", "[Σ-ω]", "(?s:.)", "(?-s:.)", r"[^\n]", r"\x{4e2d}", r"\x41", r"\101", r"\.", r"\t"]),
    st.sampled_from([r"\v", r"\Qa.\E"]),
)
_ATOMS = st.one_of(_SETS, st.sampled_from("akKsSé1_中国ßσı "))
_ASSERTIONS = st.sampled_from(
    ["^", "$", r"\b", r"\B", r"\A", r"\z", "(?m)^", "(?m)$", "(?m:$)", "(?i)", "(?s)", "(?U)"]
)
_COUNTS = st.sampled_from(["", "?", "*", "+", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "{0}", "{3,30}"])


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, _COUNTS).map(lambda pair: f"({pair[0]}){pair[1]}"),
        inner.map(lambda part: f"(?i:{part})"),
    )


def _accepted(source: str) -> bool:
    try:
        Pattern(source).compiled()
    except PatternError:
        return False
    return True


PATTERNS = st.recursive(
    st.one_of(st.tuples(_ATOMS, _COUNTS).map("".join), _ATOMS, _ASSERTIONS), _larger, max_leaves=8
).filter(_accepted)
TEXTS = st.one_of(st.text(LETTERS, max_size=40), st.text(max_size=20).filter(lambda text: text.isprintable()))


def compiled(sources: Iterable[str]) -> Prefilter | None:
    """Do what the child does, here."""
    written = {
        source: wanted
        for source in sources
        if (wanted := expression(source, edges=Pattern(source).compiled().reach >= MAX_OCTETS)) is not None
    }
    names = list(written)
    frames = prefilter_child.compiled(list(written.values()), range(len(names))) if names else ()
    found = [
        Compiled(octets, {number: names[number] for number in head["taken"]})  # type: ignore[attr-defined]
        for head, octets in frames
        if octets
    ]
    return Prefilter(found) if found else None


@settings(max_examples=120)
@given(st.lists(PATTERNS, min_size=1, max_size=6, unique=True), st.lists(TEXTS, min_size=1, max_size=6))
def test_what_re2_finds_is_among_what_hyperscan_names(sources: list[str], texts: list[str]):
    prefilter = compiled(sources)
    if prefilter is None:
        return
    for text in texts:
        octets = text.encode("utf-8", "replace")
        named = prefilter.candidates(octets)
        for source in prefilter.sources:
            assert source in named or Pattern(source).search(octets) is None


@pytest.mark.parametrize(
    ("source", "text"),
    [
        # RE2's \s has no vertical tab, PCRE's has.
        (r"^\S$", "\v"),
        (r"[^\s]{2}", "\v\v"),
        # PCRE's ^ is not behind the last line feed, and its \v is any vertical white space.
        (r"(?m)\n^", "a\n"),
        (r"[^\v]", "\n"),
        # Simple case folding beyond one alphabet.
        ("(?i)k", "\u212a"),
        ("(?i)[r-t]x", "\u017fX"),
        ("(?i)σ", "ς"),
        ("(?i)ẞ", "ß"),
        # Characters younger than PCRE's tables: Han of extension I, a letter of Vithkuqi.
        (r"\p{Han}", "\U0002ebf0"),
        (r"^\pL$", "\U00010570"),
        # Pieces of a character.
        (r"^\C\C\C$", "中"),
    ],
)
def test_where_the_languages_differ_nothing_is_missed(source: str, text: str):
    octets = text.encode()
    assert Pattern(source).search(octets) is not None
    prefilter = compiled([source])
    assert prefilter is None or source in prefilter.candidates(octets)


def _conditions() -> st.SearchStrategy[Condition]:
    clauses = st.builds(
        lambda subject, sources: Clause(subject=subject, operator="matches", values=tuple(sources)),
        st.sampled_from(["subject", "text"]),
        st.lists(PATTERNS, min_size=1, max_size=2),
    )
    plain = st.sampled_from(
        [
            Clause(subject="subject", operator="contains", values=("发票",)),
            Clause(subject="size", operator=">", values=(400.0,)),
        ]
    )
    return st.recursive(
        st.one_of(clauses, clauses, plain),
        lambda inner: st.one_of(
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: AllOf(tuple(parts))),
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
            inner.map(NotOf),
        ),
        max_leaves=4,
    )


def _rules(conditions: Sequence[Condition]) -> tuple[Rule, ...]:
    return tuple(Rule(name=f"rule {number}", when=when, score=1.0) for number, when in enumerate(conditions))


def _outcome(group: RuleGroup, mail: bytes) -> Outcome:
    return judge(RuleSet((group,)), MailFacts(transaction(mail), {}, FakeClock(RECEIVED_UTC)), Moment.RESULTS)


def _mail(subject: str, text: str) -> bytes:
    def encoded(words: str) -> bytes:
        return b64encode(words.encode("utf-8", "replace"))

    head = b"From: a@sender.example\r\nSubject: =?utf-8?B?%b?=\r\nContent-Type: text/plain; charset=utf-8\r\n"
    return head % encoded(subject) + b"Content-Transfer-Encoding: base64\r\n\r\n%b\r\n" % encoded(text)


@settings(max_examples=80)
@given(st.lists(_conditions(), min_size=1, max_size=6), TEXTS, TEXTS)
def test_the_same_rules_fire_with_hyperscan_and_without(conditions: list[Condition], subject: str, text: str):
    rules = _rules(conditions)
    plain, fast = (compile_layer(RuleLayer(source="x", rules=rules)) for _ in range(2))
    fast.use({name: made for name, sources in fast.without_text().items() if (made := compiled(sources)) is not None})
    mail = _mail(subject, text)
    assert _outcome(fast, mail) == _outcome(plain, mail)


NUMBERS = [f"[0-9]{{{count}}}" for count in range(3, 9)]


def _numbers() -> RuleGroup:
    whens = [Clause(subject="text", operator="matches", values=(source,)) for source in NUMBERS]
    return compile_layer(RuleLayer(source="x", rules=_rules(whens)))


def _tried(group: RuleGroup, mail: bytes) -> int:
    return len(group.candidates(MailFacts(transaction(mail), {}, FakeClock(RECEIVED_UTC)), Moment.RESULTS))


async def test_a_child_compiles_and_only_what_may_match_is_tried():
    group = _numbers()
    mail = _mail("x", "no number but 1234")
    before = _outcome(group, mail)
    assert _tried(group, mail) == 6
    found = await accelerate([group], at_least=2)
    assert (found.asked, found.taken, found.reasons) == (6, 6, ())
    assert _tried(group, mail) == 2
    assert _outcome(group, mail) == before
    assert len(before.fired) == 2


async def test_what_is_refused_stays_with_re2_and_is_told(monkeypatch):
    # As hyperscan sees it, the first can never match.
    monkeypatch.setattr(
        acceleration,
        "expression",
        lambda source, edges: r"a\Ab" if source == NUMBERS[0] else expression(source, edges=edges),
    )
    group = _numbers()
    found = await accelerate([group], at_least=2)
    assert (found.asked, found.taken) == (6, 5)
    assert "the others stay with RE2: refused, " in str(found)
    mail = _mail("x", "123")
    assert _tried(group, mail) == 1
    assert len(_outcome(group, mail).fired) == 1


async def test_a_pattern_that_tells_no_texts_apart_is_not_looked_for():
    whens = [Clause(subject="text", operator="matches", values=(source,)) for source in (*NUMBERS, "^[0-9]?$")]
    group = compile_layer(RuleLayer(source="x", rules=_rules(whens)))
    found = await accelerate([group], at_least=2)
    assert (found.asked, found.taken) == (7, 6)
    assert _tried(group, _mail("x", "1")) == 1
    assert len(_outcome(group, _mail("x", "1")).fired) == 1


async def test_without_time_or_with_few_patterns_nothing_changes():
    group = _numbers()
    late = await accelerate([group], at_least=2, seconds=0.0)
    few = await accelerate([group])
    assert (late.taken, few.taken) == (0, 0)
    assert "not compiled within" in str(late)
    assert "fewer than" in str(few)
    assert _tried(group, _mail("x", "nothing")) == 6


async def test_a_child_that_is_too_slow_is_ended(monkeypatch):
    ended = []
    real = acceleration._end

    async def end(child):
        await real(child)
        ended.append(child.returncode)

    async def converse(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(acceleration, "_end", end)
    monkeypatch.setattr(acceleration, "_converse", converse)
    group = _numbers()
    found = await accelerate([group], at_least=2, seconds=5.0)
    assert found.taken == 0
    assert ended == [-9]
    assert _tried(group, _mail("x", "nothing")) == 6


async def test_a_child_that_takes_too_much_processor_time_ends_itself_and_it_is_told(monkeypatch):
    monkeypatch.setattr(acceleration, "MAX_CPU_SECONDS", 1)
    wide = [f"(?:.{{{count},{count + 60}}}[0-9]){{3}}[a-z]" for count in range(60)]
    whens = [Clause(subject="text", operator="matches", values=(source,)) for source in wide]
    group = compile_layer(RuleLayer(source="x", rules=_rules(whens)))
    found = await accelerate([group])
    assert found.taken == 0
    assert "not compiled within 1 s of processor time" in str(found)
    assert _tried(group, _mail("x", "nothing")) == 60


async def test_the_compiler_has_its_limits_of_memory_and_processor_time():
    source = (
        "import resource as r, gateway.rules.prefilter_child as it; it.bound(7);"
        "print(*(r.getrlimit(which)[0] for which in (r.RLIMIT_AS, r.RLIMIT_CPU)))"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", source, stdout=asyncio.subprocess.PIPE)
    said, _ = await child.communicate()
    assert said.split() == [b"%d" % prefilter_child.MAX_OCTETS, b"7"]


def test_texts_too_long_to_be_searched_in_one_piece_are_left_to_re2():
    prefilter = compiled(NUMBERS)
    assert prefilter is not None
    assert prefilter.candidates(b"x" * MAX_OCTETS) == frozenset()
    assert prefilter.candidates(b"x" * (MAX_OCTETS + 1)) == frozenset(NUMBERS)


def test_every_thread_has_scratch_space_of_its_own():
    prefilter = compiled(NUMBERS)
    assert prefilter is not None
    octets = "年 12345 ".encode() * 4000
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(prefilter.candidates, [octets] * 40))
    assert found == {frozenset(NUMBERS[:3])}
