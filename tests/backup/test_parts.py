"""What breaks if these fail: one mail, one account or one file cannot be had without restoring everything."""

import json

import pytest

from gateway.backup.parts import Extracted, Wanted, Who, extract
from gateway.spool.message import RecipientState
from tests.backup.conftest import Place

LARGE = 300_000
WHO = Who("li", 1_790_000_000.0)


def parts(place: Place, **wanted) -> Extracted:
    repository = place.repository
    return extract(repository, repository.find(""), place.folder / "parts", Wanted(**wanted), WHO)


@pytest.mark.parametrize("octets", [500, LARGE])
async def test_a_message_comes_out_of_quarantine_as_it_was_received(either: Place, octets: int):
    custody = either.custody()
    await either.store(custody)
    trace_id = await either.store(custody, octets=octets, state=RecipientState.QUARANTINED)
    message = await custody.load(trace_id)
    content = b"".join(message.content.chunks())
    either.backup("full")
    custody.close_now()
    assert parts(either, trace_ids=(trace_id,)) == Extracted(messages=1, events=0, delays=0, files=0)
    folder = either.folder / "parts" / "messages"
    assert [path.name for path in sorted(folder.iterdir())] == [f"{trace_id}.eml", f"{trace_id}.json"]
    assert (folder / f"{trace_id}.eml").read_bytes() == content
    story = json.loads((folder / f"{trace_id}.json").read_text())
    assert story["reverse_path"] == "anna@senders.test"
    assert story["recipients"] == [
        {"number": 0, "address": "ben@box.test", "state": "quarantined", "action": "accept", "reason": ""}
    ]


@pytest.mark.parametrize(("account", "events"), [("ben@box.test", 1), ("Anna@Senders.test", 1), ("box.test", 0)])
async def test_an_accounts_mail_its_delays_and_its_operation_log(place: Place, account: str, events: int):
    custody = place.custody()
    delivered, waiting = await place.store(custody), await place.store(custody)
    await place.deliver(custody, delivered)
    await place.judged(delivered)
    place.backup("full")
    custody.close_now()
    assert parts(place, account=account) == Extracted(messages=1, events=events, delays=1, files=0)
    folder = place.folder / "parts"
    assert (folder / "messages" / f"{waiting}.eml").exists()
    (row,) = (folder / "ledger.jsonl").read_text().splitlines()
    assert json.loads(row)["trace_id"] == delivered


async def test_an_account_that_has_nothing_gives_nothing(place: Place):
    custody = place.custody()
    await place.store(custody)
    place.backup("full")
    custody.close_now()
    assert parts(place, account="en@box.test").nothing
    # A name that was mistyped is asked for again, into the same folder.
    assert not (place.folder / "parts").exists()
    assert parts(place, account="ben@box.test").messages == 1


def test_files_by_pattern(place: Place):
    place.backup("full")
    assert parts(place, paths=("data/state/*",)).files == 1
    assert (place.folder / "parts/data/state/rates.table").read_bytes() == bytes(5000)
