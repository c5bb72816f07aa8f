"""A round of probes: the doors, the relay, the next hops, and on a slower beat a whole message each way.

What a round finds is a ``Finding`` for each customer and direction; what it could not find out in its time is left out,
and the minute stays unknown. Receiving is well when a door takes the customer's mail, the last probe message came
through, and the next hops answer; sending, when a relay's door takes a message and the last one sent came through it.
Without a relay nobody sends through here, and sending is well by itself.

A probe message that did not come through is tried again with each round, until one does. One that the filters refuse
for what it says tells nothing of the way, and is told.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from ipaddress import ip_address

from gateway.app.next_hops import NextHops
from gateway.app.probe_mailbox import ProbeMailbox
from gateway.app.resolving import CurrentResolver
from gateway.clock import Clock
from gateway.config.models import Listen
from gateway.config.snapshot import Snapshot
from gateway.journal.duty_events import ServiceDoubted
from gateway.journal.events import EventSink
from gateway.mail.connection import Role
from gateway.policy.domain_policy import DomainPolicy
from gateway.servicelevel.minutes import IDLE
from gateway.servicelevel.observing import Finding
from gateway.servicelevel.probing import Door, probe_door, probe_message
from gateway.servicelevel.sample import RECEIVE, SEND

# One session asks for so many customers: some hundred commands.
DOMAINS_A_SESSION = 50
# A round ends within its minute, so that the next minute has a round of its own.
ROUND_SECONDS = 50.0
# The contract's average is a minute; a probe message that is not through by then is a minute that was not well.
DELIVERED_SECONDS = 40.0
# A gateway that has just started has other things to do.
FIRST_MESSAGE_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what to ask instead

Addresses = Sequence[tuple[Listen, tuple[str, int]]]
"""Each listener with the address it is bound to."""

Findings = dict[tuple[str, str], Finding]


class Probes:
    """Tries what customers and their correspondents would; one round at a time."""

    def __init__(
        self, snapshot: Callable[[], Snapshot], *, mailbox: ProbeMailbox, clock: Clock, events: EventSink
    ) -> None:
        self._snapshot, self._mailbox, self._clock, self._events = snapshot, mailbox, clock, events
        self._hops = NextHops(snapshot, clock, CurrentResolver(snapshot().config.dns, clock))
        every = snapshot().config.service.probe_message_every
        self._message_due = clock.monotonic() + min(every, FIRST_MESSAGE_SECONDS)
        self._not_through: dict[str, str] = {}

    async def close(self) -> None:
        """Let go of what is under way."""
        await self._hops.close()

    async def findings(self, addresses: Addresses) -> Findings:
        """Return what one round found, by customer and direction."""
        policies = _by_customer(self._snapshot())
        inward = [pair for pair in addresses if pair[0].role is Role.MX]
        outward = [pair for pair in addresses if pair[0].role is not Role.MX]
        firsts = {customer: own[0].domains[0] for customer, own in policies.items()}
        every = [policy for own in policies.values() for policy in own]
        hops, doors, relay, _ = await asyncio.gather(
            self._hops.findings(every, ROUND_SECONDS),
            self._doors(inward, list(firsts.values())),
            self._doors(outward, [self._mailbox.domain]),
            self._messages({RECEIVE: inward, SEND: outward}),
        )
        found: Findings = {}
        sending = Finding(relay.get(self._mailbox.domain, "") or self._not_through.get(SEND, ""))
        for customer, domain in firsts.items():
            found[customer, SEND] = sending if outward else Finding("", remark=IDLE)
            at_door = doors.get(domain, "") or self._not_through.get(RECEIVE, "")
            if at_door:
                found[customer, RECEIVE] = Finding(at_door)
            elif all(policy.name in hops for policy in policies[customer]):
                found[customer, RECEIVE] = _worst([hops[policy.name] for policy in policies[customer]])
        return found

    async def _doors(self, listeners: Addresses, domains: list[str]) -> dict[str, str]:
        """Return why each domain's mail is taken at no door, "" when one takes it or there is none."""
        reasons: dict[str, str] = {}
        name = self._snapshot().config.hostname
        for listen, address in listeners:
            door = door_of(listen, address)
            for begin in range(0, len(domains), DOMAINS_A_SESSION):
                part = domains[begin : begin + DOMAINS_A_SESSION]
                for domain, reason in (await probe_door(door, name, part)).items():
                    reasons[domain] = reason and reasons.get(domain, reason)
        return reasons

    # Whole messages

    async def _messages(self, listeners: Mapping[str, Addresses]) -> None:
        """Send a message each way when it is due, and again after one that did not come through."""
        every = self._snapshot().config.service.probe_message_every
        now = self._clock.monotonic()
        if not every:
            self._not_through.clear()
            return
        if now < self._message_due and not self._not_through:
            return
        self._message_due = now + every
        ways = [(direction, doors) for direction, doors in listeners.items() if doors]
        reasons = await asyncio.gather(*(self._through_any(doors) for _, doors in ways))
        self._not_through = {direction: why for (direction, _), why in zip(ways, reasons, strict=True) if why}

    async def _through_any(self, listeners: Addresses) -> str:
        """Return why a message comes through none of these doors, "" when it comes through one."""
        reason = ""
        until = self._clock.monotonic() + DELIVERED_SECONDS
        for listen, address in listeners:
            reason = await self._through(door_of(listen, address), until)
            if not reason:
                break
        return reason

    async def _through(self, door: Door, until: float) -> str:
        left = max(1.0, until - self._clock.monotonic())
        name = self._snapshot().config.hostname
        sent = await probe_message(door, name, self._mailbox.address, self._content(name), left)
        if sent.judged:
            self._events.emit(
                ServiceDoubted(at=self._clock.stamp().utc, customer="", about="probe", detail=sent.reason)
            )
            return ""
        if sent.reason:
            return f"probe message: {sent.reason}"
        while (file := self._mailbox.arrived(sent.trace_id)) is None:
            if self._clock.monotonic() > until:
                return f"probe message {sent.trace_id} was taken and is not delivered after {DELIVERED_SECONDS:g} s"
            await asyncio.sleep(_LOOK_SECONDS)
        file.unlink(missing_ok=True)
        return ""

    def _content(self, name: str) -> bytes:
        now = self._clock.stamp()
        lines = (
            f"From: Tidegate <postmaster@{name}>",
            f"To: <{self._mailbox.address}>",
            "Subject: probe of the service",
            f"Date: {formatdate(now.utc)}",
            f"Message-ID: <{now.utc:.6f}.{now.monotonic:.6f}@{self._mailbox.domain}>",
            # RFC 3834 §5: sent by a program.
            "Auto-Submitted: auto-generated",
            "",
            "Sent by the gateway to itself, to see whether mail passes.",
            "",
        )
        return "\r\n".join(lines).encode("ascii")


def door_of(listen: Listen, address: tuple[str, int]) -> Door:
    """Return how a listener is tried."""
    host, port = address
    host = _WILDCARDS.get(host, host)
    proxied = any(ip_address(host) in network for network in listen.proxy_protocol_from)
    return Door(
        host=host,
        port=port,
        implicit_tls=listen.tls is not None and listen.tls.implicit,
        preface="PROXY UNKNOWN" if proxied else "",
    )


def _by_customer(snapshot: Snapshot) -> dict[str, list[DomainPolicy]]:
    found: dict[str, list[DomainPolicy]] = {}
    for file in snapshot.policies.files:
        if file.policy.domains:
            found.setdefault(file.policy.customer, []).append(file.policy)
    return found


def _worst(found: Sequence[Finding]) -> Finding:
    return next((finding for finding in found if finding.reason), Finding(""))
