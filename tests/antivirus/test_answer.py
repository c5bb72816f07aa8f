"""If one of these fails, something that is no answer may be taken for clean."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.antivirus.answer import MAX_ANSWER_OCTETS, AnswerReader, GarbageError, read_verdict, read_version
from gateway.antivirus.result import Cause, Outcome, found, temperror, worst


@pytest.mark.parametrize(
    "text",
    [
        "stream: OK ",
        " stream: OK",
        "stream:OK",
        "stream: ok",
        "STREAM: OK",
        "stream: OK\r",
        "stream: OK\n",
        "stream: OK.",
        "fd[10]: OK",
        "1: stream: OK",
        "OK",
        "",
        "stream:  FOUND",
        "stream: FOUND",
        "INSTREAM: OK",
        "stream: OK stream: OK",
    ],
)
def test_only_the_exact_word_is_clean(text):
    result = read_verdict(text)
    assert result.outcome is Outcome.TEMPERROR
    assert result.cause is Cause.GARBAGE


@given(st.text(max_size=60))
def test_nothing_but_the_exact_word_is_ever_clean(text):
    assert read_verdict(text).clean == (text == "stream: OK")


def test_clamds_words_are_understood():
    assert read_verdict("stream: OK").clean
    assert read_verdict("stream: Win.Test.EICAR_HDB-1 FOUND").name == "Win.Test.EICAR_HDB-1"
    assert read_verdict("stream: A b(44d8:68) FOUND").outcome is Outcome.INFECTED
    assert read_verdict("INSTREAM size limit exceeded. ERROR").cause is Cause.SIZE_LIMIT
    assert read_verdict("stream: Can't allocate memory ERROR").cause is Cause.ERROR


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("Heuristics.Encrypted.Zip", Outcome.ENCRYPTED),
        ("Heuristics.Limits.Exceeded.MaxRecursion", Outcome.UNSCANNABLE),
        ("Heuristics.OLE2.ContainsMacros.VBA", Outcome.MACROS),
        ("Heuristics.Phishing.Email.SpoofedDomain", Outcome.INFECTED),
        ("Eicar-Test-Signature.UNOFFICIAL", Outcome.INFECTED),
    ],
)
def test_what_clamd_reports_beside_viruses_has_a_word_of_its_own(name, outcome):
    assert found(name).outcome is outcome


def test_a_version_is_no_error_and_no_verdict():
    assert read_version("ClamAV 1.4.6/27100/Mon Jun  1 08:00:00 2026").startswith("ClamAV")
    for text in ("UNKNOWN COMMAND", "COMMAND READ TIMED OUT ERROR", "stream: OK"):
        with pytest.raises(GarbageError):
            read_version(text)


def answers(texts):
    return b"".join(b"%d: %s\0" % (number, text) for number, text in texts)


@given(
    st.permutations([(1, b"V"), (2, b"stream: OK"), (3, b"stream: X FOUND"), (4, b"V")]),
    st.lists(st.integers(0, 60), max_size=8),
)
def test_answers_come_in_any_order_and_in_any_pieces(texts, cuts):
    octets = answers(texts)
    reader = AnswerReader(4)
    edges = [0, *sorted(min(c, len(octets)) for c in cuts), len(octets)]
    for start, end in pairwise(edges):
        assert not reader.complete or start == len(octets)
        reader.feed(octets[start:end])
    assert reader.complete
    assert reader.answers == {number: text.decode() for number, text in texts}


@given(st.binary(max_size=200))
def test_no_octets_make_the_reader_raise_anything_else_or_complete_by_chance(octets):
    reader = AnswerReader(3)
    try:
        reader.feed(octets)
    except GarbageError:
        return
    assert set(reader.answers) <= {1, 2, 3}
    for number, text in reader.answers.items():
        assert b"%d: %s\0" % (number, text.encode()) in octets


@pytest.mark.parametrize(
    "octets",
    [
        b"stream: OK\0",
        b"0: stream: OK\0",
        b"01: stream: OK\0",
        b"-1: stream: OK\0",
        b"9: stream: OK\0",
        b"1: stream: OK\x001: stream: OK\0",
        b"1:stream: OK\0",
        b"1: \0",
        b"\0",
        b"1: str\xe9am\0",
        b"x" * (MAX_ANSWER_OCTETS + 1),
        b"1: " + b"x" * MAX_ANSWER_OCTETS + b"\0",
    ],
)
def test_an_answer_that_was_not_asked_for_spoils_the_session(octets):
    with pytest.raises(GarbageError):
        AnswerReader(2).feed(octets)


def test_more_than_was_asked_for_spoils_the_session():
    with pytest.raises(GarbageError):
        AnswerReader(1).feed(b"1: V\0stream")


def test_without_its_nul_an_answer_is_not_there():
    reader = AnswerReader(1)
    reader.feed(b"1: stream: OK")
    assert not reader.complete


def test_a_message_is_what_its_worst_piece_is():
    clean, macros = read_verdict("stream: OK"), found("Heuristics.OLE2.ContainsMacros")
    unknown = temperror(Cause.TIMEOUT, "late")
    assert worst([clean, macros]).outcome is Outcome.MACROS
    assert worst([clean, macros, unknown]).outcome is Outcome.TEMPERROR
    assert worst([unknown, found("X"), clean]).name == "X"
    assert worst([]).outcome is Outcome.TEMPERROR
