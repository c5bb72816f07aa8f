"""What is looked up of a message's links. If these fail, a sender hides the listed link behind a crowd of harmless
ones, or every filter reads the same mail again.
"""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.blocklist import links
from gateway.blocklist.links import LIGHT_OCTETS, links_of
from gateway.blocklist.sample import Sampler
from gateway.mail.content import Content
from gateway.rules.parts import Limits, Parts

CROWD = [f"{n}.test" for n in range(1000)]


@given(st.lists(st.text(max_size=5), unique=True), st.integers(0, 20), st.binary(min_size=1, max_size=64))
def test_a_sample_is_so_many_of_them_in_their_order_and_always_the_same(texts: list[str], most: int, key: bytes):
    sample = Sampler(key).choose(texts, most, str)
    assert len(sample) == min(most, len(texts))
    assert [text for text in texts if text in sample] == sample
    assert Sampler(key).choose(texts, most, str) == sample


def test_nobody_without_the_key_knows_which_are_looked_up():
    chosen = [set(Sampler(bytes([n])).choose(CROWD, 100, str)) for n in range(100)]
    # Each place has its turn: 100 draws of a tenth leave any one out with a probability of 0.9 ** 100.
    assert set().union(*chosen) == set(CROWD)
    assert not set.intersection(*chosen)


@pytest.fixture
def looked(monkeypatch) -> list[Content]:
    """Each time that links were looked for."""
    times: list[Content] = []

    class Counted(Parts):
        def __init__(self, content, *others) -> None:
            times.append(content)
            super().__init__(content, *others)

    monkeypatch.setattr(links, "Parts", Counted)
    return times


@pytest.mark.parametrize("padding", [0, LIGHT_OCTETS])
async def test_links_are_looked_for_once_whoever_asks_and_in_whatever_order(looked: list[Content], padding: int):
    content = Content(b"Subject: x\r\n\r\nhttps://one.test/ https://two.test/a\r\n" + b"x" * padding + b"\r\n")
    answers = await asyncio.gather(links_of(content), links_of(content), links_of(content))
    assert [link.host for link in answers[0]] == ["one.test", "two.test"]
    assert answers[0] == answers[1] == answers[2] == await links_of(content)
    assert looked == [content]


async def test_what_the_rules_have_found_is_taken_over(looked: list[Content]):
    content = Content(b"Subject: x\r\n\r\nhttps://one.test/\r\n")
    found = Parts(content, Limits(), lambda: None).links
    assert await links_of(content) == tuple(link for link, _ in found)
    assert looked == []


async def test_a_filter_that_ran_out_of_time_leaves_the_work_to_the_others(looked: list[Content]):
    content = Content(b"Subject: x\r\n\r\nhttps://one.test/\r\n" + b"x" * LIGHT_OCTETS + b"\r\n")
    first, second = asyncio.ensure_future(links_of(content)), asyncio.ensure_future(links_of(content))
    await asyncio.sleep(0)
    first.cancel()
    assert [link.host for link in await second] == ["one.test"]
    assert looked == [content]
