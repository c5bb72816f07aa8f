"""The list of sources that incidents block: there once it is needed, asked at RCPT, changed in one round.

What breaks if these fail: a block has no effect or never ends, or a blocked sender cannot write to the postmaster.
"""

from gateway.blocklist.listing import Identity
from gateway.blocklist.local.declaration import INCIDENTS
from gateway.blocklist.local.editions import Addition
from gateway.blocklist.local.lists import LocalLists
from gateway.blocklist.local.question import ask_anything
from gateway.policy.action import Action


def block(place, entry: str, incident: int = 7, until: float | None = None) -> Addition:
    return Addition(
        list=INCIDENTS,
        entry=entry,
        excluded=False,
        reason=f"incident {incident}",
        owner="abuse desk",
        who="keeper",
        since=place.now,
        until=until,
    )


def test_the_list_is_there_once_something_is_blocked_and_names_the_incident(place):
    place.update()
    assert INCIDENTS not in {each.name for each in place.lists.served}
    place.keeper.replace_blocks([block(place, "192.0.2.7/32")], [], "keeper")
    place.lists.refresh()
    (found,) = place.ask("192.0.2.7").listings
    assert (found.list, found.reason, found.action, found.of) == (
        INCIDENTS,
        "incident 7",
        Action.REJECT,
        Identity.CLIENT,
    )


def test_it_is_not_asked_before_a_recipient_is_named(place):
    place.keeper.replace_blocks([block(place, "192.0.2.0/24")], [], "keeper")
    place.lists.refresh()
    question = ask_anything("192.0.2.7")
    assert place.lists.look_up([question], place.now).blocked
    assert not place.lists.look_up_at_door([question], place.now).listings


def test_a_block_ends_by_itself_and_by_command(place):
    place.keeper.replace_blocks(
        [block(place, "192.0.2.7", until=place.now + 60), block(place, "2001:db8::/64")], [], "keeper"
    )
    place.lists.refresh()
    assert place.entries("192.0.2.7")
    place.clock.advance(61)
    assert not place.entries("192.0.2.7")
    place.keeper.replace_blocks([], ["2001:db8:0:0::/64"], "anna")
    place.lists.refresh()
    assert not place.entries("2001:db8::1")
    ended = place.keeper.store.additions(INCIDENTS, ended=True)
    assert [each.removed_by for each in ended if each.removed_at] == ["anna"]


def test_a_second_block_of_a_source_takes_the_first_ones_place(place):
    place.keeper.replace_blocks([block(place, "192.0.2.7", 7)], [], "keeper")
    place.keeper.replace_blocks([block(place, "192.0.2.7/32", 8)], [], "keeper")
    place.lists.refresh()
    assert [each.reason for each in place.ask("192.0.2.7").listings] == ["incident 8"]


def test_a_folder_may_declare_the_list_otherwise(place):
    place.declare(f'[[list]]\nname = "{INCIDENTS}"\nweight = 8.0\n')
    place.keeper.replace_blocks([block(place, "192.0.2.7")], [], "keeper")
    place.lists.refresh()
    (found,) = place.ask("192.0.2.7").listings
    assert (found.weight, found.action) == (8.0, None)


def test_a_worker_knows_by_one_look_that_there_is_news(place):
    place.update()
    worker = LocalLists(place.data)
    assert worker.is_behind
    worker.refresh()
    assert not worker.is_behind
    place.keeper.replace_blocks([block(place, "192.0.2.7")], [], "keeper")
    assert worker.is_behind
