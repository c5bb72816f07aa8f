"""Blocks: never of what is protected, over at their time or on proof that the source has stopped.

What breaks if these fail: we cut off our own mail; a block stands for ever, or ends while its source goes on.
"""

from dataclasses import replace

import pytest

from gateway.abuse import blocking
from gateway.abuse.suspending import restore, suspend
from gateway.incidents import Source, SourceKind, State
from gateway.incidents.blocks import blocks_of, standing_blocks
from gateway.incidents.guarantees import Letters
from gateway.storage import StorageFull

HOUR, DAY = 3600.0, 86_400.0
SOURCE = "198.51.100.7"
ANNA = Source(SourceKind.ACCOUNT, "anna@box.test")


def let_pass(world, seconds: float, step: float = 250.0) -> None:
    """Let time pass while the keeper looks."""
    for _ in range(int(seconds // step) + 1):
        world.clock.advance(step)
        world.keeper.round()


def blocked(world, client: str = SOURCE) -> None:
    world.spam(3, client)
    assert world.listed(client)


def test_a_policys_block_names_its_incident_and_is_lifted_with_the_proof(world):
    world.set(quiet=2 * HOUR)
    blocked(world)
    let_pass(world, 2 * HOUR + 600)
    assert world.listed(SOURCE) == []
    assert world.incident().state is State.LIFTED
    with world.reader() as reader:
        (block,) = blocks_of(reader.rows, 1)
    assert block.end_reason == "the source has stopped"
    assert "nothing came from 198.51.100.7/32 since 2026-11-20T" in block.proof
    assert "no attempt was refused" in block.proof


def test_a_source_that_was_reported_is_blocked_when_it_goes_on(world):
    world.spam(1)
    with world.book.change("tidegate", "complaint desk") as change:
        change.move(1, State.CONFIRMED, "complaint, ticket 1")
        change.reported(1, {"report": 1})
    assert world.incident().state is State.REPORTED
    world.spam(2)
    assert (world.incident().state, world.incident().blocking) == (State.BLOCKED, True)


def test_what_is_still_tried_keeps_the_block(world):
    world.set(quiet=2 * HOUR)
    blocked(world)
    let_pass(world, HOUR)
    world.journal([world.refused(filter="blocklist", grounds=(), reason="listed by incidents")])
    let_pass(world, 1.5 * HOUR)
    assert world.listed(SOURCE)
    let_pass(world, HOUR)
    assert world.listed(SOURCE) == []
    with world.reader() as reader:
        (block,) = blocks_of(reader.rows, 1)
    assert block.attempts == 1
    assert "1 attempt was refused while it was blocked, the last at 2026-11-20T" in block.proof


def test_a_gateway_that_did_not_look_proves_nothing(world):
    world.set(quiet=2 * HOUR)
    blocked(world)
    let_pass(world, 600)
    world.clock.advance(DAY)
    let_pass(world, 600)
    assert world.listed(SOURCE), "nobody was there to hear the source"
    let_pass(world, 2 * HOUR)
    assert world.listed(SOURCE) == []


def test_by_hand_only_the_source_is_called_quiet_and_stays_blocked(world):
    world.set(quiet=2 * HOUR, lift="hand")
    blocked(world)
    let_pass(world, 3 * HOUR)
    assert world.incident().state is State.QUIET
    assert world.listed(SOURCE)
    with world.book.change("anna", "incident lift") as change:
        assert blocking.lift(change, change.incident(1), "they called") == 1
    world.keeper.enforce()
    assert world.listed(SOURCE) == []
    assert world.incident().state is State.LIFTED


def test_a_block_ends_at_its_time_and_the_next_spam_counts_anew(world):
    world.set(block=HOUR)
    blocked(world)
    let_pass(world, HOUR)
    assert world.listed(SOURCE) == []
    assert world.incident().state is State.LIFTED
    world.spam(1)
    assert world.incident().state is State.OPEN
    world.spam(2)
    assert world.incident().state is State.BLOCKED
    assert world.listed(SOURCE)


@pytest.mark.parametrize(
    ("client", "why"),
    [
        ("127.0.0.1", "127.0.0.1/32: an address that we listen on"),
        ("192.0.2.25", "192.0.2.25/32: the next hop smtp://192.0.2.25:25 of policy box"),
        ("198.51.100.99", "198.51.100.99/32: incidents.protected"),
        ("203.0.113.25", "203.0.113.25/32: the address of our own name"),
    ],
)
def test_a_protected_network_is_not_blocked_and_the_reason_is_on_record(world, client, why):
    world.spam(4, client)
    assert world.incident().state is State.CONFIRMED
    world.spam(1, client)
    assert world.listed(client) == []
    with world.reader() as reader:
        rows = reader.rows("SELECT how, by, why FROM block_refusal")
    assert rows == [("automatic", "keeper", f"{client}/32 covers {why}")], "once, not at each message"


def test_an_allow_list_protects_whom_it_holds(world):
    (world.folder / "blocklists/lists.toml").write_text(
        '[[list]]\nname = "good"\nkind = "allow"\nfile = "good.txt"\n', encoding="utf-8"
    )
    (world.folder / "blocklists/good.txt").write_text("2001:db8:1:2::99\n", encoding="utf-8")
    world.lists().update()
    world.spam(3, "2001:db8:1:2::99")
    assert world.incident().state is State.CONFIRMED
    with world.reader() as reader:
        ((why,),) = reader.rows("SELECT why FROM block_refusal")
    assert "2001:db8:1:2::99: on the allow list good" in why


def test_a_sender_of_ours_is_not_blocked_but_suspended(world):
    world.spam(6, "10.0.0.7", role="relay", reverse_path="x@elsewhere.test")
    assert world.incident().state is State.CONFIRMED
    with world.book.change("anna", "incident block") as change:
        why = blocking.block(
            change, change.incident(1), world.protection(), how="hand", reason="", until=world.now + HOUR
        )
    assert "it is suspended, not blocked" in why


def test_a_block_that_ends_lets_nobody_off_who_is_suspended_for_the_same_incident(world):
    """An incident that were called lifted then would be closed, with its sender suspended for ever."""
    blocked(world)
    with world.book.change("anna", "account suspend") as change:
        suspend(change, ANNA, how="hand", reason="her machine", incident=change.incident(1))
    assert (world.incident().blocking, world.incident().suspending) == (True, True)
    with world.book.change("anna", "incident lift") as change:
        assert blocking.lift(change, change.incident(1), "they called") == 1
    assert (world.incident().blocking, world.incident().suspending) == (False, True)
    assert world.incident().state is State.BLOCKED
    with world.book.change("anna", "account restore") as change:
        restore(change, ANNA, Letters(world.data / "incidents"), override="it was repaired")
    assert (world.incident().suspending, world.incident().state) == (False, State.LIFTED)


def test_who_is_restored_lifts_no_block_of_the_same_incident(world):
    blocked(world)
    with world.book.change("anna", "account suspend") as change:
        suspend(change, ANNA, how="hand", reason="her machine", incident=change.incident(1))
    with world.book.change("anna", "account restore") as change:
        restore(change, ANNA, Letters(world.data / "incidents"), override="it was repaired")
    assert (world.incident().blocking, world.incident().state) == (True, State.BLOCKED)
    world.keeper.enforce()
    assert world.listed(SOURCE)


def test_one_address_of_two_incidents_is_blocked_for_one_and_the_other_says_for_which(world):
    """Its entry would be taken over, and the first incident be held by a block that is no longer there."""
    blocked(world)
    with world.book.change("anna", "incident block") as change:
        hop = change.open(Source(SourceKind.HOP, f"{SOURCE}/32"), "behind a forwarder")
        why = blocking.block(change, hop, world.protection(), how="hand", reason="", until=world.now + HOUR)
    assert why == f"{SOURCE}/32 is blocked already, for incident 1"
    assert (world.incident(1).blocking, world.incident(2).blocking) == (True, False)


def test_the_list_is_made_again_from_the_record(world):
    blocked(world)
    world.lists().replace_blocks([], [f"{SOURCE}/32"], "a kill in between")
    assert world.listed(SOURCE) == []
    world.new_keeper().enforce()
    assert world.listed(SOURCE) == ["incident 1"]


def test_an_entry_that_somebody_put_there_by_hand_stays(world):
    blocked(world)
    (one,) = world.lists().store.additions("incidents")
    world.lists().add(replace(one, entry="203.0.113.7", reason="by hand"))
    world.keeper.enforce()
    assert world.listed("203.0.113.7") == ["by hand"]
    with world.reader() as reader:
        assert len(standing_blocks(reader.rows)) == 1


# In force -------------------------------------------------------------------------------------------------------------


def test_a_block_whose_publishing_failed_is_in_force_at_the_next_look(world, monkeypatch):
    """The record of lists has it then, and says the same as the record of incidents."""
    with monkeypatch.context() as patch:
        patch.setattr("gateway.blocklist.local.keeping.write_manifest", no_room)
        with pytest.raises(StorageFull):
            world.spam(3)
    assert world.listed(SOURCE) == []
    world.rounds()
    assert world.listed(SOURCE) == ["incident 1"]


def test_a_block_is_in_force_although_the_declarations_cannot_be_read(world):
    """An edit of lists.toml may be broken for days; what is served is served on, and blocks begin and end."""
    (world.folder / "blocklists/lists.toml").write_text("[[list]\n")
    world.spam(3)
    assert world.listed(SOURCE) == ["incident 1"]
    world.spam(3, "198.51.100.8")
    assert world.listed("198.51.100.8") == ["incident 2"]
    with world.book.change("anna", "incident lift") as change:
        assert blocking.lift(change, change.incident(1), "they called") == 1
    world.keeper.enforce()
    assert (world.listed(SOURCE), world.listed("198.51.100.8")) == ([], ["incident 2"])


def test_verdicts_are_folded_while_no_block_can_be_put_in_force(world, monkeypatch):
    blocked(world)
    with monkeypatch.context() as patch:
        patch.setattr("gateway.abuse.keeper.enforce", no_room)
        world.keeper._unlisted = True
        world.journal([world.mail("198.51.100.8")])
        with pytest.raises(StorageFull):
            world.keeper.round()
    assert [str(incident.source) for incident in world.incidents()][1:] == ["network 198.51.100.8/32"]


def no_room(*_, **__):
    raise StorageFull("the disk is full")
