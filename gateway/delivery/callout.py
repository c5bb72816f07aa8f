"""``recipients = "callout"``: asking a recipient's next hop at RCPT whether the mailbox exists (RFC 5321 §3.3, §3.5.3).

MAIL FROM the null reverse-path, one RCPT, RSET. 2yz: exists; 5yz: unknown; anything else, and no answer within
``callout.timeout``: undetermined. Answers are believed for ``callout.positive_ttl`` and ``callout.negative_ttl``;
undetermined ones are not kept, but a next hop that cannot be reached is left alone for a few seconds, so that a
session's hundred RCPTs do not each wait. Equal questions under way share their answer. A Maildir takes every mailbox. A
next hop that accepts everything is not found out.
"""

import asyncio
from collections.abc import Callable

from gateway.clock import Clock
from gateway.config.snapshot import Snapshot
from gateway.delivery import causes
from gateway.delivery.client import ClientSettings, SmtpConnection
from gateway.delivery.connector import Connector
from gateway.delivery.route import Route, Router, route_of
from gateway.delivery.transfer import Channel, Failure
from gateway.pipeline.verifier import Verification
from gateway.policy.domain_policy import DomainPolicy
from gateway.smtp.address import Mailbox
from gateway.smtp.reply import Reply

# About 300 octets an answer: 30 MB at most, more mailboxes than a gateway of this size serves.
MAX_ANSWERS = 100_000

# Questions at a time to one next hop: callouts must not crowd out deliveries.
MAX_CONNECTIONS = 5

# How long a next hop that could not be reached is not asked again: a few RCPTs get 450 after it is back.
UNREACHABLE_SECONDS = 10.0

_CLOSING = 421

_Key = tuple[str, str]


class _Unreachable:
    """Why a next hop could not be asked, and until when it is left alone."""

    __slots__ = ("reply", "until")

    def __init__(self, until: float, reply: str) -> None:
        self.until = until
        self.reply = reply


class CalloutVerifier:
    """Implements ``RecipientVerifier``."""

    def __init__(self, router: Router, connector: Connector, clock: Clock, snapshot: Callable[[], Snapshot]) -> None:
        self._router = router
        self._connector = connector
        self._clock = clock
        self._snapshot = snapshot
        self._answers: dict[_Key, tuple[float, Verification]] = {}
        self._under_way: dict[_Key, asyncio.Task[Verification]] = {}
        self._idle: dict[str, list[SmtpConnection]] = {}
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._unreachable: dict[str, _Unreachable] = {}
        self.asked = 0
        """Questions put to next hops; the rest came from memory."""

    async def verify(self, mailbox: Mailbox, policy: DomainPolicy) -> Verification:
        """Return what the mailbox's next hop says."""
        route = route_of(policy, mailbox.domain)
        if any(hop.scheme == "maildir" for hop in route.hops):
            return Verification(outcome="exists", reply=causes.DELIVERED.text)
        key = (route.key, mailbox.key)
        known = self._answers.get(key)
        if known is not None and known[0] > self._clock.monotonic():
            return known[1]
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._answer(route, mailbox))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        # A client that goes away does not take the answer from the others.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End questions and connections."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connections in self._idle.values():
            for connection in connections:
                connection.quit()
        self._idle.clear()

    async def _answer(self, route: Route, mailbox: Mailbox) -> Verification:
        callout = self._snapshot().config.callout
        try:
            async with asyncio.timeout(callout.timeout):
                answer = await self._asked(route, mailbox)
        except TimeoutError:
            self._give_up(route, f"no answer within {callout.timeout:g} seconds")
            return Verification(outcome="undetermined", reply=self._unreachable[route.key].reply)
        ttl = {"exists": callout.positive_ttl, "unknown": callout.negative_ttl}.get(answer.outcome)
        if ttl is not None:
            self._remember((route.key, mailbox.key), self._clock.monotonic() + ttl, answer)
        return answer

    def _remember(self, key: _Key, until: float, answer: Verification) -> None:
        self._answers.pop(key, None)
        self._answers[key] = (until, answer)
        if len(self._answers) > MAX_ANSWERS:
            # The oldest answer: dictionaries keep the order of insertion.
            del self._answers[next(iter(self._answers))]

    async def _asked(self, route: Route, mailbox: Mailbox) -> Verification:
        turn = self._turns.setdefault(route.key, asyncio.Semaphore(MAX_CONNECTIONS))
        async with turn:
            down = self._unreachable.get(route.key)
            if down is not None and down.until > self._clock.monotonic():
                return Verification(outcome="undetermined", reply=down.reply)
            self.asked += 1
            return await self._ask_hosts(route, mailbox)

    async def _ask_hosts(self, route: Route, mailbox: Mailbox) -> Verification:
        connection = self._kept(route)
        if connection is not None:
            answer = await self._ask(route, connection, mailbox)
            if answer is not None:
                return answer
        targets = await self._router.targets(route.hops)
        if isinstance(targets, Failure):
            return _without_route(targets)
        why = causes.CANNOT_CONNECT.text
        for target in targets:
            opened = await self._connector.open_smtp(target, self._settings(), self._connect_seconds())
            if isinstance(opened, Failure):
                why = str(opened.reply)
                continue
            answer = await self._ask(route, opened, mailbox)
            if answer is not None:
                return answer
        self._give_up(route, why)
        return Verification(outcome="undetermined", reply=why)

    async def _ask(self, route: Route, connection: SmtpConnection, mailbox: Mailbox) -> Verification | None:
        """Return what one host says, None when it says nothing and another should be asked."""
        try:
            if not mailbox.wire.isascii() and not connection.extensions.smtputf8:
                return Verification(outcome="unknown", reply=str(causes.SMTPUTF8_NEEDED))
            mail, rcpt = await _dialogue(connection, mailbox)
        except asyncio.CancelledError:
            connection.quit()
            raise
        if connection.is_usable:
            self._keep(route, connection)
        else:
            connection.quit()
        if _CLOSING in (mail.code, rcpt.code) or not (causes.is_remote(mail) and causes.is_remote(rcpt)):
            return None
        if not mail.is_success:
            # It refuses the null reverse-path, and so says nothing of the mailbox.
            return Verification(outcome="undetermined", reply=str(mail))
        if rcpt.is_success:
            return Verification(outcome="exists", reply=str(rcpt))
        return Verification(outcome="unknown" if rcpt.is_permanent else "undetermined", reply=str(rcpt))

    def _give_up(self, route: Route, why: str) -> None:
        until = self._clock.monotonic() + UNREACHABLE_SECONDS
        self._unreachable[route.key] = _Unreachable(until, why)

    def _kept(self, route: Route) -> SmtpConnection | None:
        kept = self._idle.get(route.key, [])
        while kept:
            connection = kept.pop()
            if connection.is_usable:
                return connection
            connection.quit()
        return None

    def _keep(self, route: Route, connection: SmtpConnection) -> None:
        kept = self._idle.setdefault(route.key, [])
        kept.append(connection)

        def closed(channel: Channel) -> None:
            if channel in kept:
                kept.remove(connection)

        connection.release(closed)

    def _settings(self) -> ClientSettings:
        config = self._snapshot().config
        seconds = config.callout.timeout
        return ClientSettings(
            hostname=config.hostname,
            greeting_seconds=seconds,
            command_seconds=seconds,
            idle_seconds=config.queue.idle,
            reuse=config.queue.reuse,
        )

    def _connect_seconds(self) -> float:
        config = self._snapshot().config
        return min(config.callout.timeout, config.queue.connect_timeout)


async def _dialogue(connection: SmtpConnection, mailbox: Mailbox) -> tuple[Reply, Reply]:
    utf8 = "" if mailbox.wire.isascii() else " SMTPUTF8"
    mail = f"MAIL FROM:<>{utf8}\r\n".encode()
    rcpt = f"RCPT TO:<{mailbox.wire}>\r\n".encode()
    connection.transfers += 1
    if connection.extensions.pipelining:
        replies = await connection.ask(mail + rcpt + b"RSET\r\n", 3)
        return replies[0], replies[1]
    answer = (await connection.ask(mail, 1))[0]
    if not answer.is_success:
        return answer, answer
    answers = answer, (await connection.ask(rcpt, 1))[0]
    await connection.ask(b"RSET\r\n", 1)
    return answers


def _without_route(failure: Failure) -> Verification:
    # A domain that takes no mail (null MX, no such domain, loop) has no mailbox either.
    return Verification(outcome="unknown" if failure.permanent else "undetermined", reply=str(failure.reply))
