"""A month that never was: three customers, their mail, outages and exclusions; and what the contract makes of it.

``simulate`` plays the month in true time and writes what the gateway would have recorded, by a wall clock that is set
once. ``expected_*`` are the brute force: they know the truth and nothing of gateway.servicelevel, and cut time into
pieces at every boundary there is, asking for each piece whether the contract counts it.
"""

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

from gateway.ledger import DelayRecord
from gateway.mail.trace_id import new_trace_id


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


# True time. The wall clock is 90 s late until it is set.
JUMP_AT, JUMP_BY = utc("2026-03-11T07:00"), 90.0
GATEWAY_DOWN = [(utc("2026-03-05T02:00"), utc("2026-03-05T02:30")), (utc("2026-03-18T09:10"), utc("2026-03-18T11:10"))]
OUTAGES = {
    "alpha": [(utc("2026-03-09T01:00"), utc("2026-03-09T02:20")), (utc("2026-03-31T15:00"), utc("2026-03-31T17:00"))],
    "beta": [(utc("2026-03-18T08:00"), utc("2026-03-18T12:00")), (utc("2026-03-11T05:00"), utc("2026-03-11T08:00"))],
    "gamma": [(utc("2026-03-29T00:30"), utc("2026-03-29T02:10"))],
    "remote": [(utc("2026-03-18T07:00"), utc("2026-03-18T13:00")), (utc("2026-03-11T06:30"), utc("2026-03-11T07:45"))],
}
ZONES = {"alpha": "Asia/Shanghai", "beta": "Asia/Shanghai", "gamma": "Europe/Berlin"}
OWNERS = {"alpha": "operator", "beta": "customer", "gamma": "operator"}
# (clause, customer or "" for all, start, end): overlapping each other, outages, midnights and the change of clocks.
EXCLUSIONS = [
    ("delay", "alpha", utc("2026-03-09T01:10"), utc("2026-03-09T01:50")),
    ("delay", "", utc("2026-03-09T01:30"), utc("2026-03-09T02:00")),
    ("delay", "alpha", utc("2026-03-31T15:30"), utc("2026-03-31T16:30")),
    ("delay", "gamma", utc("2026-03-29T00:45"), utc("2026-03-29T01:15")),
    ("delay", "beta", utc("2026-03-18T10:00"), utc("2026-03-18T10:20")),
    ("delay", "beta", utc("2026-03-11T06:10"), utc("2026-03-11T06:40")),
    ("connectivity", "", utc("2026-03-18T09:00"), utc("2026-03-18T10:00:30")),
    ("connectivity", "alpha", utc("2026-03-18T09:30"), utc("2026-03-18T10:30")),
    ("connectivity", "gamma", utc("2026-03-29T00:50"), utc("2026-03-29T01:20")),
]
RETRY = [60, 300, 900, 1800, 3600, 3600, 3600]
BEGIN, END = utc("2026-02-27T00:00"), utc("2026-04-03T00:00")
UNKNOWN = (utc("2026-03-20T00:00"), utc("2026-03-20T00:30"))


def inside(at: float, intervals: list[tuple[float, float]]) -> bool:
    return any(start <= at < end for start, end in intervals)


def wall(at: float) -> float:
    return at if at >= JUMP_AT else at - JUMP_BY


def true(reading: float) -> float:
    """Return when the wall clock showed a reading: what people and the gateway wrote down is read off it."""
    return reading if reading >= JUMP_AT else reading + JUMP_BY


@dataclass
class Played:
    """One copy as it truly happened; ``deferred`` are (begin, phase, due) of the attempts put off."""

    sender: str
    customer: str
    outgoing: bool
    received: float
    held: float = 0.0
    deferred: list[tuple[float, str, float]] = field(default_factory=list)
    started: float = 0.0
    accepted: float = 0.0

    @property
    def end(self) -> float:
        return self.started if self.outgoing else self.accepted

    @property
    def owner(self) -> str:
        return "remote" if self.outgoing else OWNERS[self.customer]


def simulate(copies: int, seed: int) -> list[Played]:
    chance = random.Random(seed)  # noqa: S311 - the same month each time
    busy = [edge + shift for spans in OUTAGES.values() for edge, _ in spans for shift in (0, 1800, 3600)]
    played = []
    for number in range(copies):
        around = chance.choice(busy) + chance.uniform(-1800, 1800) if number % 10 == 0 else chance.uniform(BEGIN, END)
        received = round(around, 3)
        if inside(received, GATEWAY_DOWN):
            continue
        customer = chance.choice(list(ZONES))
        copy = Played(customer, customer, chance.random() < 0.4, received)
        _deliver(copy, chance)
        played.append(copy)
    return played


def _deliver(copy: Played, chance: random.Random) -> None:
    outages = OUTAGES["remote" if copy.outgoing else copy.customer]
    if chance.random() < 0.002:
        copy.held = round(chance.uniform(60, 9000), 3)
    at = round(copy.received + copy.held + chance.choice([0.02, 0.1, 0.5, 30.0]), 3)
    for wait in RETRY:
        # What falls due while the gateway does not run is tried when it runs again.
        at = max([at, *(end + 5.0 for start, end in GATEWAY_DOWN if start <= at < end)])
        if not inside(at, outages):
            break
        due = round(at + wait, 3)
        copy.deferred.append((at, chance.choice(["rcpt", "connect"]), due))
        # One in five is tried much too late: the queue was busy.
        at = round(due + chance.uniform(0, 20) + (chance.uniform(60, 3000) if chance.random() < 0.2 else 0.0), 3)
    copy.started = at
    copy.accepted = round(at + chance.choice([0.05, 0.3, 2.0]), 3)


def record(copy: Played, number: int) -> DelayRecord:
    attempts = [[*_attempt(*put_off)] for put_off in copy.deferred]
    attempts.append([wall(copy.started), "hop", "relay[192.0.2.1]:25", "end-of-data", "250 ok", "sent", 0.1, False])
    received = wall(copy.received)
    return DelayRecord(
        trace_id=new_trace_id(received, lambda octets: number.to_bytes(octets, "big")),
        number=0,
        customer=copy.customer,
        recipient="you@elsewhere.example" if copy.outgoing else f"user@{copy.customer}.example",
        domain="elsewhere.example" if copy.outgoing else f"{copy.customer}.example",
        reverse_path=f"user@{copy.sender}.example" if copy.outgoing else "me@elsewhere.example",
        role="relay" if copy.outgoing else "mx",
        origin="smtp",
        octets=8192,
        # What was held was in quarantine.
        action="quarantine" if copy.held else "accept",
        connected_at=received - 1,
        enveloped_at=received - 0.5,
        received_at=received,
        filtered_seconds=0.005,
        durable_seconds=0.002,
        antivirus_seconds=0.001,
        held_seconds=copy.held,
        transfer_started_at=wall(copy.started),
        accepted_at=wall(copy.accepted),
        send_delay_seconds=copy.started - copy.received,
        receive_delay_seconds=copy.accepted - copy.received,
        finished_at=wall(copy.accepted),
        status="delivered",
        next_hop="hop",
        relay="relay[192.0.2.1]:25",
        reply="250 ok",
        attempts=json.dumps(attempts),
        attempt_count=len(attempts),
    )


def _attempt(begin: float, phase: str, due: float) -> tuple:
    # A connection that fails is stamped with its end.
    seconds = 5.0 if phase == "connect" else 0.2
    stamp = wall(begin + seconds) if phase == "connect" else wall(begin)
    # When the next is due was written when this one failed, by the clock as it was then.
    ended = begin + seconds
    due = wall(ended) + due - ended
    return stamp, "hop", "relay[192.0.2.1]:25", phase, "451 4.7.1 later", "deferred", seconds, False, due


# The brute force ------------------------------------------------------------------------------------------------------


def month_of(copy: Played) -> str:
    return datetime.fromtimestamp(wall(copy.received), ZoneInfo(ZONES[copy.customer])).strftime("%Y-%m")


def expected_delays(played: list[Played], customer: str, *, outgoing: bool, month: str) -> list[tuple[int, int]]:
    """Return (before, after) in milliseconds of every copy that counts."""
    found = [c for c in played if c.customer == customer and c.outgoing == outgoing and month_of(c) == month]
    return [(round((c.end - c.received) * 1000), round(_counted(c) * 1000)) for c in found]


def _counted(copy: Played) -> float:
    recorded = [
        (true(s), true(e)) for clause, who, s, e in EXCLUSIONS if clause == "delay" and who in ("", copy.customer)
    ]
    hold = [(copy.received, copy.received + copy.held)]
    waits = []
    if copy.owner != "operator":
        begins = [begin for begin, _, _ in copy.deferred] + [copy.started]
        # Theirs until the next attempt was due; the gateway's own when it came to it later.
        waits = [(begin, min(after, copy.deferred[n][2])) for n, (begin, after) in enumerate(pairwise(begins))]
    edges = {copy.received, copy.end}
    for start, end in (*recorded, *hold, *waits, *GATEWAY_DOWN):
        edges |= {edge for edge in (start, end) if copy.received < edge < copy.end}
    cuts = sorted(edges)
    counted = 0.0
    for start, end in pairwise(cuts):
        middle = (start + end) / 2
        theirs = inside(middle, waits) and not inside(middle, GATEWAY_DOWN)
        if not (theirs or inside(middle, recorded) or inside(middle, hold)):
            counted += end - start
    return counted


def minutes_with_mail(played: list[Played], customer: str) -> set[float]:
    """Return when the minutes begin in which mail passed both ways, as nobody may have probed them."""
    both = []
    for outgoing in (True, False):
        mine = [c for c in played if c.customer == customer and c.outgoing == outgoing]
        both.append({c.received // 60 * 60 for c in mine if c.received // 60 == c.accepted // 60})
    return both[0] & both[1]


def expected_minutes(customer: str, start: float, end: float, mail: set[float]) -> Counter[str]:
    """Return how many minutes of a month have each state."""
    excluded = [(s, e) for clause, who, s, e in EXCLUSIONS if clause == "connectivity" and who in ("", customer)]
    found: Counter[str] = Counter()
    at = start
    while at < end:
        state = truth_of_minute(customer, at)
        if state == "unknown" and at in mail:
            state = "up"
        if state != "up" and all(any(s <= second < e for s, e in excluded) for second in (at + n for n in range(60))):
            state = "excluded"
        found[state] += 1
        at += 60
    return found


def truth_of_minute(customer: str, at: float) -> str:
    if inside(at, [UNKNOWN]):
        return "unknown"
    if inside(at, GATEWAY_DOWN):
        return "down"
    return "down-receive" if inside(at, OUTAGES[customer]) else "up"
