"""A mail that cannot be found by what people know of it (address, Message-ID, client) is as good as unrecorded."""

import pytest

from gateway.journal.events import NoticeQueued, RecipientRefused, SessionRefused, StorageFailed
from gateway.journal.mentions import client_form, comparison_form, key, mentions, pack, places

REFUSED = RecipientRefused(
    at=1.0,
    client="192.0.2.1",
    helo="h",
    reverse_path="a@example.org",
    recipient="Boss@Example.COM",
    reply="550",
    reason="",
)


@pytest.mark.parametrize(
    "written",
    ["boss@example.com", "<Boss@EXAMPLE.com>", '"boss"@example.com', " boss@example.com "],
)
def test_an_address_is_found_however_it_is_written(written):
    assert key(written) in mentions(REFUSED)


def test_both_label_forms_of_a_domain_are_one():
    assert key("info@例子.中国") == key("info@xn--fsqu00a.xn--fiqs8s")


def test_a_domain_that_is_none_and_a_lone_surrogate_still_have_a_key():
    assert comparison_form("A@\ud800") == "a@\ud800"
    assert len(key("A@\ud800")) == 8


def test_a_refused_session_is_found_by_its_client():
    event = SessionRefused(at=1.0, client="2001:db8::1", role="mx", reply="421", reason="")
    assert key(client_form("[2001:DB8:0::1]")) in mentions(event)


def test_the_null_reverse_path_is_no_mention():
    event = NoticeQueued(at=1.0, trace_id="N", about="T", notice="failed", recipient="a@b")
    assert mentions(event) == {key("T"), key("a@b")}
    assert key("") not in mentions(REFUSED)


def test_an_event_that_mentions_nobody_costs_no_index_row():
    assert mentions(StorageFailed(at=1.0, store="s", operation="o", error="e")) == frozenset()


def test_a_packed_batch_gives_back_the_place_of_every_event():
    notices = [
        NoticeQueued(at=1.0, trace_id=f"N{i}", about=f"T{i}", notice="failed", recipient=f"r{i % 7}@example.com")
        for i in range(300)
    ]
    packed = pack(notices)
    for place in (0, 1, 255, 256, 299):
        assert places(packed, key(f"T{place}")) == [place]
    assert places(packed, key("r3@example.com")) == list(range(3, 300, 7))
    assert places(packed, key("nobody@example.com")) == []


def test_a_key_across_two_records_is_no_match():
    one, two = b"AAAAAAAA\x00\x01", b"BBBBBBBB\x00\x02"
    assert places(one + two, (one + two)[5:13]) == []
