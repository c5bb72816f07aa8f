"""Samples are filed whole or not at all, however often it is tried and wherever a crash came between."""

import hashlib
import json

import pytest

from gateway.incidents.evidence import EvidenceBrokenError, pack
from gateway.storage import StorageFull
from gateway.storage.durable import DurableFiles
from tests.incidents.conftest import MESSAGE, NOW, Desk, sighting, trace


@pytest.fixture
def seen(desk: Desk) -> Desk:
    desk.fold([sighting(1)])
    return desk


def adopt(desk: Desk, number: int) -> int | None:
    with desk.book.change("keeper", "adopt") as change:
        return desk.store.adopt(change, 1, trace(number))


def test_a_sample_is_kept_octet_by_octet_with_what_was_known(seen: Desk):
    content = MESSAGE + bytes(range(256)) * 100
    octets = seen.store.inbox.put(trace(1), NOW, {"envelope": {"recipients": ["a@b"]}, "policy": "x"}, [content])
    assert [each.trace_id for each in seen.store.inbox.waiting()] == [trace(1)]
    assert seen.store.inbox.octets() >= octets
    assert adopt(seen, 1) == 1
    assert seen.store.inbox.waiting() == []
    [row] = seen.reader().evidence(1)
    assert seen.store.read(row) == content
    assert (row.sha256, row.octets) == (hashlib.sha256(content).hexdigest(), len(content))
    assert row.facts == {"envelope": {"recipients": ["a@b"]}, "policy": "x"}
    assert [each.id for each in seen.reader().evidence_of_trace(trace(1))] == [1]


def test_a_change_that_fails_leaves_the_sample_waiting(seen: Desk):
    seen.store.inbox.put(trace(1), NOW, {}, [MESSAGE])

    class LostError(Exception):
        pass

    def fail() -> None:
        with seen.book.change("keeper", "adopt") as change:
            assert seen.store.adopt(change, 1, trace(1)) is not None
            raise LostError

    with pytest.raises(LostError):
        fail()
    assert seen.reader().evidence(1) == []
    assert adopt(seen, 1) == 1
    assert seen.store.check(seen.reader().evidence(1)[0]) == ""


def test_a_sample_that_was_filed_and_not_removed_is_filed_once(seen: Desk, monkeypatch):
    """Killed between the change and what follows it, the keeper finds the sample again."""
    seen.store.inbox.put(trace(1), NOW, {}, [MESSAGE])
    with monkeypatch.context() as patch:
        patch.setattr(type(seen.store.inbox), "discard", lambda *_: None)
        assert adopt(seen, 1) == 1
    assert adopt(seen, 1) is None
    assert len(seen.reader().evidence(1)) == 1
    assert seen.store.inbox.waiting() == []


@pytest.mark.parametrize("how", ["content", "facts", "digest", "missing"])
def test_a_sample_that_is_not_what_it_says_is_thrown_away_on_record(seen: Desk, how: str):
    inbox = seen.store.inbox
    inbox.put(trace(1), NOW, {}, [MESSAGE])
    head, content = inbox.folder / f"{trace(1)}.json", inbox.folder / f"{trace(1)}.zst"
    match how:
        case "content":
            content.write_bytes(b"x")
        case "facts":
            head.write_bytes(b"{")
        case "digest":
            head.write_text(json.dumps(json.loads(head.read_bytes()) | {"sha256": "../../x"}))
        case _:
            content.unlink()
    assert adopt(seen, 1) is None
    assert seen.reader().timeline(1)[-1].kind == "evidence-refused"
    assert list(inbox.folder.iterdir()) == []
    assert seen.wrong() == ""


@pytest.mark.parametrize("name", ["", "../../../etc/passwd", "x" * 26, "0" * 25 + "/"])
def test_only_a_trace_id_names_a_sample(seen: Desk, name: str):
    with seen.book.change("keeper", "adopt") as change:
        assert seen.store.adopt(change, 1, name) is None


def test_a_sample_that_could_not_be_written_whole_is_none(seen: Desk, tmp_path):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    inbox = type(seen.store.inbox)(seen.data, DurableFiles(fsync=full))
    with pytest.raises(StorageFull):
        inbox.put(trace(1), NOW, {}, [MESSAGE])
    assert inbox.waiting() == []


def test_a_message_at_hand_is_kept_like_a_sample(seen: Desk):
    with seen.book.change("desk", "complaint") as change:
        seen.store.keep(change, 1, trace(9), pack([MESSAGE]), {"complaint": {"from": "a@b"}})
    assert seen.store.read(seen.reader().evidence(1)[0]) == MESSAGE
    assert seen.wrong() == ""


def test_what_was_altered_is_not_read(seen: Desk):
    seen.keep(1, 1)
    [row] = seen.reader().evidence(1)
    seen.store.path(row.sha256).write_bytes(b"x")
    with pytest.raises(EvidenceBrokenError):
        seen.store.read(row)
