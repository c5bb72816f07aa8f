"""Two texts that look the same must be one string, or a zero-width space defeats every rule."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.mail.text.normal import folded, letters, shown


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("plain  text\r\n and\tmore ", "plain text and more"),
        # Zero-width characters, soft hyphen, word joiner, byte order mark, bidirectional controls, tags, fillers.
        ("vi\u200bag\u200cra\u200d", "viagra"),
        ("vi\u00adagra\u2060\ufeff", "viagra"),
        ("代\u200b开\u2063发\ufe0f票", "代开发票"),
        ("\u202eabc\u202c\u2066d\u2069", "abcd"),
        ("a\U000e0061\U000e007fb", "ab"),
        ("a\u3164b\u115fc\uffa0d", "abcd"),
        ("a\0b\x7fc", "abc"),
        # Full-width, half-width, mathematical, enclosed, compatibility forms (NFKC).
        ("ＦＲＥＥ　１００％", "FREE 100%"),
        ("ｶﾞｲﾄﾞ", "ガイド"),
        ("𝐅𝐫𝐞𝐞 ⓜⓞⓝⓔⓨ", "Free money"),
        ("㈱ﬁ①", "(株)fi1"),
        ("⼈⼝", "人口"),
        ("e\u0301", "é"),
        # Every white space is one.
        ("a\u00a0\u3000\u2003b", "a b"),
        # A wrapped line of Chinese or Japanese goes on without a space; a paragraph, a bullet and a Korean word end.
        ("代开\n发票", "代开发票"),
        ("代开\r\n发票\u200b\r\n请来电", "代开发票请来电"),
        ("代开\n\n发票", "代开 发票"),
        ("代开\nB\n发票", "代开 B 发票"),
        ("무료\n증정", "무료 증정"),
        ("", ""),
        (" \u200b ", ""),
    ],
)
def test_what_a_reader_sees(written: str, read: str):
    assert shown(written) == read


@pytest.mark.parametrize(
    ("written", "folds"),
    [
        ("ＶＩＡＧＲＡ", "viagra"),
        ("Straße", "strasse"),
        ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
        ("ПРИВЕТ", "привет"),
        ("代开发票", "代开发票"),
    ],
)
def test_case_is_folded(written: str, folds: str):
    assert folded(written) == folds


@pytest.mark.parametrize(
    "written", ["代 开 发 票", "代*开-发.票", "【代】开★发|票", "代\u200b开_发　票", "代,开,发,票"]
)
def test_letters_that_are_spaced_or_dotted_out_come_together(written: str):
    assert letters(written) == "代开发票"


def test_a_pile_of_marks_is_cut_where_stream_safe_text_ends():
    # UAX #15 §13: 30 non-starters.
    pile = "a" + "\u0316\u0301" * 200_000
    assert len(shown(pile)) <= 1 + 30
    assert shown("Ti\u1ebfng Vi\u1ec7t") == "Ti\u1ebfng Vi\u1ec7t"


def test_lines_of_symbols_are_kept():
    assert shown("★" * 100) == "★" * 100


@given(st.text())
@example("か\n\u3099")
@example("\u0344" * 16)
@example("\u2adc" + "\u0316" * 30)
@example("\u0958" + "\u0316" * 30)
@example("a" + "\u0316\u0301" * 40)
def test_normal_forms_are_idempotent_and_composed(text: str):
    for form in (shown, folded, letters):
        once = form(text)
        assert form(once) == once
    assert unicodedata.is_normalized("NFKC", shown(text))


@given(st.text(st.characters(max_codepoint=127)))
def test_the_short_way_of_ascii_agrees_with_the_long_one(text: str):
    long_way = "é " + text
    assert shown(long_way).removeprefix("é").strip() == shown(text)
