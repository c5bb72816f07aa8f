"""If one of these fails, what is stored as JSON cannot be stored, or says something else when it is read."""

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.storage import from_json, to_json

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(PLAIN)
def test_what_is_read_back_is_what_was_written_and_all_of_it_is_ascii(values):
    text = to_json(values)
    assert json.loads(text) == values
    assert from_json(text) == values
    assert text.isascii()
    assert "\n" not in text


@pytest.mark.parametrize("text", ["\ud800", "prüfung", "\U0001f600", "\x00\x1f"])
def test_what_clients_send_beyond_plain_text_is_written_as_the_standard_library_writes_it(text):
    assert to_json([text]) == json.dumps([text], separators=(",", ":"))


@pytest.mark.parametrize("values", [("a", ("b", 1)), [1, 2.5, True, None, "x"], {"kind": ("x",)}, 2**70, -(2**63)])
def test_tuples_are_lists_and_nothing_is_written_with_white_space(values: Iterable[object]):
    assert to_json(values) == json.dumps(values, separators=(",", ":"))


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_a_number_that_json_does_not_know_comes_back_as_that_number_and_not_as_none(number: float):
    [read] = from_json(to_json([number]))
    assert repr(read) == repr(number)


@pytest.mark.parametrize("text", ["", "[1", "nope", '["\\ud8"]'])
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"line \d+ column \d+"):
        from_json(text)
