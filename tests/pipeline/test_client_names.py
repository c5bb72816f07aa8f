"""The client's verified name is found out for local lists that may have it. If these fail, an entry of a name looks
nobody up, or DNS is asked, and waited for, for nothing.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.blocklist.local.keeping import ListKeeper
from gateway.blocklist.local.lists import LocalLists
from gateway.clock import FakeClock

DNS = """
7.100.51.198.in-addr.arpa PTR host7.dyn.test
host7.dyn.test A 198.51.100.7
8.100.51.198.in-addr.arpa PTR !SERVFAIL
9.100.51.198.in-addr.arpa PTR host7.dyn.test
"""
FILTERS = '[filters.blocklist]\non = { temperror = "defer" }\n[filters.spf]\nenabled = false\n'
OURS = {"ours": f'domains = ["ours.test"]\nnext_hop = "smtp://192.0.2.25"\n{FILTERS}'}
BLOCK = '[[list]]\nname = "bad"\nfile = "bad.txt"\naction = "reject"\n'
ALLOW = '[[list]]\nname = "good"\nfile = "good.txt"\nkind = "allow"\n'


@pytest.fixture
def gate_with(bench: Callable, tmp_path: Path) -> Callable:
    """Build a gate with these local lists, and what is asked of DNS."""

    async def build(files: dict[str, str], declared: str = BLOCK):
        folder, data = tmp_path / "lists", tmp_path / "data"
        folder.mkdir(exist_ok=True)
        for name, text in ({"lists.toml": declared} | files).items():
            (folder / name).write_text(text, encoding="utf-8")
        await asyncio.to_thread(ListKeeper(folder, data, clock=FakeClock()).update)
        lists = LocalLists(data)
        lists.refresh()
        return bench(OURS, services={LocalLists: lists}, dns=DNS)

    return build


async def test_a_listed_name_is_refused_at_the_first_recipient_without_iprev(gate_with, tools):
    built = await gate_with({"bad.txt": ".dyn.test\n"})
    assert await built.gate.admit(tools.connection()) is None
    assert (await built.rcpt("b@ours.test")).startswith("550")
    assert built.gate.client_name(tools.connection()) == "host7.dyn.test"


async def test_a_name_that_does_not_lead_back_is_nobodys(gate_with):
    built = await gate_with({"bad.txt": ".dyn.test\n"})
    assert (await built.rcpt("b@ours.test", client="198.51.100.9")).startswith("250")


async def test_a_name_that_dns_does_not_tell_is_unknown_and_not_unlisted(gate_with):
    built = await gate_with({"bad.txt": ".dyn.test\n"})
    reply = await built.rcpt("b@ours.test", client="198.51.100.8")
    assert reply.startswith("451"), reply


@pytest.mark.parametrize("entries", ["198.51.100.99\n", "a@bulk.test\n", "https://pay.test/now\n", "ab" * 32])
async def test_lists_without_names_cost_no_question(gate_with, tools, entries: str):
    built = await gate_with({"bad.txt": entries})
    await built.gate.admit(tools.connection())
    assert (await built.rcpt("b@ours.test")).startswith("250")
    assert built.gate.client_name(tools.connection()) == ""


async def test_a_list_that_is_not_asked_about_names_costs_no_question(gate_with, tools):
    built = await gate_with({"bad.txt": ".dyn.test\n"}, BLOCK + 'identities = ["helo", "url"]\n')
    assert (await built.rcpt("b@ours.test")).startswith("250")
    assert built.gate.client_name(tools.connection()) == ""


async def test_an_allowed_name_wins_over_a_listed_address_which_therefore_waits_for_it(gate_with, tools):
    built = await gate_with({"bad.txt": "198.51.100.0/24\n", "good.txt": ".dyn.test\n"}, BLOCK + ALLOW)
    assert await built.gate.admit(tools.connection()) is None
    assert built.gate.turned_away(tools.connection()) is None
    assert (await built.rcpt("b@ours.test")).startswith("250")
    assert (await built.rcpt("b@ours.test", client="198.51.100.9")).startswith("550")


async def test_an_allowed_reverse_path_wins_over_a_listed_address(gate_with, tools):
    built = await gate_with({"bad.txt": "198.51.100.0/24\n", "good.txt": "@sender.test\n"}, BLOCK + ALLOW)
    assert await built.gate.admit(tools.connection()) is None
    assert (await built.rcpt("b@ours.test")).startswith("250")
    assert (await built.rcpt("b@ours.test", envelope=tools.from_("a@other.test"))).startswith("550")


async def test_an_allow_list_of_addresses_leaves_the_door_as_it_is(gate_with, tools):
    built = await gate_with({"bad.txt": "198.51.100.0/24\n", "good.txt": "198.51.100.9\n"}, BLOCK + ALLOW)
    refusal = await built.gate.admit(tools.connection())
    assert str(refusal).startswith("554 5.7.1")
    assert str(built.gate.turned_away(tools.connection())) == str(refusal)
    assert await built.gate.admit(tools.connection(client="198.51.100.9")) is None
