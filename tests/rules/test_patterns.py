"""The index never hides a match, and no pattern that can match is called impossible: RE2 is asked about both."""

import sys
import unicodedata

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.mail.text import normal
from gateway.rules.atoms import atoms, usable
from gateway.rules.emptiness import never_matches
from gateway.rules.patterns import Pattern, PatternError
from gateway.rules.soundness import as_shown
from gateway.rules.syntax import inverted, merged, parse

LETTERS = "abcABCßſKσς代开发票中ǰİ.-3 "
PIECES = st.sampled_from(
    [
        *LETTERS,
        "代开",
        "发票",
        "abc",
        ".",
        ".*",
        ".{0,4}",
        "a+",
        "b?",
        "(?:ab|BC)",
        "[ab]",
        "[^a]",
        "(?i)",
        "(?i:aB)",
        r"\d",
        r"\s",
        r"\.",
        r"\b",
        r"\B",
        "^",
        "$",
        "|",
        "(",
        ")",
        "{2}",
        "{0,2}",
        r"\x61",
        r"\Qa.b\E",
        r"\pL",
        "[[:alpha:]]",
    ]
)
PATTERNS = st.lists(PIECES, min_size=1, max_size=8).map("".join)
TEXTS = st.lists(st.sampled_from([*LETTERS, "代开", "发票", "abc", "aBc", "\n"]), max_size=12).map("".join)


def sound(source: str) -> Pattern:
    try:
        return Pattern(source).compiled()
    except PatternError:
        assume(False)
        raise


@settings(max_examples=600)
@given(PATTERNS, TEXTS)
def test_every_matching_text_has_an_atom(source, text):
    pattern = sound(source)
    shown = normal.shown(text)
    needed = atoms(source)
    if needed is not None and usable(needed) and pattern.search(shown.encode()) is not None:
        assert any(atom in shown.casefold() for atom in needed)


@settings(max_examples=600)
@given(PATTERNS, TEXTS)
def test_what_matches_is_not_called_impossible(source, text):
    pattern = sound(source)
    if pattern.search(text.encode()) is not None:
        assert not never_matches(source)
    if pattern.search(normal.shown(text).encode()) is not None:
        assert not never_matches(source, shown=True)


def test_folding_agrees_with_re2_wherever_one_character_folds_to_one():
    # Under (?i) a character's atom is its fold: every character that RE2 takes for it must fold alike.
    cased = [c for c in map(chr, range(sys.maxunicode)) if c.casefold() != c or c.upper() != c or c.lower() != c]
    cased = [c for c in cased if unicodedata.category(c) != "Cs"]
    together = "".join(cased).encode()
    for character in cased:
        if len(character.casefold()) != 1:
            continue
        at = 0
        pattern = Pattern(f"(?i)\\x{{{ord(character):x}}}")
        while found := pattern.search(together[at:]):
            match = together[at + found[0] : at + found[1]].decode()
            assert match.casefold() == character.casefold(), (character, match)
            at += found[1]


@given(
    st.sampled_from(["needle", "^a", "b$", r"\bcd\b", "代开.{0,3}发票"]), st.text("abcd needle代开发票", max_size=200)
)
def test_a_long_text_in_pieces_has_the_matches_of_the_whole(source, text):
    octets = text.encode()
    whole = Pattern(source).search(octets)
    with pytest.MonkeyPatch.context() as patch:
        pieces = Pattern(source).compiled()
        # Some sixty octets a piece.
        patch.setattr("gateway.rules.patterns.MAX_STEPS", 60 * pieces._steps)
        assert pieces.search(octets) == whole


def test_atoms_are_the_strongest_text_there_is():
    assert atoms("代开.{0,4}发票") in (frozenset({"代开"}), frozenset({"发票"}))
    assert atoms("(?i)invoice.*discount") == {"discount"}
    assert atoms("[Cc]heap (pills|meds)") == {"cheap pills", "cheap meds"}
    assert atoms(r"(?:微信|qq群)\d{5}") == {"微信", "qq群"}
    assert atoms(r"\d{11}") is None
    assert atoms("(?:free|)") == {"free", ""} or not usable(atoms("(?:free|)") or frozenset())


def test_patterns_are_written_as_text_is_shown():
    assert as_shown("ＦＲＥＥ（发票）") == r"FREE\(发票\)"
    assert as_shown("[，。]x…") == r"[,。]x(?:\.\.\.)"
    assert as_shown(r"\(，\\，") == r"\(,\\,"
    assert as_shown("plain.*") == "plain.*"
    assert as_shown("cafe\u0301") == "caf\u00e9"


def test_sets_of_characters_are_inverted_whole():
    assert inverted(merged(((97, 98), (99, 100)))) == ((0, 96), (101, 0x10FFFF))
    assert inverted(((0, 0x10FFFF),)) == ()


def test_what_is_not_understood_is_left_alone():
    assert parse("(?<name>a)") is not None
    assert parse(r"\K") is None
    assert not never_matches(r"\K")
