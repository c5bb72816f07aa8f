"""The door's limits: who is over one gets a named 4yz; whoever leaves gives the place back."""

import asyncio
import ipaddress
from ipaddress import ip_address

import pytest

from gateway.clock import FakeClock
from gateway.config.models import Limits
from gateway.config.units import Rate
from gateway.intake.guard import Admission, DoorGuard, LocalCounters, Past, client_network
from gateway.journal.events import SessionRefused
from gateway.smtp import replies
from gateway.state.reputation import Standing

A = ipaddress.ip_address("192.0.2.1")
B = ipaddress.ip_address("192.0.2.2")


def guard(**limits) -> DoorGuard:
    clock = FakeClock()
    built = DoorGuard(Limits(**limits), LocalCounters(clock), clock)
    built.test_clock = clock
    return built


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
    ],
)
def test_a_client_is_an_ipv4_address_or_an_ipv6_64(one, other, same) -> None:
    networks = [client_network(ipaddress.ip_address(address)) for address in (one, other)]
    assert (networks[0] == networks[1]) is same


def test_connections_in_all() -> None:
    door = guard(connections=1)
    held = door.enter(A)
    assert isinstance(held, Admission)
    assert door.enter(B) is replies.TOO_MANY_CONNECTIONS
    door.leave(held)
    assert isinstance(door.enter(B), Admission)


def test_connections_of_a_client() -> None:
    door = guard(connections_per_client=1)
    held = door.enter(A)
    assert door.enter(A) is replies.TOO_MANY_CONNECTIONS_FROM_CLIENT
    assert isinstance(door.enter(B), Admission)
    door.leave(held)
    assert isinstance(door.enter(A), Admission)


def test_connection_rate_recovers_with_time() -> None:
    door = guard(connection_rate=Rate(2, 60.0))
    for _ in range(2):
        door.leave(door.enter(A))
    assert door.enter(A) is replies.CONNECTION_RATE_LIMITED
    door.test_clock.advance(61)
    assert isinstance(door.enter(A), Admission)


def test_messages_and_recipients_an_hour() -> None:
    door = guard(messages_per_client=Rate(1, 3600.0), recipients_per_client=Rate(2, 3600.0))
    held = door.enter(A)
    assert door.count_message(held) is None
    assert door.count_message(held) is replies.RATE_LIMITED
    assert [door.count_recipient(held) for _ in range(3)] == [None, None, replies.RATE_LIMITED]
    assert door.count_message(door.enter(B)) is None


def test_exempt_networks_are_not_limited() -> None:
    door = guard(connections_per_client=1, connections=1, messages_per_client=Rate(1, 60.0), exempt=("192.0.2.0/24",))
    held = [door.enter(A) for _ in range(3)]
    assert all(isinstance(h, Admission) for h in held)
    assert [door.count_message(held[0]) for _ in range(3)] == [None, None, None]
    assert door.enter(ipaddress.ip_address("198.51.100.1")) is replies.TOO_MANY_CONNECTIONS


def test_zero_switches_a_limit_off() -> None:
    door = guard(connections=0, connections_per_client=0, connection_rate=Rate(0, 60.0))
    assert all(isinstance(door.enter(A), Admission) for _ in range(100))


def test_new_limits_hold_from_the_next_connection_on() -> None:
    door = guard(connections_per_client=1)
    door.enter(A)
    door.limits = Limits(connections_per_client=2)
    assert isinstance(door.enter(A), Admission)
    assert door.enter(A) is replies.TOO_MANY_CONNECTIONS_FROM_CLIENT


def test_memory_budget_is_given_back() -> None:
    door = guard()
    assert door.reserve(70, 100)
    assert not door.reserve(31, 100)
    assert door.reserve(30, 100)
    assert door.reserve(-100, 100)
    assert door.reserve(100, 100)


def test_forgotten_windows_bound_the_memory() -> None:
    clock = FakeClock()
    counters = LocalCounters(clock)
    counters.MOST_WINDOWS = 10
    for number in range(100):
        clock.advance(2)
        counters.count("messages", f"client {number}", 1.0)
    assert len(counters._windows) <= 11


# --- at the door


async def test_over_a_limit_is_421_and_never_a_reset(open_door) -> None:
    door = await open_door(limits={"connections_per_client": 1, "exempt": ()})
    first = await door.connect()
    await first.greet()
    second = await door.connect()
    # Octets that nobody reads must not turn the close into a reset that overtakes the reply.
    second.send(b"EHLO client.example\r\n" * 100)
    assert (await second.reply()).startswith("421 4.7.0 ")
    assert await second.reply() == ""
    await first.say("QUIT")
    await first.close()
    await door.until(lambda: door.counters.open_connection("probe")[0] == 1 or door.counters.close_connection("probe"))
    third = await door.connect()
    await third.greet()
    refused = door.of(SessionRefused)
    assert [(event.client, event.reply[:9]) for event in refused] == [("127.0.0.1", "421 4.7.0")]


async def test_message_rate_is_450(open_door) -> None:
    door = await open_door(limits={"messages_per_client": Rate(1, 3600.0), "exempt": ()})
    client = await door.connect()
    await client.greet()
    assert (await client.mail()).startswith("250 ")
    assert (await client.say("MAIL FROM:<sender@example.org>")).startswith("450 4.7.1")


async def test_recipient_rate_is_450_and_the_others_go_through(open_door) -> None:
    door = await open_door(limits={"recipients_per_client": Rate(1, 3600.0), "exempt": ()})
    client = await door.connect()
    await client.greet()
    await client.say("MAIL FROM:<sender@example.org>")
    assert (await client.say("RCPT TO:<a@example.com>")).startswith("250 ")
    assert (await client.say("RCPT TO:<b@example.com>")).startswith("450 4.7.1 [")
    assert (await client.say("DATA")).startswith("354")
    client.send(b".\r\n")
    assert (await client.reply()).startswith("250 ")
    assert [r.recipient.path.wire for r in door.custody.stored[0].recipients] == ["a@example.com"]


async def test_a_thousand_recipients_and_no_more(open_door) -> None:
    """RFC 5321 §4.5.3.1.8 asks for 100; the rest get 452 and no error is counted against an honest list server."""
    door = await open_door(limits={"recipients_per_message": 1000})
    client = await door.connect()
    await client.greet()
    group = [
        b"MAIL FROM:<list@example.org>\r\n",
        *(b"RCPT TO:<user%d@example.com>\r\n" % n for n in range(1050)),
        b"DATA\r\n",
    ]
    client.send(b"".join(group))
    answers = [await client.reply() for _ in group]
    assert [a[:9] for a in answers[1:-1]] == ["250 2.1.5"] * 1000 + ["452 4.5.3"] * 50
    assert answers[-1].startswith("354")
    client.send(b".\r\n")
    assert (await client.reply()).startswith("250 ")
    assert len(door.custody.stored[0].recipients) == 1000


async def test_memory_budget_is_452_over_all_sessions(open_door) -> None:
    door = await open_door(config={"memory_budget": 100_000})
    slow, late = await door.connect(), await door.connect()
    await slow.greet()
    await slow.begin()
    slow.send(b"x" * 80_000)
    await door.until(lambda: door.counters.add_octets(0) > 70_000)
    await late.greet()
    assert (await late.mail(b"y" * 40_000 + b"\r\n")).startswith("452 4.3.1")
    slow.send(b"\r\n.\r\n")
    assert (await slow.reply()).startswith("250 ")
    assert (await late.mail(b"y" * 40_000 + b"\r\n")).startswith("250 ")
    assert door.counters.add_octets(0) == 0


async def test_free_disk_floor_is_452_and_asked_once_a_second(open_door, fake_clock, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr("gateway.intake.listener.free_octets", lambda path: asked.append(path) or 2_000_000)
    door = await open_door(limits={"free_disk_floor": 1_000_000}, clock=fake_clock)
    client = await door.connect()
    await client.greet()
    assert (await client.say("MAIL FROM:<sender@example.org> SIZE=1000001")).startswith("452 4.3.1")
    assert (await client.say("MAIL FROM:<sender@example.org> SIZE=1000")).startswith("250 ")
    assert len(asked) == 1
    fake_clock.advance(1.1)
    await client.say("RSET")
    await client.say("MAIL FROM:<sender@example.org>")
    assert len(asked) == 2


async def test_junk_commands_become_errors(open_door) -> None:
    """Postfix's smtpd_junk_command_limit: a client that only says NOOP is sent away, one that mails is not."""
    door = await open_door(limits={"errors_per_session": 5})
    client = await door.connect()
    await client.greet()
    answers = [await client.say("NOOP") for _ in range(110)]
    assert answers[98].startswith("250 ")
    assert [a[:9] for a in answers if a and not a.startswith("250")] == ["421 4.7.0"]
    patient = await door.connect()
    await patient.greet()
    for _ in range(3):
        assert {(await patient.say("NOOP"))[:3] for _ in range(60)} == {"250"}
        assert (await patient.mail()).startswith("250 ")


async def test_a_client_that_reads_no_replies_is_bounded(open_door, fake_clock) -> None:
    """Replies are not piled up without end: commands wait until the client reads, and the deadline ends it."""
    door = await open_door(clock=fake_clock, limits={"errors_per_session": 0})
    client = await door.connect(limit=2**30)
    await client.greet()
    client.reader._transport.pause_reading()
    octets = b"HELP\r\n" * 20_000
    sent = asyncio.get_running_loop().create_task(pour(client, octets * 20))
    await door.until(lambda: any(session._write_blocked for session in door.server._listener.sessions))
    (session,) = door.server._listener.sessions
    assert session._stream.get_write_buffer_size() < 8_000_000
    door.pass_time(301)
    await door.idle()
    sent.cancel()
    await asyncio.gather(sent, return_exceptions=True)


async def pour(client, octets: bytes) -> None:
    for start in range(0, len(octets), 60_000):
        client.send(octets[start : start + 60_000])
        await client.writer.drain()


async def test_recipients_far_beyond_the_most_count_as_errors(open_door) -> None:
    """An honest client's overshoot costs nothing; one that goes on for thousands is sent away."""
    door = await open_door(limits={"recipients_per_message": 100})
    client = await door.connect()
    await client.greet()
    await client.say("MAIL FROM:<sender@example.org>")
    client.send(b"".join(b"RCPT TO:<user%d@example.com>\r\n" % n for n in range(1200)))
    answers = []
    while not answers or answers[-1]:
        answers.append((await client.reply())[:9])
    assert answers[:100] == ["250 2.1.5"] * 100
    assert answers[100:-2] == ["452 4.5.3"] * 1020
    assert answers[-2] == "421 4.7.0"


# --- with the memories of the door


class Owed:
    """Rates and standings as data: who is over its rate, what was charged, whose past is good."""

    def __init__(self, over=(), standings=None):
        self.over, self.booked, self.charged = set(over), [], []
        self.standings = standings or {}

    def allow(self, name, allowance):
        self.booked.append((name, allowance.count))
        return name not in self.over

    def charge(self, name, _, cost):
        self.charged.append((name, cost))

    def standing(self, name):
        return self.standings.get(name, Standing())


def guarded(owed, **limits):
    clock = FakeClock()
    return DoorGuard(Limits(exempt=(), **limits), LocalCounters(clock), clock, Past(rates=owed, standings=owed))


def test_a_client_and_its_network_each_have_a_rate() -> None:
    owed = Owed()
    assert isinstance(guarded(owed).enter(ip_address("192.0.2.7")), Admission)
    guarded(owed).enter(ip_address("2001:db8:1:2::3"))
    assert owed.booked == [
        ("client 192.0.2.7", 600),
        ("network 192.0.2.0/24", 3000),
        ("client 2001:db8:1:2::/64", 600),
        ("network 2001:db8:1::/48", 3000),
    ]


@pytest.mark.parametrize("over", ["client 192.0.2.7", "network 192.0.2.0/24"])
def test_over_either_rate_a_client_is_told_to_come_again(over) -> None:
    door = guarded(Owed(over=[over]))
    assert door.enter(ip_address("192.0.2.7")) == replies.CONNECTION_RATE_LIMITED
    assert isinstance(door.enter(ip_address("198.51.100.7")), Admission)


def test_a_failure_costs_more_than_a_connection_but_nothing_of_the_exempt() -> None:
    owed = Owed()
    door = guarded(owed, failure_cost=7)
    held = door.enter(ip_address("192.0.2.7"))
    door.note_failure(held)
    assert owed.charged == [("client 192.0.2.7", 7), ("network 192.0.2.0/24", 7)]
    door.note_failure(Admission("192.0.2.9", exempt=True))
    guarded(owed, failure_cost=0).note_failure(held)
    assert len(owed.charged) == 2


def test_only_a_client_with_a_good_past_is_known() -> None:
    client = ip_address("192.0.2.7")
    for standing, known in (
        (Standing(good=5.0), True),
        (Standing(good=2.0), False),
        (Standing(good=5.0, bad=5.0), False),
        (Standing(bad=5.0), False),
    ):
        assert guarded(Owed(standings={"client 192.0.2.7": standing})).is_known_good(client) is known
    assert DoorGuard(Limits(), LocalCounters(FakeClock()), FakeClock()).is_known_good(client) is False


def test_a_client_on_an_operators_allow_list_is_known() -> None:
    friend, clock, owed = ip_address("192.0.2.7"), FakeClock(), Owed()
    past = Past(rates=owed, standings=owed, allowed=lambda address: address == friend)
    door = DoorGuard(Limits(), LocalCounters(clock), clock, past)
    assert door.is_known_good(friend)
    assert not door.is_known_good(ip_address("192.0.2.8"))
