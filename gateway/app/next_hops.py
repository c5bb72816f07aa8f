"""Whether mail gets away: each policy's next hops opened as delivery opens them, and closed again.

``smtp``, ``lmtp`` and ``mx`` hops are looked up, connected to, greeted and, as the policy has it, secured by delivery's
own connector: a host that delivery could not use is not reachable here either. A ``maildir`` hop is its folder: there,
or to be made, writable, on a disk with room. A policy is well when one of its hosts answers.
"""

import asyncio
import os
import random
from collections.abc import Callable, Iterable
from pathlib import Path

from gateway.app.resolving import CurrentResolver
from gateway.clock import Clock
from gateway.config.snapshot import Snapshot
from gateway.delivery.client import ClientSettings
from gateway.delivery.connector import Connector
from gateway.delivery.route import Route, Router, route_of
from gateway.delivery.tls import TlsContexts
from gateway.delivery.transfer import Failure, Target
from gateway.policy.domain_policy import DomainPolicy
from gateway.servicelevel.observing import OPERATOR, Finding
from gateway.servicelevel.probing import REPLY_SECONDS

# Connections at a time: a round over a thousand next hops that answer takes some seconds.
AT_ONCE = 20
# Hosts of one route that are tried before it is given up: with 10 s each, two fit into the minute.
HOSTS_TRIED = 2
# A policy with "mx:" has a route for each domain; a customer with more domains than that is judged by these.
ROUTES_A_POLICY = 10


class NextHops:
    """Opens next hops; routes that policies share are tried once a round."""

    def __init__(self, snapshot: Callable[[], Snapshot], clock: Clock, resolver: CurrentResolver) -> None:
        self._snapshot, self._resolver = snapshot, resolver
        self._router = Router(resolver, random.SystemRandom(), lambda: snapshot().config.hostname)
        self._connector = Connector(self._router, clock, TlsContexts())

    async def close(self) -> None:
        """Let go of what is under way."""
        await self._resolver.close()

    async def findings(self, policies: Iterable[DomainPolicy], seconds: float) -> dict[str, Finding]:
        """Return for each policy, by its name, whether its mail gets away; those not known in time are left out."""
        self._resolver.use(self._snapshot().config.dns)
        turns = asyncio.Semaphore(AT_ONCE)
        wanted = {policy.name: (policy, _routes(policy)) for policy in policies}
        tasks = {
            route.key: asyncio.create_task(self._reason(route, turns))
            for _, routes in wanted.values()
            for route in routes
        }
        try:
            if tasks:
                await asyncio.wait(tasks.values(), timeout=seconds)
            known = {key: task.result() for key, task in tasks.items() if task.done()}
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        return {
            name: _finding(policy, [known[route.key] for route in routes])
            for name, (policy, routes) in wanted.items()
            if all(route.key in known for route in routes)
        }

    async def _reason(self, route: Route, turns: asyncio.Semaphore) -> Finding:
        async with turns:
            targets = await self._router.targets(route.hops)
            if isinstance(targets, Failure):
                return _failed(route, targets)
            found = Finding("")
            for target in targets[:HOSTS_TRIED]:
                found = await self._opened(route, target)
                if not found.reason:
                    return found
            return found

    async def _opened(self, route: Route, target: Target) -> Finding:
        if target.scheme == "maildir":
            reason = await asyncio.to_thread(maildir_reason, Path(target.path))
            return Finding(reason and f"next hop {route.key}: {reason}", OPERATOR)
        channel = await self._connector.open(target, self._settings(), REPLY_SECONDS)
        if isinstance(channel, Failure):
            return _failed(route, channel)
        channel.quit()
        return Finding("")

    def _settings(self) -> ClientSettings:
        return ClientSettings(
            hostname=self._snapshot().config.hostname, greeting_seconds=REPLY_SECONDS, command_seconds=REPLY_SECONDS
        )


def maildir_reason(folder: Path) -> str:
    """Return why no mail can be written below a folder, "" when it can."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return f"{there} cannot be written to"
    try:
        room = os.statvfs(there)
    except OSError as error:
        return f"{there}: {error.strerror}"
    return "" if room.f_bavail else f"{there}: no room on its disk"


def _routes(policy: DomainPolicy) -> list[Route]:
    routes = {(route := route_of(policy, domain)).key: route for domain in policy.domains}
    return list(routes.values())[:ROUTES_A_POLICY]


def _failed(route: Route, failure: Failure) -> Finding:
    # A name that could not be looked up may be our resolver's fault; only a system that was spoken to is somebody's.
    ours = failure.own_fault or (failure.phase == "lookup" and not failure.permanent)
    return Finding(f"next hop {route.key}: {failure.phase}: {failure.reply}", OPERATOR if ours else "")


def _finding(policy: DomainPolicy, found: list[Finding]) -> Finding:
    """Return the first route's that is not well; what fails is its owner's, unless it is ours in any case."""
    failing = next((each for each in found if each.reason), None)
    return Finding("") if failing is None else Finding(failing.reason, failing.owner or policy.next_hop_owner)
