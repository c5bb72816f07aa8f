"""Journal rows are evidence.

What is stored must come back as it was, from any client's octets, by any later version.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.journal.codec import as_dict, decode, encode, event_classes
from gateway.journal.events import Event, RecipientRefused, StorageFailed

CLASSES = sorted(event_classes().values(), key=lambda cls: cls.kind)
FIELDS = Path(__file__).with_name("fields.txt")
README = Path(__file__).parents[2] / "gateway" / "journal" / "README.md"


def values(hint):
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        if inner[-1] is Ellipsis:
            return st.lists(values(inner[0]), max_size=3).map(tuple)
        return st.tuples(*map(values, inner))
    return {
        str: st.text(max_size=20),
        int: st.integers(0, 2**53),
        bool: st.booleans(),
        float: st.floats(allow_nan=False, allow_infinity=False),
    }[hint]


def events(cls):
    hints = get_type_hints(cls)
    return st.builds(cls, **{f.name: values(hints[f.name]) for f in fields(cls)})


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.kind)
@settings(max_examples=25)
@given(data=st.data())
def test_every_event_comes_back_as_it_was_stored(cls, data):
    event = data.draw(events(cls))
    assert decode(event.kind, event.at, event.trace_id, encode(event)) == event


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.kind)
def test_an_undocumented_event_or_field_fails(cls):
    section = README.read_text(encoding="utf-8").partition(f"| `{cls.kind}` |")[2].partition("\n")[0]
    assert section, f"gateway/journal/README.md has no row for {cls.kind}"
    missing = [f.name for f in fields(cls) if f.name not in {"at", "trace_id"} and f"`{f.name}`" not in section]
    assert not missing, f"gateway/journal/README.md does not tell what {cls.kind} keeps in {missing}"


def test_lone_surrogates_from_a_client_are_stored_as_ascii():
    event = StorageFailed(at=1.0, store="\ud800", operation="\x00", error="\N{GRINNING FACE}")
    text = encode(event)
    assert text.isascii()
    assert decode(event.kind, 1.0, "", text) == event


def test_what_an_older_version_did_not_store_takes_its_default():
    event = decode("recipient_refused", 5.0, "T", json.dumps(["192.0.2.1", "h", "", "a@b", "550", "r"]))
    assert isinstance(event, RecipientRefused)
    assert (event.reason, event.filter) == ("r", "")


def test_what_a_newer_version_appended_is_passed_over():
    event = decode("storage_failed", 5.0, "T", json.dumps(["s", "o", "e", {"new": 1}]))
    assert event == StorageFailed(at=5.0, trace_id="T", store="s", operation="o", error="e")


@pytest.mark.parametrize(
    ("kind", "data"),
    [("of_the_future", "[]"), ("storage_failed", '["s"]'), ("storage_failed", "{}"), ("storage_failed", "[broken")],
)
def test_what_this_version_cannot_read_is_none_and_never_raises(kind, data):
    assert decode(kind, 1.0, "", data) is None


def test_stored_fields_are_only_ever_appended():
    promised = dict(line.split(": ") for line in FIELDS.read_text(encoding="utf-8").splitlines())
    for cls in CLASSES:
        now = [f.name for f in fields(cls) if f.name not in {"at", "trace_id"}]
        before = promised.get(cls.kind, "").split()
        assert now[: len(before)] == before, f"rows of {cls.kind} already written would be read wrongly"
        assert now == before, f"append to {FIELDS.name}: {cls.kind}: {' '.join(now)}"


def test_json_output_names_the_kind_and_every_field():
    event = StorageFailed(at=1.0, trace_id="T", store="s", operation="o", error="e")
    assert as_dict(event) == {
        "kind": "storage_failed", "at": 1.0, "trace_id": "T", "store": "s", "operation": "o", "error": "e",
    }  # fmt: skip


def test_every_event_class_is_known():
    assert {cls.kind for cls in CLASSES} >= {"message_judged", "delivery_attempted", "session_refused", "queue_changed"}
    assert all(issubclass(cls, Event) for cls in CLASSES)
