"""The door costs attackers more than us: who is known is let in at once, who is listed may wait for its refusal."""

import asyncio
from dataclasses import replace

import pytest

from gateway.intake.listener import PRESSING_A_SECOND, Arrivals
from gateway.journal.events import MessageJudged, SessionRefused
from gateway.smtp.replies import CONNECTION_REFUSED, POLICY_REJECT, USER_UNKNOWN

HOUR = 3600.0


def listed(by: str = "dnsbl"):
    """The refusal that the pipeline gives for a finding of a filter."""
    return replace(POLICY_REJECT, filter=by)


async def envelope(client):
    await client.greet()
    assert (await client.say("MAIL FROM:<spam@spam.test>")).startswith("250")


async def test_a_client_with_a_good_past_is_greeted_at_once_and_a_stranger_waits(open_door, monkeypatch):
    door = await open_door(smtp={"greet_delay": HOUR})
    stranger = await door.connect()
    greeting = asyncio.ensure_future(stranger.reply())
    await door.until(lambda: door.server.sessions == 1)
    monkeypatch.setattr(door.guard, "is_known_good", lambda _: True)
    friend = await door.connect()
    assert (await friend.reply()).startswith("220")
    assert not greeting.done()
    greeting.cancel()


async def test_a_client_that_is_refused_anyway_is_not_kept_for_the_delay(open_door):
    """Else a list of a million attackers costs as many sessions as the delay has seconds of them."""
    door = await open_door(smtp={"greet_delay": HOUR})
    door.gate.admission = CONNECTION_REFUSED
    client = await door.connect()
    assert (await client.reply()).startswith("554")


async def test_a_listed_client_waits_for_its_refusal_and_gets_it(open_door):
    door = await open_door(smtp={"tarpit": 0.1})
    door.gate.refused["a@ours.test"] = listed()
    client = await door.connect()
    await envelope(client)
    refusal = asyncio.ensure_future(client.say("RCPT TO:<a@ours.test>"))
    await door.until(lambda: door.server._listener.tarpitted == 1)
    assert not refusal.done()
    assert (await refusal).startswith("550 5.7.1")
    assert door.server._listener.tarpitted == 0


async def test_no_more_sessions_are_held_back_than_allowed(open_door):
    """Resources are bounded: the second listed client costs a reply and no more."""
    door = await open_door(smtp={"tarpit": HOUR}, limits={"tarpits": 1})
    door.gate.refused["a@ours.test"] = listed()
    held, other = await door.connect(), await door.connect()
    await envelope(held)
    held.send(b"RCPT TO:<a@ours.test>\r\n")
    await door.until(lambda: door.server._listener.tarpitted == 1)
    await envelope(other)
    assert (await other.say("RCPT TO:<a@ours.test>")).startswith("550 5.7.1")


@pytest.mark.parametrize("reply", [USER_UNKNOWN, listed("spf")], ids=["no filter", "another filter"])
async def test_only_the_listed_wait(open_door, reply):
    door = await open_door(smtp={"tarpit": HOUR})
    door.gate.refused["a@ours.test"] = reply
    client = await door.connect()
    await envelope(client)
    assert (await client.say("RCPT TO:<a@ours.test>")).startswith("550")


async def test_a_listed_client_that_waits_does_not_keep_the_gateway_from_stopping(open_door):
    door = await open_door(smtp={"tarpit": HOUR})
    door.gate.refused["a@ours.test"] = listed()
    client = await door.connect()
    await envelope(client)
    client.send(b"RCPT TO:<a@ours.test>\r\n")
    await door.until(lambda: door.server._listener.tarpitted == 1)
    await door.server.drain(0)
    await door.idle()


async def test_failures_are_counted_against_the_client(open_door, monkeypatch):
    door = await open_door()
    door.gate.refused["a@ours.test"] = USER_UNKNOWN
    counted = []
    monkeypatch.setattr(door.guard, "note_failure", counted.append)
    client = await door.connect()
    await envelope(client)
    await client.say("RCPT TO:<a@ours.test>")
    await client.say("NONSENSE")
    assert [held.network for held in counted] == ["127.0.0.1", "127.0.0.1"]


async def test_the_clients_verified_name_stands_in_the_journal(door):
    door.gate.name = "mail.sender.test"
    client = await door.connect()
    await client.greet()
    await client.mail()
    (event,) = door.of(MessageJudged)
    assert event.client_name == "mail.sender.test"
    assert door.gate.transactions[0].connection.client_name == "mail.sender.test"


# --- cheapest and most decisive first


async def test_a_listed_client_over_its_limits_hears_that_it_is_listed_and_is_not_waited_for(open_door):
    """421 would have it come again; and its crowd must not cost a session each."""
    door = await open_door(limits={"connections_per_client": 1, "exempt": []})
    first = await door.connect()
    assert (await first.reply()).startswith("220")
    door.gate.admission = replace(CONNECTION_REFUSED, cause="listed")
    second = await door.connect()
    assert (await second.reply()).startswith("554")
    assert await second.reader.read() == b""
    (refused,) = door.of(SessionRefused)
    assert refused.reason == "listed"
    door.gate.admission = None
    third = await door.connect()
    assert (await third.reply()).startswith("421 4.7.0")


async def test_a_client_over_its_limits_does_not_wait_for_the_banner(open_door):
    door = await open_door(smtp={"greet_delay": HOUR}, limits={"connections_per_client": 1, "exempt": []})
    await door.connect()
    await door.until(lambda: door.server.sessions == 1)
    client = await door.connect()
    assert (await client.reply()).startswith("421 4.7.0")


async def test_a_refusal_at_the_door_counts_against_the_client_as_a_later_one_does(open_door, monkeypatch):
    door = await open_door()
    counted = []
    monkeypatch.setattr(door.guard, "note_failure", counted.append)
    door.gate.admission = CONNECTION_REFUSED
    client = await door.connect()
    assert (await client.reply()).startswith("554")
    assert (await client.say("QUIT")).startswith("221")
    assert [held.network for held in counted] == ["127.0.0.1"]


# --- under attack


async def test_when_many_come_whoever_is_refused_anyway_is_told_in_passing(open_door, fake_clock):
    door = await open_door(clock=fake_clock)
    door.gate.admission = replace(CONNECTION_REFUSED, cause="listed")
    for _ in range(PRESSING_A_SECOND):
        door.server._listener.is_pressed()
    client = await door.connect()
    assert (await client.reply()).startswith("554 5.7.1")
    assert await client.reader.read() == b""
    await door.idle()
    (refused,) = door.of(SessionRefused)
    assert (refused.client, refused.reason) == ("127.0.0.1", "listed")
    assert refused.reply.startswith("554")
    # Nothing was counted that would have to be given back.
    assert door.counters.open_connection("x")[0] == 1


async def test_in_quiet_times_a_refused_client_may_say_quit(open_door, fake_clock):
    """RFC 5321 §3.1: after 554 the server waits for QUIT."""
    door = await open_door(clock=fake_clock)
    door.gate.admission = CONNECTION_REFUSED
    client = await door.connect()
    assert (await client.reply()).startswith("554")
    assert (await client.say("EHLO x")).startswith("503")
    assert (await client.say("QUIT")).startswith("221")


async def test_under_attack_everybody_else_is_greeted(open_door, fake_clock):
    door = await open_door(clock=fake_clock)
    for _ in range(PRESSING_A_SECOND + 1):
        door.server._listener.is_pressed()
    client = await door.connect()
    assert (await client.reply()).startswith("220")
    assert (await client.say("EHLO x")).startswith("250")


def test_pressure_is_that_of_the_last_whole_second_or_of_this_one():
    arrivals = Arrivals()
    assert [arrivals.count(10.0 + n / 10) for n in range(5)] == [1, 2, 3, 4, 5]
    assert arrivals.count(11.0) == 5
    assert arrivals.count(12.0) == 1
    assert arrivals.count(20.0) == 1
