"""Scripts and look-alikes: a name in another alphabet's letters must not pass for the one it imitates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.text import confusable, scripts


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hello, world 123", {"Latin"}),
        ("代开发票", {"Han"}),
        ("ご案内のお知らせ", {"Hiragana", "Han"}),
        ("カタカナ", {"Katakana"}),
        ("안녕하세요", {"Hangul"}),
        ("Привет, world", {"Cyrillic", "Latin"}),
        ("Καλημέρα", {"Greek"}),
        ("שלום", {"Hebrew"}),
        ("مرحبا", {"Arabic"}),
        ("สวัสดี", {"Thai"}),
        ("नमस्ते", {"Devanagari"}),
        ("ㄅㄆ", {"Bopomofo"}),
        ("12345 .,!？。★😀\u0301", set()),
        ("", set()),
        ("\U00020000", {"Han"}),
    ],
)
def test_scripts(text: str, found: set[str]):
    assert scripts.of(text) == found
    assert set(scripts.shares(text)) == found


def test_shares_are_of_letters_largest_first():
    assert list(scripts.shares("你好a 123").items()) == [("Han", pytest.approx(2 / 3)), ("Latin", pytest.approx(1 / 3))]


@pytest.mark.parametrize(
    ("imitation", "name"),
    [
        ("PaypaI", "PayPal"),
        ("раураl", "paypal"),
        ("Micr0soft", "Microsoft"),
        ("rnicrosoft", "microsoft"),
        ("Ａｄｍｉｎ", "admin"),
        ("Bαnk οf Chinа", "Bank of China"),
        ("аррӏе", "apple"),
        ("gооgle", "google"),
        ("𝐆𝐨𝐨𝐠𝐥𝐞", "google"),
        ("ɢoogle", "google"),
        ("Müller", "Muller"),
        ("fаcebооk.com", "facebook.com"),
        ("vvikipedia", "wikipedia"),
        ("Zoo\u200bm", "Zoom"),
        ("ЅАР", "SAP"),
    ],
)
def test_look_alikes_have_one_skeleton(imitation: str, name: str):
    assert confusable.skeleton(imitation) == confusable.skeleton(name)
    assert confusable.similar(imitation, name, 0)


@pytest.mark.parametrize(
    ("a", "b", "least"),
    [
        ("same", "same", 0),
        ("example.com", "exmaple.com", 1),
        ("example.com", "examples.com", 1),
        ("example.com", "exampIes.com", 1),
        ("张伟", "张玮", 1),
        ("张伟", "李娜", 2),
        ("kitten", "sitting", 3),
    ],
)
def test_edits(a: str, b: str, least: int):
    assert [confusable.similar(a, b, distance) for distance in (least - 1, least)] == [False, True]
    assert [confusable.similar(b, a, distance) for distance in (least - 1, least)] == [False, True]


@given(st.text(), st.text())
def test_any_texts(a: str, b: str):
    assert isinstance(scripts.of(a), frozenset)
    assert confusable.similar(a, b, 2) == confusable.similar(b, a, 2)
    assert confusable.similar(a, a, 0)
